//! A log line as one JSON object: `timestamp`, `level`, `target`, `message`, `fields`, and `span`, which holds the fields
//! of all spans around the event (an inner one wins) and the name of the innermost, so that `span.request_id` stands in
//! the same place however deep the event is.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields as _, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

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
        if let Some(innermost) = context.event_scope().and_then(|mut scope| scope.next()) {
            let mut span = Map::new();
            for outer in innermost.scope().from_root() {
                if let Some(formatted) = outer.extensions().get::<FormattedFields<JsonFields>>() {
                    span.extend(object(&formatted.fields));
                }
            }
            span.insert("name".to_owned(), innermost.name().into());
            line.insert("span".to_owned(), span.into());
        }
        writeln!(writer, "{}", json!(line))
    }
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}
