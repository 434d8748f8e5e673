//! Breaks things, one after the other, and keeps the books on it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use rustix::process::Signal;

use super::history::Write;
use super::run::Run;
use crate::support::redis::Redis;
use crate::support::signal;

/// Between two actions.
const CALM: Duration = Duration::from_millis(700);
/// How long after a cut a request may meet a connection that was cut: the pool notices when it uses one.
const GRACE: Duration = Duration::from_secs(3);
/// Long enough for a replica that trusts a silent feed to be found out.
const HANG: Duration = Duration::from_secs(super::BOUND.as_secs() + 2);

const FEEDS: &str = "application_name = 'dgm-feed'";
const ALL: &str = "application_name LIKE 'dgm%'";

/// What it can do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// Redis is silent for a while, with its connections open.
    PauseRedis,
    /// Redis loses everything.
    EmptyRedis,
    /// Redis comes back with what it held at the start of the run.
    RestoreRedis,
    /// The feeds' connections are cut again and again.
    CutFeeds,
    /// The feeds' connections stay open and say nothing.
    HangFeeds,
    /// Every connection of the replicas to PostgreSQL is cut again and again.
    CutAll,
    /// One statement changes a third of the entries.
    Bulk,
    /// Redis comes back old, and entries change, while the feeds are cut.
    RestoreRedisUnfed,
}

impl Action {
    /// Whether reads find no Redis for a while.
    pub(super) const fn breaks_redis(self) -> bool {
        matches!(self, Self::PauseRedis | Self::EmptyRedis | Self::RestoreRedis | Self::RestoreRedisUnfed)
    }

    /// Whether it counts the feeds that it cuts.
    pub(super) const fn cuts_feeds(self) -> bool {
        matches!(self, Self::CutFeeds | Self::RestoreRedisUnfed)
    }

    pub(super) const ALL: [Self; 8] = [
        Self::PauseRedis,
        Self::CutFeeds,
        Self::RestoreRedis,
        Self::Bulk,
        Self::CutAll,
        Self::EmptyRedis,
        Self::RestoreRedisUnfed,
        Self::HangFeeds,
    ];
    // The same in three parts that take as long as each other, for tests that run side by side.
    pub(super) const LOSSES: [Self; 3] = [Self::PauseRedis, Self::CutFeeds, Self::EmptyRedis];
    pub(super) const RETURNS: [Self; 3] = [Self::RestoreRedis, Self::CutAll, Self::RestoreRedisUnfed];
    pub(super) const SILENCE: [Self; 2] = [Self::Bulk, Self::HangFeeds];
}

pub(super) struct Nemesis<'a> {
    run: &'a Run<'a>,
    redis: &'a mut Redis,
    snapshot: Vec<Vec<u8>>,
    rng: StdRng,
    pub(super) actions: usize,
    pub(super) feeds_cut: usize,
    pub(super) feeds_hung: usize,
    /// What the bulk statements changed.
    pub(super) writes: Vec<Write>,
    /// The times in which a request may fail.
    pub(super) cuts: Vec<(Duration, Duration)>,
}

impl<'a> Nemesis<'a> {
    /// From now on Redis has a past to come back with.
    pub(super) fn new(run: &'a Run<'a>, redis: &'a mut Redis) -> Self {
        let snapshot = redis.snapshot();
        let (rng, writes, cuts) = (StdRng::seed_from_u64(4), Vec::new(), Vec::new());
        Self { run, redis, snapshot, rng, actions: 0, feeds_cut: 0, feeds_hung: 0, writes, cuts }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::PauseRedis => {
                self.redis.pause();
                std::thread::sleep(Duration::from_millis(self.rng.random_range(1000..3000)));
                self.redis.resume();
            }
            Action::EmptyRedis => {
                self.redis.kill();
                std::thread::sleep(Duration::from_millis(self.rng.random_range(100..1500)));
                self.redis.restart_empty();
            }
            Action::RestoreRedis => self.restore(),
            Action::CutFeeds => self.feeds_cut += self.cut(FEEDS, 15),
            Action::HangFeeds => self.hang(),
            Action::CutAll => {
                let from = self.run.now();
                self.cut(ALL, 10);
                self.cuts.push((from, self.run.now() + self.run.slowdown.stretch(GRACE)));
            }
            Action::Bulk => self.bulk(),
            Action::RestoreRedisUnfed => {
                self.feeds_cut += self.cut(FEEDS, 5);
                self.restore();
                self.bulk();
                self.feeds_cut += self.cut(FEEDS, 5);
            }
        }
        self.actions += 1;
        std::thread::sleep(CALM);
    }

    fn restore(&mut self) {
        self.redis.kill();
        self.redis.restart_with(&self.snapshot);
    }

    /// So many times, a tenth of a second apart; answers how many connections it met.
    fn cut(&self, which: &str, times: usize) -> usize {
        let statement = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {which}");
        let once = |_| {
            std::thread::sleep(Duration::from_millis(100));
            self.run.database.sql(&statement).parse::<usize>().unwrap()
        };
        (0..times).map(once).sum()
    }

    /// Stops the server's processes behind the feeds. One that was stopped at work could hold a lock that stops others,
    /// so it goes on and is not counted.
    fn hang(&mut self) {
        let list = format!("SELECT pid FROM pg_stat_activity WHERE {FEEDS}");
        let processes: Vec<u32> = self.run.database.sql(&list).lines().map(|pid| pid.parse().unwrap()).collect();
        let idle = format!("{list} AND state = 'idle' AND wait_event = 'ClientRead'");
        for process in &processes {
            // One may have ended meanwhile.
            let _ = signal(*process, Signal::STOP);
        }
        let waiting = self.run.database.sql(&idle);
        let (hung, busy): (Vec<u32>, Vec<u32>) =
            processes.into_iter().partition(|process| waiting.lines().any(|pid| pid == process.to_string()));
        for process in busy {
            signal(process, Signal::CONT).unwrap();
        }
        std::thread::sleep(HANG);
        self.feeds_hung += hung.len();
        for process in hung {
            signal(process, Signal::CONT).unwrap();
        }
    }

    fn bulk(&mut self) {
        let third = self.rng.random_range(0..3);
        let started = self.run.now();
        let changed = self.run.database.sql(&format!(
            "UPDATE dgm_archive SET accuracy_score = random() WHERE substr(archive_entry_id, 2)::int % 3 = {third}
             RETURNING substr(archive_entry_id, 2), version"
        ));
        let acknowledged = self.run.now();
        self.writes.extend(changed.lines().map(|line| {
            let (entry, version) = line.split_once('|').unwrap();
            let (entry, version) = (entry.parse().unwrap(), version.parse().unwrap());
            Write { entry, version, started, acknowledged, by: None }
        }));
    }
}
