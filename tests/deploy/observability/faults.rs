//! Real faults, each made to a stack of its own: the right alert, and no wrong one, must reach a webhook
//! behind Alertmanager, and resolve after the repair. All times of the rules are shorter.

mod list;
mod stack;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use dgm_service::observability::alerts::WATCHDOG;
use serde_json::json;
use tempfile::NamedTempFile;

use super::live::load;
use super::stack::{Monitoring, Told};
use crate::support::crash::Mortal;
use crate::support::faketime;
use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::wire::Wire;
use crate::support::{Slowdown, Stopper, setting};
use list::{FAULTS, Fault, Load, Need};
use stack::{Stack, Standby, Volume};

/// How long a page may take: the slowest waits for an hour's twentieth.
const PATIENCE: Duration = Duration::from_mins(5);

/// How much shorter the times of the rules are, and how long it is listened to what is told.
struct Times {
    pace: f64,
    /// Before the fault.
    before: Duration,
    /// How much of [`Fault::lasts`].
    share: f64,
}

impl Times {
    /// Of `make alerts-test`, where the longest rules must be able to fire.
    const LONG: Self = Self { pace: 0.05, before: Duration::from_secs(20), share: 1.0 };
    /// Ten minutes of the rules before, twenty minutes with the fault.
    const SHORT: Self = Self { pace: 0.005, before: Duration::from_secs(3), share: 0.2 };
}

/// What is true of a machine on which other tests run at the same time. `make alerts-test` runs alone, and takes none of it.
const BUSY: [&str; 6] = [
    "DgmRuntimeSaturated",
    "DgmCacheSlow",
    "DgmQueryLatencyHigh",
    "DgmLatencyBudgetBurn",
    "DgmInvalidationLag",
    "DgmWalFlushSlow",
];

/// What is told of a machine that answers late, when all waits of the rules are a second.
const SLOW: [&str; 6] =
    ["DgmDown", "DgmTargetAbsent", "DgmSloMetricAbsent", "DgmChangeFeedStale", "DgmPostgresDown", "DgmLongTransaction"];

/// What became of a fault.
struct Seen {
    page: Duration,
    resolved: Duration,
    also: BTreeSet<String>,
}

fn run(fault: &Fault, alone: bool) -> Result<Seen, String> {
    let times = if alone { Times::LONG } else { Times::SHORT };
    let slowdown = Slowdown::watch();
    let is_slow = || slowdown.stretch(Duration::from_secs(1)) > Duration::from_secs(2);
    let busy = |alert: &str| !alone && (BUSY.contains(&alert) || (SLOW.contains(&alert) && is_slow()));
    let (mut stack, targets) = start(fault, alone)?;
    let (api, token) = (stack.serve.api.clone(), stack.serve.token.clone());
    let started = Instant::now();
    let monitoring = Monitoring::start(&targets, times.pace);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopper = Stopper(&stop);
        scope.spawn(|| match fault.load {
            Load::Writes => write(&api, &token, &stop),
            load_by => load(&api, &token, &stop, Duration::from_millis(50), load_by == Load::Ordinary),
        });
        std::thread::sleep(times.before);
        let before = judged(&monitoring, started);
        if before.iter().any(|told| !busy(&told.alert)) {
            return Err(format!("before it: {before:?}"));
        }
        let began = Instant::now();
        (fault.make)(&mut stack);
        let fires = |alert: &str, told: &[Told]| told.iter().any(|told| told.alert == alert && told.firing);
        until_told(&monitoring, began, |told| fault.right.iter().all(|alert| fires(alert, told)))?;
        let told = judged(&monitoring, began);
        let last = fault
            .right
            .iter()
            .filter_map(|alert| told.iter().find(|told| told.alert == *alert && told.firing))
            .map(|told| told.at);
        let page = last.max().map_or(Duration::ZERO, |last| last - began);
        // Time for wrong ones, and for right ones to resolve, which they must not.
        std::thread::sleep(Duration::from_secs(fault.lasts).mul_f64(times.share).saturating_sub(began.elapsed()));
        let told = judged(&monitoring, began);
        let is_right = |told: &&Told| fault.right.contains(&told.alert.as_str());
        if let Some(gone) = told.iter().filter(is_right).find(|told| !told.firing) {
            return Err(format!("{} resolved before the repair: {told:?}", gone.alert));
        }
        let repaired = Instant::now();
        (fault.repair)(&mut stack);
        let resolved = |alert: &str, told: &[Told]| {
            told.iter().rev().find(|told| told.alert == alert).is_some_and(|told| !told.firing)
        };
        until_told(&monitoring, began, |told| told.iter().all(|one| busy(&one.alert) || resolved(&one.alert, told)))?;
        let told = judged(&monitoring, began);
        let also: BTreeSet<String> =
            told.iter().map(|told| told.alert.clone()).filter(|alert| !fault.right.contains(&alert.as_str())).collect();
        if let Some(wrong) = also.iter().find(|alert| !fault.also.contains(&alert.as_str()) && !busy(alert)) {
            return Err(format!("{wrong} was told: {told:?}"));
        }
        for one in &told {
            let kind = if one.severity == "critical" { "page" } else { "ticket" };
            if !one.receiver.ends_with(kind) {
                return Err(format!("{one:?} was told to the wrong people"));
            }
        }
        // Nobody is paged by it, and its receiver hears it all the time.
        let watchdog = monitoring.told(started).into_iter().filter(|told| told.alert == WATCHDOG).collect::<Vec<_>>();
        if watchdog.is_empty() || watchdog.iter().any(|told| !told.firing || told.receiver != "watchdog") {
            return Err(format!("{WATCHDOG}: {watchdog:?}"));
        }
        let right = told.iter().filter(is_right).filter(|told| !told.firing).map(|told| told.at);
        let resolved = right.max().map_or(Duration::ZERO, |at| at.saturating_duration_since(repaired));
        Ok(Seen { page, resolved, also })
    })
}

/// The servers, the service and a second replica, as a fault needs them, and their operations listeners.
fn start(fault: &Fault, alone: bool) -> Result<(Stack, String), String> {
    let volume = match fault.volume {
        Some(megabytes) => Some(Volume::mount(megabytes).ok_or("only root may mount a file system")?),
        None => None,
    };
    let on_volume = |folder: &str| volume.as_ref().unwrap().path().join(folder).display().to_string();
    let postgres = match &volume {
        Some(volume) if fault.needs.contains(&Need::PostgresOnVolume) => {
            Mortal::own_in("killed", fault.server, volume.path())
        }
        _ => Mortal::own("killed", fault.server),
    };
    let database = &postgres.database;
    // The job makes them too, but among all that a process does at its start a small pool may fail it.
    assert!(database.dgm(&["partition", "ensure"]).status.success());
    let standby = fault.needs.contains(&Need::Standby).then(|| Standby::follow(database));
    let redis = Redis::own("killed");
    let mut settings: Vec<(&str, String)> =
        fault.settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    if settings.is_empty() && !alone {
        settings.push(("DGM__JOBS__SCHEDULES", "collect-health=* * * * * *".to_owned()));
    }
    for &(name, before, folder) in fault.folders {
        let url = format!("{before}{}", on_volume(folder));
        if !before.is_empty() {
            let made = database.dgm(&["files", "init", "--purpose", folder, &url]);
            assert!(made.status.success(), "{made:?}");
        }
        settings.push((name, url));
    }
    if fault.needs.contains(&Need::PostgresOnVolume) {
        settings.push(("DGM__DATABASE__DATA_DIRECTORY", on_volume("server/pgdata")));
    }
    let clock = NamedTempFile::new().unwrap();
    std::fs::write(clock.path(), "+0").unwrap();
    if fault.needs.contains(&Need::Clock) {
        settings.extend(faketime::off_by_file(clock.path()));
    }
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut serve = Serve::start_with(database, &redis.url(), &settings);
    serve.token = database.token("operator");
    let other = fault.needs.contains(&Need::Replica).then(|| Serve::start_with(database, &redis.url(), &settings));
    let targets = [Some(&serve), other.as_ref()].into_iter().flatten().map(|serve| serve.ops.clone());
    let targets = targets.collect::<Vec<_>>().join(",");
    let mut stack = Stack { serve, other, postgres, standby, redis, volume, clock, vandals: Vec::new() };
    (fault.prepare)(&mut stack);
    Ok((stack, targets))
}

/// What was told, apart from the alert that always fires.
fn judged(monitoring: &Monitoring, since: Instant) -> Vec<Told> {
    monitoring.told(since).into_iter().filter(|told| told.alert != WATCHDOG).collect()
}

/// What a loop does that records its results and looks at each of them once.
fn write(api: &str, token: &str, stop: &AtomicBool) {
    let mut wire = Wire::connect(api, token).unwrap();
    let mut n = 0_u32;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        n += 1;
        let entry = json!({"archive_entry_id": format!("w{n}"), "service_name": "writes", "problem_statement": "p",
            "accuracy_score": 0.5, "constitutional_compliance_score": 0.9, "performance_metrics": {}});
        let _ = wire.call("POST", "/api/v1/archive", &entry);
        for value in 0..4 {
            let sample = json!({"service_name": "writes", "metric_type": "m", "metric_value": value});
            let _ = wire.call("POST", "/api/v1/metrics", &sample);
        }
        let _ = wire.get_all([format!("/api/v1/archive/w{n}").as_str()], |_, _| ());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until_told(monitoring: &Monitoring, since: Instant, reached: impl Fn(&[Told]) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !reached(&judged(monitoring, since)) {
        if Instant::now() > deadline {
            return Err(format!("told: {:?}; active: {:?}", judged(monitoring, since), monitoring.active()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn a_redis_that_stops_reaches_whoever_must_mend_it() {
    reach(&FAULTS[..1]);
}

#[test]
fn a_partition_that_is_removed_reaches_whoever_must_mend_it() {
    reach(&FAULTS[1..2]);
}

/// Those that `make alerts-test` makes beside the first two.
#[test]
fn each_other_fault_reaches_whoever_must_mend_it() {
    reach(&FAULTS[2..setting("DGM_TEST_FAULTS", 2).min(FAULTS.len())]);
}

/// Faults that run at the same time in `make alerts-test`. Each has servers of its own, and waits for nearly all of its time.
const AT_ONCE: usize = 4;

fn reach(faults: &[Fault]) {
    let only = std::env::var("DGM_TEST_FAULT").ok();
    let alone = setting("DGM_TEST_FAULTS", 0) > 0;
    let waiting = Mutex::new(faults.iter().filter(|fault| only.as_deref().is_none_or(|only| fault.name == only)));
    let wrong = Mutex::new(Vec::new());
    eprintln!("| fault | alerts | seconds to page | seconds to resolve | also told |\n|---|---|---|---|---|");
    let work = || {
        // Not in the condition, where the lock would be held until the fault is repaired.
        let next = || waiting.lock().unwrap().next();
        while let Some(fault) = next() {
            match run(fault, alone) {
                Ok(Seen { page, resolved, also }) => eprintln!(
                    "| {} | {} | {:.0} | {:.0} | {} |",
                    fault.name,
                    fault.right.join(", "),
                    page.as_secs_f64(),
                    resolved.as_secs_f64(),
                    also.into_iter().collect::<Vec<_>>().join(", ")
                ),
                Err(reason) => {
                    eprintln!("{}: {reason}", fault.name);
                    wrong.lock().unwrap().push(format!("{}: {reason}", fault.name));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..if alone { AT_ONCE } else { 1 } {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_fault_may_tell_there_is() {
    use dgm_service::observability::alerts;
    let known: BTreeSet<&str> =
        alerts::groups().iter().flat_map(|(_, alerts)| alerts).map(|alert| alert.name).collect();
    for fault in FAULTS {
        assert!(fault.right.iter().chain(fault.also).all(|alert| known.contains(alert)), "{}", fault.name);
    }
}
