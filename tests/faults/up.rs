//! Whether the servers answer, without any traffic.

use std::time::Duration;

use crate::support::crash::Mortal;
use crate::support::redis::Redis;
use crate::support::serve::Serve;
use crate::support::{Database, soon};

/// What the gauges promise.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_postgresql_that_dies_or_hangs_is_told_within_seconds_and_so_is_its_return() {
    let mut postgres = Mortal::own("killed and paused", &[]);
    let serve = Serve::start_with(&postgres.database, "", &[("DGM__JOBS__ENABLED", "false")]);
    let becomes = |value: f64, why: &str| soon(why, SOON, || serve.metric("dgm_db_up ") == Some(value));
    becomes(1.0, "up from the start");
    // A session that is ended is not the server's end.
    let before = serve.count("dgm_db_statement_duration_seconds_count{statement=\"feed_poll\"}");
    postgres.database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dgm-feed'");
    soon("the feed goes on", SOON, || {
        assert_eq!(serve.metric("dgm_db_up "), Some(1.0));
        serve.count("dgm_db_statement_duration_seconds_count{statement=\"feed_poll\"}") > before + 1
    });
    postgres.kill();
    becomes(0.0, "killed");
    postgres.restart();
    becomes(1.0, "started again");
    postgres.pause();
    becomes(0.0, "hangs");
    postgres.resume();
    becomes(1.0, "goes on");
}

#[test]
fn a_redis_that_dies_or_hangs_is_told_within_seconds_and_so_is_its_return() {
    told(Redis::own("killed and paused"));
}

#[test]
fn a_redis_cluster_that_dies_or_hangs_is_told_within_seconds_and_so_is_its_return() {
    told(Redis::start_cluster());
}

fn told(mut redis: Redis) {
    let database = Database::migrated();
    let serve = Serve::start_with(&database, &redis.url(), &[("DGM__JOBS__ENABLED", "false")]);
    let becomes = |value: f64, why: &str| soon(why, SOON, || serve.metric("dgm_cache_redis_up ") == Some(value));
    becomes(1.0, "up from the start");
    redis.kill();
    becomes(0.0, "killed");
    redis.restart_empty();
    becomes(1.0, "started again");
    redis.pause();
    becomes(0.0, "hangs");
    redis.resume();
    becomes(1.0, "goes on");
}
