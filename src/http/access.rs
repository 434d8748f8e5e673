//! Who may call what: one table in which every route stands. A route that was forgotten is for admins only.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::{FutureExt as _, poll};

use super::compress;
use super::extract::{Caller, bearer};
use super::problem::{self, Kind, Problem};
use super::state::State;
use crate::domain::identity::{Principal, Role};
use crate::service::error::Error;
use crate::telemetry::catalogue::auth::AUTH_FAILURES;
use crate::telemetry::catalogue::labels::AuthFailure;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// At least this role.
    Least(Role),
}

use Access::{Least, Public};
use Role::{Admin, Operator, Reader, Worker};

/// Method, route, access.
pub const TABLE: &[(&str, &str, Access)] = &[
    ("GET", "/", Public),
    ("GET", "/status.json", Public),
    ("GET", "/status/{asset}", Public),
    ("GET", "/runbooks/{alert}", Public),
    ("GET", "/health", Public),
    ("GET", "/ready", Public),
    ("GET", "/metrics", Public),
    ("GET", "/api/openapi.json", Public),
    ("GET", "/docs", Public),
    ("GET", "/docs/", Public),
    ("GET", "/docs/{*rest}", Public),
    ("POST", "/api/v1/archive", Least(Worker)),
    ("POST", "/api/v1/archive:batch", Least(Worker)),
    ("POST", "/api/v1/archive:select-parents", Least(Reader)),
    ("GET", "/api/v1/archive", Least(Reader)),
    ("GET", "/api/v1/archive/stats", Least(Reader)),
    ("GET", "/api/v1/archive/{archive_entry_id}", Least(Reader)),
    ("PATCH", "/api/v1/archive/{archive_entry_id}", Least(Worker)),
    ("GET", "/api/v1/archive/{archive_entry_id}/lineage", Least(Reader)),
    ("GET", "/api/v1/archive/{archive_entry_id}/descendants", Least(Reader)),
    ("GET", "/api/v1/archive/{archive_entry_id}/children", Least(Reader)),
    ("GET", "/api/v1/archive/{archive_entry_id}/artifacts", Least(Reader)),
    ("GET", "/api/v1/archive/{archive_entry_id}/artifacts/{name}", Least(Reader)),
    ("PUT", "/api/v1/archive/{archive_entry_id}/artifacts/{name}", Least(Worker)),
    ("DELETE", "/api/v1/archive/{archive_entry_id}/artifacts/{name}", Least(Operator)),
    ("POST", "/api/v1/improvements", Least(Worker)),
    ("GET", "/api/v1/improvements", Least(Reader)),
    ("POST", "/api/v1/improvements:claim", Least(Worker)),
    ("GET", "/api/v1/improvements/{improvement_id}", Least(Reader)),
    ("POST", "/api/v1/improvements/{improvement_id}/heartbeat", Least(Worker)),
    ("POST", "/api/v1/improvements/{improvement_id}/progress", Least(Worker)),
    ("POST", "/api/v1/improvements/{improvement_id}/complete", Least(Worker)),
    ("POST", "/api/v1/improvements/{improvement_id}/fail", Least(Worker)),
    ("POST", "/api/v1/improvements/{improvement_id}/cancel", Least(Operator)),
    ("POST", "/api/v1/improvements/{improvement_id}/retry", Least(Operator)),
    ("GET", "/api/v1/improvements/{improvement_id}/events", Least(Reader)),
    ("POST", "/api/v1/metrics", Least(Worker)),
    ("GET", "/api/v1/metrics/{service}/current", Least(Reader)),
    ("GET", "/api/v1/metrics/{service}/trend", Least(Reader)),
    ("GET", "/api/v1/metrics/{service}/{metric_type}", Least(Reader)),
    ("POST", "/api/v1/sessions", Least(Reader)),
    ("GET", "/api/v1/sessions/current", Least(Reader)),
    ("DELETE", "/api/v1/sessions/current", Least(Reader)),
    ("GET", "/api/v1/admin/tokens", Least(Admin)),
    ("POST", "/api/v1/admin/tokens", Least(Admin)),
    ("DELETE", "/api/v1/admin/tokens/{name}", Least(Admin)),
    ("GET", "/api/v1/admin/jobs", Least(Operator)),
    ("GET", "/api/v1/admin/jobs/{name}/runs", Least(Operator)),
    ("POST", "/api/v1/admin/jobs/{name}/run", Least(Operator)),
    ("GET", "/api/v1/admin/partitions", Least(Operator)),
];

/// What takes as long as its caller wants, or as its work does; each has limits of its own.
const UNTIMED: &[(&str, &str)] = &[
    ("GET", "/api/v1/improvements/{improvement_id}/events"),
    ("GET", "/api/v1/archive/{archive_entry_id}/artifacts/{name}"),
    ("PUT", "/api/v1/archive/{archive_entry_id}/artifacts/{name}"),
    ("POST", "/api/v1/admin/jobs/{name}/run"),
];

/// The access of a route; HEAD is GET without a body. A method that a route does not serve is the admin's too: who may
/// call nothing need not learn what there is.
fn access(method: &Method, route: &str) -> Access {
    static ROWS: LazyLock<HashMap<(&str, &str), Access>> =
        LazyLock::new(|| TABLE.iter().map(|(method, route, access)| ((*method, *route), *access)).collect());
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ROWS.get(&(method, route)).copied().unwrap_or(Least(Admin))
}

/// The check in front of every handler.
pub(super) async fn admit(state: &State, request: Request, next: Next) -> Response {
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let mut response = pin!(caught(decide(state, request, next)));
    // What waits for nothing, as a read from the cache does, needs no timer.
    if let Poll::Ready(response) = poll!(response.as_mut()) {
        return response;
    }
    let is_untimed = |route: MatchedPath| UNTIMED.contains(&(method.as_str(), route.as_str()));
    if route.is_some_and(is_untimed) {
        return response.await;
    }
    let timeout = state.options.request_timeout;
    tokio::time::timeout(timeout, response).await.unwrap_or_else(|_| {
        let detail = format!(
            "not answered within {timeout:?} (http.request_timeout_seconds), so that a write may or may not have been made: repeat it \
             with the same id, or ask for less"
        );
        Problem::new(Kind::Timeout, detail).into_response()
    })
}

/// A response, also when making it panics. Not an async function: its future would hold `response` twice.
fn caught(response: impl Future<Output = Response>) -> impl Future<Output = Response> {
    AssertUnwindSafe(response).catch_unwind().map(|response| {
        response.unwrap_or_else(|_| {
            let detail = "the service has a bug that this request triggers; its log has the details under the X-Request-Id of this response";
            Problem::new(Kind::Internal, detail).into_response()
        })
    })
}

async fn decide(state: &State, mut request: Request, next: Next) -> Response {
    if let Some(problem) = misdirected(state, &request) {
        return problem.into_response();
    }
    // No route: the fallback answers 404, which needs no caller.
    let route = request.extensions().get::<MatchedPath>();
    let asked = route.map(|route| access(request.method(), route.as_str()));
    if let Some(Least(needed)) = asked {
        match caller(state, request.headers().get(header::AUTHORIZATION).cloned()).await {
            Ok(principal) if principal.role >= needed => {
                request.extensions_mut().insert(Caller(principal));
            }
            Ok(principal) => {
                AUTH_FAILURES.increment((AuthFailure::Forbidden,));
                return Problem::from(Error::Forbidden { needed, has: principal.role }).into_response();
            }
            Err(problem) => return problem.into_response(),
        }
    }
    problem::of_others(compress::run(next, request).await)
}

async fn caller(state: &State, authorization: Option<HeaderValue>) -> Result<Arc<Principal>, Problem> {
    if !state.options.authenticate {
        static NOBODY: LazyLock<Arc<Principal>> = LazyLock::new(|| Arc::new(Principal::unauthenticated()));
        return Ok(Arc::clone(&NOBODY));
    }
    let Some(secret) = authorization.as_ref().and_then(bearer) else {
        AUTH_FAILURES.increment((AuthFailure::Missing,));
        return Err(Error::Unauthenticated("send `Authorization: Bearer <token>`").into());
    };
    Ok(state.services.identity.authenticate(secret).await?)
}

/// Ends when the caller of a request that was admitted may no longer call.
pub(super) async fn ended(state: State, secret: Option<String>) {
    match secret.filter(|_| state.options.authenticate) {
        Some(secret) => state.services.identity.ended(&secret).await,
        None => std::future::pending().await,
    }
}

/// A page in a browser can make requests to 127.0.0.1, under its own name (DNS rebinding, which the Host header tells) or
/// from its own place (which the Origin header tells).
fn misdirected(state: &State, request: &Request) -> Option<Problem> {
    if !state.options.loopback_hosts_only {
        return None;
    }
    let value = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(origin) = value(header::ORIGIN)
        && !origin.strip_prefix("http://").is_some_and(is_loopback)
    {
        let detail = format!("{origin:?} is not a page of the loopback interface");
        return Some(Problem::new(Kind::MisdirectedHost, detail));
    }
    let host = value(header::HOST).unwrap_or_default();
    (!is_loopback(host))
        .then(|| Problem::new(Kind::MisdirectedHost, format!("{host:?} is not a name of the loopback interface")))
}

/// Whether `host` or `host:port` names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |h| h.0);
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_route_is_for_admins_only() {
        assert_eq!(access(&Method::GET, "/api/v1/forgotten"), Least(Admin));
        assert_eq!(access(&Method::PUT, "/api/v1/archive"), Least(Admin));
        assert_eq!(access(&Method::HEAD, "/api/v1/archive"), Least(Reader));
    }

    #[tokio::test]
    async fn a_panic_is_a_problem() {
        let response = caught(async { panic!("on purpose") }).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()),
            (500, "application/problem+json")
        );
        assert_eq!(caught(async { Problem::new(Kind::NotFound, "x").into_response() }).await.status(), 404);
    }

    #[test]
    fn names_of_the_loopback_interface() {
        for (host, expected) in [
            ("localhost:8007", true),
            ("127.0.0.1", true),
            ("[::1]:1", true),
            ("[::1]", true),
            ("", false),
            ("localhost.evil.example", false),
            ("evil.example:8007", false),
            ("127.0.0.1.evil.example:80", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
