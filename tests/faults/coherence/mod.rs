//! Two replicas, one Redis, one PostgreSQL, and a nemesis: no read is older than promised, whatever breaks. The reads are
//! recorded and judged by `history`, which is shown to find each kind of fault, here with the cache's own judgement off.

mod history;
mod nemesis;
mod run;

use std::time::Duration;

use dgm_service::cache::BOUND;

use crate::support::redis::Redis;
use crate::support::setting;
use history::Violation;
use nemesis::Action;
use run::{Plan, run};

/// Between two batches of a reader, so that tests beside this one get their part of the machine.
const PAUSE: Duration = Duration::from_millis(100);
/// Reads of a test before the nemesis rests, unless the environment asks for more. About as many again come after it.
const READS: usize = 3_000;
/// Why a Redis is its test's own.
const REASON: &str = "killed, paused and restored";

#[test]
fn no_read_is_older_than_promised_when_redis_loses_data() {
    holds(|| Redis::own(REASON), &Action::LOSSES, reads());
}

#[test]
fn no_read_is_older_than_promised_when_redis_returns_old_data() {
    holds(|| Redis::own(REASON), &Action::RETURNS, READS);
}

#[test]
fn no_read_is_older_than_promised_when_the_feeds_hang() {
    holds(|| Redis::own(REASON), &Action::SILENCE, READS);
}

#[test]
fn nor_is_one_with_a_redis_cluster_that_loses_data() {
    holds(Redis::start_cluster, &Action::LOSSES, reads());
}

#[test]
fn nor_is_one_with_a_redis_cluster_that_returns_old_data() {
    holds(Redis::start_cluster, &Action::RETURNS, READS);
}

#[test]
fn nor_is_one_with_a_redis_cluster_when_the_feeds_hang() {
    holds(Redis::start_cluster, &Action::SILENCE, READS);
}

fn reads() -> usize {
    setting("DGM_TEST_READS", READS)
}

fn holds(redis: fn() -> Redis, actions: &'static [Action], reads: usize) {
    // A long run does all that the nemesis can, again and again.
    let (actions, pause) = if reads > READS { (&Action::ALL[..], Duration::ZERO) } else { (actions, PAUSE) };
    let outcome = run(&Plan { redis, reads, pause, actions, settings: &[] });
    eprintln!("{outcome}");
    let violations = &outcome.verdict.violations;
    assert!(violations.is_empty(), "{outcome}; the first: {:#?}", &violations[..violations.len().min(10)]);
    assert_eq!(outcome.errors_when_calm, [], "{outcome}; a request failed while its database was there");
    // A service that asks PostgreSQL each time is coherent, and of no use. Where Redis is broken most of the time, on a slow machine for
    // longer, fewer reads come from it.
    let redis_breaks = actions.iter().any(|action| action.breaks_redis());
    let [in_process, in_redis] = outcome.hits;
    let least_of_redis = outcome.reads / if redis_breaks { 100 } else { 20 };
    assert!(in_process * 20 > outcome.reads && in_redis > least_of_redis, "{outcome}; the cache was hardly used");
    let cuts = actions.iter().any(|action| action.cuts_feeds());
    let hangs = actions.iter().any(|action| matches!(action, Action::HangFeeds));
    let met = (outcome.feeds_cut > 0 || !cuts) && (outcome.feeds_hung > 0 || !hangs);
    assert!(met, "{outcome}; the nemesis found no feed");
}

#[test]
fn without_the_judgement_of_versions_the_same_run_fails() {
    let settings: &[(&str, &str)] = &[("DGM__CACHE__COHERENT", "false")];
    let outcome = run(&Plan {
        redis: || Redis::own(REASON),
        reads: 2_500,
        pause: PAUSE,
        actions: &[Action::RestoreRedis, Action::Bulk],
        settings,
    });
    eprintln!("{outcome}");
    let stale = outcome.verdict.violations.iter().any(|(_, violation)| matches!(violation, Violation::Stale(_)));
    assert!(stale, "{outcome}; the run cannot fail");
}
