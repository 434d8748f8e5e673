//! The exact form of answers and problem documents. `INSTA_UPDATE=always make test` writes them anew; read the diff.

use insta::internals::{Content, ContentPath};
use insta::{Settings, assert_json_snapshot};
use serde_json::json;

use crate::support::service::Service;

/// Times, random ids and tokens differ from run to run.
fn redacted(run: impl FnOnce()) {
    let mut settings = Settings::clone_current();
    let mut hide = |field: &str, word: &'static str| {
        // Whether there is one at all is part of the form.
        let redaction = move |value: Content, _: ContentPath<'_>| if value.is_nil() { value } else { word.into() };
        settings.add_dynamic_redaction(&format!(".**.{field}"), redaction);
    };
    hide("id", "[uuid]");
    hide("lease_token", "[uuid]");
    hide("request_id", "[uuid]");
    for field in [
        "created_at",
        "updated_at",
        "available_at",
        "started_at",
        "completed_at",
        "heartbeat_at",
        "lease_expires_at",
        "measurement_timestamp",
    ] {
        hide(field, "[time]");
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(run);
}

#[test]
fn answers_keep_their_form() {
    let api = Service::open();
    let (archive, improvements) = ("/api/v1/archive", "/api/v1/improvements");
    redacted(|| {
        let root = json!({"archive_entry_id": "root", "service_name": "agent", "problem_statement": "solve it",
            "accuracy_score": 0.5, "constitutional_compliance_score": 1});
        assert_json_snapshot!("entry_created", api.post(archive, &root).expect(201));
        let child = json!({"archive_entry_id": "child", "parent_entry_id": "root", "service_name": "agent",
            "problem_statement": "solve it", "solution_patch": "--- a\n+++ b\n", "accuracy_score": 0.75,
            "constitutional_compliance_score": 0.9, "performance_metrics": {"passed": 7, "language": "rust"},
            "evaluation_results": {"log": "ok"}, "inspirations": [{"archive_entry_id": "root", "kind": "top_k"}]});
        api.post(archive, &child).expect(201);
        assert_json_snapshot!("entry", api.get("/api/v1/archive/child").expect(200));
        assert_json_snapshot!("lineage", api.get("/api/v1/archive/child/lineage").expect(200));
        assert_json_snapshot!("stats", api.get("/api/v1/archive/stats").expect(200));
        let wish = json!({"service_name": "agent", "n": 2, "seed": 1});
        assert_json_snapshot!("parents", api.post("/api/v1/archive:select-parents", &wish).expect(200));
        let wish = json!({"improvement_id": "i", "service_name": "agent", "problem_statement": "faster"});
        assert_json_snapshot!("improvement", api.post(improvements, &wish).expect(201));
        let claim = api.post("/api/v1/improvements:claim", &json!({"worker": "w"})).expect(200);
        assert_json_snapshot!("claim", claim);
        let sample = json!({"service_name": "agent", "metric_type": "cost", "metric_value": 1.5});
        assert_json_snapshot!("ingested", api.post("/api/v1/metrics", &sample).expect(201));
        assert_json_snapshot!("current", api.get("/api/v1/metrics/agent/current").expect(200));
    });
}

#[test]
fn problem_documents_keep_their_form() {
    let api = Service::open();
    let archive = "/api/v1/archive";
    let entry = json!({"archive_entry_id": "e", "service_name": "agent", "problem_statement": "p",
        "accuracy_score": 0.5, "constitutional_compliance_score": 1});
    api.post(archive, &entry).expect(201);
    let with = |field: &str, value: serde_json::Value| {
        let mut entry = entry.clone();
        entry[field] = value;
        api.post(archive, &entry).body
    };
    redacted(|| {
        assert_json_snapshot!("not_found", api.get("/api/v1/archive/none").body);
        assert_json_snapshot!("no_route", api.get("/nothing").body);
        assert_json_snapshot!("already_exists", with("accuracy_score", json!(0.6)));
        let orphan = json!({"archive_entry_id": "o", "parent_entry_id": "none", "service_name": "agent", "problem_statement": "p",
            "accuracy_score": 0.5, "constitutional_compliance_score": 1});
        assert_json_snapshot!("unknown_reference", api.post(archive, &orphan).body);
        // What exists comes first: whoever repeats a create with another body has a conflict, whatever else is wrong.
        assert_json_snapshot!("already_exists", with("parent_entry_id", json!("none")));
        assert_json_snapshot!("invalid_body", with("accuracy_score", json!(7)));
        assert_json_snapshot!("wrong_type", with("status", json!("lost")));
        assert_json_snapshot!("invalid_parameter", api.get("/api/v1/archive?limit=0").body);
        let patch = api.request("PATCH", "/api/v1/archive/e").header("if-match", "\"v9-6420f6c21a2ff\"");
        let patch = crate::support::answer::answer(patch.json(&json!({"status": "archived"})));
        assert_json_snapshot!("version_differs", patch.body);
    });
}
