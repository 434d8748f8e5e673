//! Which request is being worked on, for log lines and problem documents. A span would say it too, and does where the trace
//! is sent; but a span is formatted for every request, and a log line is written for few.

use std::future::Future;

use futures_util::future::Either;
use http::HeaderValue;

use super::spans::TraceId;

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
    /// The trace that it belongs to, sent or not.
    pub trace: Option<TraceId>,
}

impl Request {
    /// Names and values, as a span has them.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let id = self.id.to_str().unwrap_or_default().to_owned();
        let fields = [
            ("http.request.method", self.method.to_owned()),
            ("http.route", self.route.to_owned()),
            ("request_id", id),
        ];
        fields.into_iter().chain(self.trace.map(|trace| ("trace_id", trace.to_string())))
    }
}

/// Log lines and problems of this future bear the request. Not an async function: its future would hold `work` twice.
pub fn within<F: Future>(request: Request, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(request, work)
}

/// The same for a future that becomes a task of its own.
pub fn handed_on<F: Future>(work: F) -> impl Future<Output = F::Output> {
    match current(Clone::clone) {
        Some(request) => Either::Left(within(request, work)),
        None => Either::Right(work),
    }
}

/// Uses the request that is being worked on, if any.
pub fn current<T>(using: impl FnOnce(&Request) -> T) -> Option<T> {
    REQUEST.try_with(using).ok()
}
