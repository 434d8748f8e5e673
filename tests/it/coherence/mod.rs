//! Two replicas, one Redis, one PostgreSQL, and a nemesis: no read is older than promised, whatever breaks. The reads are
//! recorded and judged by `history`, which is shown to find each kind of fault, here with the cache's own judgement off.

mod history;
mod nemesis;
mod run;

use dgm_service::cache::BOUND;

use crate::support::redis::Redis;
use crate::support::setting;
use history::Violation;
use nemesis::Action;
use run::{Plan, run};

#[test]
fn no_read_is_older_than_promised_whatever_breaks() {
    holds(Redis::start);
}

#[test]
fn nor_is_one_with_a_redis_cluster() {
    holds(Redis::start_cluster);
}

fn holds(redis: fn() -> Redis) {
    let outcome = run(&Plan { redis, reads: setting("DGM_TEST_READS", 30_000), actions: &Action::ALL, settings: &[] });
    eprintln!("{outcome}");
    let violations = &outcome.verdict.violations;
    assert!(violations.is_empty(), "{outcome}; the first: {:#?}", &violations[..violations.len().min(10)]);
    assert_eq!(outcome.errors_when_calm, [], "{outcome}; a request failed while its database was there");
    // A service that asks PostgreSQL each time is coherent, and of no use.
    assert!(outcome.hits.iter().all(|hits| hits * 20 > outcome.reads), "{outcome}; the cache was hardly used");
    assert!(outcome.feeds_cut > 0 && outcome.feeds_hung > 0, "{outcome}; the nemesis found no feed");
}

#[test]
fn without_the_judgement_of_versions_the_same_run_fails() {
    let settings: &[(&str, &str)] = &[("DGM__CACHE__COHERENT", "false")];
    let outcome =
        run(&Plan { redis: Redis::start, reads: 5_000, actions: &[Action::RestoreRedis, Action::Bulk], settings });
    eprintln!("{outcome}");
    let stale = outcome.verdict.violations.iter().any(|(_, violation)| matches!(violation, Violation::Stale(_)));
    assert!(stale, "{outcome}; the run cannot fail");
}
