//! Two replicas on a Redis Cluster that loses a primary.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dgm_service::cache::Key;

use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::wire::Reply;
use crate::support::{Database, PATIENCE, Slowdown, Stopper, until};

const ENTRIES: usize = 120;
const HITS: &str = "dgm_cache_requests_total{class=\"entry\",tier=\"l2\",result=\"hit\"}";

fn path(entry: usize) -> String {
    format!("/api/v1/archive/e{entry}")
}

/// Reads these entries, each of which must be there, until Redis has answered for each. Nobody else reads meanwhile.
///
/// A service waits a few milliseconds for Redis, so on a busy machine some of many reads are answered by PostgreSQL: those
/// that may have been among them are read again, in halves.
fn read_until_all_hit(replica: &Serve, entries: &[usize]) {
    let (mut wire, deadline) = (replica.wire(), Instant::now() + PATIENCE);
    let mut groups = vec![entries];
    while let Some(group) = groups.pop() {
        let paths: Vec<String> = group.iter().map(|entry| path(*entry)).collect();
        let before = replica.count(HITS);
        let each = |index: usize, reply: Reply| assert_eq!(reply.status, 200, "{}: {reply:?}", paths[index]);
        wire.get_all(paths.iter().map(String::as_str), each).unwrap();
        let hits = usize::try_from(replica.count(HITS) - before).unwrap();
        if hits < group.len() {
            assert!(Instant::now() < deadline, "Redis has {hits} of {group:?}");
            let (left, right) = group.split_at(group.len() / 2);
            groups.extend([left, right].into_iter().filter(|half| !half.is_empty()));
        }
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
    // The second replica cannot load any: whatever it answers with it has from Redis.
    database.sql("ALTER TABLE dgm_archive RENAME TO elsewhere");
    for entry in &all {
        two.insist("GET", &path(*entry)).expect(200);
    }
    database.sql("ALTER TABLE elsewhere RENAME TO dgm_archive");
    for replica in [&*one, &*two] {
        until("Redis is up", || replica.metric("dgm_cache_redis_up") == Some(1.0));
    }
    for _ in 0..8 {
        let session = one.insist("POST", "/api/v1/sessions").expect(201)["session_token"].clone();
        session.as_str().unwrap().clone_into(&mut two.token);
        assert_eq!(two.insist("GET", "/api/v1/sessions/current").expect(200)["name"], "operator");
    }
    two.token.clone_from(&token);

    let slot = |entry: usize| redis.slot(&Key::Entry { id: format!("e{entry}") }.text());
    let lost = redis.primary(slot(0)).unwrap();
    let orphans: Vec<usize> = all.into_iter().filter(|entry| redis.primary(slot(*entry)) == Some(lost)).collect();
    assert!(orphans.len() > ENTRIES / 6, "{orphans:?}");
    let (slot, replicas) = (slot(0), &replicas);
    let (stop, reads, slowdown) = (AtomicBool::new(false), AtomicUsize::new(0), Slowdown::watch());
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
        until("a replica takes over", || redis.primary(slot).is_some());
        std::thread::sleep(Duration::from_secs(2));
        drop(stopper);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    eprintln!("cluster: {} reads, the slowest {} ms", reads.into_inner(), slowest.as_millis());
    let allowed = slowdown.stretch(Duration::from_secs(2));
    assert!(slowest < allowed, "a read waited {slowest:?} for Redis; allowed are {allowed:?}");
    // Alone now, so that the hits are ours: the lost primary's slots are used again, by services that were not restarted.
    for replica in replicas {
        read_until_all_hit(replica, &orphans);
    }
}
