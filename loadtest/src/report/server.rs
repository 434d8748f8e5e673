//! The service's part of the report, from what it told before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Server, Waits};
use crate::objectives::INDEX_USAGE_ROWS;
use crate::watch::{CONNECTIONS, Exposition, Look, observed, quantile, rise};

/// Observations of a statement, or of a pool, below which its p95 is an accident.
const ENOUGH: f64 = 100.0;
const ROWS_READ: &str = "dgm_db_rows_read_total";
const STATEMENTS: &str = "dgm_db_statement_duration_seconds";
const WAITS: &str = "dgm_db_pool_acquire_duration_seconds";
/// The pools of connections to the primary that requests wait for.
const POOLS: [&str; 2] = ["read", "write"];

/// What the service told of the time between two expositions.
pub(crate) fn tell(before: &Exposition, after: &Exposition, looks: &[Look], elapsed: Duration) -> Server {
    let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let rise = |name: &str, labels: &[(&str, &str)]| rise(before, after, name, labels);
    let connections = looks.iter().filter_map(|look| look.values.get(CONNECTIONS).copied()).reduce(f64::max);
    let (index_ratio, index_tables) = indexes(before, after);
    let inserted = rise("dgm_db_server_rows_written_total", &[("change", "inserted")]);
    let updated = rise("dgm_db_server_rows_written_total", &[("change", "updated")]);
    Server {
        connections,
        hit_ratio: hits(before, after),
        waits: waits(before, after),
        index_ratio,
        index_tables,
        commits_per_second: rise("dgm_db_server_transactions_total", &[("outcome", "committed")]).map(|n| n / seconds),
        rows_written_per_second: inserted.zip(updated).map(|(inserted, updated)| (inserted + updated) / seconds),
        statement_p95_ms: statements(before, after),
    }
}

/// What the service waited for between two expositions.
pub(crate) fn waits(before: &Exposition, after: &Exposition) -> Waits {
    let redis = quantile(before, after, ("dgm_cache_redis_duration_seconds", &[]), 0.95);
    Waits { cache_answer_p95_ms: redis.map(|seconds| seconds * 1000.0), pool_wait_p95_ms: pool_wait(before, after) }
}

/// Of all lookups, those that some tier answered. One that misses the first tier is looked up in the second.
fn hits(before: &Exposition, after: &Exposition) -> Option<f64> {
    let rise = |label| rise(before, after, "dgm_cache_requests_total", &[label]);
    let (hits, first) = (rise(("result", "hit"))?, rise(("tier", "l1"))?);
    (first > 0.0).then(|| hits / first)
}

/// Of the rows that were read of all tables that are not small, those that an index found; and the same of each table.
fn indexes(before: &Exposition, after: &Exposition) -> (Option<f64>, BTreeMap<String, f64>) {
    let (mut found, mut all, mut tables) = (0.0, 0.0, BTreeMap::new());
    for table in after.values_of(ROWS_READ, "table") {
        let of_it = ("table", table.as_str());
        if after.sum("dgm_db_rows_live", &[of_it]).unwrap_or(0.0) < INDEX_USAGE_ROWS {
            continue;
        }
        let by = |access| rise(before, after, ROWS_READ, &[of_it, ("access", access)]).unwrap_or(0.0);
        let (index, sequence) = (by("index"), by("sequence"));
        if index + sequence > 0.0 {
            tables.insert(table.clone(), index / (index + sequence));
        }
        found += index;
        all += index + sequence;
    }
    ((all > 0.0).then(|| found / all), tables)
}

/// The p95 of the wait for a connection, in milliseconds, of the pool where it is longest: many short waits of one must not hide
/// that the other is full.
fn pool_wait(before: &Exposition, after: &Exposition) -> Option<f64> {
    POOLS.into_iter().filter_map(|pool| p95_ms(before, after, (WAITS, &[("pool", pool)]))).reduce(f64::max)
}

/// The p95 of each statement, in milliseconds: who looks for the cause of a slow operation begins here.
fn statements(before: &Exposition, after: &Exposition) -> BTreeMap<String, f64> {
    let statements = after.values_of(STATEMENTS, "statement").into_iter();
    let p95 = |statement: String| {
        let p95 = p95_ms(before, after, (STATEMENTS, &[("statement", statement.as_str())]))?;
        Some((statement, p95))
    };
    statements.filter_map(p95).collect()
}

/// The p95 of a histogram in seconds, in milliseconds, of so many observations that it is no accident.
fn p95_ms(before: &Exposition, after: &Exposition, series: (&str, &[(&str, &str)])) -> Option<f64> {
    let enough = observed(before, after, series) >= ENOUGH;
    quantile(before, after, series, 0.95).filter(|_| enough).map(|seconds| seconds * 1000.0)
}
