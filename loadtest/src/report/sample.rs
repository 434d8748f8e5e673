//! Reports for tests, with names that mean something in HTML and in Markdown.

use std::collections::BTreeMap;

use super::{
    Bare, FailureCount, Lap, Open, OperationFigures, PhaseFigures, Report, SecondFigures, Server, VERSION, Waits,
};
use crate::disk::{DeviceFigures, DeviceStall, Disk, Effect, Flushes, Pause, Wait, WalStall};
use crate::facts::CORES;
use crate::figures::{Figures, Latency};
use crate::processes::Share;
use crate::profile::Name;
use crate::verdict::{Conclusion, Outcome, Target};
use crate::watch::{CONNECTIONS, DATABASE_CONNECTIONS, DEAD, LIVE, Look, RESIDENT, SERIES};

/// A name from outside that would do harm.
pub(crate) const HOSTILE: &str = "</title><script>alert('1')</script> | `a` *b* & \"c\" <!-- ]]>";

fn latency(scale: f64) -> Latency {
    let quantiles = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9999, 1.0];
    let distribution = quantiles.iter().enumerate();
    let distribution: Vec<(f64, f64)> = distribution
        .map(|(at, quantile)| (*quantile, scale * 1.7_f64.powf(f64::from(u8::try_from(at).unwrap()))))
        .collect();
    let at = |place: usize| distribution[place].1;
    Latency { p50_ms: at(2), p95_ms: at(5), p99_ms: at(7), max_ms: at(11), distribution }
}

fn figures(succeeded: u64, scale: f64) -> Figures {
    Figures { succeeded, shed: 3, failed: 2, raw: latency(scale), corrected: latency(scale * 1.5) }
}

fn second(at: u32) -> SecondFigures {
    let wave = f64::from(at % 20);
    let succeeded = 900 + u64::from(at % 7) * 30;
    SecondFigures {
        succeeded,
        shed: u64::from(at % 5),
        failed: u64::from(at % 11 == 3),
        p50_ms: 5.0 + wave,
        p95_ms: 20.0 + wave * 6.0,
    }
}

fn look(at: u32) -> Look {
    let values = [
        (RESIDENT, 80e6 + 1e4 * f64::from(at)),
        (CONNECTIONS, 50.0),
        (DATABASE_CONNECTIONS, 10.0),
        (SERIES, 1_400.0),
        (DEAD, f64::from(at % 40) * 100.0),
        (LIVE, 24_000.0),
        (HOSTILE, 1.0),
    ];
    Look { at: f64::from(at), values: values.map(|(name, value)| (name.to_owned(), value)).into() }
}

/// A disk that paused once, of which all observers tell.
fn disk() -> Disk {
    let effect = |operation: Option<&str>| Effect {
        operation: operation.map(str::to_owned),
        during: 900,
        outside: 57_900,
        slow: 800,
        slow_during: 790,
        p95_without_ms: 20.0,
    };
    Disk {
        directory: Some(HOSTILE.to_owned()),
        unknown: vec![HOSTILE.to_owned()],
        probe: Some(Flushes { number: 2_400, p50_ms: 0.3, p95_ms: 2.0, p99_ms: 9.0, max_ms: 396.0 }),
        device: Some(DeviceFigures {
            name: "vda".to_owned(),
            reads: 5,
            writes: 20_000,
            flushes: 15_000,
            mib_written: 900.0,
            write_ms: 0.4,
            busy: 0.5,
        }),
        waits: Some(vec![Wait { event: "IO:WALSync".to_owned(), mean: 0.4, most: 2 }]),
        pauses: vec![Pause {
            from: 12.41,
            to: 12.81,
            probe_ms: Some(396.0),
            device: Some(DeviceStall { ms: 375.0, outstanding: 2 }),
            wal: Some(WalStall { ms: 350.0, waits: "LWLock:WALWrite 14, IO:WALSync 1".to_owned() }),
        }],
        effects: vec![effect(None), effect(Some(HOSTILE))],
    }
}

fn lap(requests_per_second: f64) -> Lap {
    Lap { requests_per_second, processes: Vec::new() }
}

fn target(name: &str, outcome: Outcome) -> Target {
    Target { name: name.to_owned(), wanted: ">= 10000/s".to_owned(), measured: "9000/s".to_owned(), outcome }
}

/// A run of a minute in three phases, with all that a report can have.
pub(crate) fn sample() -> Report {
    let phase =
        |users, from, rate, p95_ms| PhaseFigures { users, from, to: from + 18, requests_per_second: rate, p95_ms };
    let operation =
        |name: &str, succeeded| OperationFigures { name: name.to_owned(), figures: figures(succeeded, 2.0) };
    let failure = |operation: &str, kind: &str, count| FailureCount {
        operation: operation.to_owned(),
        kind: kind.to_owned(),
        count,
    };
    let report = Report {
        version: VERSION,
        profile: Name::Stress,
        run: "a563988573844b0c9ce610f82d9d2cb2".to_owned(),
        began: "2026-11-25T18:59:08Z".to_owned(),
        host: "http://127.0.0.1:8007/".to_owned(),
        facts: vec![(HOSTILE.to_owned(), HOSTILE.to_owned())],
        passed: false,
        conclusion: Conclusion::Failed,
        verdict: vec![
            target("errors", Outcome::Met),
            target("throughput", Outcome::Missed),
            target(&format!("latency p95 of {HOSTILE}"), Outcome::Missed),
            target("connections", Outcome::Unknown),
            target("index usage", Outcome::NotJudged),
        ],
        machines: 1,
        users: 100,
        entries: 10_000,
        seconds: 60.0,
        planned_seconds: 60,
        requests_per_second: 980.0,
        all: figures(58_800, 2.0),
        operations: vec![operation("GET /api/v1/archive/{id}", 50_000), operation(HOSTILE, 8_800)],
        bare: Some(Bare { laps: vec![lap(2_000.0), lap(2_100.0)], requests_per_second: 2_050.0, ratio: 0.478 }),
        open_loop: Some(Open {
            rate: 1_000,
            reached: 998.0,
            seconds: 10,
            figures: figures(9_980, 1.0),
            waits: Waits::default(),
            disk: Disk::default(),
        }),
        disk: disk(),
        server: Server {
            hit_ratio: Some(0.91),
            index_ratio: Some(0.99),
            index_tables: BTreeMap::from([(HOSTILE.to_owned(), 0.99)]),
            statement_p95_ms: BTreeMap::from([("archive_get".to_owned(), 4.9), (HOSTILE.to_owned(), 14.8)]),
            ..Server::default()
        },
        processes: Vec::new(),
        phases: vec![phase(25, 1, 900.0, 20.0), phase(50, 20, 1_050.0, 60.0), phase(100, 40, 980.0, 240.0)],
        timeline: (0..60).map(second).collect(),
        looks: (0..60).map(look).collect(),
        failures: vec![failure(HOSTILE, HOSTILE, 2), failure("GET /", "status 500", 1_200)],
    };
    cores(report, "2", &[("load test", 1.0), ("service", 0.6), ("PostgreSQL", 0.3), (HOSTILE, 0.02)])
}

/// A report of a machine of so many cores, which these programs kept busy.
pub(crate) fn cores(mut report: Report, cores: &str, programs: &[(&str, f64)]) -> Report {
    report.facts.retain(|(name, _)| name != CORES);
    report.facts.push((CORES.to_owned(), cores.to_owned()));
    let share = |&(program, cores): &(&str, f64)| Share { program: program.to_owned(), seconds: cores * 60.0, cores };
    report.processes = programs.iter().map(share).collect();
    report
}

/// One of a run in which nothing happened and nothing is known.
pub(crate) fn empty() -> Report {
    let none =
        Latency { p50_ms: 0.0, p95_ms: 0.0, p99_ms: 0.0, max_ms: 0.0, distribution: vec![(0.0, 0.0), (1.0, 0.0)] };
    let all = Figures { succeeded: 0, shed: 0, failed: 0, raw: none.clone(), corrected: none };
    Report {
        passed: true,
        conclusion: Conclusion::Passed,
        verdict: Vec::new(),
        seconds: 0.0,
        planned_seconds: 60,
        requests_per_second: 0.0,
        all,
        facts: Vec::new(),
        operations: Vec::new(),
        bare: None,
        open_loop: None,
        disk: Disk::default(),
        server: Server::default(),
        processes: Vec::new(),
        phases: Vec::new(),
        timeline: Vec::new(),
        looks: Vec::new(),
        failures: Vec::new(),
        ..sample()
    }
}

/// One of half an hour, with more of everything than a run has.
pub(crate) fn many() -> Report {
    let sample = sample();
    let statements = (0..100).map(|at| (format!("statement_{at}"), f64::from(at)));
    let failure = |at: u64| FailureCount { operation: "GET /".to_owned(), kind: format!("kind {at}"), count: at };
    let phases = (0..7).map(|at| PhaseFigures { from: at * 250, to: at * 250 + 240, ..sample.phases[at % 3].clone() });
    Report {
        phases: phases.collect(),
        timeline: (0..1_800).map(second).collect(),
        looks: (0..360).map(|at| look(at * 5)).collect(),
        failures: (0..100).map(failure).collect(),
        server: Server { statement_p95_ms: statements.collect(), ..sample.server.clone() },
        ..sample
    }
}
