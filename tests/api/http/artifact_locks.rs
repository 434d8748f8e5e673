//! Artifacts that are written, replaced and removed at the same time.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::answer::{Answer, answer};
use crate::support::run::subfolder;
use crate::support::service::Service;

const CLIENTS: usize = 8;

fn service(settings: &[(&str, &str)]) -> Service {
    let all = [&[("DGM__AUTH__REQUIRED", "false"), ("DGM__JOBS__ENABLED", "false")], settings].concat();
    Service::start(&all)
}

fn entry(of: &Service, id: &str, service: &str) {
    let entry = json!({"archive_entry_id": id, "service_name": service, "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1});
    of.post("/api/v1/archive", &entry).expect(201);
}

fn put(to: &Service, entry: &str, name: &str, bytes: &str) -> Answer {
    answer(to.request("PUT", &format!("/api/v1/archive/{entry}/artifacts/{name}")).body(bytes.to_owned()))
}

fn delete(from: &Service, entry: &str, name: &str) -> Answer {
    from.serve.call("DELETE", &format!("/api/v1/archive/{entry}/artifacts/{name}"), None)
}

/// Deadlocks that the server resolved in this database.
fn deadlocks(of: &Service) -> String {
    of.sql("SELECT pg_stat_clear_snapshot()");
    of.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
}

/// Runs `call(client, n)` by several clients at once; the answers that are not among `expected`.
fn unexpected(times: usize, expected: &[u16], call: impl Fn(usize, usize) -> Answer + Sync) -> Vec<(u16, Value)> {
    thread::scope(|scope| {
        let call = &call;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || (0..times).map(|n| call(client, n)).collect::<Vec<_>>()))
            .collect();
        let answers = clients.into_iter().flat_map(|client| client.join().unwrap());
        answers.filter(|a| !expected.contains(&a.status)).map(|a| (a.status, a.body)).collect()
    })
}

#[test]
fn contents_that_change_places_do_not_deadlock() {
    let it = service(&[]);
    for id in ["e", "f", "g"] {
        entry(&it, id, "s");
    }
    // Two contents on two names of one entry.
    let one_entry =
        |client: usize, n: usize| put(&it, "e", ["x", "y"][client % 2], ["first", "second"][(n + client / 2) % 2]);
    assert_eq!(unexpected(60, &[200, 201], one_entry), []);
    // Three contents on entries of their own, and the same name deleted meanwhile.
    let several = |client: usize, n: usize| {
        let entry = ["e", "f", "g"][(client + n) % 3];
        if client == 0 {
            delete(&it, entry, "x")
        } else {
            put(&it, entry, "x", ["first", "second", "third"][(client * n) % 3])
        }
    };
    let failed = unexpected(30, &[200, 201, 204, 404], several);
    assert_eq!(failed, []);
    assert_eq!(deadlocks(&it), "0");
    // What refers to nothing is marked, and nothing else is.
    let wrong = "SELECT count(*) FROM dgm_artifacts a WHERE (unreferenced_since IS NULL)
        <> EXISTS (SELECT FROM dgm_archive_artifacts r WHERE r.digest = a.digest)";
    assert_eq!(it.sql(wrong), "0");
}

#[test]
fn uploads_at_once_to_a_new_storage_initialise_it() {
    let folder = subfolder();
    let it = service(&[("DGM__ARTIFACTS__URL", &format!("file://{}", folder.path().display()))]);
    entry(&it, "e", "s");
    for round in 0..30 {
        it.sql("DELETE FROM dgm_archive_artifacts; DELETE FROM dgm_artifacts");
        for file in std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() { std::fs::remove_dir_all(file).unwrap() } else { std::fs::remove_file(file).unwrap() }
        }
        let upload = |client: usize, _| put(&it, "e", &client.to_string(), &format!("{round} {client}"));
        assert_eq!(unexpected(1, &[201], upload), [], "round {round}");
    }
}

#[test]
fn neither_the_collector_nor_a_purge_deadlocks_with_uploads() {
    let it = service(&[("DGM__ARTIFACTS__GRACE_SECONDS", "1")]);
    for n in 0..12 {
        entry(&it, &format!("old-{n}"), "old");
        entry(&it, &format!("other-{n}"), "other");
        // The same contents, in the opposite order.
        for k in 0..6 {
            put(&it, &format!("old-{n}"), &format!("a{k}"), &format!("content {}", (n + k) % 6)).expect(201);
            put(&it, &format!("other-{n}"), &format!("a{k}"), &format!("content {}", (n + 6 - k) % 6)).expect(201);
        }
    }
    entry(&it, "e", "s");
    let purge = |service: &str| {
        let output = it.dgm(&["forget", service, "--yes"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    thread::scope(|scope| {
        scope.spawn(|| purge("old"));
        scope.spawn(|| purge("other"));
        scope.spawn(|| {
            for _ in 0..15 {
                thread::sleep(Duration::from_millis(100));
                it.serve.call("POST", "/api/v1/admin/jobs/collect-artifacts/run", None).expect(200);
            }
        });
        let upload = |client: usize, n: usize| {
            put(&it, "e", &format!("x{}", client % 2), &format!("content {}", (client + n) % 6))
        };
        assert_eq!(unexpected(25, &[200, 201], upload), []);
    });
    assert_eq!(deadlocks(&it), "0");
    assert_eq!(it.sql("SELECT count(*) FROM dgm_archive"), "1");
    // The collector took nothing that an entry has.
    for name in ["x0", "x1"] {
        let read = it.get(&format!("/api/v1/archive/e/artifacts/{name}"));
        assert_eq!(read.status, 200, "{read:?}");
    }
}

#[test]
fn limits_are_named_with_what_is_used() {
    let it = service(&[
        ("DGM__LIMITS__ARTIFACTS_PER_ENTRY", "3"),
        ("DGM__LIMITS__ARTIFACT_BYTES_PER_ENTRY", "100"),
        ("DGM__LIMITS__ARTIFACT_BYTES_PER_SERVICE", "150"),
    ]);
    for (id, service) in [("e", "s"), ("f", "s"), ("g", "t")] {
        entry(&it, id, service);
    }
    let refused = |answer: Answer, reason: &str| {
        assert_eq!((answer.status, answer.problem()), (409, "limit-reached"));
        assert_eq!(
            answer.body["detail"],
            format!("{reason}: delete artifacts that are no longer needed, or have the operator raise the limit")
        );
    };
    for name in ["a", "b", "c"] {
        put(&it, "e", name, &"x".repeat(10)).expect(201);
    }
    refused(put(&it, "e", "d", "x"), "the entry \"e\" has 3 artifacts; limits.artifacts_per_entry is 3");
    // One that replaces another counts instead of it.
    put(&it, "e", "c", &"y".repeat(80)).expect(200);
    let too_many =
        "the other artifacts of the entry \"e\" have 20 bytes, this one 81; limits.artifact_bytes_per_entry is 100";
    refused(put(&it, "e", "c", &"z".repeat(81)), too_many);
    put(&it, "f", "a", &"x".repeat(50)).expect(201);
    let of_service =
        "the artifacts of the service \"s\" have 150 bytes, this one 1; limits.artifact_bytes_per_service is 150";
    refused(put(&it, "f", "b", "x"), of_service);
    // Another service has its own.
    put(&it, "g", "a", "x").expect(201);
    delete(&it, "e", "a").expect(204);
    put(&it, "f", "b", &"x".repeat(10)).expect(201);
    // Of several at once no more than fit: without an announced length, too.
    let many = unexpected(4, &[], |client, n| {
        let body = reqwest::blocking::Body::new(std::io::Cursor::new(b"x".to_vec()));
        let path = format!("/api/v1/archive/g/artifacts/{client}-{n}");
        // A refused one leaves the rest of its body unread, and the connection ends.
        answer(it.request("PUT", &path).header("connection", "close").body(body))
    });
    assert_eq!(many.iter().filter(|(status, _)| *status == 201).count(), 2, "{many:?}");
    assert!(many.iter().all(|(status, _)| [201, 409].contains(status)), "{many:?}");
}

#[test]
fn uploads_are_counted_as_what_they_are() {
    let it = service(&[]);
    entry(&it, "e", "s");
    let series = "dgm_http_requests_total{route=\"/api/v1/archive/{archive_entry_id}/artifacts/{name}\",method=\"PUT\",status=\"2xx\"} ";
    assert_eq!(it.serve.metric(series), Some(0.0));
    put(&it, "e", "x", "bytes").expect(201);
    assert_eq!(it.serve.metric(series), Some(1.0));
}
