//! The status page, as it is served; `make page-test` shows it to a browser.

use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::support::dev::Dev;

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

const REQUESTS: u32 = 50;

#[test]
fn the_operations_listener_serves_the_page_and_the_api_leads_to_its_docs() {
    let dev = Dev::new();
    let client = Client::builder().no_gzip().redirect(Policy::none()).build().unwrap();
    let get = |path: &str| client.get(format!("http://127.0.0.1:{}{path}", dev.ops)).send().unwrap();

    let page = get("/");
    assert_eq!((page.status().as_u16(), header(&page, "content-type")), (200, "text/html; charset=utf-8"));
    let policy = header(&page, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let tag = header(&page, "etag").to_owned();
    let html = page.text().unwrap();
    let known = client.get(format!("http://127.0.0.1:{}/", dev.ops)).header("if-none-match", &tag).send().unwrap();
    assert_eq!((known.status().as_u16(), header(&known, "etag")), (304, &*tag));
    assert_eq!(known.text().unwrap(), "");

    let assets: Vec<_> = html.split('"').filter(|text| text.starts_with("status/")).collect();
    assert!(assets.len() >= 3, "{html}");
    for (ending, kind) in [(".css", "text/css"), (".js", "text/javascript"), (".svg", "image/svg+xml")] {
        let name = assets.iter().find(|name| name.ends_with(ending)).unwrap();
        let asset = get(&format!("/{name}"));
        assert_eq!(asset.status(), 200, "{name}");
        assert!(header(&asset, "content-type").starts_with(kind), "{name}");
        assert_eq!(header(&asset, "content-security-policy"), policy, "{name}");
        assert_ne!(header(&asset, "etag"), tag, "{name}");
    }
    assert_eq!(get("/status/page.css").status(), 404);
    assert_eq!(get("/status/index.html").status(), 404);
    let elsewhere = client.get(format!("http://127.0.0.1:{}/", dev.ops)).header("host", "evil.example").send().unwrap();
    assert_eq!(elsewhere.status(), 421);

    let status = get("/status.json");
    assert_eq!((status.status().as_u16(), header(&status, "content-type")), (200, "application/json"));
    assert_eq!(header(&status, "cache-control"), "no-store");
    let first: Value = serde_json::from_str(&status.text().unwrap()).unwrap();
    assert_eq!((&first["state"], &first["reasons"], &first["seconds"]), (&json!("ok"), &json!([]), &Value::Null));
    let ready: Value = serde_json::from_str(&get("/ready").text().unwrap()).unwrap();
    assert_eq!(first["schema_version"], ready["schema_version"]);
    assert_eq!(first["build"]["version"], env!("CARGO_PKG_VERSION"));
    // So many that they are among the statements that take most, together with those of the jobs at the start.
    for n in 0..REQUESTS {
        assert_eq!(dev.get(&format!("/api/v1/archive/none-{n}")).status, 404);
    }
    // Samples are no closer together than a second.
    std::thread::sleep(Duration::from_millis(1100));
    let second: Value = serde_json::from_str(&get("/status.json").text().unwrap()).unwrap();
    assert!(second["seconds"].as_f64().unwrap() >= 1.0, "{second}");
    assert_eq!(second["signals"]["traffic"]["requests"], f64::from(REQUESTS), "{second}");
    let route = &second["routes"][0];
    assert_eq!((&route["route"], &route["refused"]), (&json!("/api/v1/archive/{archive_entry_id}"), &json!(1.0)));
    let statements = second["statements"].as_array().unwrap();
    assert!(statements.iter().any(|statement| statement["name"] == "archive_get"), "{second}");
    assert_eq!(dev.get("/status.json").problem(), "not-found");

    let api = client.get(format!("http://127.0.0.1:{}/", dev.api)).send().unwrap();
    assert_eq!((api.status().as_u16(), header(&api, "location")), (307, "/docs"));
    let docs = dev.get("/");
    assert!(docs.status == 200 && docs.content_type.starts_with("text/html"), "{docs:?}");
    assert_eq!(dev.get("/status/page.js").problem(), "not-found");

    // What it judges jobs by.
    let metrics = dev.ops("/metrics").1;
    for line in [
        "dgm_job_interval_seconds{job_name=\"collect-health\"} 15",
        "dgm_job_interval_seconds{job_name=\"prune-changes\"} 3600",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}
