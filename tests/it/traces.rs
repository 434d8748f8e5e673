//! Traces and logs of a real service with a real Redis, as a collector and a reader of log files get them.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use reqwest::blocking::{Client, RequestBuilder, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::collector::{Received, collector};
use crate::support::redis::Redis;
use crate::support::{Database, signal, until};

const PATIENCE: Duration = Duration::from_secs(20);
const CALLER: &str = "b7ad6b7169203331";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A `dgm serve` that logs to files and sends its traces; killed when dropped.
struct Logged {
    child: Child,
    folder: TempDir,
    api: String,
    ops: String,
    token: String,
    client: Client,
}

impl Logged {
    fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, database, settings)
    }

    fn start_in(folder: TempDir, database: &Database, settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let logs = folder.path().join("logs");
        let child = Command::new(env!("CARGO_BIN_EXE_dgm"))
            .arg("serve")
            .envs([("DGM__HTTP__BIND", "127.0.0.1:0"), ("DGM__HTTP__OPS_BIND", "127.0.0.1:0")])
            .env("DATABASE_URL", database.url())
            .env("DGM__TELEMETRY__LOG_DIR", &logs)
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut serve =
            Self { child, folder, api: String::new(), ops: String::new(), token: String::new(), client: Client::new() };
        until("it serves", PATIENCE, || serve.log().iter().any(|line| line["message"] == "serving"));
        let log = serve.log();
        let serving = log.iter().find(|line| line["message"] == "serving").unwrap();
        let address = |field: &str| serving["fields"][field].as_str().unwrap().to_owned();
        (serve.api, serve.ops) = (address("api"), address("operations"));
        serve.token = database.token("operator");
        serve
    }

    /// Every line of every file; each is a JSON object.
    fn log(&self) -> Vec<Value> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path().join("logs"))
            .map(|files| files.map(|file| file.unwrap().path()).collect())
            .unwrap_or_default();
        files.sort();
        let text = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
        // The last one may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("http://{}{path}", self.api)).bearer_auth(&self.token)
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.client.get(format!("http://{}/metrics", self.ops)).send().unwrap().text().unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(series));
        found.unwrap_or_else(|| panic!("no {series}")).trim().parse().unwrap()
    }

    /// Ends in order; what it wrote to standard error.
    fn stop(mut self) -> String {
        signal(self.child.id(), Signal::TERM).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        text
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a collector was sent.
struct Spans {
    receiver: Receiver<Received>,
    spans: Vec<Span>,
}

impl Spans {
    fn take(&mut self) {
        for received in self.receiver.try_iter() {
            let request = ExportTraceServiceRequest::decode(received.body.as_slice()).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            self.spans.extend(scopes.flat_map(|scope| scope.spans));
        }
    }

    /// Waits for the span of a trace that is sent last.
    fn wait(&mut self, trace: &str, name: &str) -> Tree<'_> {
        until(&format!("span {name:?}"), PATIENCE, || {
            self.take();
            self.spans.iter().any(|span| hex(&span.trace_id) == trace && span.name == name)
        });
        Tree(self.spans.iter().filter(|span| hex(&span.trace_id) == trace).collect())
    }
}

/// The spans of a trace.
struct Tree<'a>(Vec<&'a Span>);

impl<'a> Tree<'a> {
    fn one(&self, name: &str) -> &'a Span {
        let found: Vec<&Span> = self.0.iter().filter(|span| span.name == name).copied().collect();
        let [one] = found.as_slice() else { panic!("{} of {name:?}: {self}", found.len()) };
        one
    }

    /// The names from a span up to the root.
    fn path(&self, span: &Span) -> String {
        let parent = self.0.iter().find(|parent| parent.span_id == span.parent_span_id);
        parent.map_or_else(|| span.name.clone(), |parent| format!("{} > {}", self.path(parent), span.name))
    }

    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.0.iter().map(|span| self.path(span)).collect();
        paths.sort();
        paths
    }
}

impl std::fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.paths().join("\n"))
    }
}

fn attributes(span: &Span) -> HashMap<&str, Value> {
    let value = |any: &Any| match any {
        Any::StringValue(text) => json!(text),
        Any::IntValue(number) => json!(number),
        other => panic!("{other:?}"),
    };
    let all = span.attributes.iter().filter_map(|attribute| {
        let any = attribute.value.as_ref()?.value.as_ref()?;
        Some((attribute.key.as_str(), value(any)))
    });
    all.filter(|(key, _)| !["busy_ns", "idle_ns", "target"].contains(key)).collect()
}

fn has(span: &Span, expected: &Value) {
    let found = attributes(span);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(found.get(key.as_str()), Some(value), "{key} of {:?}: {found:?}", span.name);
    }
}

/// A trace of its own for each request, as a caller would begin one.
fn called(request: RequestBuilder, trace: &str, flags: &str) -> Response {
    request.header("traceparent", format!("00-{trace}-{CALLER}-{flags}")).send().unwrap()
}

fn entry() -> Value {
    json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1.0})
}

fn sample() -> Value {
    json!({"service_name": "s", "metric_type": "latency", "metric_value": 1.5})
}

#[test]
fn a_trace_goes_through_everything() {
    let (database, redis, (url, receiver)) = (Database::migrated(), Redis::start(), collector());
    let mut spans = Spans { receiver, spans: Vec::new() };
    let settings = [
        ("REDIS_URL", redis.url()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("RUST_LOG", "info,dgm_service=debug".to_owned()),
    ];
    let serve = Logged::start(&database, &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(called(serve.request("POST", "/api/v1/archive").json(&entry()), &"9".repeat(32), "00").status(), 201);
    ingested(&serve, &mut spans);
    loaded(&serve, &mut spans);
    problems(&serve, &mut spans);
    jobs(&serve, &mut spans);

    assert!(serve.metric("dgm_trace_spans_total{outcome=\"sent\"}") > 10.0);
    assert_eq!(serve.metric("dgm_trace_spans_total{outcome=\"failed\"}"), 0.0);
    assert_eq!(serve.metric("dgm_trace_spans_total{outcome=\"dropped\"}"), 0.0);
    assert!(serve.metric("dgm_log_events_total{level=\"debug\"}") > 0.0);
    assert_eq!(serve.metric("dgm_log_failures_total{reason=\"write\"}"), 0.0);
    assert!(serve.metric("dgm_volume_size_bytes{volume=\"logs\"}") > 0.0);
    // The caller's own, which it did not have sampled, stayed out of all of it.
    let stderr = serve.stop();
    assert!(stderr.starts_with("dgm: logs go to "), "{stderr}");
    spans.take();
    assert!(!spans.spans.iter().any(|span| hex(&span.trace_id) == "9".repeat(32)));
}

fn ingested(serve: &Logged, spans: &mut Spans) {
    let trace = "1".repeat(32);
    assert_eq!(called(serve.request("POST", "/api/v1/metrics").json(&sample()), &trace, "01").status(), 201);
    let tree = spans.wait(&trace, "POST /api/v1/metrics");
    let request = tree.one("POST /api/v1/metrics");
    assert_eq!((request.kind, hex(&request.parent_span_id).as_str()), (SERVER, CALLER));
    has(
        request,
        &json!({"http.request.method": "POST", "http.route": "/api/v1/metrics", "url.path": "/api/v1/metrics",
            "url.scheme": "http", "http.response.status_code": 201}),
    );
    let write = tree.one("write samples");
    assert_eq!(tree.path(write), "POST /api/v1/metrics > write samples");
    has(write, &json!({"writer": "samples", "rows": 1, "batch.rows": 1, "batch.requests": 1}));
    let [link] = write.links.as_slice() else { panic!("{:?}", write.links) };
    let (batch_trace, batch_span, waited) = (hex(&link.trace_id), link.span_id.clone(), write.span_id.clone());

    let tree = spans.wait(&batch_trace, "commit samples");
    let batch = tree.one("commit samples");
    assert!(batch.parent_span_id.is_empty(), "a trace of its own");
    assert_eq!(batch.span_id, batch_span);
    let [back] = batch.links.as_slice() else { panic!("{:?}", batch.links) };
    assert_eq!((hex(&back.trace_id), &back.span_id), (trace.clone(), &waited));
    has(batch, &json!({"batch.requests": 1, "batch.rows": 1}));
    let paths = tree.paths();
    assert!(paths.contains(&"commit samples > sample_insert".to_owned()), "{paths:?}");

    let log = serve.log();
    let answered = log.iter().find(|line| line["message"] == "answered" && line["span"]["trace_id"] == trace.as_str());
    assert_eq!(answered.unwrap()["span"]["http.route"], "/api/v1/metrics");
}

fn loaded(serve: &Logged, spans: &mut Spans) {
    let (first, again) = ("2".repeat(32), "3".repeat(32));
    for trace in [&first, &again] {
        assert_eq!(called(serve.request("GET", "/api/v1/archive/e"), trace, "01").status(), 200);
    }
    let name = "GET /api/v1/archive/{archive_entry_id}";
    let tree = spans.wait(&first, name);
    let load = tree.one("cache load");
    assert_eq!(tree.path(load), format!("{name} > cache load"));
    has(load, &json!({"cache.class": "entry", "cache.answered_by": "loaded"}));
    let statement = tree.one("archive_get");
    assert_eq!(tree.path(statement), format!("{name} > cache load > archive_get"));
    assert_eq!(statement.kind, CLIENT);
    has(statement, &json!({"db.system.name": "postgresql", "db.query.summary": "archive_get"}));
    for command in ["GET", "SET"] {
        let redis = tree.one(command);
        assert_eq!(tree.path(redis), format!("{name} > cache load > {command}"));
        assert_eq!(redis.kind, CLIENT);
        has(redis, &json!({"db.system.name": "redis", "db.operation.name": command}));
    }
    assert_eq!(spans.wait(&again, name).paths(), [name], "what is found in process has no spans");
}

fn problems(serve: &Logged, spans: &mut Spans) {
    let id = |response: &Response| response.headers()["x-request-id"].to_str().unwrap().to_owned();
    for (trace, flags) in [("4".repeat(32), "01"), ("5".repeat(32), "00")] {
        let response = called(serve.request("GET", "/api/v1/archive/none"), &trace, flags);
        let request_id = id(&response);
        let problem: Value = response.json().unwrap();
        assert_eq!((problem["trace_id"].as_str(), problem["request_id"].as_str()), (Some(&*trace), Some(&*request_id)));
        // The log has both, whether the trace is sent or not.
        let told = |line: &Value| line["span"]["request_id"] == *request_id && line["span"]["trace_id"] == *trace;
        until("it is in the log", PATIENCE, || serve.log().iter().any(told));
    }
    let known = spans.wait(&"4".repeat(32), "GET /api/v1/archive/{archive_entry_id}");
    let absent = known.one("GET /api/v1/archive/{archive_entry_id}");
    assert_ne!(absent.status.as_ref().map_or(0, |status| status.code), StatusCode::Error as i32, "the caller's fault");
    // Refused before its handler, and without a caller's trace: one begins here.
    let response = serve.client.get(format!("http://{}/api/v1/archive", serve.api)).send().unwrap();
    let request_id = id(&response);
    let problem: Value = response.json().unwrap();
    assert_eq!(problem["request_id"], request_id.as_str());
    let trace = problem["trace_id"].as_str().unwrap().to_owned();
    spans.wait(&trace, "GET /api/v1/archive");
}

fn jobs(serve: &Logged, spans: &mut Spans) {
    let trace = "6".repeat(32);
    let run = "/api/v1/admin/jobs/prune-changes/run";
    assert!(called(serve.request("POST", run), &trace, "01").status().is_success());
    let asked = spans.wait(&trace, "POST /api/v1/admin/jobs/{name}/run").one("POST /api/v1/admin/jobs/{name}/run");
    let asked = asked.span_id.clone();
    let linked = |spans: &Spans| {
        let of = |span: &&Span| span.name == "job prune-changes" && span.links.iter().any(|l| l.span_id == asked);
        spans.spans.iter().find(of).map(|span| hex(&span.trace_id))
    };
    until("the run that was asked for", PATIENCE, || {
        spans.take();
        linked(spans).is_some()
    });
    let job = linked(spans).unwrap();
    let tree = spans.wait(&job, "job prune-changes");
    let root = tree.one("job prune-changes");
    assert!(root.parent_span_id.is_empty());
    has(root, &json!({"job.name": "prune-changes", "job.outcome": "success"}));
    let paths = tree.paths();
    assert!(paths.contains(&"job prune-changes > feed_prune".to_owned()), "{paths:?}");
}

#[test]
fn what_fails_is_marked_and_what_is_not_drawn_costs_nothing() {
    let (mut database, (url, receiver)) = (Database::migrated(), collector());
    let mut spans = Spans { receiver, spans: Vec::new() };
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("DGM__TELEMETRY__TRACE_SAMPLE_RATIO", "0.0")];
    let serve = Logged::start(&database, &settings);
    let entry = serve.request("POST", "/api/v1/archive").json(&entry()).send().unwrap();
    assert_eq!(entry.status(), 201);
    database.sql("ALTER TABLE dgm_archive RENAME TO elsewhere");
    let trace = "7".repeat(32);
    let path = "/api/v1/archive/f";
    assert_eq!(called(serve.request("GET", path), &trace, "01").status(), 503);
    let name = "GET /api/v1/archive/{archive_entry_id}";
    let tree = spans.wait(&trace, name);
    let status = |span: &Span| span.status.as_ref().unwrap().code;
    let (request, statement) = (tree.one(name), tree.one("archive_get"));
    assert_eq!((status(request), status(statement)), (StatusCode::Error as i32, StatusCode::Error as i32));
    has(request, &json!({"error.type": "503", "http.response.status_code": 503}));
    has(statement, &json!({"error.type": "42P01", "db.response.status_code": "42P01"}));
    // The warning of it leads to the trace.
    let log = serve.log();
    let warned = |line: &&Value| line["level"] == "WARN" && line["span"]["trace_id"] == trace.as_str();
    assert!(log.iter().filter(warned).count() >= 2, "{log:#?}");
    database.sql("ALTER TABLE elsewhere RENAME TO dgm_archive");
    serve.stop();
    spans.take();
    // By a ratio of 0 nothing else was sent, jobs and the first request included.
    assert!(spans.spans.iter().all(|span| hex(&span.trace_id) == trace), "{:?}", spans.spans);
    let _ = &mut database;
}
