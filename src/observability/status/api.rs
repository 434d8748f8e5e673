//! Golden signals, and what each route answered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::series::{History, Labels};
use super::{Mark, Note, POINT, WINDOW, milliseconds, percent, share};
use crate::observability::objectives::{ERRORS, LATENCY_SECONDS};
use crate::telemetry::catalogue::Described as _;
use crate::telemetry::catalogue::database::{DB_POOL_ACQUIRE_DURATION, POOL_CONNECTIONS, POOL_CONNECTIONS_MAX};
use crate::telemetry::catalogue::http::{HTTP_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS};

/// Requests to the API, not those of probes and of the page.
fn api(labels: &Labels) -> bool {
    let route = labels.get("route");
    route == "unmatched" || route.starts_with("/api/v1/")
}

fn answered(class: &str) -> impl Fn(&Labels) -> bool {
    move |labels| api(labels) && labels.get("status") == class
}

#[derive(Debug, Serialize)]
pub(super) struct Signals {
    traffic: Traffic,
    pub(super) errors: Errors,
    pub(super) latency: Latency,
    saturation: Saturation,
}

#[derive(Debug, Serialize)]
struct Traffic {
    point: Option<f64>,
    rate: Option<f64>,
    requests: Option<f64>,
    /// The share of 4xx.
    refused: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Errors {
    point: Option<f64>,
    /// The share of 5xx.
    pub(super) share: Option<f64>,
    failed: Option<f64>,
    pub(super) requests: Option<f64>,
    target: Note,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    point: Option<f64>,
    p50: Option<f64>,
    pub(super) p95: Option<f64>,
    p99: Option<f64>,
    bound: f64,
    target: Note,
}

/// Of the pool of connections that is nearest to its limit.
#[derive(Debug, Serialize)]
struct Saturation {
    point: Option<f64>,
    pool: Option<Pool>,
    in_flight: Option<f64>,
    wait: Option<f64>,
    target: Note,
}

/// A pool of connections.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Pool {
    name: String,
    used: f64,
    most: f64,
}

impl Signals {
    pub(super) fn of(history: &History) -> Self {
        let requests = HTTP_REQUESTS.metric().name;
        let count = |window, class| history.rise(requests, window, answered(class));
        let (all, failed, refused) = (history.rise(requests, WINDOW, api), count(WINDOW, "5xx"), count(WINDOW, "4xx"));
        let errors = share(failed, all);
        let times = |window| history.histogram(HTTP_DURATION.metric().name, window, api);
        let took = times(WINDOW);
        let p95 = took.quantile(0.95);
        let (errors_limit, p95_limit) = (percent(ERRORS), milliseconds(LATENCY_SECONDS));
        Self {
            traffic: Traffic {
                point: history.rate(requests, POINT, api),
                rate: history.rate(requests, WINDOW, api),
                requests: all,
                refused: share(refused, all),
            },
            errors: Errors {
                point: share(count(POINT, "5xx"), history.rise(requests, POINT, api)),
                share: errors,
                failed,
                requests: all,
                target: Note::target(
                    errors.map(|errors| errors <= ERRORS),
                    format!("under {errors_limit}"),
                    format!("over {errors_limit}"),
                ),
            },
            latency: Latency {
                point: times(POINT).quantile(0.95),
                p50: took.quantile(0.5),
                p95,
                p99: took.quantile(0.99),
                bound: LATENCY_SECONDS,
                target: Note::target(
                    p95.map(|p95| p95 <= LATENCY_SECONDS),
                    format!("under {p95_limit}"),
                    format!("over {p95_limit}"),
                ),
            },
            saturation: Saturation::of(history),
        }
    }
}

impl Saturation {
    fn of(history: &History) -> Self {
        let pool = pools(history)
            .into_iter()
            .max_by(|a, b| (a.used / a.most).total_cmp(&(b.used / b.most)).then(a.most.total_cmp(&b.most)));
        let waits =
            history.histograms(DB_POOL_ACQUIRE_DURATION.metric().name, WINDOW, |labels| Some(labels.get("pool")));
        let none = pool.as_ref().map(|pool| format!("{}: none to spare", pool.name));
        Self {
            point: pool.as_ref().map(|pool| pool.used / pool.most),
            // The request for this document is in flight while it is answered.
            in_flight: history.value(HTTP_IN_FLIGHT.metric().name).map(|count| (count - 1.0).max(0.0)),
            wait: waits.values().filter_map(|wait| wait.quantile(0.99)).max_by(f64::total_cmp),
            target: Note::target(
                pool.as_ref().map(|pool| pool.used < pool.most),
                "connections to spare",
                none.unwrap_or_default(),
            ),
            pool,
        }
    }
}

/// How many connections of each pool are in use.
pub(super) fn pools(history: &History) -> Vec<Pool> {
    let used = |pool: &str| {
        let used = |labels: &Labels| labels.get("pool") == pool && labels.get("state") == "used";
        history.sum(POOL_CONNECTIONS.metric().name, used).unwrap_or(0.0)
    };
    let pool = |(labels, most): (&Labels, f64)| {
        let name = labels.get("pool");
        Pool { name: name.to_owned(), used: used(name), most }
    };
    history.values(POOL_CONNECTIONS_MAX.metric().name).map(pool).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct Answers {
    method: String,
    route: String,
    rate: Option<f64>,
    p95: Option<f64>,
    slow: Option<Mark>,
    refused: f64,
    failed: f64,
}

/// The routes that were asked, the busiest first.
pub(super) fn routes(history: &History) -> Vec<Answers> {
    let requests = HTTP_REQUESTS.metric().name;
    let key = |labels: &Labels| (labels.get("route").to_owned(), labels.get("method").to_owned());
    let count = |fits: &dyn Fn(&Labels) -> bool| {
        history.rises(requests, WINDOW, |labels| fits(labels).then(|| key(labels))).unwrap_or_default()
    };
    let (all, refused, failed) = (count(&api), count(&answered("4xx")), count(&answered("5xx")));
    let times = history.histograms(HTTP_DURATION.metric().name, WINDOW, |labels| Some(key(labels)));
    let mut busy: Vec<_> = all.into_iter().filter(|(_, rise)| *rise > 0.0).collect();
    busy.sort_by(|a, b| b.1.total_cmp(&a.1));
    let route = |(key, rise): ((String, String), f64)| {
        let of = |part: &BTreeMap<_, f64>| part.get(&key).copied().unwrap_or(0.0) / rise;
        let p95 = times.get(&key).and_then(|times| times.quantile(0.95));
        Answers {
            rate: history.seconds(WINDOW).map(|seconds| rise / seconds),
            p95,
            slow: p95.filter(|p95| *p95 > LATENCY_SECONDS).map(|_| Mark::Warn),
            refused: of(&refused),
            failed: of(&failed),
            route: key.0,
            method: key.1,
        }
    };
    busy.into_iter().map(route).collect()
}
