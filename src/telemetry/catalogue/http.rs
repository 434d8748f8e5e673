//! Requests.

use super::LATENCY;
use super::labels::StatusClass;
use super::routes::{Method, Route};

super::metrics! {
    /// Requests answered, by route template, method and class of status.
    Counter HTTP_REQUESTS<(Route, Method, StatusClass)> = "dgm_http_requests_total", "requests";
    /// Time from the head of the request to the head of the answer, by route template and method.
    Histogram HTTP_DURATION<(Route, Method)> = "dgm_http_request_duration_seconds", "seconds", LATENCY;
    /// Requests that are being answered.
    Gauge HTTP_IN_FLIGHT<()> = "dgm_http_requests_in_flight", "requests";
    /// Connections of callers to the API that are open, idle ones and event streams among them.
    Gauge HTTP_CONNECTIONS<()> = "dgm_http_connections", "connections";
}
