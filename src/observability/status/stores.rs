//! PostgreSQL, the cache, partitions.

use serde::Serialize;

use super::api::{Pool, pools};
use super::limits::{FEED_AGE, HORIZON_DAYS, MIN_EVENTS};
use super::series::{History, Labels};
use super::{Mark, Note, WINDOW, milliseconds, percent, share};
use crate::observability::objectives::{CACHE_ANSWER_SECONDS, CACHE_HIT_RATIO};
use crate::telemetry::catalogue::Described as _;
use crate::telemetry::catalogue::cache::{
    CACHE_BYTES, CACHE_COALESCED, CACHE_CONFIRMED_AGE, CACHE_ENTRIES, CACHE_LOAD_DURATION, CACHE_REDIS_DURATION,
    CACHE_REDIS_UP, CACHE_REQUESTS,
};
use crate::telemetry::catalogue::database::{
    DB_STATEMENT_DURATION, DB_STATEMENT_ERRORS, PARTITION_HORIZON, PARTITION_OLDEST, PARTITIONS, PARTITIONS_BYTES,
    PARTITIONS_DETACHED, PARTITIONS_EXPIRED, PARTITIONS_MISSING, ROWS_DEAD, ROWS_LIVE, XID_AGE,
};
use crate::telemetry::catalogue::samples::SAMPLES_INGESTED;

/// Statements that are listed.
const LISTED: usize = 8;
/// Transactions at which PostgreSQL stops.
const XID_LIMIT: f64 = 2_147_483_648.0;
const DAY: f64 = 86_400.0;

#[derive(Debug, Serialize)]
pub(super) struct Statement {
    name: String,
    /// Seconds of all its runs in a second.
    busy: Option<f64>,
    rate: Option<f64>,
    mean: f64,
    p95: Option<f64>,
}

/// The statements that took most time, in that order.
pub(super) fn statements(history: &History) -> Vec<Statement> {
    let times = history.histograms(DB_STATEMENT_DURATION.metric().name, WINDOW, |labels| Some(labels.get("statement")));
    let mut times: Vec<_> = times.into_iter().filter(|(_, times)| times.count() > 0.0).collect();
    times.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum));
    let seconds = history.seconds(WINDOW);
    let statement = |(name, times): (&str, super::series::Histogram)| Statement {
        name: name.to_owned(),
        busy: seconds.map(|seconds| times.sum / seconds),
        rate: seconds.map(|seconds| times.count() / seconds),
        mean: times.sum / times.count(),
        p95: times.quantile(0.95),
    };
    times.into_iter().take(LISTED).map(statement).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct Database {
    pools: Vec<Pool>,
    failed_statements: Option<f64>,
    dead_rows: Option<f64>,
    live_rows: Option<f64>,
    pub(super) xid_age: Option<f64>,
    /// The share of the age at which PostgreSQL stops.
    xid_share: Option<f64>,
}

impl Database {
    pub(super) fn of(history: &History) -> Self {
        let xid_age = history.value(XID_AGE.metric().name);
        Self {
            pools: pools(history),
            failed_statements: history.rise(DB_STATEMENT_ERRORS.metric().name, WINDOW, |_| true),
            dead_rows: history.value(ROWS_DEAD.metric().name),
            live_rows: history.value(ROWS_LIVE.metric().name),
            xid_age,
            xid_share: xid_age.map(|age| age / XID_LIMIT),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Cache {
    tiers: Vec<Tier>,
    hit_rate: Note,
    loads: Option<f64>,
    coalesced: Option<f64>,
    entries: Option<f64>,
    bytes: Option<f64>,
    /// Null when it is not configured.
    pub(super) redis_up: Option<bool>,
    redis_p95: Option<f64>,
    redis: Option<Note>,
    pub(super) feed_age: Option<f64>,
    feed: Option<Mark>,
}

#[derive(Debug, Serialize)]
struct Tier {
    name: &'static str,
    hits: Option<f64>,
    rate: Option<f64>,
}

impl Cache {
    pub(super) fn of(history: &History) -> Self {
        let lookups = |tier: &'static str, result: Option<&'static str>| {
            history.rise(CACHE_REQUESTS.metric().name, WINDOW, move |labels: &Labels| {
                labels.get("tier") == tier && result.is_none_or(|result| labels.get("result") == result)
            })
        };
        let seconds = history.seconds(WINDOW);
        let tier = |name, hits, all: Option<f64>| Tier {
            name,
            hits: share(hits, all),
            rate: all.and_then(|all| Some(all / seconds?)),
        };
        let (l1, l1_hits) = (lookups("l1", None), lookups("l1", Some("hit")));
        let (l2, l2_hits) = (lookups("l2", None), lookups("l2", Some("hit")));
        // What misses in process is counted again in Redis.
        let hits = l1_hits.map(|hits| hits + l2_hits.unwrap_or(0.0));
        let redis_up = history.value(CACHE_REDIS_UP.metric().name).map(|up| up > 0.0);
        let in_redis = redis_up.map(|_| tier("Redis", l2_hits, l2));
        let judged = share(hits, l1.filter(|all| *all >= MIN_EVENTS));
        let limit = percent(CACHE_HIT_RATIO);
        let first = |name| history.sum(name, |labels| labels.get("tier") == "l1");
        let redis_p95 = history.histogram(CACHE_REDIS_DURATION.metric().name, WINDOW, |_| true).quantile(0.95);
        let feed_age = history.value(CACHE_CONFIRMED_AGE.metric().name);
        Self {
            tiers: [Some(tier("in process", l1_hits, l1)), in_redis, Some(tier("together", hits, l1))]
                .into_iter()
                .flatten()
                .collect(),
            hit_rate: Note::target(
                judged.map(|hits| hits > CACHE_HIT_RATIO),
                format!("over {limit}"),
                format!("under {limit}"),
            ),
            loads: history.rate(&format!("{}_count", CACHE_LOAD_DURATION.metric().name), WINDOW, |_| true),
            coalesced: history.rate(CACHE_COALESCED.metric().name, WINDOW, |_| true),
            entries: first(CACHE_ENTRIES.metric().name),
            bytes: first(CACHE_BYTES.metric().name),
            redis_up,
            redis_p95,
            redis: redis_p95.map(|p95| {
                let limit = milliseconds(CACHE_ANSWER_SECONDS);
                if p95 > CACHE_ANSWER_SECONDS {
                    Note::new(Some(Mark::Warn), format!("over {limit}"))
                } else {
                    Note::new(Some(Mark::Ok), format!("under {limit}"))
                }
            }),
            feed_age,
            feed: feed_age.filter(|age| *age > FEED_AGE).map(|_| Mark::Bad),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Partitions {
    attached: Option<f64>,
    /// Unix time; null when there is no partition.
    oldest: Option<f64>,
    /// Unix time; 0 when there is no partition.
    horizon: Option<f64>,
    pub(super) horizon_days: Option<f64>,
    horizon_mark: Option<Mark>,
    missing: Option<f64>,
    expired: Option<f64>,
    detached: Option<f64>,
    bytes: Option<f64>,
    /// Samples stored in a second.
    stored: Option<f64>,
}

impl Partitions {
    pub(super) fn of(history: &History, now: f64) -> Self {
        let horizon = history.value(PARTITION_HORIZON.metric().name);
        let days = horizon.map(|horizon| ((horizon - now) / DAY).floor());
        Self {
            attached: history.value(PARTITIONS.metric().name),
            oldest: history.value(PARTITION_OLDEST.metric().name).filter(|oldest| *oldest > 0.0),
            horizon,
            horizon_days: days,
            horizon_mark: match (horizon, days) {
                (Some(0.0), _) => Some(Mark::Bad),
                (_, Some(days)) if days < HORIZON_DAYS => Some(Mark::Warn),
                _ => None,
            },
            missing: history.value(PARTITIONS_MISSING.metric().name),
            expired: history.value(PARTITIONS_EXPIRED.metric().name),
            detached: history.value(PARTITIONS_DETACHED.metric().name),
            bytes: history.value(PARTITIONS_BYTES.metric().name),
            stored: history.rate(SAMPLES_INGESTED.metric().name, WINDOW, |_| true),
        }
    }
}
