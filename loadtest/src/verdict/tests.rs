//! Judgements, of made-up reports.

use super::*;
use crate::report::sample;

const ALL: &[Demand] = &[Demand::Speed, Demand::Throughput, Demand::Spike, Demand::Flat];

fn outcome(report: &Report, demands: &[Demand], name: &str) -> Outcome {
    let targets = judge(report, demands);
    targets.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("{name}: {targets:?}")).outcome
}

fn passes(targets: &[Target]) -> bool {
    Conclusion::of(targets) == Conclusion::Passed
}

#[test]
fn what_is_not_measured_has_not_passed() {
    let targets = judge(&sample::empty(), ALL);
    let unknown = |name: &str| targets.iter().any(|t| t.name == name && t.outcome == Outcome::Unknown);
    for name in ["errors", "connections", "cache hit rate", "index usage", "cache answer p95"] {
        assert!(unknown(name), "{name}: {targets:?}");
    }
    assert!(!passes(&targets));
}

#[test]
fn a_run_that_was_interrupted_fails() {
    let mut report = sample::sample();
    assert!(judge(&report, &[]).iter().all(|target| target.name != "the whole run"));
    report.seconds = 50.0;
    assert_eq!(outcome(&report, &[], "the whole run"), Outcome::Missed);
}

#[test]
fn what_is_shed_is_a_failure_unless_there_is_a_spike() {
    let mut report = sample::sample();
    (report.all.shed, report.all.failed, report.open_loop) = (1, 0, None);
    assert_eq!(outcome(&report, &[], "errors"), Outcome::Missed);
    assert_eq!(outcome(&report, &[Demand::Spike], "errors"), Outcome::Met);
    report.all.failed = 1;
    assert_eq!(outcome(&report, &[Demand::Spike], "errors"), Outcome::Missed);
}

#[test]
fn after_a_spike_a_silent_second_is_as_bad_as_a_slow_one() {
    const NAME: &str = "seconds until p95 is below 100 ms again";
    let good = SecondFigures { succeeded: 10, shed: 0, failed: 0, p50_ms: 1.0, p95_ms: 9.0 };
    let mut report = sample::sample();
    let to = report.timeline.len();
    report.phases.iter_mut().for_each(|phase| (phase.from, phase.to) = (to - 20, to));
    report.timeline = vec![good; to];
    assert_eq!(outcome(&report, ALL, NAME), Outcome::Met);
    report.timeline[to - 11].p95_ms = 150.0;
    assert_eq!(outcome(&report, ALL, NAME), Outcome::Met, "back in the tenth second");
    report.timeline[to - 9].succeeded = 0;
    assert_eq!(outcome(&report, ALL, NAME), Outcome::Missed);
}

#[test]
fn what_grows_is_told() {
    let (memory, database) = (grown(BESIDE_CACHES), grown(DATABASE_CONNECTIONS));
    let look = |at: u32, bytes: f64, cached: f64, connections: f64| Look {
        at: f64::from(at),
        values: [
            (RESIDENT, bytes),
            (CACHED, cached),
            (POOLS, 20.0),
            (CONNECTIONS, 9.0),
            (DATABASE_CONNECTIONS, connections),
            (SERIES, 9.0),
            (DEAD, 1.0),
            (LIVE, 99.0),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    };
    let mut report = sample::sample();
    report.looks = (0..60).map(|at| look(at, 1e8, 0.0, 9.0)).collect();
    assert_eq!(outcome(&report, ALL, &memory), Outcome::Met);
    assert_eq!(outcome(&report, ALL, "dead rows of all rows, at most"), Outcome::Met);
    // All that there is more of is the cache's, and pools that had not yet opened all that they may.
    let more = |at: u32| f64::from(at) / 60.0;
    report.looks = (0..60).map(|at| look(at, 1e8 * (1.0 + more(at)), 1e8 * more(at), 9.0 + 10.0 * more(at))).collect();
    assert_eq!(outcome(&report, ALL, &memory), Outcome::Met);
    assert_eq!(outcome(&report, ALL, &database), Outcome::Met);
    report.looks = (0..60).map(|at| look(at, 1e8 * (1.0 + more(at)), 1e7, 9.0 + 20.0 * more(at))).collect();
    assert_eq!(outcome(&report, ALL, &memory), Outcome::Missed);
    assert_eq!(outcome(&report, ALL, &database), Outcome::Missed);
}

#[test]
fn a_baseline_is_compared_beside_the_bare_handler() {
    let (mut now, then) = (sample::sample(), sample::sample());
    assert!(passes(&compare(&now, &then, 0.2)));
    // A machine at half its pace is no regression.
    now.requests_per_second /= 2.0;
    assert!(passes(&compare(&now, &then, 0.2)));
    if let Some(bare) = &mut now.bare {
        bare.ratio /= 2.0;
    }
    assert_eq!(compare(&now, &then, 0.2)[0].outcome, Outcome::Missed);
    now.profile = crate::profile::Name::Soak;
    assert!(compare(&now, &then, 0.2).iter().all(|target| target.outcome == Outcome::NotJudged));
}

#[test]
fn a_target_that_was_missed_in_pauses_only_is_missed_and_says_so() {
    let name = |report: &Report| format!("latency p95 of {}", report.operations[0].name);
    let mut report = sample::sample();
    report.open_loop = None;
    let operation = report.operations[0].name.clone();
    report.operations[0].figures.corrected.p95_ms = 147.0;
    report.disk.effects.iter_mut().for_each(|effect| {
        effect.operation = effect.operation.as_ref().map(|_| operation.clone());
        effect.p95_without_ms = 69.0;
    });
    assert_eq!(outcome(&report, &[Demand::Speed], &name(&report)), Outcome::MissedInPauses);
    report.verdict = vec![judge(&report, &[Demand::Speed]).into_iter().find(|t| t.name == name(&report)).unwrap()];
    assert_eq!(
        (Conclusion::of(&report.verdict), Conclusion::of(&report.verdict).exit_code()),
        (Conclusion::FailedInPauses, 3)
    );
    assert_eq!(
        crate::report::headline(&report),
        "FAILED: latency p95 of GET /api/v1/archive/{id} 147.0 ms; the disk paused once, longest 400 ms, 0.40 s in all; without \
         those windows 69.0 ms"
    );
    // Another target was missed, too, of which pauses tell nothing.
    report.verdict.push(Target {
        name: "errors".to_owned(),
        wanted: "0".to_owned(),
        measured: "3".to_owned(),
        outcome: Outcome::Missed,
    });
    assert_eq!(Conclusion::of(&report.verdict), Conclusion::Failed);
    // The others were slow, too.
    report.disk.effects.iter_mut().for_each(|effect| effect.p95_without_ms = 120.0);
    assert_eq!(outcome(&report, &[Demand::Speed], &name(&report)), Outcome::Missed);
    // Or are too few to tell.
    report.disk.effects.iter_mut().for_each(|effect| (effect.p95_without_ms, effect.outside) = (69.0, 99));
    assert_eq!(outcome(&report, &[Demand::Speed], &name(&report)), Outcome::Missed);
    // And without a pause nothing but the service is to blame.
    report.disk.effects.clear();
    assert_eq!(outcome(&report, &[Demand::Speed], &name(&report)), Outcome::Missed);
    // One that was met is met, whatever the disk did.
    report.operations[0].figures.corrected.p95_ms = 99.0;
    assert_eq!(outcome(&report, &[Demand::Speed], &name(&report)), Outcome::Met);
}
