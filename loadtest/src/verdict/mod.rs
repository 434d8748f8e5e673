//! The targets, what was measured of each, and whether it was met.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::disk::Effect;
use crate::objectives;
use crate::profile::Demand;
use crate::report::{Report, SecondFigures};
use crate::watch::{CACHED, CONNECTIONS, DATABASE_CONNECTIONS, DEAD, DRAWN, LIVE, Look, POOLS, RESIDENT, SERIES};

/// Milliseconds that 95 of 100 requests may take, together and of each operation.
pub(crate) const LATENCY_MS: f64 = objectives::LATENCY_SECONDS * 1e3;
/// Milliseconds that 95 of 100 answers of the cache may take.
const CACHE_ANSWER_MS: f64 = objectives::CACHE_ANSWER_SECONDS * 1e3;
/// Milliseconds that 95 of 100 waits for a database connection may take at full speed: half of what a request may.
const POOL_WAIT_MS: f64 = LATENCY_MS / 2.0;
/// The same below it.
const OPEN_POOL_WAIT_MS: f64 = 10.0;
/// Share of the open loop's rate that must be reached.
const OPEN_REACHED: f64 = 0.98;
/// Share of its planned time that a run must have taken.
const WHOLE: f64 = 0.95;
/// Requests of an operation below which its p95 is an accident.
const ENOUGH: u64 = 100;
/// Seconds after a spike within which p95 is back.
const RECOVERY_SECONDS: usize = 10;
/// Latency of a soak's last minutes beside its first.
const LATENCY_GROWTH: f64 = 1.2;
/// Memory of a soak.
const BESIDE_CACHES: &str = "resident memory beside the caches";
/// What else of a soak's last sixth may be more than its second sixth's; the first sixth warms up.
const GROWTH: f64 = 1.1;

/// A target and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Stable: programs may look for it.
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) outcome: Outcome,
}

/// Whether a target was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Met,
    Missed,
    /// Missed; met by the requests that overlap no pause of the disk.
    MissedInPauses,
    /// Not measured, though the profile is held to it: the run has not passed.
    Unknown,
    /// The profile is not held to it.
    NotJudged,
}

impl Outcome {
    /// Whether the run fails by it.
    pub(crate) const fn fails(self) -> bool {
        matches!(self, Self::Missed | Self::MissedInPauses | Self::Unknown)
    }

    /// As it stands in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::MissedInPauses => "MISSED BY PAUSES OF THE DISK",
            Self::Unknown => "NOT MEASURED",
            Self::NotJudged => "not judged",
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conclusion {
    /// Every target that is judged was met.
    Passed,
    /// One was missed, or is not known.
    #[default]
    Failed,
    /// Targets were missed, each of them in pauses of the disk only.
    FailedInPauses,
}

impl Conclusion {
    pub(crate) fn of(targets: &[Target]) -> Self {
        let failed: Vec<Outcome> =
            targets.iter().map(|target| target.outcome).filter(|outcome| outcome.fails()).collect();
        if failed.is_empty() {
            Self::Passed
        } else if failed.iter().all(|outcome| *outcome == Outcome::MissedInPauses) {
            Self::FailedInPauses
        } else {
            Self::Failed
        }
    }

    /// That of the program; clap's is 2.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::FailedInPauses => 3,
        }
    }
}

/// Whether a run took about as long as it was to: goose ends early when it is interrupted.
#[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
pub(crate) fn is_whole(seconds: f64, planned: u64) -> bool {
    seconds >= planned as f64 * WHOLE
}

/// Builds the table.
struct Verdict {
    targets: Vec<Target>,
}

/// A bound.
#[derive(Clone, Copy)]
enum Bound {
    Below(f64),
    AtLeast(f64),
}

impl Verdict {
    /// A figure against its bound, `show` with its unit.
    fn judge(&mut self, name: &str, judged: bool, measured: Option<f64>, bound: Bound, show: fn(f64) -> String) {
        let met = measured.map(|value| match bound {
            Bound::Below(most) => value < most,
            Bound::AtLeast(least) => value >= least,
        });
        let outcome = match (judged, met) {
            (false, _) => Outcome::NotJudged,
            (true, Some(true)) => Outcome::Met,
            (true, Some(false)) => Outcome::Missed,
            (true, None) => Outcome::Unknown,
        };
        let wanted = match bound {
            Bound::Below(most) => format!("< {}", show(most)),
            Bound::AtLeast(least) => format!(">= {}", show(least)),
        };
        let measured = measured.map_or_else(|| "-".to_owned(), show);
        self.targets.push(Target { name: name.to_owned(), wanted, measured, outcome });
    }

    /// p95 of requests against its bound. It is that of all of them, whatever the disk did: pauses excuse nothing, but when the others
    /// met the target, and are enough to tell, they are named as what it was missed by.
    fn judge_p95(&mut self, name: &str, judged: bool, p95_ms: f64, effect: Option<&Effect>) {
        self.judge(name, judged, Some(p95_ms), Bound::Below(LATENCY_MS), ms);
        let others_met = |effect: &Effect| effect.outside >= ENOUGH && effect.p95_without_ms < LATENCY_MS;
        if let Some(target) = self.targets.last_mut().filter(|target| target.outcome == Outcome::Missed)
            && effect.is_some_and(others_met)
        {
            target.outcome = Outcome::MissedInPauses;
        }
    }
}

/// The target of all requests of the closed loop.
const P95: &str = "latency p95";
/// That of the open loop.
const OPEN_P95: &str = "open loop: latency p95";

/// The target of an operation.
fn p95_of(operation: &str) -> String {
    format!("{P95} of {operation}")
}

/// What pauses of the disk did to the requests of a target of latency.
pub(crate) fn effect<'a>(report: &'a Report, target: &str) -> Option<&'a Effect> {
    let closed = || report.disk.effects.iter();
    match target {
        P95 => report.disk.effect(None),
        OPEN_P95 => report.open_loop.as_ref()?.disk.effect(None),
        _ => closed().find(|effect| effect.operation.as_deref().is_some_and(|name| p95_of(name) == target)),
    }
}

/// Judges a run by what its profile is held to.
pub(crate) fn judge(report: &Report, demands: &[Demand]) -> Vec<Target> {
    let mut verdict = Verdict { targets: Vec::new() };
    if !is_whole(report.seconds, report.planned_seconds) {
        let (wanted, measured) = (format!("{} s", report.planned_seconds), format!("{:.0} s", report.seconds));
        verdict.targets.push(Target { name: "the whole run".to_owned(), wanted, measured, outcome: Outcome::Missed });
    }
    errors(&mut verdict, report, demands);
    let server = &report.server;
    let speed = demands.contains(&Demand::Speed);
    let (throughput, wanted) = (Some(report.requests_per_second), objectives::THROUGHPUT / f64::from(report.machines));
    verdict.judge("throughput", demands.contains(&Demand::Throughput), throughput, Bound::AtLeast(wanted), rate);
    if let Some(bare) = &report.bare {
        // For the reader: machines differ.
        verdict.judge("throughput beside the bare handler", false, Some(bare.ratio), Bound::AtLeast(0.6), ratio);
    }
    verdict.judge_p95(P95, speed, report.all.corrected.p95_ms, report.disk.effect(None));
    for operation in report.operations.iter().filter(|operation| operation.figures.succeeded >= ENOUGH) {
        let (name, p95) = (p95_of(&operation.name), operation.figures.corrected.p95_ms);
        verdict.judge_p95(&name, speed, p95, report.disk.effect(Some(&operation.name)));
    }
    if let Some(open) = &report.open_loop {
        let (p95, wanted) = (open.figures.corrected.p95_ms, f64::from(open.rate) * OPEN_REACHED);
        verdict.judge_p95(OPEN_P95, speed, p95, open.disk.effect(None));
        verdict.judge("open loop: rate", speed, Some(open.reached), Bound::AtLeast(wanted), rate);
    }
    let connections = demands.contains(&Demand::Throughput);
    verdict.judge("connections", connections, server.connections, Bound::AtLeast(objectives::CONNECTIONS), count);
    verdict.judge("cache hit rate", true, server.hit_ratio, Bound::AtLeast(objectives::CACHE_HIT_RATIO), percent);
    // At full speed all cores are full, and everything waits for them first: what Redis takes is seen below that.
    let waits = report.open_loop.as_ref().map_or(server.waits, |open| open.waits);
    let cache = waits.cache_answer_p95_ms;
    verdict.judge("cache answer p95", speed, cache, Bound::Below(CACHE_ANSWER_MS), ms);
    verdict.judge("index usage", true, server.index_ratio, Bound::AtLeast(objectives::INDEX_USAGE), percent);
    let wait = server.waits.pool_wait_p95_ms;
    verdict.judge("database connection wait p95", speed, wait, Bound::Below(POOL_WAIT_MS), ms);
    if let Some(open) = &report.open_loop {
        let (name, wait) = ("open loop: database connection wait p95", open.waits.pool_wait_p95_ms);
        verdict.judge(name, speed, wait, Bound::Below(OPEN_POOL_WAIT_MS), ms);
    }
    if demands.contains(&Demand::Spike) {
        spike(&mut verdict, report);
    }
    if demands.contains(&Demand::Flat) {
        flat(&mut verdict, report);
    }
    verdict.targets
}

fn errors(verdict: &mut Verdict, report: &Report, demands: &[Demand]) {
    let open = report.open_loop.as_ref().map(|open| &open.figures);
    let of = |count: fn(&crate::figures::Figures) -> u64| count(&report.all) + open.map_or(0, count);
    // A service that sheds has not served, but for a spike that is what it should do.
    let lost =
        of(|figures| figures.failed) + if demands.contains(&Demand::Spike) { 0 } else { of(|figures| figures.shed) };
    let all = of(|figures| figures.succeeded) + lost;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let share = (all > 0).then(|| lost as f64 / all as f64);
    let outcome = match share {
        None => Outcome::Unknown,
        Some(_) if lost > 0 => Outcome::Missed,
        Some(_) => Outcome::Met,
    };
    let measured = share.map_or_else(|| "-".to_owned(), |share| format!("{lost} ({:.4} %)", share * 100.0));
    verdict.targets.push(Target { name: "errors".to_owned(), wanted: "0".to_owned(), measured, outcome });
}

/// Latency is back soon after the users are gone.
fn spike(verdict: &mut Verdict, report: &Report) {
    let Some(after) = report.phases.last() else { return };
    let seconds = report.timeline.get(after.from..after.to.min(report.timeline.len())).unwrap_or_default();
    // From which second on it stays good: the one after the last that is bad, or in which nobody was answered.
    let bad = |second: &SecondFigures| second.p95_ms >= LATENCY_MS || second.succeeded == 0;
    let back = seconds.iter().rposition(bad).map_or(0, |bad| bad + 1);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
    let (back, most) = ((!seconds.is_empty()).then_some(back as f64), RECOVERY_SECONDS as f64);
    let name = format!("seconds until p95 is below {LATENCY_MS:.0} ms again");
    verdict.judge(&name, true, back, Bound::Below(most + 1.0), count);
}

/// Nothing grows.
fn flat(verdict: &mut Verdict, report: &Report) {
    let window = (report.timeline.len() / 6).clamp(1, 300);
    let p95 = |seconds: &[SecondFigures]| mean(seconds.iter().map(|second| second.p95_ms));
    let first = report.timeline.get(..window).and_then(p95);
    let last = report.timeline.get(report.timeline.len().saturating_sub(window)..).and_then(p95);
    let growth = first.zip(last).map(|(first, last)| last / first);
    verdict.judge("latency p95, last beside first minutes", true, growth, Bound::Below(LATENCY_GROWTH), ratio);
    let mut grows = |name: &str, value: &dyn Fn(&Look) -> Option<f64>| {
        let growth = growth_of(&report.looks, value);
        verdict.judge(&grown(name), true, growth, Bound::Below(GROWTH), ratio);
    };
    // They have bounds of their own, and fill up to these as the archive grows.
    let caches = |look: &Look| [CACHED, DRAWN].iter().filter_map(|name| look.value(name)).sum::<f64>();
    grows(BESIDE_CACHES, &|look| Some(look.value(RESIDENT)? - caches(look)));
    grows(CONNECTIONS, &|look| look.value(CONNECTIONS));
    // Pools open connections when they are first needed, and as many as they may are no leak.
    grows(DATABASE_CONNECTIONS, &|look| Some(look.value(DATABASE_CONNECTIONS)?.max(look.value(POOLS).unwrap_or(0.0))));
    grows(SERIES, &|look| look.value(SERIES));
    // The archive itself grows, and with it what autovacuum lets lie: its share must not.
    let dead = |look: &Look| Some(look.value(DEAD)? / (look.value(LIVE)? + look.value(DEAD)?).max(1.0));
    let most = report.looks.iter().filter_map(dead).reduce(f64::max);
    verdict.judge("dead rows of all rows, at most", true, most, Bound::Below(0.2), percent);
}

/// The target that something does not grow.
fn grown(name: &str) -> String {
    format!("{name}, last beside second sixth")
}

fn growth_of(looks: &[Look], value: impl Fn(&Look) -> Option<f64>) -> Option<f64> {
    let sixth = looks.len() / 6;
    let part = |at: usize| mean(looks.get(at * sixth..(at + 1) * sixth)?.iter().filter_map(&value));
    part(5).zip(part(1)).map(|(last, second)| last / second)
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Holds a run against an earlier one of the same profile: throughput, beside the bare handler where both have it since
/// machines change their pace, and p95.
pub(crate) fn compare(report: &Report, baseline: &Report, allowed: f64) -> Vec<Target> {
    let mut verdict = Verdict { targets: Vec::new() };
    let judged = report.profile == baseline.profile;
    let throughput = match (&report.bare, &baseline.bare) {
        (Some(now), Some(then)) => now.ratio / then.ratio,
        _ => report.requests_per_second / baseline.requests_per_second,
    };
    let name = "throughput beside the baseline's";
    verdict.judge(name, judged, Some(throughput), Bound::AtLeast(1.0 - allowed), ratio);
    let latency = report.all.corrected.p95_ms / baseline.all.corrected.p95_ms;
    verdict.judge("latency p95 beside the baseline's", judged, Some(latency), Bound::Below(1.0 + allowed), ratio);
    verdict.targets
}

fn ms(value: f64) -> String {
    format!("{value:.1} ms")
}

fn rate(value: f64) -> String {
    format!("{value:.0}/s")
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn percent(value: f64) -> String {
    format!("{:.2} %", value * 100.0)
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}
