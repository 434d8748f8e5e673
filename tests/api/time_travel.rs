//! A service lives through 26 months in a minute, with samples coming in, and its jobs as its only care.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, TimeDelta, TimeZone as _, Utc};
use dgm_service::cache::{self, Cache};
use dgm_service::db::{self, Database as Pools};
use dgm_service::domain::clock::{Clock, Reading, Reads};
use dgm_service::domain::partition::PartitionState;
use dgm_service::domain::sample::NewSample;
use dgm_service::jobs::{Job, Outcome, Runner, Schedules};
use dgm_service::objects::{Bucket, Purpose};
use dgm_service::service::Services;
use dgm_service::service::settings::{SampleWindow, Settings};
use dgm_service::store::Stores;
use dgm_service::telemetry::files::Retention;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Database, parquet};

const RETENTION: u32 = 6;
const AHEAD: u32 = 3;
const MONTHS: u32 = 26;
/// Simulated time between two rounds of the jobs. Not a divisor of a day, so that rounds fall before, after and on no
/// particular side of midnight.
const ROUND: TimeDelta = TimeDelta::hours(17);

/// A clock that a test sets.
#[derive(Debug)]
struct Travelling(AtomicI64);

impl Travelling {
    fn set(&self, at: DateTime<Utc>) {
        self.0.store(at.timestamp_micros(), Ordering::SeqCst);
    }
}

impl Clock for Travelling {
    fn now(&self) -> DateTime<Utc> {
        Utc.timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn ahead(&self) -> Option<TimeDelta> {
        Some(TimeDelta::zero())
    }

    fn read(&self) -> Reads<'_> {
        Box::pin(async { Ok(Reading { now: self.now(), ahead: TimeDelta::zero() }) })
    }
}

fn month(at: DateTime<Utc>) -> NaiveDate {
    NaiveDate::from_ymd_opt(at.year(), at.month(), 1).unwrap()
}

fn sample(at: DateTime<Utc>) -> NewSample {
    let sample = json!({"service_name": "agent", "metric_type": "m", "metric_value": 1, "measurement_timestamp": at});
    serde_json::from_value(sample).unwrap()
}

/// Around now, at the edges of what is taken in, and on both sides of every midnight of a month's end in between.
fn times(now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let oldest = now.checked_sub_months(Months::new(RETENTION)).unwrap();
    let mut times = vec![now, now + TimeDelta::seconds(299), now - TimeDelta::days(1), oldest + TimeDelta::seconds(60)];
    for back in 0..RETENTION {
        let first = month(now).checked_sub_months(Months::new(back)).unwrap();
        let midnight = first.and_hms_opt(0, 0, 0).unwrap().and_utc();
        times.extend([midnight, midnight - TimeDelta::microseconds(1)]);
    }
    times.retain(|at| *at > oldest + TimeDelta::seconds(30) && *at <= now + TimeDelta::seconds(299));
    times
}

#[test]
fn twenty_six_months_pass_and_no_sample_is_refused_or_misplaced() {
    let database = Database::migrated();
    // Sessions of the server that think in a time zone with daylight saving must not matter.
    database.sql(&format!("ALTER DATABASE {} SET timezone = 'America/New_York'", database.name()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The 29th of February, both changes of daylight saving twice, and all month ends lie ahead.
    let start: DateTime<Utc> = "2027-12-30T22:00:00Z".parse().unwrap();
    let end = start.checked_add_months(Months::new(MONTHS)).unwrap();
    let exports = tempfile::tempdir().unwrap();
    let clock = Arc::new(Travelling(AtomicI64::new(start.timestamp_micros())));
    let _context = runtime.enter();
    let pools = Pools::new(&database.url(), &db::Settings::default()).unwrap();
    let cache = Cache::new(&cache::Settings { max_bytes: 1 << 20, redis: None, coherent: true }).unwrap();
    let target = Bucket::open(&format!("file://{}", exports.path().display())).unwrap();
    runtime.block_on(target.initialise(Purpose::Exports)).unwrap();
    let settings = Settings {
        window: SampleWindow { retention_months: RETENTION, max_future: TimeDelta::seconds(300) },
        premake_months: AHEAD,
        retention_timeout: Duration::from_secs(10),
        exports: Some(target),
        artifacts: None,
        logs: None,
        standbys: 0,
        data_directory: None,
        selection_max_bytes: 1 << 20,
        session_ttl: Duration::from_mins(1),
    };
    let services = Services::new(Stores::new(pools), cache, Arc::<Travelling>::clone(&clock), settings);
    let runner = Runner::new(services.clone(), Schedules::parse("").unwrap(), CancellationToken::new());
    let run = async |name: &str| match runner.run(Job::named(name).unwrap(), None).await.unwrap() {
        Outcome::Success(done) => done,
        other => panic!("{name}: {other:?}"),
    };

    let (rounds, stored) = runtime.block_on(async {
        run("ensure-partitions").await;
        // Somebody who writes without a pause while everything else happens.
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn({
            let (services, stop) = (services.clone(), Arc::clone(&stop));
            async move {
                let mut stored = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    let sample: NewSample = serde_json::from_value(
                        json!({"service_name": "steady", "metric_type": "m", "metric_value": 1}),
                    )
                    .unwrap();
                    stored += services.samples.accept(vec![sample], false).await.unwrap().accepted;
                }
                stored
            }
        });
        let (mut now, mut rounds, mut stored) = (start, 0, 0);
        while now < end {
            clock.set(now);
            run("ensure-partitions").await;
            run("enforce-retention").await;
            let samples: Vec<NewSample> = times(now).into_iter().map(sample).collect();
            let count = samples.len() as u64;
            assert_eq!(services.samples.accept(samples, true).await.unwrap().accepted, count, "at {now}");
            stored += count;
            let partitions = services.partitions.list().await.unwrap();
            assert!(
                partitions.iter().all(|partition| partition.state == PartitionState::Attached),
                "at {now}: {partitions:?}"
            );
            let months: Vec<NaiveDate> = partitions.iter().map(|partition| partition.month.unwrap()).collect();
            // Exactly the months that hold what is kept, or are made ahead; the oldest only once something was put there.
            let last = month(now).checked_add_months(Months::new(AHEAD)).unwrap();
            let oldest = month(now.checked_sub_months(Months::new(RETENTION)).unwrap());
            assert_eq!(months.last(), Some(&last), "at {now}");
            assert!(months.first().unwrap() >= &oldest, "at {now}: {months:?}");
            assert!(services.partitions.missing_months(&partitions).is_empty(), "at {now}: {months:?}");
            rounds += 1;
            now += ROUND;
        }
        stop.store(true, Ordering::SeqCst);
        let steady = writer.await.unwrap();
        assert!(steady > 1000, "{steady}");
        eprintln!(
            "time travel: {rounds} rounds, {} samples stored, {steady} of them by the steady writer",
            stored + steady
        );
        // What is older than the window, or too far ahead, is refused and makes no partition.
        for at in [now - TimeDelta::days(400), now + TimeDelta::days(40)] {
            assert!(services.samples.accept(vec![sample(at)], false).await.is_err());
        }
        services.close().await;
        (rounds, stored + steady)
    });
    assert!(rounds > 1000 && stored > 10_000, "{rounds} {stored}");

    let misplaced = "SELECT count(*) FROM dgm_performance_metrics WHERE tableoid::regclass::text <>
        'dgm_performance_metrics_' || to_char(measurement_timestamp AT TIME ZONE 'UTC', 'YYYY_MM')";
    assert_eq!(database.sql(misplaced), "0");
    let partitions = database.sql(
        "SELECT inhrelid::regclass, count(*) OVER () FROM pg_inherits
         WHERE inhparent = 'dgm_performance_metrics'::regclass ORDER BY 1",
    );
    let partitions: BTreeMap<&str, &str> = partitions.lines().map(|line| line.split_once('|').unwrap()).collect();
    // The month that the window begins in, those up to this one, those ahead.
    assert_eq!(partitions.len(), (1 + RETENTION + AHEAD) as usize, "{partitions:?}");

    let kept: u64 = database.sql("SELECT count(*) FROM dgm_performance_metrics").parse().unwrap();
    let exported = exported(exports.path());
    assert_eq!(exported + kept, stored, "{exported} exported, {kept} kept");
}

/// The samples in the exports: each in the file of its month, and none twice.
fn exported(folder: &Path) -> u64 {
    let mut ids = HashSet::new();
    for file in parquet::files(folder) {
        let name = file.file_name().unwrap().to_str().unwrap();
        for sample in parquet::samples(&file) {
            let month = sample.measurement_timestamp.format("%Y_%m");
            assert!(name.starts_with(&format!("dgm_performance_metrics_{month}-")), "{name} has {sample:?}");
            assert!(ids.insert(sample.id), "twice: {sample:?}");
        }
    }
    ids.len() as u64
}

#[test]
fn log_files_are_pruned_by_the_clock_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let files = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _context = runtime.enter();
    // The job asks no database.
    let pools = Pools::new("postgres://nobody@127.0.0.1:1/none", &db::Settings::default()).unwrap();
    let stores = Stores::new(pools);
    let cache = Cache::new(&cache::Settings { max_bytes: 1 << 20, redis: None, coherent: true }).unwrap();
    let clock = Arc::new(Travelling(AtomicI64::new(0)));
    let runner = |logs: Option<Retention>| {
        let settings = Settings {
            window: SampleWindow { retention_months: RETENTION, max_future: TimeDelta::seconds(300) },
            premake_months: AHEAD,
            retention_timeout: Duration::from_secs(10),
            exports: None,
            artifacts: None,
            logs,
            standbys: 0,
            data_directory: None,
            selection_max_bytes: 1 << 20,
            session_ttl: Duration::from_mins(1),
        };
        let services = Services::new(stores.clone(), cache.clone(), Arc::<Travelling>::clone(&clock), settings);
        Runner::new(services, Schedules::parse("").unwrap(), CancellationToken::new())
    };
    let run = |logs: Option<Retention>| {
        let run = runtime.block_on(runner(logs).run(Job::named("prune-logs").unwrap(), None));
        match run.unwrap() {
            Outcome::Success(done) => done,
            other => panic!("{other:?}"),
        }
    };
    assert!(run(None).contains("no log files"));

    let logs = Retention { folder: folder.path().into(), days: 2, max_bytes: 25 };
    let start: DateTime<Utc> = "2028-02-28T00:30:00Z".parse().unwrap();
    std::fs::write(folder.path().join("notes.log"), "not ours").unwrap();
    let mut deleted = 0;
    // Three days of a file an hour, of 10 bytes: two of them fit, and the one that is being written.
    for hour in 0..72 {
        let now = start + TimeDelta::hours(hour);
        clock.set(now);
        std::fs::write(folder.path().join(now.format("dgm.%Y-%m-%d-%H.log").to_string()), "0123456789").unwrap();
        deleted += usize::from(run(Some(logs.clone())).starts_with("1 files with 10 bytes"));
        let kept = names();
        assert!(kept.len() <= 3 && kept.contains(&"notes.log".to_owned()), "{kept:?}");
        assert!(kept.contains(&now.format("dgm.%Y-%m-%d-%H.log").to_string()), "{kept:?}");
    }
    assert_eq!(deleted, 70);
    // Silence for two days: the last but one is too old, the last stays.
    clock.set(start + TimeDelta::hours(72 + 48));
    assert_eq!(run(Some(logs)), "1 files with 10 bytes deleted");
    assert_eq!(names(), ["dgm.2028-03-01-23.log", "notes.log"]);
}
