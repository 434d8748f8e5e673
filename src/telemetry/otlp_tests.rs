use std::net::TcpListener;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tracing::subscriber::set_default;

use super::*;
use crate::telemetry::init::{LogFormat, subscriber};
use crate::telemetry::spans::{self, Caller};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[path = "../../tests/support/collector.rs"]
mod receiver;

use receiver::{Received, collector};

fn settings(endpoint: &str) -> Settings {
    Settings {
        format: LogFormat::Json,
        filter: "off".to_owned(),
        log_dir: None,
        otlp_endpoint: Some(endpoint.to_owned()),
        service_name: "dgm-test".to_owned(),
        // Not asked: what is made was chosen before.
        sample_ratio: 0.0,
    }
}

fn called(flags: &str) -> HeaderMap {
    let traceparent = HeaderValue::try_from(format!("00-{TRACE}-{CALLER}-{flags}")).unwrap();
    HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), traceparent)])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Makes a request span with a child, shuts down, and gives what the collector got.
fn round_trip(headers: &HeaderMap) -> (Received, Option<String>) {
    let (url, receiver) = collector();
    let (subscriber, guard) = subscriber(&settings(&url), std::io::sink, false).unwrap();
    let default = set_default(subscriber);
    let route = "/api/v1/archive/{id}";
    let span =
        tracing::info_span!("request", otel.kind = "server", http.route = route, trace_id = tracing::field::Empty);
    let trace = spans::root(&span, Caller::of(headers)).map(|trace| trace.to_string());
    span.in_scope(|| {
        tracing::info_span!("load").in_scope(|| tracing::info!(rows = 3, "loaded"));
        tracing::info_span!(target: "hyper::client", "must stay home").in_scope(|| {});
    });
    drop(span);
    guard.shutdown();
    drop(default);
    (receiver.try_recv().expect("shutdown waits until they are delivered"), trace)
}

fn check(received: &Received, trace: Option<&str>, caller: Option<&str>) {
    assert_eq!(received.line, "post /v1/traces http/1.1");
    assert!(received.headers.contains(&"content-type: application/x-protobuf".to_owned()), "{:?}", received.headers);
    let request = ExportTraceServiceRequest::decode(received.body.as_slice()).unwrap();
    let [batch] = request.resource_spans.as_slice() else { panic!("one resource") };
    let attributes = &batch.resource.as_ref().unwrap().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
    assert_eq!(name.value.as_ref().unwrap().value, Some(Value::StringValue("dgm-test".to_owned())));
    assert!(attributes.iter().any(|attribute| attribute.key == "service.version"));

    let all: Vec<&Span> = batch.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    let named = |name: &str| all.iter().find(|span| span.name == name).unwrap();
    let (request, load) = (named("request"), named("load"));
    assert_eq!(load.parent_span_id, request.span_id);
    assert_eq!(load.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["loaded"]);
    assert_eq!(request.kind, 2, "server");
    assert_eq!(hex(&request.parent_span_id), caller.unwrap_or_default());
    for span in [request, load] {
        assert_eq!(Some(hex(&span.trace_id).as_str()), trace);
    }
}

#[test]
fn spans_arrive_and_belong_to_the_caller() {
    let (received, trace) = round_trip(&called("01"));
    assert_eq!(trace.as_deref(), Some(TRACE));
    check(&received, Some(TRACE), Some(CALLER));
}

#[tokio::test(flavor = "current_thread")]
async fn spans_arrive_from_a_runtime_of_one_thread() {
    let (received, trace) = round_trip(&HeaderMap::new());
    check(&received, trace.as_deref(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn spans_arrive_from_a_runtime_with_one_worker() {
    let (received, trace) = tokio::spawn(async { round_trip(&called("01")) }).await.unwrap();
    check(&received, trace.as_deref(), Some(CALLER));
}

#[test]
fn a_malformed_caller_is_no_caller() {
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("traceparent"),
        HeaderValue::from_static("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
    )]);
    let (received, trace) = round_trip(&headers);
    assert_ne!(trace.as_deref(), Some("00000000000000000000000000000000"));
    check(&received, trace.as_deref(), None);
}

#[test]
fn a_silent_collector_delays_the_end_by_no_more_than_promised() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (subscriber, guard) = subscriber(&settings(&url), std::io::sink, false).unwrap();
    let default = set_default(subscriber);
    drop(tracing::info_span!("request"));
    let started = Instant::now();
    guard.shutdown();
    drop(default);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn the_endpoint_is_a_base_url() {
    let url = |base| traces_url(base).unwrap().to_string();
    assert_eq!(url("http://collector:4318"), "http://collector:4318/v1/traces");
    assert_eq!(url("http://collector:4318/"), "http://collector:4318/v1/traces");
    assert_eq!(url("https://example.org/otlp/"), "https://example.org/otlp/v1/traces");
    for base in
        ["", "collector:4318", "grpc://collector:4317", "http://", "http://a b", "http://c/?x=1", "/v1", "http://u:p@c"]
    {
        assert!(matches!(traces_url(base), Err(Error::Endpoint { .. })), "{base}");
    }
}

#[test]
fn a_client_is_to_be_had_with_and_without_tls() {
    client(true).unwrap();
    client(false).unwrap();
}
