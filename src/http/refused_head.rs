//! Requests whose head cannot be read. hyper refuses them before there is a request, by a response without a body.

use axum::body::Bytes;
use uuid::Uuid;

use super::problem::{Kind, PROBLEM_JSON, Problem};
use crate::telemetry::catalogue::http::HTTP_REQUESTS;
use crate::telemetry::catalogue::labels::StatusClass;
use crate::telemetry::catalogue::routes::{Method, Route};

/// The response in place of one of hyper's own, which is counted.
pub(super) fn problem(head: &[u8]) -> Option<Bytes> {
    let (kind, detail) = reason(head)?;
    let status = kind.status().as_u16();
    HTTP_REQUESTS.increment((Route::UNMATCHED, Method::OTHER, StatusClass::of(status)));
    let id = Uuid::new_v4().to_string();
    tracing::debug!(status, request_id = id, "refused the head of a request");
    response(kind, detail, &id)
}

/// What is wrong, by the head of hyper's response; `None` when that is no refusal.
fn reason(head: &[u8]) -> Option<(Kind, &'static str)> {
    let reason = match head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5))? {
        b"400" => (
            Kind::MalformedHead,
            "the request line or a header field is not HTTP/1.1, as with a space or a byte beyond ASCII in the URL (percent-encode it), a \
             line break in a field, or contradicting lengths",
        ),
        b"414" => (
            Kind::TargetTooLong,
            "the URL is longer than 65,534 bytes: send an id of at most 255 bytes, and what is long in a body",
        ),
        b"431" => (
            Kind::HeadTooLarge,
            "there are more than 100 header fields, or they are longer than 400 kB together: send fewer",
        ),
        _ => return None,
    };
    Some(reason)
}

fn response(kind: Kind, detail: &str, id: &str) -> Option<Bytes> {
    let status = kind.status();
    let body = serde_json::to_string(&Problem::new(kind, detail).document(id.to_owned(), None)).ok()?;
    let phrase = status.canonical_reason().unwrap_or_default();
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {} {phrase}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         x-request-id: {id}\r\n\r\n{body}",
        status.as_u16()
    );
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_are_replaced() {
        let head = "connection: close\r\ncontent-length: 0\r\n\r\n";
        for (line, kind) in [
            ("HTTP/1.1 400 Bad Request", Some("malformed-head")),
            ("HTTP/1.0 414 URI Too Long", Some("target-too-long")),
            ("HTTP/1.1 431 Request Header Fields Too Large", Some("head-too-large")),
            ("HTTP/1.1 100 Continue", None),
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.", None),
            ("", None),
        ] {
            let problem =
                reason(format!("{line}\r\n{head}").as_bytes()).and_then(|(kind, detail)| response(kind, detail, "id"));
            let text = problem.map(|text| String::from_utf8(text.to_vec()).unwrap());
            assert_eq!(text.is_some(), kind.is_some(), "{line}");
            if let (Some(text), Some(kind)) = (text, kind) {
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(body["type"], format!("urn:dgm:problem:{kind}"));
            }
        }
    }
}
