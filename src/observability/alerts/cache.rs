//! The tiers of the cache, and Redis.

use crate::observability::objectives::{CACHE_ANSWER_SECONDS, CACHE_HIT_RATIO};
use crate::observability::rule::{Alert, LINGERS_OF_CAUSES, Severity, Team};
use crate::observability::words::{milliseconds, percent};
use Severity::{Critical, Warning};

const CACHE: &str = "dgm-cache";

fn alert(name: &'static str, severity: Severity, team: Team) -> Alert {
    Alert::new(name, severity, team, CACHE)
}

pub(super) fn alerts() -> Vec<Alert> {
    let mut alerts = redis();
    alerts.extend(tiers());
    alerts
}

fn redis() -> Vec<Alert> {
    vec![
        alert("DgmRedisDown", Critical, Team::Platform)
            .when("2m", "dgm_cache_redis_up == 0")
            .lingers(LINGERS_OF_CAUSES)
            .says(
                "Redis does not answer {{ $labels.instance }}.",
                "Reads go to PostgreSQL when the process has no copy of its own; sessions, which live in Redis, are not known.",
            )
            .fires("5m", &[("dgm_cache_redis_up{job=\"dgm\", instance=\"a\"}", "1 0x20")])
            .silent("5m", &[("dgm_cache_redis_up{job=\"dgm\", instance=\"a\"}", "1 0 1x20")]),
        alert("DgmRedisWritesRefused", Critical, Team::Platform)
            .when("2m", "dgm_cache_redis_writable == 0")
            .says(
                "Redis refuses the writes of {{ $labels.instance }}.",
                "Sessions are neither opened nor closed (503), and what is read is not kept for other replicas; /ready has the reason.",
            )
            .fires("5m", &[("dgm_cache_redis_writable{job=\"dgm\", instance=\"a\"}", "1 0x20")])
            .silent("5m", &[("dgm_cache_redis_writable{job=\"dgm\", instance=\"a\"}", "1 0 1x20")]),
        alert("DgmRedisInfoRefused", Warning, Team::Platform)
            .when("10m", "dgm_redis_info_up == 0 unless on (job, instance) dgm_cache_redis_up == 0")
            .says(
                "Redis does not answer INFO.",
                "Its memory, evictions and clients are not measured: DgmRedisMemoryHigh and DgmRedisEvicting cannot fire.",
            )
            .fires("20m", &information("1x30"))
            // DgmRedisDown reports it.
            .silent("20m", &information("0x30"))
            .silent("20m", &[("dgm_redis_info_up{job=\"dgm\", instance=\"a\"}", "1x30")]),
        alert("DgmRedisMemoryHigh", Warning, Team::Platform)
            .when("10m", "max by (job) (dgm_redis_memory_bytes / (dgm_redis_memory_max_bytes > 0)) > 0.9")
            .says("Redis is nearly full.", "{{ $value | humanizePercentage }} of its memory is used; then it evicts, or refuses.")
            .fires("20m", &memory("95x30", "100x30"))
            .silent("20m", &memory("50x30", "100x30"))
            // No limit.
            .silent("20m", &memory("95x30", "0x30")),
        alert("DgmRedisEvicting", Warning, Team::Platform)
            .when("15m", "max by (job) (rate(dgm_redis_evicted_total[5m])) > 0")
            .says("Redis evicts.", "{{ $value | humanize }} keys a second are thrown out before their time, sessions among them.")
            .fires("30m", &[("dgm_redis_evicted_total{job=\"dgm\", instance=\"a\"}", "0+60x40")])
            .silent("30m", &[("dgm_redis_evicted_total{job=\"dgm\", instance=\"a\"}", "60x40")]),
        alert("DgmCacheSlow", Warning, Team::Platform)
            .when(
                "10m",
                format!(
                    "histogram_quantile(0.95, sum by (job, instance, le) (rate(dgm_cache_redis_duration_seconds_bucket[5m]))) > {CACHE_ANSWER_SECONDS}\n\
                     and sum by (job, instance) (rate(dgm_cache_redis_duration_seconds_count[5m])) > 1"
                ),
            )
            .says(
                "Redis is slow.",
                &format!(
                    "One answer in twenty takes {{{{ $value | humanizeDuration }}}}; {} is what the cache may take.",
                    milliseconds(CACHE_ANSWER_SECONDS)
                ),
            )
            .fires("20m", &answers("0+60x30"))
            .silent("20m", &answers("0+600x30")),
    ]
}

fn memory(used: &'static str, most: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_redis_memory_bytes{job=\"dgm\", instance=\"a\"}", used),
        ("dgm_redis_memory_max_bytes{job=\"dgm\", instance=\"a\"}", most),
    ]
}

fn information(up: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_redis_info_up{job=\"dgm\", instance=\"a\"}", "0x30"),
        ("dgm_cache_redis_up{job=\"dgm\", instance=\"a\"}", up),
    ]
}

fn answers(fast: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("dgm_cache_redis_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.01\"}", fast),
        ("dgm_cache_redis_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"0.025\"}", "0+600x30"),
        ("dgm_cache_redis_duration_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"+Inf\"}", "0+600x30"),
        ("dgm_cache_redis_duration_seconds_count{job=\"dgm\", instance=\"a\"}", "0+600x30"),
    ]
}

fn lookups(hits: &'static str, misses: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_cache_requests_total{job=\"dgm\", instance=\"a\", class=\"entry\", tier=\"l1\", result=\"hit\"}", hits),
        (
            "dgm_cache_requests_total{job=\"dgm\", instance=\"a\", class=\"entry\", tier=\"l1\", result=\"miss\"}",
            misses,
        ),
    ]
}

/// Lookups next to writes.
fn written(hits: &'static str, misses: &'static str, writes: &'static str) -> [(&'static str, &'static str); 3] {
    let [hits, misses] = lookups(hits, misses);
    let route = "dgm_http_requests_total{job=\"dgm\", instance=\"a\", route=\"/api/v1/archive\", method=\"POST\", status=\"2xx\"}";
    [hits, misses, (route, writes)]
}

fn followers(coalesced: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("dgm_cache_coalesced_total{job=\"dgm\", instance=\"a\", class=\"stats\"}", coalesced),
        ("dgm_cache_load_duration_seconds_count{job=\"dgm\", instance=\"a\", class=\"stats\"}", "0+60x20"),
    ]
}

fn tiers() -> Vec<Alert> {
    vec![
        alert("DgmCacheHitRateLow", Warning, Team::Service)
            .when(
                "15m",
                format!(
                    "1 - dgm:slo_errors:ratio_rate5m{{slo=\"cache\"}} < {CACHE_HIT_RATIO} and dgm:slo_events:rate5m{{slo=\"cache\"}} > 5"
                ),
            )
            .says(
                "The cache answers too little.",
                &format!(
                    "{{{{ $value | humanizePercentage }}}} of the lookups are answered by a tier or missed because of a write; the \
                     objective is {}.",
                    percent(CACHE_HIT_RATIO)
                ),
            )
            .fires("30m", &lookups("0+600x40", "0+600x40"))
            .silent("30m", &lookups("0+5400x40", "0+600x40"))
            // Hardly anybody reads.
            .silent("30m", &lookups("0+60x40", "0+60x40"))
            // Nearly all requests are writes, and each result is read once.
            .silent("30m", &written("0+60x40", "0+600x40", "0+3000x40"))
            // A few writes do not excuse many misses.
            .fires("30m", &written("0+600x40", "0+600x40", "0+60x40")),
        alert("DgmCacheStampede", Warning, Team::Service)
            .when(
                "5m",
                "sum by (job, class) (rate(dgm_cache_coalesced_total[5m]))\n\
                 / sum by (job, class) (rate(dgm_cache_load_duration_seconds_count[5m]) > 0) > 20",
            )
            .says(
                "Many wait for few loads of {{ $labels.class }}.",
                "{{ $value | humanize }} callers wait for each load: a copy that all want lives too short, or its load takes too long.",
            )
            .fires("15m", &followers("0+6000x20"))
            .silent("15m", &followers("0+60x20")),
        alert("DgmChangeFeedStale", Warning, Team::Service)
            .when("1m", "dgm_cache_confirmed_age_seconds > 4")
            .says(
                "{{ $labels.instance }} does not know what changed.",
                "For {{ $value | humanizeDuration }} the database has not confirmed the changes; entries are read past the cache.",
            )
            .fires("5m", &[("dgm_cache_confirmed_age_seconds{job=\"dgm\", instance=\"a\"}", "1 9x20")])
            .silent("5m", &[("dgm_cache_confirmed_age_seconds{job=\"dgm\", instance=\"a\"}", "1x20")]),
        alert("DgmInvalidationLag", Warning, Team::Service)
            .when(
                "5m",
                "histogram_quantile(0.99, sum by (job, instance, le) (rate(dgm_cache_invalidation_lag_seconds_bucket[5m]))) > 1",
            )
            .says(
                "{{ $labels.instance }} learns late of changes.",
                "One change in a hundred is known {{ $value | humanizeDuration }} after it was made.",
            )
            .fires("15m", &lag("0+30x20"))
            .silent("15m", &lag("0+60x20")),
    ]
}

fn lag(soon: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("dgm_cache_invalidation_lag_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"1\"}", soon),
        ("dgm_cache_invalidation_lag_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"2.5\"}", "0+60x20"),
        ("dgm_cache_invalidation_lag_seconds_bucket{job=\"dgm\", instance=\"a\", le=\"+Inf\"}", "0+60x20"),
    ]
}
