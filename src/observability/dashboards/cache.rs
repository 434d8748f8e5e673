//! For whoever asks why a read went to PostgreSQL.

use crate::observability::dashboard::{Bad, Dashboard, Panel};
use crate::observability::objectives::{CACHE_ANSWER_SECONDS, CACHE_HIT_RATIO};
use crate::observability::words::milliseconds;

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-cache",
        title: "dgm / Cache",
        description: "The in-process tier, Redis below it, the loads behind both, and how soon changes are known.",
        rows: vec![("Tiers", tiers()), ("Loads", loads()), ("Coherence", coherence()), ("Redis", redis())],
        by_service: false,
    }
}

fn tiers() -> Vec<Panel> {
    vec![
        Panel::lines("Hit rate", "percentunit", "Share of lookups that each tier answers of those that reach it; sessions and tokens left out.")
            .ask(
                "{{tier}}",
                "sum by (tier) (rate(dgm_cache_requests_total{$sel, class!=\"session\", result=\"hit\"}[$__rate_interval])) / sum by (tier) (rate(dgm_cache_requests_total{$sel, class!=\"session\"}[$__rate_interval]))",
            )
            .ask("any tier", "1 - avg(dgm:slo_errors:ratio_rate5m{job=~\"$job\", slo=\"cache\"})")
            .bad(Bad::Below(CACHE_HIT_RATIO))
            .alerts(&["DgmCacheHitRateLow", "DgmCacheBudgetBurn"]),
        Panel::stack("Lookups by class", "cps", "Lookups a second, by what is looked up.")
            .ask("{{class}}", "sum by (class) (rate(dgm_cache_requests_total{$sel, tier=\"l1\"}[$__rate_interval]))"),
        Panel::table("Lookups", "none", "Lookups a second over five minutes, by class, tier and result.")
            .ask("", "sum by (class, tier, result) (rate(dgm_cache_requests_total{$sel}[5m])) > 0")
            .size(8, 8),
        Panel::lines("Size of the in-process tier", "bytes", "Keys and bookkeeping included; cache.max_bytes is the most.")
            .ask("{{instance}}", "sum by (instance) (dgm_cache_size_bytes{$sel})"),
        Panel::lines("Entries of the in-process tier", "none", "Entries by instance.")
            .ask("{{instance}}", "sum by (instance) (dgm_cache_entries{$sel})"),
        Panel::lines("Evictions", "cps", "Entries a second that left, by cause; by size: the tier is too small for what is read.")
            .ask("{{cause}}", "sum by (cause) (rate(dgm_cache_evictions_total{$sel}[$__rate_interval]))"),
        Panel::lines("Pools of parents", "bytes", "Memory of what parents are selected from.")
            .ask("{{instance}}", "sum by (instance) (dgm_selection_size_bytes{$sel})"),
        Panel::lines("Prefetched", "cps", "Entries a second that were kept before anybody asked for them.")
            .ask("prefetched", "sum(rate(dgm_cache_prefetched_total{$sel}[$__rate_interval]))"),
    ]
}

fn loads() -> Vec<Panel> {
    vec![
        Panel::lines("Loads", "cps", "Loads from PostgreSQL a second, by class.")
            .ask("{{class}}", "sum by (class) (rate(dgm_cache_load_duration_seconds_count{$sel}[$__rate_interval]))"),
        Panel::lines("Time of a load, p95", "s", "Time within which 95 % of the loads of a class end.")
            .ask("{{class}}", "histogram_quantile(0.95, sum by (class, le) (rate(dgm_cache_load_duration_seconds_bucket{$sel}[$__rate_interval])))"),
        Panel::lines("Followers", "cps", "Lookups a second that waited for the load of another instead of loading too.")
            .ask("{{class}}", "sum by (class) (rate(dgm_cache_coalesced_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmCacheStampede"]),
    ]
}

fn coherence() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Age of what is known",
            "s",
            "How long ago the database confirmed the changes; above 4 s entries are read past the cache.",
        )
        .ask("{{instance}}", "max by (instance) (dgm_cache_confirmed_age_seconds{$sel})")
        .bad(Bad::Above(4.0))
        .alerts(&["DgmChangeFeedStale"]),
        Panel::lines("Lag of changes", "s", "Time from a change until this process dropped its copies.")
            .quantiles("dgm_cache_invalidation_lag_seconds", "")
            .bad(Bad::Above(1.0))
            .alerts(&["DgmInvalidationLag"]),
        Panel::lines("Changes", "cps", "Changes of entries a second that instances were told of.")
            .ask("{{instance}}", "sum by (instance) (rate(dgm_cache_changes_total{$sel}[$__rate_interval]))"),
        Panel::lines(
            "Copies refused",
            "cps",
            "Copies in Redis a second that were not served, since they were old or might have been.",
        )
        .ask("{{reason}}", "sum by (reason) (rate(dgm_cache_refused_total{$sel}[$__rate_interval]))"),
        Panel::lines(
            "Cache passed by",
            "cps",
            "Lookups a second that passed by both tiers, since changes were not confirmed.",
        )
        .ask("{{class}}", "sum by (class) (rate(dgm_cache_bypassed_total{$sel}[$__rate_interval]))"),
    ]
}

fn redis() -> Vec<Panel> {
    vec![
        Panel::figure("Redis", "bool_yes_no", "Whether it answers every instance.")
            .ask("up", "min(dgm_cache_redis_up{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmRedisDown"]),
        Panel::figure("Accepts writes", "bool_yes_no", "Whether it accepts the writes of every instance.")
            .ask("writable", "min(dgm_cache_redis_writable{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmRedisWritesRefused"]),
        Panel::figure("Answers INFO", "bool_yes_no", "Whether memory, evictions and clients are measured.")
            .ask("info", "min(dgm_redis_info_up{$sel})")
            .bad(Bad::Below(1.0))
            .alerts(&["DgmRedisInfoRefused"]),
        Panel::lines("Failed writes", "cps", "Writes to Redis a second that failed, by reason.")
            .ask("{{reason}}", "sum by (reason) (rate(dgm_cache_redis_write_failures_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmRedisWritesRefused"]),
        Panel::figure("Clients", "none", "Clients that are connected.").ask("clients", "max(dgm_redis_clients{$sel})"),
        Panel::lines(
            "Time of an answer",
            "s",
            format!("As the service sees it; {} is what the cache may take.", milliseconds(CACHE_ANSWER_SECONDS)),
        )
        .quantiles("dgm_cache_redis_duration_seconds", "")
        .bad(Bad::Above(CACHE_ANSWER_SECONDS))
        .alerts(&["DgmCacheSlow"]),
        Panel::lines("Memory", "bytes", "Memory in use, and maxmemory (0: no limit).")
            .ask("used", "max(dgm_redis_memory_bytes{$sel})")
            .ask("most", "max(dgm_redis_memory_max_bytes{$sel})")
            .alerts(&["DgmRedisMemoryHigh"]),
        Panel::lines(
            "Keys that went",
            "cps",
            "Keys a second that ended, and those that were evicted before their time.",
        )
        .ask("expired", "max(rate(dgm_redis_expired_total{$sel}[$__rate_interval]))")
        .ask("evicted", "max(rate(dgm_redis_evicted_total{$sel}[$__rate_interval]))")
        .alerts(&["DgmRedisEvicting"]),
        Panel::lines("Commands", "cps", "Commands a second, and connections that were refused.")
            .ask("commands", "max(rate(dgm_redis_commands_total{$sel}[$__rate_interval]))")
            .ask("connections refused", "max(rate(dgm_redis_rejected_connections_total{$sel}[$__rate_interval]))"),
    ]
}
