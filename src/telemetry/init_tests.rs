use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::subscriber::with_default;

use super::*;
use crate::telemetry::{context, spans};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn settings(format: LogFormat, filter: &str) -> Settings {
    Settings {
        format,
        filter: filter.to_owned(),
        log_dir: None,
        otlp_endpoint: None,
        service_name: "dgm-test".to_owned(),
        sample_ratio: 1.0,
    }
}

fn logged(settings: &Settings, act: impl FnOnce()) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let (subscriber, _guard) = subscriber(settings, move || writer.clone(), false).unwrap();
    with_default(subscriber, act);
    lines.text()
}

fn work() {
    let request = tracing::info_span!("request", request_id = "r-1", trace_id = tracing::field::Empty, depth = 1);
    let _request = request.enter();
    request.record("trace_id", "0af7651916cd43dd8448eb211c80319c");
    let _store = tracing::info_span!("store", depth = 2).entered();
    tracing::warn!(rows = 3, slow = true, "slow\nstatement");
    tracing::info!("done");
}

#[test]
fn a_json_line_holds_everything() {
    let text = logged(&settings(LogFormat::Json, "info"), work);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line, done] = lines.as_slice() else { panic!("{text}") };
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["target"], module_path!());
    assert_eq!(line["message"], "slow\nstatement");
    assert_eq!(line["fields"], serde_json::json!({"rows": 3, "slow": true}));
    let span = serde_json::json!({
        "name": "store", "request_id": "r-1", "trace_id": "0af7651916cd43dd8448eb211c80319c", "depth": 2,
    });
    assert_eq!(line["span"], span);
    assert_eq!(done["message"], "done");
}

#[test]
fn a_warning_keeps_its_request_when_info_is_filtered_out() {
    let text = logged(&settings(LogFormat::Json, "warn"), work);
    let line: Value = serde_json::from_str(&text).expect("one line");
    assert_eq!(line["span"]["request_id"], "r-1");
}

#[test]
fn the_filter_decides() {
    assert_eq!(logged(&settings(LogFormat::Json, "off"), work), "");
    let other = format!("info,{}=error", module_path!());
    assert_eq!(logged(&settings(LogFormat::Json, &other), work), "");
    assert_eq!(logged(&settings(LogFormat::Json, ""), work).lines().count(), 2, "info when nothing is said");
    assert!(matches!(init(&settings(LogFormat::Json, "info,[")), Err(Error::Filter(_))));
}

#[test]
fn a_line_for_eyes_has_the_request_too() {
    let text = logged(&settings(LogFormat::Human, "info"), work);
    assert!(text.contains("WARN") && text.contains("request_id=\"r-1\"") && text.contains("rows=3"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where none are wanted");
}

#[tokio::test]
async fn a_line_without_a_span_bears_its_request() {
    let request = context::Request {
        id: http::HeaderValue::from_static("r-2"),
        method: "GET",
        route: "/api/v1/archive/{archive_entry_id}",
        trace: None,
    };
    for (format, expected) in [
        (
            LogFormat::Json,
            "\"span\":{\"http.request.method\":\"GET\",\"http.route\":\"/api/v1/archive/{archive_entry_id}\",\"name\":\"request\",\"request_id\":\"r-2\"}",
        ),
        (LogFormat::Human, "request_id=\"r-2\""),
    ] {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, _guard) = subscriber(&settings(format, "info"), move || writer.clone(), false).unwrap();
        let _default = tracing::subscriber::set_default(subscriber);
        context::within(request.clone(), async { tracing::warn!("slow") }).await;
        tracing::info!("elsewhere");
        let text = lines.text();
        let (first, second) = text.trim().split_once('\n').unwrap();
        assert!(first.contains(expected), "{text}");
        assert!(!second.contains("r-2"), "{text}");
    }
}

#[test]
fn without_an_endpoint_there_is_no_trace() {
    logged(&settings(LogFormat::Json, "info"), || {
        let span = tracing::info_span!("request", trace_id = tracing::field::Empty);
        assert_eq!(spans::root(&span, None), None);
    });
}

#[test]
fn it_starts_once() {
    let settings = settings(LogFormat::Json, "off");
    let first = init(&settings);
    let second = init(&settings);
    // Another test of the process may have been first.
    assert!(matches!(second, Err(Error::Started(_))));
    if let Ok(guard) = first {
        guard.shutdown();
    }
}
