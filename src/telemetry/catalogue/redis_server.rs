//! What Redis tells of itself; of a cluster, its primaries together. Every process reads the same, so over replicas take
//! the max.

super::metrics! {
    /// 0 when Redis does not answer INFO, so that the other metrics of this group are missing or old; absent without Redis.
    Gauge REDIS_INFO_UP<()> = "dgm_redis_info_up", "1 or 0";
    /// Memory that Redis uses; of a cluster, all primaries together.
    Gauge REDIS_MEMORY<()> = "dgm_redis_memory_bytes", "bytes";
    /// Memory from which on Redis evicts or refuses (maxmemory), all primaries together; 0: no limit.
    Gauge REDIS_MEMORY_MAX<()> = "dgm_redis_memory_max_bytes", "bytes";
    /// Keys that Redis evicted for want of memory; the same at every replica, so take the max.
    Counter REDIS_EVICTED<()> = "dgm_redis_evicted_total", "keys";
    /// Keys whose time was over; the same at every replica, so take the max.
    Counter REDIS_EXPIRED<()> = "dgm_redis_expired_total", "keys";
    /// Clients that are connected to Redis, of whatever kind.
    Gauge REDIS_CLIENTS<()> = "dgm_redis_clients", "clients";
    /// Commands that Redis ran, of whoever sent them; the same at every replica, so take the max.
    Counter REDIS_COMMANDS<()> = "dgm_redis_commands_total", "commands";
    /// Connections that Redis refused because it had maxclients; the same at every replica, so take the max.
    Counter REDIS_REJECTED_CONNECTIONS<()> = "dgm_redis_rejected_connections_total", "connections";
}
