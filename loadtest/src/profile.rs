//! Profiles: how many users come when, who they are, and what the run is held to.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::steps::Step;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Role {
    /// A loop that makes variants: reads entries, draws parents, creates.
    Author,
    /// Works off improvements.
    Worker,
    /// Keeps an eye on the newest values.
    Dashboard,
    /// Looks at lists, lineages and figures.
    Researcher,
    /// Stores samples, one at a time, and now and then looks at the newest values.
    Sampler,
    /// Reads entries and nothing else: of the bare handler.
    Reader,
}

impl Role {
    /// As it stands in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Author => "loop author",
            Self::Worker => "worker",
            Self::Dashboard => "dashboard",
            Self::Researcher => "researcher",
            Self::Sampler => "sampler",
            Self::Reader => "reader",
        }
    }

    /// Its steps, weighted.
    pub(crate) const fn steps(self) -> &'static [(Step, usize)] {
        match self {
            // An assumption: prompts show a parent and programs beside it, and some are made of one draw of parents.
            Self::Author => &[(Step::Read, 20), (Step::Revalidate, 5), (Step::SelectParents, 1), (Step::Create, 1)],
            Self::Worker => &[(Step::Improve, 1)],
            Self::Dashboard => &[(Step::Current, 4), (Step::Range, 1), (Step::Trend, 1)],
            Self::Sampler => &[(Step::Measure, 19), (Step::Current, 1)],
            Self::Reader => &[(Step::Read, 1)],
            Self::Researcher => &[(Step::List, 4), (Step::Lineage, 4), (Step::Stats, 2), (Step::SelectParents, 1)],
        }
    }

    /// How long it looks at an answer before it goes on: people and screens do, programs do not.
    pub(crate) const fn pause(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Author | Self::Worker | Self::Sampler | Self::Reader => None,
            Self::Dashboard | Self::Researcher => Some((Duration::from_millis(500), Duration::from_millis(1500))),
        }
    }
}

/// A part of a run: this many users are there at its end, and as long as it lasts their number goes there evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) users: usize,
    pub(crate) seconds: u64,
}

/// What the open loop sends, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OpenLoop {
    /// Requests a second.
    pub(crate) rate: u32,
    pub(crate) seconds: u64,
}

/// The name of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    /// Some seconds, for every change: errors, cache, indexes
    Smoke,
    /// The verdict: 500 users at full speed
    Targets,
    /// 50 users, then 2,000, then 50
    Spike,
    /// Half an hour at a steady rate: nothing may grow
    Soak,
    /// More and more users, until it gives way
    Stress,
    /// The targets where most requests write
    WriteHeavy,
    /// The targets where nearly all requests read
    ReadHeavy,
    /// 100 users that store samples
    Samples,
}

/// What a run is held to beside errors, cache and indexes, which every run is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Latency.
    Speed,
    /// Transactions a second, and the connections on which they come.
    Throughput,
    /// 503 with `Retry-After` is no failure, and speed comes back after the spike.
    Spike,
    /// Nothing grows.
    Flat,
}

/// A profile.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: Name,
    pub(crate) phases: Vec<Phase>,
    /// Roles by weight; the weights add up to a hundred.
    pub(crate) roles: &'static [(Role, usize)],
    /// Archive entries made before.
    pub(crate) entries: u32,
    /// Those of them that are read, by popularity.
    pub(crate) population: u32,
    /// Most requests a second of all users together; without it they go as fast as they are answered.
    pub(crate) rate: Option<u32>,
    pub(crate) open: Option<OpenLoop>,
    /// Seconds of each of the two laps of the bare handler; 0 for none.
    pub(crate) bare_seconds: u64,
    pub(crate) demands: &'static [Demand],
    /// That load at the same time, this being one.
    pub(crate) machines: u32,
}

const MIXED: &[(Role, usize)] = &[(Role::Author, 70), (Role::Worker, 15), (Role::Dashboard, 10), (Role::Researcher, 5)];
const WRITING: &[(Role, usize)] =
    &[(Role::Author, 20), (Role::Worker, 70), (Role::Dashboard, 6), (Role::Researcher, 4)];
const READING: &[(Role, usize)] = &[(Role::Author, 85), (Role::Worker, 2), (Role::Dashboard, 8), (Role::Researcher, 5)];

impl Profile {
    /// The profile of this name, with other users, seconds, entries or rate where given.
    pub(crate) fn new(name: Name, asked: &Asked) -> Self {
        let mut profile = Self::plain(name);
        if let Some(users) = asked.users {
            let most = profile.users();
            for phase in &mut profile.phases {
                phase.users = (phase.users * users).div_ceil(most);
            }
        }
        if let Some(seconds) = asked.seconds {
            let all: u64 = profile.phases.iter().map(|phase| phase.seconds).sum();
            for phase in &mut profile.phases {
                phase.seconds = (phase.seconds * seconds).div_ceil(all);
            }
        }
        profile.entries = asked.entries.unwrap_or(profile.entries);
        profile.population = asked.population.unwrap_or(profile.population);
        profile.rate = asked.rate.or(profile.rate);
        match (&mut profile.open, asked.open_rate) {
            (open, Some(0)) => *open = None,
            (Some(open), Some(rate)) => open.rate = rate,
            (open @ None, Some(rate)) => *open = Some(OpenLoop { rate, seconds: 10 }),
            (_, None) => {}
        }
        profile.bare_seconds = asked.bare_seconds.unwrap_or(profile.bare_seconds);
        profile.share(asked.machines);
        profile
    }

    /// Takes the part of one of several machines.
    fn share(&mut self, machines: u32) {
        self.machines = machines;
        for phase in &mut self.phases {
            phase.users = phase.users.div_ceil(machines as usize);
        }
        self.rate = self.rate.map(|rate| rate.div_ceil(machines));
        if let Some(open) = &mut self.open {
            open.rate = open.rate.div_ceil(machines);
        }
    }

    fn plain(name: Name) -> Self {
        let phases = |steps: &[(usize, u64)]| steps.iter().map(|&(users, seconds)| Phase { users, seconds }).collect();
        let verdict = Self {
            name,
            phases: phases(&[(500, 5), (500, 60)]),
            roles: MIXED,
            entries: 10_000,
            population: u32::MAX,
            rate: None,
            open: Some(OpenLoop { rate: 10_000, seconds: 20 }),
            bare_seconds: 10,
            demands: &[Demand::Speed, Demand::Throughput],
            machines: 1,
        };
        let alone = Self { open: None, bare_seconds: 0, ..verdict.clone() };
        match name {
            Name::Targets => verdict,
            Name::WriteHeavy => Self { roles: WRITING, ..verdict },
            Name::ReadHeavy => Self { roles: READING, ..verdict },
            Name::Samples => Self {
                phases: phases(&[(100, 1), (100, 30)]),
                roles: &[(Role::Sampler, 100)],
                entries: 1_000,
                demands: &[Demand::Speed],
                ..alone
            },
            Name::Smoke => Self {
                phases: phases(&[(20, 1), (20, 8)]),
                // Enough for the planner to want an index; few enough that they are read again within seconds, also on a busy
                // machine.
                entries: 12_000,
                population: 300,
                open: Some(OpenLoop { rate: 100, seconds: 3 }),
                demands: &[],
                ..alone
            },
            Name::Spike => Self {
                phases: phases(&[(50, 2), (50, 18), (2_000, 2), (2_000, 20), (50, 2), (50, 30)]),
                demands: &[Demand::Spike],
                ..alone
            },
            Name::Soak => Self {
                phases: phases(&[(500, 10), (500, 1_790)]),
                rate: Some(2_500),
                demands: &[Demand::Speed, Demand::Flat],
                ..alone
            },
            Name::Stress => Self {
                phases: phases(&[
                    (25, 1),
                    (25, 15),
                    (50, 1),
                    (50, 15),
                    (100, 1),
                    (100, 15),
                    (200, 1),
                    (200, 15),
                    (400, 1),
                    (400, 15),
                    (800, 1),
                    (800, 15),
                    (1_600, 1),
                    (1_600, 15),
                ]),
                demands: &[],
                ..alone
            },
        }
    }

    /// Most users at a time.
    pub(crate) fn users(&self) -> usize {
        self.phases.iter().map(|phase| phase.users).max().unwrap_or(1).max(1)
    }

    /// The phases in which the number of users stays, as `(users, from, to)` in seconds of the run.
    pub(crate) fn steady(&self) -> Vec<(usize, usize, usize)> {
        let (mut at, mut before, mut steady) = (0, 0, Vec::new());
        for phase in &self.phases {
            let end = at + usize::try_from(phase.seconds).unwrap_or(usize::MAX);
            if phase.users == before {
                steady.push((phase.users, at, end));
            }
            (at, before) = (end, phase.users);
        }
        steady
    }

    /// Users over the whole run, on average.
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    pub(crate) fn mean_users(&self) -> f64 {
        let (mut before, mut sum) = (0, 0.0);
        for phase in &self.phases {
            sum += (before + phase.users) as f64 / 2.0 * phase.seconds as f64;
            before = phase.users;
        }
        sum / self.seconds().max(1) as f64
    }

    /// Seconds of all phases.
    pub(crate) fn seconds(&self) -> u64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }
}

/// What the command line wants otherwise than the profile has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) users: Option<usize>,
    pub(crate) seconds: Option<u64>,
    pub(crate) entries: Option<u32>,
    pub(crate) population: Option<u32>,
    pub(crate) rate: Option<u32>,
    pub(crate) open_rate: Option<u32>,
    pub(crate) bare_seconds: Option<u64>,
    /// That load at the same time.
    pub(crate) machines: u32,
}

impl Default for Asked {
    fn default() -> Self {
        let (users, seconds, entries, population) = (None, None, None, None);
        let (rate, open_rate, bare_seconds) = (None, None, None);
        Self { users, seconds, entries, population, rate, open_rate, bare_seconds, machines: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_percent() {
        for name in Name::value_variants() {
            let profile = Profile::new(*name, &Asked::default());
            assert_eq!(profile.roles.iter().map(|(_, weight)| weight).sum::<usize>(), 100, "{name:?}");
            assert!(!profile.steady().is_empty(), "{name:?}");
        }
    }

    #[test]
    fn a_spike_of_other_size_is_still_a_spike() {
        let asked = Asked { users: Some(200), seconds: Some(37), ..Asked::default() };
        let profile = Profile::new(Name::Spike, &asked);
        assert_eq!(profile.users(), 200);
        assert_eq!(profile.steady(), [(5, 1, 10), (200, 11, 21), (5, 22, 37)]);
    }
}
