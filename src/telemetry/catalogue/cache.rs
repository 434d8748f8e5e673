//! The two tiers.

use super::LATENCY;
use super::labels::{Cause, Class, Lookup, Tier};

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
    /// 1 while Redis answers, 0 while it does not; absent without Redis.
    Gauge CACHE_REDIS_UP<()> = "dgm_cache_redis_up", "1 or 0";
}
