//! Others write while a service is forgotten, and somebody still writes to that service.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{counts, errors, orphans};
use crate::support::serve::Serve;
use crate::support::{Database, Stopper, stdout, until};

/// One iteration of a loop: a child of the last entry, an improvement of it claimed and completed. Answers the statuses.
fn iterate(serve: &Serve, service: &str, worker: usize, n: usize) -> Vec<u16> {
    let id = |n: usize| format!("{service}-{worker}-{n}");
    let mut entry = json!({"archive_entry_id": id(n), "service_name": service, "problem_statement": "p",
        "accuracy_score": 0.5, "constitutional_compliance_score": 1});
    if !n.is_multiple_of(20) {
        entry["parent_entry_id"] = json!(id(n - 1));
    }
    let mut statuses = Vec::new();
    let mut call = |path: &str, body: &Value| {
        let answer = serve.call("POST", path, Some(body));
        statuses.push(answer.status);
        answer.body
    };
    call("/api/v1/archive", &entry);
    let wish = json!({"service_name": service, "problem_statement": "p", "parent_entry_id": id(n)});
    call("/api/v1/improvements", &wish);
    let claimed = call("/api/v1/improvements:claim", &json!({"worker": "w", "services": [service]}));
    if let Some(item) = claimed["items"].get(0) {
        let path = format!("/api/v1/improvements/{}/complete", item["improvement_id"].as_str().unwrap());
        let made = json!({"accuracy_score": 0.5, "constitutional_compliance_score": 1});
        call(&path, &json!({"lease_token": item["lease_token"], "archive_entry": made}));
    }
    call("/api/v1/metrics", &json!({"service_name": service, "metric_type": "t", "metric_value": n}));
    statuses
}

#[test]
fn others_go_on_while_a_service_goes_and_who_still_writes_to_it_is_told() {
    let database = Database::migrated();
    let mut serve = Serve::start(&database, "");
    serve.token = database.token("worker");
    let (stop, done) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 4]);
    let forget = || database.dgm(&["forget", "experiment-9", "--yes"]);
    let mut removing = 0;
    std::thread::scope(|scope| {
        let _stopper = Stopper(&stop);
        let mut workers = Vec::new();
        for (worker, done) in done.iter().enumerate() {
            let (serve, stop) = (&serve, &stop);
            workers.push(scope.spawn(move || {
                let service = if worker % 2 == 0 { "keeper-9" } else { "experiment-9" };
                while !stop.load(Ordering::Relaxed) {
                    let n = done.load(Ordering::Relaxed);
                    for status in iterate(serve, service, worker, n) {
                        // What is gone cannot be a parent or be completed; nothing else fails, and of others nothing.
                        let gone = service == "experiment-9" && [404, 422].contains(&status);
                        assert!(status < 300 || gone, "{service}: {status}");
                    }
                    done.store(n + 1, Ordering::Relaxed);
                }
            }));
        }
        while done.iter().any(|done| done.load(Ordering::Relaxed) < 10) {
            assert!(!workers.iter().any(std::thread::ScopedJoinHandle::is_finished), "a worker ended");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        until("it has removed something six times", || {
            let output = forget();
            let said = errors(&output);
            let expected = ["meanwhile", "held by workers"].iter().any(|words| said.contains(words));
            assert!(output.status.success() || expected, "{output:?}");
            removing += usize::from(stdout(&output).starts_with("removed "));
            removing > 5
        });
    });
    let output = forget();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(counts(&database, "experiment-9"), "0|0|0");
    let kept: usize = [0, 2].iter().map(|worker| done[*worker].load(Ordering::Relaxed)).sum();
    assert_eq!(counts(&database, "keeper-9"), format!("{}|{kept}|{kept}", 2 * kept));
    assert_eq!(orphans(&database), "");
}
