//! Real faults, made one after the other, each to a stack of its own: the right alert, and no wrong one, must reach a webhook
//! behind Alertmanager, and resolve after the repair. All times of the rules are shorter.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::{NamedTempFile, TempDir};

use super::live::load;
use super::stack::{Monitoring, Told};
use crate::support::crash::Mortal;
use crate::support::faketime;
use crate::support::redis::Redis;
use crate::support::serve::{LOG_DIR, Serve};
use crate::support::{Slowdown, Stopper, setting};

/// How long a page may take: the slowest waits for an hour's twentieth.
const PATIENCE: Duration = Duration::from_mins(5);

/// How much shorter the times of the rules are, and how long it is listened to what is told.
struct Times {
    pace: f64,
    /// Before the fault.
    before: Duration,
    /// From the fault to its repair, at least.
    broken: Duration,
}

impl Times {
    /// Of `make alerts-test`, where the longest rules must be able to fire.
    const LONG: Self = Self { pace: 0.05, before: Duration::from_secs(20), broken: Duration::from_secs(20) };
    /// Ten minutes of the rules before, twenty minutes with the fault.
    const SHORT: Self = Self { pace: 0.005, before: Duration::from_secs(3), broken: Duration::from_secs(6) };
}

/// All that a fault may be made to.
struct Stack {
    postgres: Mortal,
    redis: Redis,
    serve: Serve,
    volume: Option<Volume>,
    /// What it says is added to the clock of the service.
    clock: NamedTempFile,
    /// Programs that keep something broken; killed when it is repaired.
    vandals: Vec<Child>,
}

impl Stack {
    fn sql(&self, statement: &str) -> String {
        self.postgres.database.sql(statement)
    }

    /// Does something again and again until it is repaired, in a process group of its own.
    fn vandal(&mut self, script: &str) {
        let script = format!("while true; do {script}; done");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        self.vandals.push(command.spawn().unwrap());
    }

    fn vandal_sql(&mut self, statement: &str) {
        self.vandal(&format!("psql -XAtqc \"{statement}\" '{}'", self.postgres.database.url()));
    }

    /// Requests a URL, or a range of them, with a token.
    fn vandal_http(&mut self, before: &str, path: &str, after: &str) {
        let (api, token) = (&self.serve.api, &self.serve.token);
        let curl =
            format!("{before} curl -s -o /dev/null -H 'authorization: Bearer {token}' \"http://{api}{path}\" {after}");
        self.vandal(&curl);
    }

    fn set_clock(&self, offset: &str) {
        std::fs::write(self.clock.path(), offset).unwrap();
    }

    fn no_vandals(&mut self) {
        self.vandals.drain(..).for_each(end);
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'psql' AND pid <> pg_backend_pid()");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.vandals.drain(..).for_each(end);
    }
}

fn end(mut vandal: Child) {
    let group = Pid::from_raw(vandal.id().try_into().unwrap()).unwrap();
    let _ = kill_process_group(group, Signal::KILL);
    let _ = vandal.wait();
}

/// A small file system.
struct Volume(TempDir);

impl Volume {
    /// Only root may.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(directory.path()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

struct Fault {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    workers: bool,
    /// Whether it needs a volume for log files.
    volume: bool,
    /// Whether it sets the clock of the service wrong.
    clock: bool,
    make: fn(&mut Stack),
    repair: fn(&mut Stack),
    /// What must be told.
    right: &'static [&'static str],
    /// What may be told beside: other true words about the same fault.
    also: &'static [&'static str],
}

const ORDINARY: Fault = Fault {
    name: "",
    settings: &[],
    workers: true,
    volume: false,
    clock: false,
    make: |_| (),
    repair: |_| (),
    right: &[],
    also: &[],
};

/// What callers feel of a fault.
const FELT: [&str; 3] = ["DgmErrorBudgetBurn", "DgmLatencyBudgetBurn", "DgmIngestBudgetBurn"];

/// What is true of a machine on which other tests run at the same time. `make alerts-test` runs alone, and takes none of it.
const BUSY: [&str; 5] =
    ["DgmRuntimeSaturated", "DgmCacheSlow", "DgmQueryLatencyHigh", "DgmLatencyBudgetBurn", "DgmInvalidationLag"];

/// What is told of a machine that answers late, when all waits of the rules are a second.
const SLOW: [&str; 6] =
    ["DgmDown", "DgmTargetAbsent", "DgmSloMetricAbsent", "DgmChangeFeedStale", "DgmPostgresDown", "DgmLongTransaction"];

const FAULTS: &[Fault] = &[
    Fault {
        name: "Redis stopped",
        make: |stack| stack.redis.kill(),
        repair: |stack| stack.redis.restart_empty(),
        right: &["DgmRedisDown"],
        ..ORDINARY
    },
    Fault {
        name: "partition removed",
        make: |stack| {
            let next = stack.sql("SELECT 'dgm_performance_metrics_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')");
            stack.sql(&format!("DROP TABLE {next}"));
        },
        repair: |stack| assert!(stack.postgres.database.dgm(&["partition", "ensure"]).status.success()),
        right: &["DgmPartitionMissing"],
        ..ORDINARY
    },
    Fault {
        name: "PostgreSQL stopped",
        make: |stack| stack.postgres.kill(),
        repair: |stack| stack.postgres.restart(),
        right: &["DgmPostgresDown"],
        ..ORDINARY
    },
    Fault {
        name: "pool exhausted",
        settings: &[("DGM__DATABASE__MAX_CONNECTIONS", "2"), ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1")],
        make: |stack| {
            stack.vandal_sql("BEGIN; LOCK TABLE dgm_improvements IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT");
            // Readers of what is locked.
            stack.vandal_http("for i in $(seq 12); do", "/api/v1/improvements", "& done; wait");
        },
        repair: Stack::no_vandals,
        right: &["DgmPoolSaturated"],
        also: &[
            FELT[0],
            FELT[1],
            FELT[2],
            "DgmQueryLatencyHigh",
            "DgmStatementErrors",
            "DgmLocksWaiting",
            "DgmJobFailing",
        ],
        ..ORDINARY
    },
    Fault {
        name: "job made to fail",
        settings: &[("DGM__JOBS__SCHEDULES", "ensure-partitions=*/5 * * * * *")],
        make: |stack| drop(stack.sql("ALTER FUNCTION create_monthly_partition RENAME TO gone")),
        repair: |stack| drop(stack.sql("ALTER FUNCTION gone RENAME TO create_monthly_partition")),
        right: &["DgmJobFailing"],
        also: &["DgmJobStale", "DgmStatementErrors"],
        ..ORDINARY
    },
    Fault {
        name: "hit rate destroyed",
        make: |stack| {
            // Nobody has asked for these before.
            stack.vandal_http("n=$((${n:-0} + 100));", "/api/v1/archive/x[$n-$((n + 99))]", "");
        },
        repair: Stack::no_vandals,
        right: &["DgmCacheHitRateLow"],
        also: &["DgmCacheBudgetBurn"],
        ..ORDINARY
    },
    Fault {
        name: "slow queries by a lock",
        make: |stack| {
            stack.vandal_sql(
                "BEGIN; LOCK TABLE dgm_improvements IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.7); COMMIT",
            );
        },
        repair: Stack::no_vandals,
        right: &["DgmQueryLatencyHigh"],
        also: &[FELT[1], "DgmLocksWaiting"],
        ..ORDINARY
    },
    Fault {
        name: "disk of the log files full",
        settings: &[("RUST_LOG", "info,dgm_service=debug")],
        volume: true,
        make: |stack| {
            let file = stack.volume.as_ref().unwrap().path().join("filler");
            let _ = std::fs::write(file, vec![0; 16 << 20]);
        },
        repair: |stack| std::fs::remove_file(stack.volume.as_ref().unwrap().path().join("filler")).unwrap(),
        right: &["DgmLogWritesFailing", "DgmVolumeFull"],
        ..ORDINARY
    },
    Fault {
        name: "clock set wrong",
        clock: true,
        make: |stack| stack.set_clock("+1h"),
        repair: |stack| stack.set_clock("+0"),
        right: &["DgmClockDiffers"],
        ..ORDINARY
    },
    Fault {
        name: "queue left unclaimed",
        workers: false,
        // Nobody claims from the start.
        make: |_| (),
        repair: |stack| {
            stack.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now() WHERE status = 'queued'");
        },
        right: &["DgmQueueAgeHigh"],
        ..ORDINARY
    },
];

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
    let volume = if fault.volume { Some(Volume::mount().ok_or("only root may mount a file system")?) } else { None };
    let postgres = Mortal::own("killed", &[]);
    // The job makes them too, but among all that a process does at its start a small pool may fail it.
    assert!(postgres.database.dgm(&["partition", "ensure"]).status.success());
    let redis = Redis::own("killed");
    let mut settings: Vec<(&str, &str)> = fault.settings.to_vec();
    if settings.is_empty() && !alone {
        settings.push(("DGM__JOBS__SCHEDULES", "collect-health=* * * * * *"));
    }
    if let Some(volume) = &volume {
        settings.push((LOG_DIR, volume.path().to_str().unwrap()));
    }
    let clock = NamedTempFile::new().unwrap();
    std::fs::write(clock.path(), "+0").unwrap();
    let offset = if fault.clock { faketime::off_by_file(clock.path()) } else { Vec::new() };
    settings.extend(offset.iter().map(|(name, value)| (*name, value.as_str())));
    let mut serve = Serve::start_with(&postgres.database, &redis.url(), &settings);
    serve.token = postgres.database.token("operator");
    let target = serve.ops.clone();
    let (api, token) = (serve.api.clone(), serve.token.clone());
    let started = Instant::now();
    let monitoring = Monitoring::start(&target, times.pace);
    let mut stack = Stack { postgres, redis, serve, volume, clock, vandals: Vec::new() };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopper = Stopper(&stop);
        scope.spawn(|| load(&api, &token, &stop, Duration::from_millis(50), fault.workers));
        std::thread::sleep(times.before);
        let before = monitoring.told(started);
        if before.iter().any(|told| !busy(&told.alert)) {
            return Err(format!("before it: {before:?}"));
        }
        let began = Instant::now();
        (fault.make)(&mut stack);
        let fires = |alert: &str, told: &[Told]| told.iter().any(|told| told.alert == alert && told.firing);
        until_told(&monitoring, began, |told| fault.right.iter().all(|alert| fires(alert, told)))?;
        let told = monitoring.told(began);
        let last = fault
            .right
            .iter()
            .filter_map(|alert| told.iter().find(|told| told.alert == *alert && told.firing))
            .map(|told| told.at);
        let page = last.max().unwrap() - began;
        // Time for wrong ones.
        std::thread::sleep(times.broken.saturating_sub(began.elapsed()));
        let repaired = Instant::now();
        (fault.repair)(&mut stack);
        let resolved = |alert: &str, told: &[Told]| {
            told.iter().rev().find(|told| told.alert == alert).is_some_and(|told| !told.firing)
        };
        until_told(&monitoring, began, |told| told.iter().all(|one| busy(&one.alert) || resolved(&one.alert, told)))?;
        let told = monitoring.told(began);
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
        let right =
            told.iter().filter(|told| fault.right.contains(&told.alert.as_str()) && !told.firing).map(|told| told.at);
        Ok(Seen { page, resolved: right.max().unwrap().saturating_duration_since(repaired), also })
    })
}

fn until_told(monitoring: &Monitoring, since: Instant, reached: impl Fn(&[Told]) -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !reached(&monitoring.told(since)) {
        if Instant::now() > deadline {
            return Err(format!("told: {:?}; active: {:?}", monitoring.told(since), monitoring.active()));
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
    reach(&FAULTS[2..setting("DGM_TEST_FAULTS", 2)]);
}

fn reach(faults: &[Fault]) {
    let only = std::env::var("DGM_TEST_FAULT").ok();
    let alone = setting("DGM_TEST_FAULTS", 0) > 0;
    let faults = faults.iter().filter(|fault| only.as_deref().is_none_or(|only| fault.name == only));
    let mut table =
        String::from("| fault | alerts | seconds to page | seconds to resolve | also told |\n|---|---|---|---|---|\n");
    let mut wrong_ones = Vec::new();
    for fault in faults {
        match run(fault, alone) {
            Ok(Seen { page, resolved, also }) => {
                let also: Vec<String> = also.into_iter().collect();
                let _ = writeln!(
                    table,
                    "| {} | {} | {:.0} | {:.0} | {} |",
                    fault.name,
                    fault.right.join(", "),
                    page.as_secs_f64(),
                    resolved.as_secs_f64(),
                    also.join(", ")
                );
                eprintln!("{}", table.lines().last().unwrap());
            }
            Err(reason) => {
                eprintln!("{}: {reason}", fault.name);
                wrong_ones.push(format!("{}: {reason}", fault.name));
            }
        }
    }
    eprintln!("{table}");
    assert!(wrong_ones.is_empty(), "{}", wrong_ones.join("\n"));
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
