//! Errors as `application/problem+json` (RFC 9457): the one mapping. `type` and `status` are stable; `detail` is for
//! people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::domain::clock::ClockError;
use crate::domain::validation::{Fault, Invalid};
use crate::service::error::Error;
use crate::telemetry::context;

/// The media type.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Every kind of problem: its `type` (after `urn:dgm:problem:`), status and title.
macro_rules! kinds {
    ($($name:ident $kind:literal $status:ident $title:literal;)*) => {
        /// A kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "kind and title say it")]
        pub enum Kind { $($name,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable last part of `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $kind,)* } }
            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode { match self { $(Self::$name => StatusCode::$status,)* } }
            /// The short summary.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title,)* } }
        }
    };
}

kinds! {
    MalformedBody "malformed-body" BAD_REQUEST "The body is not JSON";
    InvalidParameter "invalid-parameter" BAD_REQUEST "A parameter of the URL is wrong";
    MalformedHead "malformed-head" BAD_REQUEST "The request is not HTTP/1.1";
    TargetTooLong "target-too-long" URI_TOO_LONG "The URL is too long";
    HeadTooLarge "head-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE "The headers are too large";
    Unauthenticated "unauthenticated" UNAUTHORIZED "Who calls is not known";
    Forbidden "forbidden" FORBIDDEN "The caller may not do this";
    NotFound "not-found" NOT_FOUND "No such resource";
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "Method not allowed";
    AlreadyExists "already-exists" CONFLICT "Another resource has this id";
    IllegalState "illegal-state" CONFLICT "The state does not admit this";
    LimitReached "limit-reached" CONFLICT "A limit of this installation is reached";
    LeaseLost "lease-lost" CONFLICT "The lease was lost";
    VersionDiffers "version-differs" PRECONDITION_FAILED "The resource has another version";
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE "The body is too large";
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The body must be application/json";
    MisdirectedHost "misdirected-host" MISDIRECTED_REQUEST "This server does not answer for that host";
    InvalidBody "invalid-body" UNPROCESSABLE_ENTITY "The body has faults";
    UnknownReference "unknown-reference" UNPROCESSABLE_ENTITY "The request names something that does not exist";
    NoCandidates "no-candidates" UNPROCESSABLE_ENTITY "Nothing to select from";
    NotReady "not-ready" SERVICE_UNAVAILABLE "Not ready";
    Unavailable "unavailable" SERVICE_UNAVAILABLE "Not available now; try again";
    Busy "busy" SERVICE_UNAVAILABLE "Too many writes are waiting";
    Timeout "timeout" SERVICE_UNAVAILABLE "The request took too long";
    NotConfigured "not-configured" NOT_IMPLEMENTED "This installation does not have it";
    Internal "internal" INTERNAL_SERVER_ERROR "Internal error";
}

/// A problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// Stable: `urn:dgm:problem:<kind>`; docs/API.md lists them.
    #[serde(rename = "type")]
    #[schema(example = "urn:dgm:problem:not-found")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, for people.
    pub detail: String,
    /// The faults of an input, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// The id of the request, as in the header `x-request-id` and in the logs.
    pub request_id: String,
    /// The trace that the request belongs to, if any: the caller's, or one that begins here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0af7651916cd43dd8448eb211c80319c")]
    pub trace_id: Option<String>,
}

/// A problem on its way out.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: String,
    pub(super) errors: Vec<Fault>,
}

impl Problem {
    /// A problem with one sentence.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new() }
    }

    pub(super) fn document(self, request_id: String, trace_id: Option<String>) -> Document {
        Document {
            kind: format!("urn:dgm:problem:{}", self.kind.as_str()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: bounded(self.detail),
            errors: self.errors.into_iter().map(|fault| Fault { detail: bounded(fault.detail), ..fault }).collect(),
            request_id,
            trace_id,
        }
    }
}

/// What names a value of the caller's may be as long as that value.
fn bounded(mut text: String) -> String {
    const MAX: usize = 1000;
    if let Some((end, _)) = text.char_indices().nth(MAX) {
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        // Problems become responses while their request is worked on, so that it need not be handed to whoever finds one.
        let (request_id, trace_id) = context::current(|request| {
            let id = request.id.to_str().unwrap_or_default().to_owned();
            (id, request.trace.map(|trace| trace.to_string()))
        })
        .unwrap_or_default();
        let kind = self.kind;
        let mut response = (status, Json(self.document(request_id, trace_id))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match kind {
            Kind::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dgm\""));
            }
            Kind::Unavailable | Kind::Busy | Kind::Timeout => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Invalid(Invalid(faults)) => {
                let detail = match faults.as_slice() {
                    [one] => format!("{} {}", one.pointer, one.detail).trim().to_owned(),
                    many => format!("{} faults; see `errors`", many.len()),
                };
                return Self { kind: Kind::InvalidBody, detail, errors: faults.clone() };
            }
            Error::NotFound { .. } => Kind::NotFound,
            Error::UnknownReference(_) => Kind::UnknownReference,
            Error::AlreadyExists { .. } => Kind::AlreadyExists,
            Error::IllegalState(_) => Kind::IllegalState,
            Error::LimitReached(_) => Kind::LimitReached,
            Error::LeaseLost(_) => Kind::LeaseLost,
            Error::VersionDiffers { .. } => Kind::VersionDiffers,
            Error::Unauthenticated(_) => Kind::Unauthenticated,
            Error::Forbidden { .. } => Kind::Forbidden,
            Error::NoCandidates(_) => Kind::NoCandidates,
            // The cause may name hosts and roles.
            Error::Clock(ClockError::Unreadable(_)) => {
                return Self::new(Kind::Unavailable, Error::Unavailable.to_string());
            }
            Error::Unavailable | Error::SessionsUnavailable(_) | Error::StorageUnavailable | Error::Clock(_) => {
                Kind::Unavailable
            }
            Error::Database(error) if error.is_unavailable() => Kind::Unavailable,
            Error::NotConfigured(_) => Kind::NotConfigured,
            Error::TooLarge { .. } => Kind::BodyTooLarge,
            Error::Busy => Kind::Busy,
            Error::Internal | Error::Database(_) => Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

/// A refusal that is not this module's, as of the page of the documentation for a file that it lacks.
pub(super) fn of_others(response: Response) -> Response {
    let status = response.status();
    let mime = response.headers().get(header::CONTENT_TYPE);
    if status < StatusCode::BAD_REQUEST || mime.is_some_and(|mime| mime == PROBLEM_JSON) {
        return response;
    }
    let (kind, detail) = match status {
        StatusCode::BAD_REQUEST => (Kind::InvalidParameter, "a part of the path is not UTF-8 after percent-decoding"),
        StatusCode::NOT_FOUND => (Kind::NotFound, "nothing is served at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (Kind::MethodNotAllowed, "this path is served by other methods, GET above all")
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            (Kind::Internal, "the log has the details under the X-Request-Id of this response")
        }
        _ => return response,
    };
    Problem::new(kind, detail).into_response()
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, format!("nothing is served at {}", uri.path()))
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "the Allow header names the methods of this resource")
}

macro_rules! responses {
    ($(#[$doc:meta])* $set:ident { $($status:literal $name:ident $description:literal,)* }) => {
        $(#[$doc])* #[derive(IntoResponses)]
        #[allow(dead_code, reason = "read by utoipa only")]
        pub(super) enum $set {
            $(#[response(status = $status, description = $description, content_type = "application/problem+json")]
            $name(Document),)*
        }
    };
}

responses!(
    /// What any request may meet.
    Reads {
        400 Malformed "A parameter is wrong",
        401 Unauthenticated "Who calls is not known",
        403 Forbidden "The caller may not do this",
        404 NotFound "No such resource",
        421 Misdirected "The Host header is not one of this server's",
        422 Invalid "The input has faults",
        500 Internal "A fault of the service",
        503 Unavailable "The database is not available; see Retry-After",
    }
);
responses!(
    /// What a request with a body may meet beside.
    Writes {
        409 Conflict "Another resource has this id, the state does not admit this, or a limit is reached",
        412 Version "The resource has another version",
        413 TooLarge "The body is too large",
        415 MediaType "The body is not application/json",
    }
);
