use serde_json::{Value, json};

use crate::support::holder::Holder;
use crate::support::serve::Serve;
use crate::support::{Database, until};

fn pool(serve: &Serve, name: &str, labels: &str) -> Option<f64> {
    serve.metric(&format!("dgm_db_pool_{name}{{{labels}}} "))
}

fn timeouts(serve: &Serve, name: &str) -> u64 {
    serve.count(&format!("dgm_db_pool_timeouts_total{{pool=\"{name}\"}} "))
}

fn improvement(id: &str) -> Value {
    json!({"improvement_id": id, "service_name": "s", "problem_statement": "p"})
}

/// Writes of every kind, by whoever takes the improvement of this name.
fn write(serve: &Serve, name: &str) {
    let call = |path: &str, body: &Value| serve.call("POST", &format!("/api/v1/{path}"), Some(body));
    let entry = json!({"accuracy_score": 0.5, "constitutional_compliance_score": 1});
    for n in 0..5 {
        call("improvements", &improvement(&format!("{name}-{n}"))).expect(201);
        let sample = json!({"service_name": "s", "metric_type": "m", "metric_value": n});
        call("metrics", &sample).expect(201);
        let mut root = entry.clone();
        root["archive_entry_id"] = json!(format!("{name}-{n}"));
        root["service_name"] = json!("s");
        root["problem_statement"] = json!("p");
        call("archive", &root).expect(201);
        let claimed = call("improvements:claim", &json!({"worker": name, "max": 1})).expect(200);
        for item in claimed["items"].as_array().unwrap() {
            let path = format!("improvements/{}/complete", item["improvement_id"].as_str().unwrap());
            call(&path, &json!({"lease_token": item["lease_token"], "archive_entry": entry})).expect(200);
        }
    }
}

#[test]
fn each_pool_tells_of_as_many_as_the_server_has_and_one_connection_writes_everything() {
    let database = Database::migrated();
    let settings = [("DGM__DATABASE__MAX_CONNECTIONS", "5"), ("DGM__DATABASE__WRITE_CONNECTIONS", "1")];
    let mut serve = Serve::start_with(&database, "", &settings);
    serve.token = database.token("worker");
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let serve = &serve;
            scope.spawn(move || write(serve, name));
        }
    });
    for (name, most) in [("read", Some(5.0)), ("write", Some(1.0)), ("lock", Some(8.0)), ("replica", None)] {
        assert_eq!(pool(&serve, "connections_max", &format!("pool=\"{name}\"")), most, "{name}");
        assert_eq!(timeouts(&serve, name), 0, "{name}");
        let asked = pool(&serve, "acquire_duration_seconds_count", &format!("pool=\"{name}\""));
        assert_eq!(asked.is_some_and(|times| times > 0.0), most.is_some(), "{name}: {asked:?}");
    }
    until("pools and server agree", || {
        let told = ["read", "write", "lock"].map(|name| {
            let of = |state: &str| pool(&serve, "connections", &format!("pool=\"{name}\",state=\"{state}\"")).unwrap();
            of("idle") + of("used")
        });
        assert!(told[1] <= 1.0, "{told:?}");
        let there = database.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dgm'",
        );
        told[0] >= 1.0 && told[1] >= 1.0 && told[2] >= 1.0 && there.parse() == Ok(told.iter().sum::<f64>())
    });
}

#[test]
fn a_pool_without_a_free_connection_counts_it() {
    let database = Database::migrated();
    let settings = [
        ("DGM__JOBS__ENABLED", "false"),
        ("DGM__DATABASE__MAX_CONNECTIONS", "2"),
        ("DGM__DATABASE__WRITE_CONNECTIONS", "1"),
        ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1"),
    ];
    let mut serve = Serve::start_with(&database, "", &settings);
    serve.token = database.token("operator");
    for id in ["a", "b"] {
        serve.call("POST", "/api/v1/improvements", Some(&improvement(id))).expect(201);
    }
    let waiting = |statement: &str| {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE";
        database.sql(&format!("{waiting} '%dgm:{statement}%'"))
    };
    assert_eq!(["read", "write", "lock", "replica"].map(|name| timeouts(&serve, name)), [0; 4]);

    let holder = Holder::start(&database, "SELECT FROM dgm_improvements FOR UPDATE", 600);
    std::thread::scope(|scope| {
        // They wait for their rows, with all connections, for at most 5 s.
        let cancel = |id: &str| serve.call("POST", &format!("/api/v1/improvements/{id}/cancel"), None).status;
        let cancels = ["a", "b"].map(|id| scope.spawn(move || cancel(id)));
        until("both wait", || waiting("improvement_cancel") == "2");
        assert_eq!(serve.call("GET", "/api/v1/improvements", None).status, 503);
        drop(holder);
        assert_eq!(cancels.map(|one| one.join().unwrap()), [200, 200]);
    });
    assert!(timeouts(&serve, "read") >= 1);
    assert_eq!(["write", "lock", "replica"].map(|name| timeouts(&serve, name)), [0; 3]);

    let (before, holder) = (timeouts(&serve, "read"), Holder::start(&database, "LOCK TABLE dgm_improvements", 600));
    std::thread::scope(|scope| {
        let create = scope.spawn(|| serve.call("POST", "/api/v1/improvements", Some(&improvement("c"))).status);
        until("it waits", || waiting("improvement_insert") == "1");
        // Of another writer, whose batch finds no connection.
        let sample = json!({"service_name": "s", "metric_type": "m", "metric_value": 1});
        assert_eq!(serve.call("POST", "/api/v1/metrics", Some(&sample)).status, 503);
        drop(holder);
        assert_eq!(create.join().unwrap(), 201);
    });
    assert!(timeouts(&serve, "write") >= 1);
    assert_eq!(["read", "lock", "replica"].map(|name| timeouts(&serve, name)), [before, 0, 0]);
}
