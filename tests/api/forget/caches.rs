//! Two replicas and Redis hold what is forgotten.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{counts, experiment, forget, orphans, post, rows_of};
use crate::support::redis::Logical;
use crate::support::serve::Serve;
use crate::support::{Database, Slowdown, stdout};

/// What is promised.
const BOUND: Duration = Duration::from_secs(5);

/// Asks until it is as it should be; the last question must not come too late.
fn wait(late: &dyn Fn() -> bool, wrong: &str, right: impl Fn() -> bool) {
    loop {
        let last = late();
        if right() {
            return;
        }
        assert!(!last, "{wrong}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn paths() -> Vec<String> {
    (0..6).map(|n| format!("/api/v1/archive/experiment-7-e{n}")).collect()
}

#[test]
fn a_service_goes_whole_and_replicas_notice_in_time() {
    let (database, redis) = (Database::migrated(), Logical::new());
    let token = database.token("operator");
    // The second keeps nothing in process: it serves what Redis has.
    let mut replicas =
        ["268435456", "1"].map(|bytes| Serve::start_with(&database, &redis.url(), &[("DGM__CACHE__MAX_BYTES", bytes)]));
    for replica in &mut replicas {
        replica.token.clone_from(&token);
    }
    let [one, two] = &replicas;
    // One whose name the other's begins with, and one that is like neither.
    for service in ["experiment-7", "experiment-70", "keeper"] {
        experiment(one, service);
    }
    database.sql(
        "INSERT INTO dgm_archive_access (archive_entry_id, access_count) SELECT archive_entry_id, 3 FROM dgm_archive",
    );
    let others = ["experiment-70", "keeper"].map(|service| rows_of(&database, service));
    assert!(others.iter().all(|rows| rows.len() > 30), "{others:?}");

    let stats = "/api/v1/archive/stats?service=experiment-7";
    let total = |replica: &Serve, path: &str| replica.call("GET", path, None).expect(200)["total"].as_i64().unwrap();
    let figures = |replica: &Serve| {
        let of = |kind| replica.call("GET", &format!("/api/v1/metrics/experiment-7/{kind}"), None).expect(200);
        (of("current")["items"].as_array().unwrap().len(), of("trend")["series"].as_object().unwrap().len())
    };
    let draw = json!({"service_name": "experiment-7", "n": 1});
    for replica in &replicas {
        for path in paths() {
            replica.call("GET", &path, None).expect(200);
        }
        assert_eq!(total(replica, stats), 7);
        assert_eq!(total(replica, "/api/v1/archive/stats"), 21);
        assert_eq!(figures(replica), (2, 2));
        post(replica, "/api/v1/archive:select-parents", &draw);
    }
    for key in ["{a:experiment-7-e1}:entry", "{s:experiment-7}:stats", "{all}:stats", "{s:experiment-7}:trend"] {
        assert_eq!(redis.command(&["EXISTS", &format!("dgm:{key}")]), "1", "{key}: nothing is tested without a copy");
    }

    let told = forget(&database, &redis.url(), &["experiment-7"]);
    assert_eq!(told.status.code(), Some(1));
    let text = stdout(&told);
    let lines = [
        "service         entries  improvements      samples",
        "experiment-7          7             4            6",
        "nothing was removed; add --yes to go on",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    assert_eq!(counts(&database, "experiment-7"), "7|4|6");

    let removed = forget(&database, &redis.url(), &["experiment-7", "--yes"]);
    // An answer is late when it was asked for after the bound.
    let (slowdown, since) = (Slowdown::watch(), Instant::now());
    let late = || since.elapsed() > slowdown.stretch(BOUND);
    assert!(removed.status.success(), "{removed:?}");
    let text = stdout(&removed);
    assert!(text.starts_with("removed 7 entries, 4 improvements with 10 events, 6 samples in "), "{text}");
    for (replica, name) in [(one, "in process"), (two, "from Redis")] {
        for path in paths() {
            wait(&late, &format!("{path} is served {name}"), || replica.call("GET", &path, None).status != 200);
            assert_eq!(replica.call("GET", &path, None).problem(), "not-found");
        }
        wait(&late, &format!("it is counted {name}"), || {
            total(replica, stats) == 0 && total(replica, "/api/v1/archive/stats") <= 14
        });
        wait(&late, &format!("its samples are served {name}"), || figures(replica) == (0, 0));
        assert_eq!(replica.call("POST", "/api/v1/archive:select-parents", Some(&draw)).problem(), "no-candidates");
        let improvement = replica.call("GET", "/api/v1/improvements/experiment-7-i0", None);
        assert_eq!(improvement.problem(), "not-found");
    }

    // Nothing hangs on what is gone, and of the others nothing changed, no version either.
    assert_eq!(rows_of(&database, "experiment-7"), [] as [String; 0]);
    assert_eq!(orphans(&database), "");
    for table in ["archive_inspirations", "archive_score_history", "archive_access"] {
        let left = format!("SELECT count(*) FROM dgm_{table} WHERE archive_entry_id LIKE 'experiment-7-%'");
        assert_eq!(database.sql(&left), "0", "{table}");
    }
    assert_eq!(["experiment-70", "keeper"].map(|service| rows_of(&database, service)), others);
    let again = forget(&database, &redis.url(), &["experiment-7", "--yes"]);
    assert!(again.status.success() && stdout(&again).starts_with("nothing to remove"), "{again:?}");

    // The same experiment once more: its entries have the ids and the versions of those that caches held.
    experiment(two, "experiment-7");
    let patched = one.call("GET", "/api/v1/archive/experiment-7-e1", None).expect(200);
    assert_eq!((patched["version"].as_i64(), patched["accuracy_score"].as_f64()), (Some(2), Some(0.75)));
    let made = one.call("GET", "/api/v1/archive/experiment-7-made", None).expect(200);
    assert_eq!(made["parent_entry_id"], "experiment-7-e3");

    let both = forget(&database, &redis.url(), &["experiment-7*", "--yes"]);
    assert!(stdout(&both).starts_with("removed 14 entries, 8 improvements with 20 events, 12 samples in "), "{both:?}");
    assert_eq!(rows_of(&database, "keeper"), others[1]);
}
