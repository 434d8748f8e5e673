//! Limits of the status page that no operational objective defines.

/// Share of server errors above which the service counts as failing.
pub(super) const FAILING: f64 = 0.05;
/// Age of the last confirmed change feed, in seconds, after which reads bypass the cache.
pub(super) const FEED_AGE: f64 = 4.0;
/// Days ahead for which partitions must exist.
pub(super) const HORIZON_DAYS: f64 = 28.0;
/// Transactions that may wait to be frozen.
pub(super) const XID_AGE: f64 = 1e9;
/// With fewer events, a share or a quantile says little.
pub(super) const MIN_EVENTS: f64 = 20.0;
