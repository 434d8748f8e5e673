//! Operational objectives, each once: SLOs, alerts, panels, the status page and the load test take them from here.
//!
//! It is a file of constants, which the load test includes by its path and without the rest of the server, so that both
//! programs have them at compile time and need no parser.

/// Share of the requests to the API that are not answered with a server error (specification 1.2.4).
pub const AVAILABILITY: f64 = 0.999;
/// Share of the requests that may fail by it.
pub const ERRORS: f64 = ((1.0 - AVAILABILITY) * 1e6).round() / 1e6;
/// Seconds within which [`LATENCY_SHARE`] of the requests are answered: p95 (specification 1.2.4).
pub const LATENCY_SECONDS: f64 = 0.1;
/// See [`LATENCY_SECONDS`].
pub const LATENCY_SHARE: f64 = 0.95;
/// Seconds within which [`INGEST_SHARE`] of the requests that bring samples are answered, the samples being durable.
pub const INGEST_SECONDS: f64 = 0.5;
/// See [`INGEST_SECONDS`].
pub const INGEST_SHARE: f64 = 0.995;
/// Share of the lookups that a tier of the cache answers (specification 1.2.3).
pub const CACHE_HIT_RATIO: f64 = 0.8;
/// Seconds within which 95 of 100 answers of the cache are there (specification 1.2.3).
pub const CACHE_ANSWER_SECONDS: f64 = 0.01;
/// Share of the rows read of large tables that an index finds (specification 1.2.4).
pub const INDEX_USAGE: f64 = 0.95;
/// Rows from which on a table is large.
pub const INDEX_USAGE_ROWS: f64 = 10_000.0;
/// Successful requests a second (specification 1.2.4).
pub const THROUGHPUT: f64 = 10_000.0;
/// Connections of callers that are open at a time (specification 1.2.4).
pub const CONNECTIONS: f64 = 500.0;
