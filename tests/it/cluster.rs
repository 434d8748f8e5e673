//! Two replicas on a Redis Cluster that loses a primary.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dgm_service::cache::Key;

use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::wire::Reply;
use crate::support::{Database, Stopper};

const ENTRIES: usize = 120;
const HITS: &str = "dgm_cache_requests_total{class=\"entry\",tier=\"l2\",result=\"hit\"}";
const LOADS: &str = "dgm_cache_load_duration_seconds_count{class=\"entry\"}";

fn path(entry: usize) -> String {
    format!("/api/v1/archive/e{entry}")
}

/// Reads these entries, each of which must be there, until Redis has them all.
fn read_until_all_hit(replica: &Serve, entries: &[usize]) {
    let paths: Vec<String> = entries.iter().map(|entry| path(*entry)).collect();
    let mut wire = replica.wire();
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let before = replica.count(HITS);
        let each = |index: usize, reply: Reply| assert_eq!(reply.status, 200, "{}: {reply:?}", paths[index]);
        wire.get_all(paths.iter().map(String::as_str), each).unwrap();
        let hits = usize::try_from(replica.count(HITS) - before).unwrap();
        if hits >= entries.len() {
            return;
        }
        assert!(Instant::now() < deadline, "Redis has {hits} of {}", entries.len());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_primary_dies_and_no_request_fails() {
    let database = Database::migrated();
    database.sql(&format!(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
             constitutional_compliance_score)
         SELECT 'e' || n, 'agent', 'p', '{{}}', 0.5, 0.5 FROM generate_series(0, {ENTRIES} - 1) n"
    ));
    let token = database.token("operator");
    let mut redis = Redis::start_cluster();
    // No room in process, so that every read asks Redis.
    let mut replicas = [(); 2].map(|()| Serve::start_with(&database, &redis.url(), &[("DGM__CACHE__MAX_BYTES", "1")]));
    for replica in &mut replicas {
        replica.token.clone_from(&token);
    }
    let [one, two] = &mut replicas;

    // What one replica loads the other finds, on all three primaries; sessions too.
    let all: Vec<usize> = (0..ENTRIES).collect();
    read_until_all_hit(one, &all);
    let loads = two.count(LOADS);
    read_until_all_hit(two, &all);
    let loads = two.count(LOADS) - loads;
    // Without sharing it loads every one; some, where the machine is too busy for an answer within the patience of a read.
    assert!(loads < ENTRIES as u64 / 2, "the second replica loaded {loads} entries that the first had put into Redis");
    for replica in [&*one, &*two] {
        assert_eq!(replica.metric("dgm_cache_redis_up"), Some(1.0));
    }
    for _ in 0..8 {
        let session = one.call("POST", "/api/v1/sessions", None).expect(201)["session_token"].clone();
        session.as_str().unwrap().clone_into(&mut two.token);
        assert_eq!(two.call("GET", "/api/v1/sessions/current", None).expect(200)["name"], "operator");
    }
    two.token.clone_from(&token);

    let slot = |entry: usize| redis.slot(&Key::Entry { id: format!("e{entry}") }.text());
    let lost = redis.primary(slot(0)).unwrap();
    let orphans: Vec<usize> = all.into_iter().filter(|entry| redis.primary(slot(*entry)) == Some(lost)).collect();
    assert!(orphans.len() > ENTRIES / 6, "{orphans:?}");
    let (slot, replicas) = (slot(0), &replicas);
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let slowest = std::thread::scope(|scope| {
        let readers: Vec<_> = replicas
            .iter()
            .map(|replica| {
                let (stop, reads) = (&stop, &reads);
                scope.spawn(move || {
                    let mut wire = replica.wire();
                    let mut slowest = Duration::ZERO;
                    for entry in (0..ENTRIES).cycle() {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let started = Instant::now();
                        let each = |_, reply: Reply| assert_eq!(reply.status, 200, "{reply:?}");
                        wire.get_all([path(entry).as_str()], each).unwrap();
                        slowest = slowest.max(started.elapsed());
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    slowest
                })
            })
            .collect();
        let stopper = Stopper(&stop);
        std::thread::sleep(Duration::from_millis(500));
        redis.kill_primary(slot);
        let deadline = Instant::now() + Duration::from_secs(15);
        while redis.primary(slot).is_none() {
            assert!(Instant::now() < deadline, "no replica took over");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(2));
        drop(stopper);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    eprintln!("cluster: {} reads, the slowest {} ms", reads.into_inner(), slowest.as_millis());
    assert!(slowest < Duration::from_secs(2), "a read waited {slowest:?} for Redis");
    // Alone now, so that the hits are ours: the lost primary's slots are used again, by services that were not restarted.
    for replica in replicas {
        read_until_all_hit(replica, &orphans);
    }
}
