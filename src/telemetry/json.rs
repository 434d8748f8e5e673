//! How log lines look. For machines: one JSON object: `timestamp`, `level`, `target`, `message`, `fields`, and `span`, which holds the fields
//! of the request and of all spans around the event (an inner one wins) and the name of the innermost, so that `span.request_id` stands in
//! the same place however deep the event is.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::catalogue::labels::LogLevel;
use super::catalogue::telemetry::LOG_EVENTS;
use super::context;

/// The format; its field format is [`JsonFields`].
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        LOG_EVENTS.increment((LogLevel::of(*event.metadata().level()),));
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut recorded = String::new();
        context.format_fields(Writer::new(&mut recorded), event)?;
        let mut fields = object(&recorded);

        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), fields.remove("message").unwrap_or_else(|| metadata.name().into()));
        line.insert("fields".to_owned(), fields.into());
        let mut span: Map<String, Value> = context::current(context::Request::fields)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let innermost = context.event_scope().and_then(|mut scope| scope.next());
        for outer in innermost.iter().flat_map(|innermost| innermost.scope().from_root()) {
            if let Some(formatted) = outer.extensions().get::<FormattedFields<JsonFields>>() {
                span.extend(object(&formatted.fields));
            }
        }
        // What the exporter of spans reads in them: their name, kind and status.
        span.retain(|name, _| !name.starts_with("otel."));
        if innermost.is_some() || !span.is_empty() {
            span.insert("name".to_owned(), innermost.map_or("request", |innermost| innermost.name()).into());
            line.insert("span".to_owned(), span.into());
        }
        writeln!(writer, "{}", json!(line))
    }
}

/// For eyes: the library's own form, after the request that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct HumanLines(pub(super) Format);

impl<S, N> FormatEvent<S, N> for HumanLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        LOG_EVENTS.increment((LogLevel::of(*event.metadata().level()),));
        // Where there is a span, it says so itself.
        if context.lookup_current().is_none()
            && let Some(mut fields) = context::current(context::Request::fields)
        {
            fields.try_for_each(|(name, value)| write!(writer, "{name}={value:?} "))?;
        }
        self.0.format_event(context, writer, event)
    }
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}
