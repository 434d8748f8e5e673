//! What is well. What the objectives promise is read from them.

use crate::observability::slo::SLOS;

/// Promised: seconds in which 95 % of the requests to the API are answered.
pub(super) const P95: f64 = 0.1;
/// The same of Redis.
pub(super) const REDIS_P95: f64 = 0.01;
/// Above this share of 5xx the service fails.
pub(super) const FAILING: f64 = 0.05;
/// Seconds after which an unconfirmed change feed has reads bypass the cache.
pub(super) const FEED_AGE: f64 = 4.0;
/// Days ahead that partitions must exist for.
pub(super) const HORIZON_DAYS: f64 = 28.0;
/// Transactions that may wait to be frozen.
pub(super) const XID_AGE: f64 = 1e9;
/// Fewer events than these say little about a share or a quantile.
pub(super) const ENOUGH: f64 = 20.0;

/// Promised: the share of requests that may be answered 5xx.
pub(super) fn errors() -> f64 {
    1.0 - promised("availability")
}

/// Promised: the share of lookups that the cache answers.
pub(super) fn hits() -> f64 {
    promised("cache")
}

fn promised(objective: &str) -> f64 {
    SLOS.iter().find(|slo| slo.name == objective).map_or(1.0, |slo| slo.target)
}
