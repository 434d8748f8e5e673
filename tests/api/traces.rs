//! Traces and logs of a real service with a real Redis, as a collector and a reader of log files get them.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

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
use crate::support::holder::Holder;
use crate::support::redis::{LONG_TIMEOUT, Logical};
use crate::support::run::folder;
use crate::support::{Database, signal, until};
use dgm_service::domain::identity::SESSION_PREFIX;

const CALLER: &str = "b7ad6b7169203331";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A `dgm serve` that logs to files and sends its traces; killed when dropped.
struct Logged {
    child: Child,
    /// Where the log files are; removed with the value when it is its own.
    logs: PathBuf,
    own: Option<TempDir>,
    api: String,
    ops: String,
    token: String,
    client: Client,
}

impl Logged {
    fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut serve = Self::start_in(own.path(), database, settings).asking_as(database.token("operator"));
        serve.own = Some(own);
        serve
    }

    fn asking_as(mut self, token: String) -> Self {
        self.token = token;
        self
    }

    fn start_in(logs: &Path, database: &Database, settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A file that may not grow is an error, as a full disk is, where the signal for it is ignored.
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve", env!("CARGO_BIN_EXE_dgm")])
            .current_dir(folder())
            .envs([("DGM__HTTP__BIND", "127.0.0.1:0"), ("DGM__HTTP__OPS_BIND", "127.0.0.1:0")])
            .env("DATABASE_URL", database.url())
            .env("DGM__TELEMETRY__LOG_DIR", logs)
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut serve = Self {
            child,
            logs: logs.to_owned(),
            own: None,
            api: String::new(),
            ops: String::new(),
            token: String::new(),
            client: Client::new(),
        };
        until("it serves", || serve.log().iter().any(|line| line["message"] == "serving"));
        let log = serve.log();
        let serving = log.iter().find(|line| line["message"] == "serving").unwrap();
        let address = |field: &str| serving["fields"][field].as_str().unwrap().to_owned();
        (serve.api, serve.ops) = (address("api"), address("operations"));
        serve
    }

    /// Every line of every file; each is a JSON object, but for one that a full disk cut off.
    fn log(&self) -> Vec<Value> {
        let mut files: Vec<_> = std::fs::read_dir(&self.logs)
            .map(|files| files.map(|file| file.unwrap().path()).collect())
            .unwrap_or_default();
        files.sort();
        let text = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
        // The last one may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines: Vec<Option<Value>> = whole.lines().map(|line| serde_json::from_str(line).ok()).collect();
        assert!(lines.iter().filter(|line| line.is_none()).count() <= 1, "{whole}");
        lines.into_iter().flatten().collect()
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("http://{}{path}", self.api)).bearer_auth(&self.token)
    }

    fn metric(&self, series: &str) -> u64 {
        let text = self.client.get(format!("http://{}/metrics", self.ops)).send().unwrap().text().unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(series));
        found.unwrap_or_else(|| panic!("no {series}")).trim().parse().unwrap()
    }

    /// Ends in order; what it wrote to standard error.
    fn stop(mut self) -> String {
        signal(self.child.id(), Signal::TERM).unwrap();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
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
        until(&format!("span {name:?}"), || {
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

    /// The load of an entry; who calls may have to be looked up, too.
    fn entry_load(&self) -> &'a Span {
        let of = |span: &&&Span| span.name == "cache load" && attributes(span)["cache.class"] == "entry";
        self.0.iter().find(of).unwrap_or_else(|| panic!("{self}"))
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
    let (database, redis, (url, receiver)) = (Database::migrated(), Logical::new(), collector());
    let mut spans = Spans { receiver, spans: Vec::new() };
    let settings = [
        ("REDIS_URL", redis.url()),
        (LONG_TIMEOUT.0, LONG_TIMEOUT.1.to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("RUST_LOG", "info,dgm_service=debug".to_owned()),
    ];
    let serve = Logged::start(&database, &settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(called(serve.request("POST", "/api/v1/archive").json(&entry()), &"9".repeat(32), "00").status(), 201);
    ingested(&serve, &mut spans);
    loaded(&serve, &mut spans);
    problems(&serve, &mut spans);
    jobs(&serve, &mut spans);

    assert!(serve.metric("dgm_trace_spans_total{outcome=\"sent\"}") > 10);
    assert_eq!(serve.metric("dgm_trace_spans_total{outcome=\"failed\"}"), 0);
    assert_eq!(serve.metric("dgm_trace_spans_total{outcome=\"dropped\"}"), 0);
    assert!(serve.metric("dgm_log_events_total{level=\"debug\"}") > 0);
    assert_eq!(serve.metric("dgm_log_failures_total{reason=\"write\"}"), 0);
    assert!(serve.metric("dgm_volume_size_bytes{volume=\"logs\"}") > 0);
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
    assert!(paths.contains(&"commit samples > samples_insert".to_owned()), "{paths:?}");

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
    let load = tree.entry_load();
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
    let paths = spans.wait(&again, name).paths();
    assert!(!paths.iter().any(|path| path.contains("archive_get") || path.ends_with("GET")), "{paths:?}");
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
        until("it is in the log", || serve.log().iter().any(told));
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
    until("the run that was asked for", || {
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
    let (database, (url, receiver)) = (Database::migrated(), collector());
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
}

#[test]
fn waits_for_others_can_be_seen() {
    let (database, redis, (url, receiver)) = (Database::migrated(), Logical::new(), collector());
    let mut spans = Spans { receiver, spans: Vec::new() };
    let redis = redis.url();
    let settings = [
        ("REDIS_URL", redis.as_str()),
        LONG_TIMEOUT,
        // A token that is confirmed late would need one of the two connections.
        ("DGM__AUTH__REQUIRED", "false"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("DGM__DATABASE__MAX_CONNECTIONS", "2"),
        ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "30"),
        ("DGM__TELEMETRY__TRACE_SAMPLE_RATIO", "0"),
    ];
    let serve = Logged::start(&database, &settings);
    let created = serve.request("POST", "/api/v1/archive").json(&entry()).send().unwrap();
    assert_eq!(created.status(), 201, "{}", created.text().unwrap());

    // Four ask for three entries that are locked, by two connections: one joins another's load, one waits for a connection.
    let holder = Holder::start(&database, "LOCK TABLE dgm_archive IN ACCESS EXCLUSIVE MODE", 600);
    let asked = ["e", "e", "f", "g"];
    let traces: Vec<String> = (1..=asked.len()).map(|number| format!("{number:032x}")).collect();
    // The scrape that asks for it may be one.
    let in_flight = "dgm_http_requests_in_flight ";
    let before = serve.metric(in_flight);
    std::thread::scope(|scope| {
        for (id, trace) in asked.iter().zip(&traces) {
            let ask = serve.request("GET", &format!("/api/v1/archive/{id}"));
            scope.spawn(move || assert!([200, 404].contains(&called(ask, trace, "01").status().as_u16())));
        }
        until("all wait", || serve.metric(in_flight) == before + asked.len() as u64);
        drop(holder);
    });
    let name = "GET /api/v1/archive/{archive_entry_id}";
    let (mut answered, mut waited) = (Vec::new(), 0);
    for trace in &traces {
        let tree = spans.wait(trace, name);
        let load = tree.entry_load();
        answered.push(attributes(load)["cache.answered_by"].as_str().unwrap().to_owned());
        waited += tree.paths().iter().filter(|path| path.ends_with("cache load > acquire connection")).count();
    }
    answered.sort();
    assert_eq!(answered, ["coalesced", "loaded", "loaded", "loaded"]);
    assert!(waited >= 1, "nobody waited for a connection");

    // Another replica finds what this one left in Redis.
    let folder = tempfile::tempdir().unwrap();
    let other = Logged::start_in(folder.path(), &database, &settings).asking_as(serve.token.clone());
    let trace = "a".repeat(32);
    assert_eq!(called(other.request("GET", "/api/v1/archive/e"), &trace, "01").status(), 200);
    let tree = spans.wait(&trace, name);
    has(tree.entry_load(), &json!({"cache.answered_by": "l2"}));
    assert_eq!(tree.path(tree.one("GET")), format!("{name} > cache load > GET"));
    assert!(!tree.paths().iter().any(|path| path.contains("archive_get")), "{tree}");
}

/// A folder that gets full and has room again.
enum Disk {
    /// A file system in memory, of its own.
    Mounted(TempDir),
    /// Where nothing may be mounted: no file of the process may grow beyond a size.
    Limited(TempDir),
}

impl Disk {
    const BYTES: u64 = 64 * 1024;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={}", Self::BYTES);
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        if mount.is_ok_and(|mount| mount.status.success()) { Self::Mounted(folder) } else { Self::Limited(folder) }
    }

    fn folder(&self) -> &Path {
        let (Self::Mounted(folder) | Self::Limited(folder)) = self;
        folder.path()
    }

    fn fill(&self, process: u32) {
        match self {
            Self::Mounted(folder) => {
                let mut file = std::fs::File::create(folder.path().join("ballast")).unwrap();
                // As much as there is room for, to the byte.
                while std::io::Write::write(&mut file, &[0; 4096]).is_ok() {}
            }
            Self::Limited(_) => limit(process, &Self::BYTES.to_string()),
        }
    }

    fn make_room(&self, process: u32) {
        match self {
            Self::Mounted(folder) => std::fs::remove_file(folder.path().join("ballast")).unwrap(),
            Self::Limited(_) => limit(process, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("-l").arg(folder.path()).status();
        }
    }
}

fn limit(process: u32, bytes: &str) {
    let done = Command::new("prlimit").arg(format!("--pid={process}")).arg(format!("--fsize={bytes}:")).status();
    assert!(done.unwrap().success());
}

#[test]
fn a_full_disk_costs_log_lines_and_nothing_else() {
    let (database, disk) = (Database::migrated(), Disk::new());
    let logs = disk.folder().join("logs");
    let settings = [("RUST_LOG", "info,dgm_service::http=debug")];
    let serve = Logged::start_in(&logs, &database, &settings).asking_as(database.token("operator"));
    let failures = "dgm_log_failures_total{reason=\"write\"}";
    let ask = |id: &str| {
        let answer = serve.request("GET", "/api/v1/archive").header("x-request-id", id).send().unwrap();
        assert_eq!(answer.status(), 200, "{id}");
    };
    let told = |id: &str| serve.log().iter().any(|line| line["span"]["request_id"] == id);
    ask("before");
    until("the line of before", || told("before"));
    assert_eq!(serve.metric(failures), 0);
    disk.fill(serve.child.id());
    // What is left of the last page is filled by lines; then one is cut off.
    for number in 0..1000 {
        ask(&format!("meanwhile-{number}"));
    }
    until("lines are missed", || serve.metric(failures) > 0);
    let missed = serve.metric(failures);
    ask("lost");
    // Asking for the metric is a line, too.
    until("it is missed", || serve.metric(failures) >= missed + 2);
    disk.make_room(serve.child.id());
    ask("after");
    // Lines are whole again, without a restart: `log` reads each, but for the one that was cut off.
    until("the line of after", || told("after"));
    assert!(!told("lost"));
    let missed = serve.metric(failures);
    ask("later");
    until("the line of later", || told("later"));
    assert_eq!(serve.metric(failures), missed);
    assert_eq!(serve.metric("dgm_log_failures_total{reason=\"queue\"}"), 0);
    serve.stop();
}

#[test]
fn no_secret_is_logged() {
    const SECRET: &str = "hunter2";
    let database = Database::migrated();
    let token = database.token("reader");
    // Nobody is there, so every part has something to complain of, as loudly as it can.
    let settings = [
        ("REDIS_URL", "redis://user:hunter2@127.0.0.1:1"),
        ("DATABASE_REPLICA_URL", "postgres://user:hunter2@127.0.0.1:1/none?password=hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2"),
        ("RUST_LOG", "trace"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let serve = Logged::start_in(folder.path(), &database, &settings).asking_as(token.clone());
    let guessed = "dgm_hunter2-is-no-token";
    let ask = |token: &str| {
        let ask = serve.client.get(format!("http://{}/api/v1/archive", serve.api)).bearer_auth(token);
        ask.send().unwrap().status().as_u16()
    };
    assert_eq!((ask(&token), ask(guessed)), (200, 401));
    // Without Redis none is opened, nor looked up.
    let session = format!("{SESSION_PREFIX}hunter2");
    until("Redis is missed", || serve.request("POST", "/api/v1/sessions").send().unwrap().status() == 503);
    assert_eq!(ask(&session), 503);
    until("the exporter fails", || serve.metric("dgm_trace_spans_total{outcome=\"failed\"}") > 0);
    until("the replica is missed", || serve.log().iter().any(|line| line.to_string().contains("replica")));
    let log = serve.log();
    assert!(log.iter().any(|line| line["level"] == "TRACE"), "little is said: {log:#?}");
    let stderr = serve.stop();
    let text =
        std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let text = text.collect::<String>() + &stderr;
    for secret in [SECRET, &token, &session] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }

    // Commands that fail say so on standard error.
    let nobody = "postgres://user:hunter2@127.0.0.1:1/none?password=hunter2";
    let unknown = "postgres://user:hunter2@127.0.0.1:1/none?sslpassword=hunter2";
    for (arguments, database, endpoint) in [
        (&["doctor"][..], nobody, "http://user:hunter2@127.0.0.1:1"),
        (&["migrate", "status"], nobody, ""),
        (&["migrate", "status"], unknown, ""),
        (&["serve"], nobody, "http://user:hunter2@127.0.0.1:1"),
        (&["serve"], unknown, ""),
        (&["serve"], nobody, "http://127.0.0.1:1/?key=hunter2"),
        (&["serve"], nobody, "user:hunter2@nowhere"),
        (&["config"], nobody, "http://user:hunter2@127.0.0.1:1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_dgm"))
            .args(arguments)
            .envs([("DATABASE_URL", database), ("REDIS_URL", settings[0].1), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.is_empty() && !said.contains(SECRET), "{arguments:?} {endpoint}: {said}");
    }
}
