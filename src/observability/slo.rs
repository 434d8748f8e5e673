//! Service level objectives, as data: the recording rules and the burn-rate alerts are made from them (Google's SRE Workbook,
//! chapter 5, <https://sre.google/workbook/alerting-on-slos/>).

use super::objectives::{AVAILABILITY, CACHE_HIT_RATIO, INGEST_SECONDS, INGEST_SHARE, LATENCY_SECONDS, LATENCY_SHARE};
use super::rule::{Alert, Example, LINGERS, Recording, Severity, Team};
use super::words::{milliseconds, percent};

/// An objective.
#[derive(Debug, Clone)]
pub struct Slo {
    /// The value of the label `slo`.
    pub name: &'static str,
    /// What is promised, a sentence.
    pub promise: String,
    /// The share of good events, 0 to 1.
    pub target: f64,
    /// Events a second that were not good; `$window` stands for the range.
    pub bad: String,
    /// Events a second.
    pub all: String,
    /// Events a second, over the long window, below which nobody is alerted: a quiet night must page nobody for one failure.
    pub floor: f64,
    /// Who is told.
    pub team: Team,
    /// The alert's name.
    pub alert: &'static str,
    /// The dashboard that shows it.
    pub dashboard: &'static str,
    /// Whether it may wake somebody.
    pub pages: bool,
}

/// What the specification's objectives of latency are about: artifacts take as long as they are large.
const TIMED: &str = "route=~\"/api/v1/.*\", route!~\".*/artifacts/.*\"";
const INGEST: &str = "route=\"/api/v1/metrics\", method=\"POST\"";

const LOOKUPS: &str = "sum by (job) (rate(dgm_cache_requests_total{class!=\"session\", tier=\"l1\"}[$window]))";
/// Successful writes. Each makes one lookup miss that no cache can answer: what it created is read for the first time, or what it
/// changed is read again. Traffic that consists mostly of writes has few hits and a cache that is well.
const WRITES: &str = "sum by (job) (rate(dgm_http_requests_total{route=~\"/api/v1/.*\", \
    route!~\".*:claim|.*:select-parents\", method=~\"POST|PUT|PATCH|DELETE\", status=\"2xx\"}[$window]))";

/// Requests a second that took longer than some seconds, which must be an edge of the histogram.
fn slower(of: &str, seconds: f64) -> String {
    format!(
        "{} - sum by (job) (rate(dgm_http_request_duration_seconds_bucket{{{of}, le=\"{seconds}\"}}[$window]))",
        timed(of)
    )
}

fn timed(of: &str) -> String {
    format!("sum by (job) (rate(dgm_http_request_duration_seconds_count{{{of}}}[$window]))")
}

/// Every objective.
#[must_use]
pub fn slos() -> Vec<Slo> {
    vec![
        Slo {
            name: "availability",
            promise: format!(
                "{} of the requests to the API are not answered with a server error.",
                percent(AVAILABILITY)
            ),
            target: AVAILABILITY,
            bad: "sum by (job) (rate(dgm_http_requests_total{route=~\"/api/v1/.*\", status=\"5xx\"}[$window]))"
                .to_owned(),
            all: "sum by (job) (rate(dgm_http_requests_total{route=~\"/api/v1/.*\"}[$window]))".to_owned(),
            floor: 0.05,
            team: Team::Service,
            alert: "DgmErrorBudgetBurn",
            dashboard: "dgm-overview",
            pages: true,
        },
        Slo {
            name: "latency",
            promise: format!(
                "{} of the requests to the API are answered within {}; files of entries, which take what they take, do not count.",
                percent(LATENCY_SHARE),
                milliseconds(LATENCY_SECONDS)
            ),
            target: LATENCY_SHARE,
            bad: slower(TIMED, LATENCY_SECONDS),
            all: timed(TIMED),
            floor: 0.05,
            team: Team::Service,
            alert: "DgmLatencyBudgetBurn",
            dashboard: "dgm-overview",
            pages: true,
        },
        Slo {
            name: "ingest",
            promise: format!(
                "{} of the requests that bring samples are answered, without a server error, within {INGEST_SECONDS} s; the samples \
                 can be read from then on.",
                percent(INGEST_SHARE)
            ),
            target: INGEST_SHARE,
            bad: format!(
                "{} + sum by (job) (rate(dgm_http_requests_total{{{INGEST}, status=\"5xx\"}}[$window]))",
                slower(INGEST, INGEST_SECONDS)
            ),
            all: timed(INGEST),
            floor: 0.05,
            team: Team::Service,
            alert: "DgmIngestBudgetBurn",
            dashboard: "dgm-overview",
            pages: true,
        },
        Slo {
            name: "cache",
            promise: format!(
                "{} of the lookups of what is cached are answered by a tier, or missed because of a write. Lookups of tokens and \
                 sessions, which are far more frequent, do not count.",
                percent(CACHE_HIT_RATIO)
            ),
            target: CACHE_HIT_RATIO,
            bad: format!(
                "{LOOKUPS} - sum by (job) (rate(dgm_cache_requests_total{{class!=\"session\", result=\"hit\"}}[$window])) \
                 - ({WRITES} or {LOOKUPS} * 0)"
            ),
            all: LOOKUPS.to_owned(),
            floor: 1.0,
            team: Team::Service,
            alert: "DgmCacheBudgetBurn",
            dashboard: "dgm-cache",
            pages: false,
        },
    ]
}

/// A pair of windows: the budget burns at `factor` times the pace at which it would last 30 days.
struct Pair {
    long: &'static str,
    short: &'static str,
    factor: f64,
    wait: &'static str,
    /// When the examples look whether it fires: well after the wait.
    shown: &'static str,
    severity: Severity,
}

const PAIRS: &[Pair] = &[
    Pair { long: "1h", short: "5m", factor: 14.4, wait: "2m", shown: "30m", severity: Severity::Critical },
    Pair { long: "6h", short: "30m", factor: 6.0, wait: "15m", shown: "1h", severity: Severity::Critical },
    Pair { long: "1d", short: "2h", factor: 3.0, wait: "1h", shown: "2h", severity: Severity::Warning },
    Pair { long: "3d", short: "6h", factor: 1.0, wait: "3h", shown: "4h", severity: Severity::Warning },
];

/// Every window of [`PAIRS`], each once.
pub const WINDOWS: &[&str] = &["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// Share of bad events and events a second, by objective and window; and the objectives themselves.
#[must_use]
pub fn recordings() -> Vec<Recording> {
    let mut rules = Vec::new();
    for slo in slos() {
        let labels = vec![("slo", slo.name.to_owned())];
        rules.push(Recording {
            record: "dgm:slo_target:ratio".to_owned(),
            labels: labels.clone(),
            expr: format!("vector({})", slo.target),
        });
        for window in WINDOWS {
            let fill = |text: &str| text.replace("$window", window);
            rules.push(Recording {
                record: format!("dgm:slo_errors:ratio_rate{window}"),
                labels: labels.clone(),
                // Without events there is no share, and with a bad scrape it must not be more than all.
                expr: format!("clamp((\n  {}\n) / (\n  {} > 0\n), 0, 1)", fill(&slo.bad), fill(&slo.all)),
            });
            rules.push(Recording {
                record: format!("dgm:slo_events:rate{window}"),
                labels: labels.clone(),
                expr: fill(&slo.all),
            });
        }
    }
    rules
}

/// Multi-window multi-burn-rate alerts. A pair whose threshold is no share below 1 could never fire and is left out.
#[must_use]
pub fn alerts() -> Vec<Alert> {
    let mut alerts = Vec::new();
    for slo in slos() {
        for pair in PAIRS.iter().filter(|pair| pair.factor * (1.0 - slo.target) < 0.99) {
            if !slo.pages && pair.severity == Severity::Critical {
                continue;
            }
            alerts.push(burn(&slo, pair));
        }
    }
    alerts
}

fn burn(slo: &Slo, pair: &Pair) -> Alert {
    let Slo { name, floor, .. } = slo;
    let Pair { long, short, factor, .. } = pair;
    // Written as a product: the reader sees pace and budget.
    let threshold = format!("({factor} * {:.4})", 1.0 - slo.target);
    let over = |window: &str| format!("dgm:slo_errors:ratio_rate{window}{{slo=\"{name}\"}} > {threshold}");
    let ratio = |value: f64| {
        let of = |window: &str| {
            (format!("dgm:slo_errors:ratio_rate{window}{{job=\"dgm\", slo=\"{name}\"}}"), format!("{value}x600"))
        };
        vec![
            of(long),
            of(short),
            (format!("dgm:slo_events:rate{long}{{job=\"dgm\", slo=\"{name}\"}}"), "100x600".to_owned()),
        ]
    };
    let mut quiet = ratio(0.99);
    if let Some(events) = quiet.last_mut() {
        events.1 = format!("{}x600", floor / 2.0);
    }
    Alert {
        name: slo.alert,
        severity: pair.severity,
        team: slo.team,
        wait: pair.wait,
        lingers: LINGERS,
        expr: format!("{}\nand {}\nand dgm:slo_events:rate{long}{{slo=\"{name}\"}} > {floor}", over(long), over(short)),
        labels: vec![("window", (*long).to_owned())],
        summary: format!("The error budget of {name} burns {factor} times too fast ({long})."),
        description: format!(
            "{{{{ $value | humanizePercentage }}}} of the events of the last {long} were bad. {} At this pace the budget of 30 days is \
             gone in {} days.",
            slo.promise,
            (300.0 / factor).round() / 10.0
        ),
        dashboard: slo.dashboard,
        fires: vec![Example { series: ratio(0.99), at: pair.shown }],
        silent: vec![
            Example { series: ratio(factor * (1.0 - slo.target) * 0.9), at: pair.shown },
            Example { series: quiet, at: pair.shown },
        ],
    }
}
