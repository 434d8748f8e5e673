use serde_json::{Value, json};

use crate::support::answer::answer;
use crate::support::service::Service;

fn entry(id: &str, parent: Option<&str>, accuracy: f64) -> Value {
    json!({
        "archive_entry_id": id, "parent_entry_id": parent, "service_name": "agent", "problem_statement": "solve it",
        "performance_metrics": {"language": "rust", "tests": {"passed": 7}}, "accuracy_score": accuracy,
        "constitutional_compliance_score": 1.0,
    })
}

#[test]
fn an_absent_generation_is_the_parents_plus_one_and_the_last_one_stays() {
    let api = Service::open();
    let create = |id: &str, parent: Option<&str>, generation: Option<i32>| {
        let mut body = entry(id, parent, 0.5);
        body["generation_number"] = json!(generation);
        api.post("/api/v1/archive", &body).expect(201);
        api.get(&format!("/api/v1/archive/{id}")).expect(200)["generation_number"].as_i64().unwrap()
    };
    assert_eq!(create("root", None, None), 0);
    assert_eq!(create("child", Some("root"), None), 1);
    assert_eq!(create("given", Some("root"), Some(7)), 7);
    assert_eq!(create("last", Some("root"), Some(i32::MAX)), i64::from(i32::MAX));
    assert_eq!(create("after", Some("last"), None), i64::from(i32::MAX));
    let orphan = api.post("/api/v1/archive", &entry("orphan", Some("none"), 0.5));
    assert_eq!(orphan.problem(), "unknown-reference");
}

#[test]
fn an_entry_is_created_once_read_from_the_cache_and_changed_by_version() {
    let api = Service::open();
    assert_eq!(api.post("/api/v1/archive", &entry("root", None, 0.5)).expect(201)["created"], true);
    assert_eq!(api.post("/api/v1/archive", &entry("root", None, 0.5)).expect(200)["created"], false);
    let other = api.post("/api/v1/archive", &entry("root", None, 0.6));
    assert_eq!((other.status, other.problem()), (409, "already-exists"));

    let first = api.get("/api/v1/archive/root");
    let tag = first.etag.unwrap();
    let at = api.sql("SELECT to_hex((extract(epoch FROM updated_at) * 1000000)::bigint) FROM dgm_archive");
    assert_eq!(tag, format!("\"v1-{at}\""));
    assert_eq!(first.body["generation_number"], 0);
    let cached = api.request("GET", "/api/v1/archive/root").header("if-none-match", &tag);
    assert_eq!(answer(cached).status, 304);

    let change = json!({"accuracy_score": 0.75, "status": "archived", "evaluation_results": {"log": "ok"}});
    let patch = |tag: &str| answer(api.request("PATCH", "/api/v1/archive/root").header("if-match", tag).json(&change));
    let changed = patch(&tag);
    let new = changed.etag.clone().unwrap();
    assert!(new.starts_with("\"v2-"), "{new}");
    // The change is visible to the next read, although the entry was cached.
    let read = api.get("/api/v1/archive/root");
    assert_eq!((&read.body["accuracy_score"], &read.body["status"]), (&json!(0.75), &json!("archived")));
    assert_eq!(read.body, changed.body);
    // The version alone is not enough: a restored database gives it again.
    let lost = "\"v2-6420f6c21a2ff\"";
    for tag in [tag.as_str(), &format!("W/{tag}"), "\"nonsense\"", lost, "", &format!("\"nonsense\", {tag}, {lost}")] {
        assert_eq!((patch(tag).status, patch(tag).problem()), (412, "version-differs"), "{tag}");
    }
    // A list matches when one of its tags does. W/ is ignored: a proxy that compresses adds it.
    let mut current = new;
    for before in ["", "W/", "\"other\", ", "\"other, with comma\",W/\"v1-1\" ,W/"] {
        let changed = patch(&format!("{before}{current}"));
        assert_eq!(changed.status, 200, "{before}{current}");
        current = changed.etag.unwrap();
    }
    assert_eq!(patch("*").status, 200);
    let stale = api.request("GET", "/api/v1/archive/root").header("if-none-match", lost);
    assert_eq!(answer(stale).status, 200);
    // The old score is kept.
    assert_eq!(api.sql("SELECT version, accuracy_score FROM dgm_archive_score_history"), "1|0.5000");
    // A retried create is still recognised, although the entry was changed since.
    api.post("/api/v1/archive", &entry("root", None, 0.5)).expect(200);
    // Known to be absent, then created: the cache must not hide it.
    assert_eq!(api.get("/api/v1/archive/late").problem(), "not-found");
    api.post("/api/v1/archive", &entry("late", None, 0.1)).expect(201);
    api.get("/api/v1/archive/late").expect(200);
    assert_eq!(api.patch("/api/v1/archive/none", &change).problem(), "not-found");
}

#[test]
fn a_batch_is_all_or_none_and_the_tree_can_be_walked() {
    let api = Service::open();
    let mut entries = vec![entry("e0", None, 0.0)];
    for n in 1..=20_u32 {
        // A chain of ten with one more child at each step.
        let parent = format!("e{}", (n - 1) / 2 * 2);
        entries.push(entry(&format!("e{n}"), Some(&parent), f64::from(n) / 20.0));
    }
    let batch = |entries: &[Value]| api.post("/api/v1/archive:batch", &json!({ "entries": entries }));
    assert_eq!(batch(&entries).expect(201)["items"].as_array().unwrap().len(), 21);
    assert!(batch(&entries).expect(200)["items"].as_array().unwrap().iter().all(|item| item["created"] == false));

    let mut mixed = vec![entry("new", None, 0.1), entry("e3", Some("e2"), 0.999)];
    assert_eq!(batch(&mixed).problem(), "already-exists");
    mixed[1] = entry("newer", Some("missing"), 0.1);
    let unknown = batch(&mixed);
    assert_eq!((unknown.status, unknown.problem()), (422, "unknown-reference"));
    let backwards = [entry("b", Some("a"), 0.1), entry("a", None, 0.1)];
    assert_eq!(batch(&backwards).body["errors"][0]["pointer"], "/entries/0/parent_entry_id");
    assert_eq!(api.sql("SELECT count(*) FROM dgm_archive"), "21", "nothing of the refused batches stayed");

    let lineage = api.get("/api/v1/archive/e20/lineage");
    let chain = ["e20", "e18", "e16", "e14", "e12", "e10", "e8", "e6", "e4", "e2", "e0"];
    assert_eq!(lineage.ids("archive_entry_id"), chain);
    assert_eq!(lineage.body["items"][0]["generation_number"], 10);
    let cut = api.get("/api/v1/archive/e20/lineage?max_depth=2");
    assert_eq!((cut.ids("archive_entry_id").len(), &cut.body["truncated"]), (3, &json!(true)));
    assert_eq!(api.get("/api/v1/archive/e2/children").ids("archive_entry_id").len(), 2);
    let below = api.get("/api/v1/archive/e16/descendants");
    assert_eq!(below.ids("archive_entry_id"), ["e16", "e17", "e18", "e19", "e20"]);
    let some = api.get("/api/v1/archive/e0/descendants?limit=5");
    assert_eq!((some.ids("archive_entry_id").len(), &some.body["truncated"]), (6, &json!(true)));
    let all = api.get("/api/v1/archive/e0/descendants?limit=20");
    assert_eq!((all.ids("archive_entry_id").len(), &all.body["truncated"]), (21, &json!(false)));
    assert_eq!(api.get("/api/v1/archive/none/lineage").problem(), "not-found");
}

#[test]
fn lists_filter_and_page_without_gaps_and_parents_are_drawn_by_seed() {
    let api = Service::open();
    // Equal scores and equal times: only the id makes the order total.
    api.sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
             constitutional_compliance_score, generation_number, status, created_at)
         SELECT 'n' || lpad(n::text, 3, '0'), CASE WHEN n % 10 = 0 THEN 'other' ELSE 'agent' END, 'p',
             jsonb_build_object('island', n % 4, 'cost', n), (n % 5) / 5.0, 0.5, n % 3,
             CASE WHEN n % 7 = 0 THEN 'failed' ELSE 'active' END, '2026-01-01'
         FROM generate_series(1, 200) n",
    );
    // By a score, failed entries are not listed unless they are asked for.
    for (query, all, active) in [
        ("service=agent", 180, 154),
        ("status=failed", 28, 28),
        ("generation=0&service=other", 6, 6),
        ("min_accuracy=0.6&max_accuracy=0.6", 40, 35),
        ("min_compliance=0.51", 0, 0),
        ("contains=%7B%22island%22%3A3%7D", 50, 43),
        ("created_after=2026-01-01T00:00:00Z&created_before=2026-01-02T00:00:00Z", 200, 172),
        ("created_before=2026-01-01T00:00:00Z", 0, 0),
    ] {
        for (sort, expected) in [("accuracy", active), ("compliance", active), ("created", all)] {
            let mut seen = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = api.get(&format!("/api/v1/archive?{query}&sort={sort}&limit=37{cursor}"));
                seen.extend(page.ids("archive_entry_id"));
                let Some(next) = page.body["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let mut unique = seen.clone();
            unique.sort();
            unique.dedup();
            assert_eq!((seen.len(), unique.len()), (expected, expected), "{query} by {sort}");
        }
    }
    let foreign = api.get("/api/v1/archive?limit=1").body["next_cursor"].as_str().unwrap().to_owned();
    let mixed = api.get(&format!("/api/v1/archive?sort=accuracy&cursor={foreign}"));
    assert_eq!((mixed.status, mixed.problem()), (400, "invalid-parameter"));

    let select = |wish: Value| api.post("/api/v1/archive:select-parents", &wish).expect(200);
    let wish = json!({"service_name": "agent", "n": 50, "seed": 7});
    let drawn = select(wish.clone());
    assert_eq!((&drawn["method"], &drawn["candidates"]), (&json!("score_child_prop"), &json!(154)));
    assert_eq!(drawn["parents"], select(wish)["parents"], "the same seed, the same parents");
    let free = select(json!({"service_name": "agent", "n": 50}));
    let again = select(json!({"service_name": "agent", "n": 50, "seed": free["seed"]}));
    assert_eq!(free["parents"], again["parents"], "the seed that was used is told");
    let best = select(json!({"service_name": "agent", "method": "best", "n": 3}));
    assert!(best["parents"].as_array().unwrap().iter().all(|parent| parent["accuracy_score"] == 0.8), "{best}");
    let elites = select(json!({"service_name": "agent", "method": "map_elites", "features": ["cost"], "bins": 3}));
    assert_eq!(elites["parents"][0]["accuracy_score"], 0.8);
    let nobody = api.post("/api/v1/archive:select-parents", &json!({"service_name": "nobody"}));
    assert_eq!(nobody.problem(), "no-candidates");

    let stats = api.get("/api/v1/archive/stats?service=other").expect(200);
    assert_eq!(stats["total"], 20);
    assert_eq!(stats["by_status"], json!({"active": 18, "failed": 2, "archived": 0}));
    assert_eq!(stats["generations"].as_array().unwrap().len(), 3);
}

#[test]
fn scores_of_failed_entries_count_nowhere() {
    let api = Service::open();
    for (id, status, accuracy, generation) in [
        ("good", "active", 0.6, 0),
        ("worse", "active", 0.2, 0),
        ("broken", "failed", 1.0, 0),
        ("old", "archived", 0.9, 0),
        ("dead", "failed", 0.8, 1),
    ] {
        let mut new = entry(id, None, accuracy);
        (new["status"], new["generation_number"]) = (json!(status), json!(generation));
        api.post("/api/v1/archive", &new).expect(201);
    }
    for sort in ["accuracy", "compliance"] {
        let listed = api.get(&format!("/api/v1/archive?service=agent&sort={sort}")).ids("archive_entry_id");
        assert_eq!(
            listed.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            ["good", "worse"].into()
        );
    }
    assert_eq!(api.get("/api/v1/archive?sort=accuracy&status=failed").ids("archive_entry_id"), ["broken", "dead"]);
    let stats = api.get("/api/v1/archive/stats?service=agent").expect(200);
    assert_eq!(stats["best_entry_id"], "good");
    let [first, second] = &stats["generations"].as_array().unwrap()[..] else { panic!("{stats}") };
    assert_eq!(
        (&first["best_accuracy"], &first["mean_accuracy"], &first["count"]),
        (&json!(0.6), &json!(0.4), &json!(4))
    );
    assert_eq!(first["by_status"], json!({"active": 2, "failed": 1, "archived": 1}));
    assert_eq!(
        (&second["best_accuracy"], &second["best_compliance"], &second["count"]),
        (&Value::Null, &Value::Null, &json!(1))
    );
}
