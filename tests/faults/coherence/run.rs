//! The run: readers and writers at work on both replicas and by SQL, until the nemesis is through.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::history::{Read, Verdict, Write, judge};
use super::nemesis::{Action, Nemesis};
use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::session::Session;
use crate::support::wire::Reply;
use crate::support::{Database, Slowdown, Stopper};

const ENTRIES: usize = 200;
/// GETs that a reader sends at once.
const BATCH: usize = 16;
/// The reads before the first action fill Redis with what is old later.
const WARM: Duration = Duration::from_secs(1);
/// What a run waits for beyond the bound, after the pause that ends the last action.
const MARGIN: Duration = Duration::from_millis(300);
/// A run that needs longer hangs.
const LIMIT: Duration = Duration::from_mins(30);

/// On a busy machine a request waits longer for a connection, and does not fail.
const PATIENT: (&str, &str) = ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "30");

/// What to do.
pub(super) struct Plan {
    /// What stands between the replicas.
    pub(super) redis: fn() -> Redis,
    /// At least so many; and every action at least once.
    pub(super) reads: usize,
    /// Between two batches of a reader.
    pub(super) pause: Duration,
    pub(super) actions: &'static [Action],
    /// Of both replicas.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// When requests failed although nobody cut the database's connections.
    pub(super) errors_when_calm: Vec<(Duration, Duration)>,
    pub(super) feeds_cut: usize,
    pub(super) feeds_hung: usize,
    /// Reads that the first replica answered in process, and the second from Redis.
    pub(super) hits: [usize; 2],
    pub(super) reads: usize,
    writes: usize,
    errors: usize,
    actions: usize,
    took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, writes, errors, actions, feeds_cut, feeds_hung, verdict, took, .. } = self;
        let (calm, seconds, [one, two]) = (self.errors_when_calm.len(), took.as_secs_f64(), self.hits);
        write!(f, "coherence: {reads} reads ({one} in process at the first replica, {two} in Redis at the second), ")?;
        write!(f, "{writes} writes, {actions} nemesis actions in {seconds:.1} s; ")?;
        write!(f, "{feeds_cut} feeds cut, {feeds_hung} hung; {errors} requests failed, {calm} when calm; {verdict}")
    }
}

/// What the threads share.
pub(super) struct Run<'a> {
    clock: Instant,
    stop: AtomicBool,
    reads: AtomicUsize,
    pub(super) database: &'a Database,
    replicas: [Serve; 2],
    pub(super) slowdown: Slowdown,
}

impl Run<'_> {
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    fn goes_on(&self) -> bool {
        assert!(self.now() < LIMIT, "the run takes too long");
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Notes which version each PATCH made: its answer may show a later one.
const AUDIT: &str = "
    CREATE TABLE test_audit (mark bigint PRIMARY KEY, version bigint NOT NULL);
    CREATE FUNCTION test_audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO test_audit VALUES ((NEW.performance_metrics ->> 'mark')::bigint, NEW.version);
        RETURN NULL;
    END;
    $$;
    CREATE TRIGGER test_audit AFTER UPDATE ON dgm_archive FOR EACH ROW
    WHEN (OLD.performance_metrics IS DISTINCT FROM NEW.performance_metrics) EXECUTE FUNCTION test_audit()";

/// What one thread saw.
#[derive(Default)]
struct Log {
    reads: Vec<Read>,
    writes: Vec<Write>,
    /// Changes by PATCH with their marks; the versions are found out afterwards.
    marked: Vec<(u64, Write)>,
    errors: Vec<(Duration, Duration)>,
}

pub(super) fn run(plan: &Plan) -> Outcome {
    let (database, mut redis) = std::thread::scope(|scope| {
        let redis = scope.spawn(plan.redis);
        (Database::own("its processes are stopped and ended", &[]), redis.join().unwrap())
    });
    database.sql(&format!(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
             constitutional_compliance_score)
         SELECT 'e' || n, 'agent', 'p', '{{}}', 0.5, 0.5 FROM generate_series(0, {ENTRIES} - 1) n"
    ));
    database.sql(AUDIT);
    let token = database.token("operator");
    // In the second there is room for a part of the entries only, so that it asks Redis all the time.
    let replicas = ["67108864", "65536"].map(|bytes| {
        let mut settings = vec![("DGM__CACHE__MAX_BYTES", bytes), ("DGM__DATABASE__MAX_CONNECTIONS", "8"), PATIENT];
        settings.extend(plan.settings);
        let mut replica = Serve::start_with(&database, &redis.url(), &settings);
        replica.token.clone_from(&token);
        replica
    });
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let run = Run { clock: Instant::now(), stop, reads, database: &database, replicas, slowdown: Slowdown::watch() };
    let (nemesis, mut log) = std::thread::scope(|scope| {
        let run = &run;
        let mut threads = Vec::new();
        for replica in 0..2 {
            for seed in 0..2 {
                threads.push(scope.spawn(move || reader(run, replica, seed, plan.pause)));
            }
            threads.push(scope.spawn(move || patcher(run, replica)));
        }
        threads.push(scope.spawn(move || by_hand(run)));
        let nemesis = rage(run, plan, &mut redis);
        let mut log = Log::default();
        for thread in threads {
            let seen = thread.join().unwrap();
            log.reads.extend(seen.reads);
            log.writes.extend(seen.writes);
            log.marked.extend(seen.marked);
            log.errors.extend(seen.errors);
        }
        (nemesis, log)
    });
    let took = run.now();
    let hits = |replica: usize, tier: &str| {
        let series = format!("dgm_cache_requests_total{{class=\"entry\",tier=\"{tier}\",result=\"hit\"}}");
        usize::try_from(run.replicas[replica].count(&series)).unwrap()
    };
    log.writes.extend(&nemesis.writes);
    let audit = database.sql("SELECT mark, version FROM test_audit");
    let audit: HashMap<u64, i64> = audit.lines().map(|line| line.split_once('|').unwrap()).map(numbers).collect();
    log.writes.extend(log.marked.into_iter().map(|(mark, write)| Write { version: audit[&mark], ..write }));
    let versions = "SELECT version FROM dgm_archive ORDER BY substr(archive_entry_id, 2)::int";
    let last: Vec<i64> = database.sql(versions).lines().map(|version| version.parse().unwrap()).collect();
    let excused = |error: &(Duration, Duration)| nemesis.cuts.iter().any(|cut| error.0 < cut.1 && cut.0 < error.1);
    Outcome {
        verdict: judge(&log.writes, &log.reads, &last, super::BOUND),
        reads: log.reads.len(),
        writes: log.writes.len(),
        errors: log.errors.len(),
        errors_when_calm: log.errors.into_iter().filter(|error| !excused(error)).collect(),
        actions: nemesis.actions,
        feeds_cut: nemesis.feeds_cut,
        feeds_hung: nemesis.feeds_hung,
        hits: [hits(0, "l1"), hits(1, "l2")],
        took,
    }
}

fn numbers((mark, version): (&str, &str)) -> (u64, i64) {
    (mark.parse().unwrap(), version.parse().unwrap())
}

/// Lets the nemesis act until every action was done and enough was read, then ends the run.
fn rage<'a>(run: &'a Run<'a>, plan: &Plan, redis: &'a mut Redis) -> Nemesis<'a> {
    let _stopper = Stopper(&run.stop);
    std::thread::sleep(WARM);
    let mut nemesis = Nemesis::new(run, redis);
    for action in plan.actions.iter().cycle() {
        let done = nemesis.actions >= plan.actions.len() && run.reads.load(Ordering::Relaxed) >= plan.reads;
        if done || !run.goes_on() {
            break;
        }
        nemesis.act(*action);
    }
    // What the last action broke shows itself when the bound is over.
    std::thread::sleep(super::BOUND + MARGIN);
    nemesis
}

fn reader(run: &Run<'_>, replica: usize, seed: u64, pause: Duration) -> Log {
    let _stopper = Stopper(&run.stop);
    let paths: Vec<String> = (0..ENTRIES).map(|entry| format!("/api/v1/archive/e{entry}")).collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut wire = run.replicas[replica].wire();
    let mut log = Log::default();
    while run.goes_on() {
        let batch: [usize; BATCH] = std::array::from_fn(|_| rng.random_range(0..ENTRIES));
        // The service begins with each later, so an answer looks no older than it is.
        let started = run.now();
        let each = |index: usize, reply: Reply| {
            let finished = run.now();
            match (reply.status, reply.version) {
                (200, Some(version)) => {
                    log.reads.push(Read { entry: batch[index], version, started, finished, replica });
                }
                (503, _) => log.errors.push((started, finished)),
                _ => panic!("e{}: {reply:?}", batch[index]),
            }
        };
        wire.get_all(batch.iter().map(|entry| paths[*entry].as_str()), each).unwrap();
        run.reads.fetch_add(BATCH, Ordering::Relaxed);
        std::thread::sleep(pause);
    }
    log
}

/// Changes the last two thirds of the entries by the API.
fn patcher(run: &Run<'_>, replica: usize) -> Log {
    let _stopper = Stopper(&run.stop);
    let mut rng = StdRng::seed_from_u64(2 + replica as u64);
    let mut wire = run.replicas[replica].wire();
    let mut log = Log::default();
    for mark in (replica as u64..).step_by(2).take_while(|_| run.goes_on()) {
        let entry = rng.random_range(ENTRIES / 3..ENTRIES);
        let change = json!({"performance_metrics": {"mark": mark}});
        let started = run.now();
        let reply = wire.call("PATCH", &format!("/api/v1/archive/e{entry}"), &change).unwrap();
        let acknowledged = run.now();
        match (reply.status, reply.version) {
            (200, Some(answer)) => {
                let by = Some((replica, answer));
                log.marked.push((mark, Write { entry, version: 0, started, acknowledged, by }));
                log.reads.push(Read { entry, version: answer, started, finished: acknowledged, replica });
            }
            // Made or not: nobody knows, and the judge does without it.
            (503, _) => log.errors.push((started, acknowledged)),
            _ => panic!("e{entry}: {reply:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    log
}

/// Changes the first two thirds of the entries by SQL, behind the service's back.
fn by_hand(run: &Run<'_>) -> Log {
    let _stopper = Stopper(&run.stop);
    let (mut rng, mut session) = (StdRng::seed_from_u64(5), Session::open(run.database));
    let mut log = Log::default();
    while run.goes_on() {
        let entry = rng.random_range(0..ENTRIES / 3 * 2);
        let started = run.now();
        let version = session.row(&format!(
            "UPDATE dgm_archive SET accuracy_score = random() WHERE archive_entry_id = 'e{entry}' RETURNING version"
        ));
        let (version, acknowledged) = (version.parse().unwrap(), run.now());
        log.writes.push(Write { entry, version, started, acknowledged, by: None });
        std::thread::sleep(Duration::from_millis(80));
    }
    log
}
