//! The status page: a document that is computed from the process's own series, and static files that show it in a browser.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::extract::Path;
use super::ops;
use super::problem::{Kind, Problem};
use super::state::State;
use super::v1::Known;
use crate::observability::status::Readiness;
use crate::telemetry::recorder;

const PAGE: (&str, &str) = ("text/html; charset=utf-8", include_str!("index.html"));
/// Name, type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
];
/// Nothing from elsewhere, nothing inline, no HTML out of strings.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The page.
pub(super) async fn page(known: Known) -> Response {
    static TAG: LazyLock<Option<HeaderValue>> = LazyLock::new(|| tag(PAGE.1));
    answer(PAGE.0, PAGE.1, TAG.clone(), &known)
}

/// What the page is made of.
pub(super) async fn asset(Path(name): Path<String>, known: Known) -> Result<Response, Problem> {
    static TAGS: LazyLock<Vec<Option<HeaderValue>>> =
        LazyLock::new(|| ASSETS.iter().map(|(.., content)| tag(content)).collect());
    let found = ASSETS.iter().zip(TAGS.iter()).find(|((known, ..), _)| *known == name);
    let ((_, kind, content), tag) =
        found.ok_or_else(|| Problem::new(Kind::NotFound, format!("the status page has no {name:?}")))?;
    Ok(answer(kind, content, tag.clone(), &known))
}

/// How long the document waits for the database; the page waits a second longer for the document.
const PATIENCE: Duration = Duration::from_secs(4);

/// The state of this process, as the page shows it.
pub(super) async fn document(Extract(state): Extract<State>) -> Result<Response, Problem> {
    state.services.operations.publish();
    state.status.sample(recorder::render).ok_or_else(ops::no_metrics)?;
    let readiness = match tokio::time::timeout(PATIENCE, ops::can_serve(&state)).await {
        Ok(Ok(schema)) => {
            Readiness { schema_version: Some(schema.version), newer_schema: schema.newer, ..Readiness::default() }
        }
        Ok(Err(why)) => Readiness { unready: Some(why), ..Readiness::default() },
        Err(_) => {
            Readiness { unready: Some("the database does not answer in time".to_owned()), ..Readiness::default() }
        }
    };
    let document = state.status.document(&readiness, state.services.clock.timestamp());
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(document)).into_response())
}

/// Always asked for anew, which costs a 304 as long as the program is the same.
fn answer(kind: &'static str, content: &'static str, tag: Option<HeaderValue>, known: &Known) -> Response {
    let mut response = match &tag {
        Some(tag) if known.holds(tag) => StatusCode::NOT_MODIFIED.into_response(),
        _ => ([(header::CONTENT_TYPE, kind)], content).into_response(),
    };
    let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The entity tag of a content.
fn tag(content: &str) -> Option<HeaderValue> {
    let mut text = String::from("\"");
    for byte in Sha256::digest(content).iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_is_light_and_asks_for_no_more_than_its_assets() {
        let all = ASSETS.iter().map(|(.., content)| *content).chain([PAGE.1]);
        assert!(all.map(str::len).sum::<usize>() < 40 * 1024);
        let linked: BTreeSet<_> = PAGE.1.split('"').filter_map(|text| text.strip_prefix("status/")).collect();
        let imported = ASSETS.iter().flat_map(|(.., content)| content.split('"').filter_map(|t| t.strip_prefix("./")));
        let served: BTreeSet<_> = ASSETS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(linked.into_iter().chain(imported).collect::<BTreeSet<_>>(), served);
    }
}
