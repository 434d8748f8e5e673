use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use super::Watched;
use crate::support::redis::Redis;
use crate::support::{Database, until};

#[test]
fn memory_evictions_and_clients_of_redis_are_seen() {
    let database = Database::migrated();
    let redis = Redis::own_with(
        "memory limit, evictions and refused clients of the whole server",
        &["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"],
    );
    let watched = Watched::start(&database, &redis.url(), &[]);
    assert_eq!(watched.last("dgm_redis_memory_max_bytes"), f64::from(3 << 20));
    let before = watched.last("dgm_redis_memory_bytes");
    assert!(before > 100_000.0, "{before}");
    assert!(watched.last("dgm_redis_clients") >= 1.0);
    for counter in ["evicted", "expired", "rejected_connections"] {
        assert_eq!(watched.last(&format!("dgm_redis_{counter}_total")), 0.0, "{counter}");
    }
    let commands = watched.now("dgm_redis_commands_total");

    assert_eq!(redis.command(&["SET", "short", "x", "PX", "1"]), "OK");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(redis.command(&["GET", "short"]), "");
    assert_eq!(watched.now("dgm_redis_expired_total"), 1.0);
    assert!(watched.last("dgm_redis_commands_total") >= commands + 2.0);
    for n in 0..40 {
        let many = format!("for i = 1, 100 do redis.call('SET', 'k{n}-' .. i, string.rep('x', 1000)) end");
        redis.command(&["EVAL", &many, "0"]);
    }
    assert!(watched.now("dgm_redis_evicted_total") > 100.0);
    let after = watched.last("dgm_redis_memory_bytes");
    assert!(after > before && after < f64::from(4 << 20), "{before}, then {after}");

    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    let mut refusal = String::new();
    let address = redis.url().trim_start_matches("redis://").to_owned();
    TcpStream::connect(address).unwrap().read_to_string(&mut refusal).unwrap();
    assert!(refusal.contains("max number of clients"), "{refusal}");
    assert_eq!(watched.now("dgm_redis_rejected_connections_total"), 1.0);
}

#[test]
fn the_primaries_of_a_cluster_are_added_up_and_a_restart_makes_no_leap() {
    let database = Database::migrated();
    let mut redis = Redis::start_cluster();
    let megabyte = |n: u32| (n << 20).to_string();
    redis.each_node(|node, run| {
        let memory = megabyte(if node < 3 { 10 << node } else { 500 });
        run(&["CONFIG", "SET", "maxmemory", &memory]);
    });
    let watched = Watched::start(&database, &redis.url(), &[]);
    assert_eq!(watched.last("dgm_redis_memory_max_bytes"), f64::from(70 << 20));
    assert!(watched.last("dgm_redis_clients") >= 3.0);
    let commands = watched.now("dgm_redis_commands_total");
    redis.each_node(|_, run| (0..20).for_each(|_| run(&["PING"])));
    let after = watched.now("dgm_redis_commands_total");
    assert!((commands + 60.0..commands + 200.0).contains(&after), "{commands}, then {after}");
    redis.kill();
    watched.collect();
    assert_eq!(watched.last("dgm_redis_commands_total"), after, "what does not answer keeps its figure");
    redis.restart_empty();
    until("Redis is used again", || watched.last("dgm_cache_redis_up") == 1.0);
    let again = watched.now("dgm_redis_commands_total");
    assert!((after..after + 200.0).contains(&again), "{after}, then {again}");
}
