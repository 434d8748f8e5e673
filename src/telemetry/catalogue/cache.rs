//! The two tiers.

use super::LATENCY;
use super::labels::{Cause, Class, Lookup, RedisFailure, Refusal, Tier};

super::metrics! {
    /// Lookups by class of key, tier and result; a request that misses the first tier is counted once in each.
    Counter CACHE_REQUESTS<(Class, Tier, Lookup)> = "dgm_cache_requests_total", "requests";
    /// Time to load what no tier had, by class of key.
    Histogram CACHE_LOAD_DURATION<(Class,)> = "dgm_cache_load_duration_seconds", "seconds", LATENCY;
    /// Lookups that waited for the load of another; only the followers.
    Counter CACHE_COALESCED<(Class,)> = "dgm_cache_coalesced_total", "requests";
    /// Entries in the in-process tier.
    Gauge CACHE_ENTRIES<(Tier,)> = "dgm_cache_entries", "entries";
    /// Size of the in-process tier, keys and bookkeeping included.
    Gauge CACHE_BYTES<(Tier,)> = "dgm_cache_size_bytes", "bytes";
    /// Entries that left the in-process tier, by cause.
    Counter CACHE_EVICTIONS<(Cause,)> = "dgm_cache_evictions_total", "entries";
    /// Time of an answer of Redis, whether it came or not.
    Histogram CACHE_REDIS_DURATION<()> = "dgm_cache_redis_duration_seconds", "seconds", LATENCY;
    /// Copies in Redis that were not served: a newer version is known, or what changed since cannot be known.
    Counter CACHE_REFUSED<(Refusal,)> = "dgm_cache_refused_total", "copies";
    /// Lookups that passed by both tiers because the change feed was not confirmed.
    Counter CACHE_BYPASSED<(Class,)> = "dgm_cache_bypassed_total", "requests";
    /// How long ago the database was asked for the changes that are known; above 4 s the cache is passed by.
    Gauge CACHE_CONFIRMED_AGE<()> = "dgm_cache_confirmed_age_seconds", "seconds";
    /// Entries that were kept before anybody asked for them: parents and best children of what was read.
    Counter CACHE_PREFETCHED<()> = "dgm_cache_prefetched_total", "entries";
    /// Changes of entries that the database told of.
    Counter CACHE_CHANGES<()> = "dgm_cache_changes_total", "changes";
    /// Time from a change (its statement, not its commit) until this process dropped its copies.
    Histogram CACHE_INVALIDATION_LAG<()> = "dgm_cache_invalidation_lag_seconds", "seconds", LATENCY;
    /// Memory of the pools that parents are drawn from.
    Gauge SELECTION_BYTES<()> = "dgm_selection_size_bytes", "bytes";
    /// 1 while Redis answers, 0 while it does not, with or without traffic; absent without Redis.
    Gauge CACHE_REDIS_UP<()> = "dgm_cache_redis_up", "1 or 0";
    /// 0 from the first write that Redis refuses until it accepts one like it again; absent without Redis.
    Gauge CACHE_REDIS_WRITABLE<()> = "dgm_cache_redis_writable", "1 or 0";
    /// Writes to Redis that failed, by reason; every reason but unavailable is a refusal of a Redis that answers.
    Counter CACHE_REDIS_WRITE_FAILURES<(RedisFailure,)> = "dgm_cache_redis_write_failures_total", "commands";
}
