//! Which request is being worked on, for log lines. A span would say it too, and does where traces are exported; but a span
//! is formatted for every request, and a log line is written for few.

use std::future::Future;

use http::HeaderValue;

tokio::task_local! {
    static REQUEST: Request;
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: HeaderValue,
    /// Its method.
    pub method: &'static str,
    /// The template of its route.
    pub route: &'static str,
}

impl Request {
    /// Names and values, as a span has them.
    pub(super) fn fields(&self) -> [(&'static str, &str); 3] {
        let id = self.id.to_str().unwrap_or_default();
        [("http.request.method", self.method), ("http.route", self.route), ("request_id", id)]
    }
}

/// Log lines of this future bear the request.
pub async fn within<F: Future>(request: Request, work: F) -> F::Output {
    REQUEST.scope(request, work).await
}

/// Uses the request that is being worked on, if any.
pub(super) fn current<T>(using: impl FnOnce(&Request) -> T) -> Option<T> {
    REQUEST.try_with(using).ok()
}
