use dgm_service::domain::identity::Role;
use dgm_service::http::access::{Access, TABLE};
use dgm_service::service::identity::REVOCATION;
use serde_json::{Value, json};

use crate::support::answer::{Answer, answer};
use crate::support::service::Service;
use crate::support::soon;

fn token(api: &Service, role: &str) -> String {
    let made = api.dgm(&["token", "create", "--name", role, "--role", role]);
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn call(api: &Service, method: &str, path: &str, bearer: &str) -> Answer {
    answer(api.request(method, path).bearer_auth(bearer).json(&Value::Null))
}

#[test]
fn every_route_asks_for_its_role() {
    let api = Service::closed();
    let tokens: Vec<(Role, String)> = Role::ALL.iter().map(|role| (*role, token(&api, role.as_str()))).collect();
    let mut asked = 0;
    for (method, route, access) in TABLE {
        let Access::Least(needed) = access else { continue };
        let path = route.replace(['{', '}'], "");
        let nobody = answer(api.request(method, &path));
        assert_eq!((nobody.status, nobody.problem()), (401, "unauthenticated"), "{method} {route}");
        assert_eq!(call(&api, method, &path, "dgm_wrong").problem(), "unauthenticated", "{method} {route}");
        for (role, secret) in &tokens {
            // The calls that would end the credentials of the others are left out.
            if role >= needed && *method == "DELETE" {
                continue;
            }
            let status = call(&api, method, &path, secret).status;
            assert_eq!(status == 403, role < needed, "{method} {route} as {role:?}: {status}");
            assert_ne!(status, 401, "{method} {route} as {role:?}");
            asked += 1;
        }
    }
    assert!(asked > 100);
    // What a balancer asks needs nobody.
    api.get("/ready").expect(200);
    api.get("/api/openapi.json").expect(200);
    let metrics = api.ops("/metrics").1;
    assert!(!metrics.contains("dgm_auth_failures_total{reason=\"forbidden\"} 0"), "{metrics}");
}

#[test]
fn sessions_stand_for_their_token_and_end_with_it() {
    let api = Service::closed();
    let (reader, admin) = (token(&api, "reader"), token(&api, "admin"));
    let open = |bearer: &str| call(&api, "POST", "/api/v1/sessions", bearer);
    let session = open(&reader).expect(201)["session_token"].as_str().unwrap().to_owned();
    let who = call(&api, "GET", "/api/v1/sessions/current", &session).expect(200);
    assert_eq!((&who["name"], &who["role"]), (&json!("reader"), &json!("reader")));
    assert!(who["expires_at"].is_string());
    assert_eq!(open(&session).problem(), "unauthenticated", "a session opens no session");
    assert_eq!(call(&api, "GET", "/api/v1/admin/tokens", &session).problem(), "forbidden");

    let second = open(&reader).expect(201)["session_token"].as_str().unwrap().to_owned();
    assert_eq!(call(&api, "DELETE", "/api/v1/sessions/current", &second).status, 204);
    assert_eq!(call(&api, "GET", "/api/v1/sessions/current", &second).status, 401);
    assert_eq!(call(&api, "DELETE", "/api/v1/sessions/current", &reader).problem(), "not-found");

    assert_eq!(call(&api, "DELETE", "/api/v1/admin/tokens/reader", &admin).status, 204);
    for bearer in [&reader, &session] {
        assert_eq!(call(&api, "GET", "/api/v1/archive", bearer).problem(), "unauthenticated");
    }
    assert_eq!(call(&api, "DELETE", "/api/v1/admin/tokens/reader", &admin).problem(), "not-found");

    let create = |body: Value| answer(api.request("POST", "/api/v1/admin/tokens").bearer_auth(&admin).json(&body));
    let made = create(json!({"name": "short", "role": "worker", "expires_at": "2099-01-01T00:00:00Z"})).expect(201);
    let secret = made["token"].as_str().unwrap();
    assert!(secret.starts_with("dgm_"));
    assert_eq!(create(json!({"name": "short", "role": "worker"})).problem(), "already-exists");
    api.sql("UPDATE dgm_api_tokens SET expires_at = now() - interval '1 s' WHERE name = 'short'");
    // Another process changed it.
    soon("it has expired", REVOCATION, || {
        let answer = call(&api, "GET", "/api/v1/archive", secret);
        answer.status == 401 && answer.body["detail"].as_str().unwrap().contains("expired")
    });
    // Only hashes are kept, and no list shows a secret.
    let dump = api.sql("SELECT * FROM dgm_api_tokens");
    let list = call(&api, "GET", "/api/v1/admin/tokens", &admin).expect(200).to_string();
    assert!(!dump.contains(secret) && !list.contains(secret) && !list.contains("hash"), "{list}");
}
