//! Acknowledged is durable: the service or PostgreSQL is killed under load, again and again; afterwards every write that
//! was acknowledged is there, and none twice.

mod ledger;
mod load;

use std::time::Duration;

use ledger::{Ledger, faults};
use load::Load;
use rand::RngExt as _;
use rustix::process::Signal;

use crate::support::crash::Mortal;
use crate::support::redis::Logical;
use crate::support::serve::Serve;
use crate::support::{setting, signal};

/// Writes that must be acknowledged between two kills, so that each meets a service at full work.
const ROUND: usize = 300;

/// Kills under load, so many times.
fn run(rounds: usize, server: &mut Mortal, mut kill_and_restart: impl FnMut(&mut Mortal, &mut Serve, &Load)) -> Ledger {
    let redis = Logical::new();
    let mut serve = Serve::start(&server.database, &redis.url());
    serve.token = server.database.token("worker");
    let load = Load::new(&serve);
    std::thread::scope(|scope| {
        let workers = load.start(scope);
        let stopper = load.stopper();
        for _ in 0..rounds {
            load.wait_for(ROUND);
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..200)));
            kill_and_restart(server, &mut serve, &load);
        }
        load.wait_for(ROUND);
        drop(stopper);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

/// The server's own setting would lose what was acknowledged; the service must set its own.
const HASTY: (&str, &str) = ("synchronous_commit", "off");

/// Kills, then looks. Then it takes away and adds what the look must find.
fn rounds(what: &str, kill_and_restart: impl FnMut(&mut Mortal, &mut Serve, &Load)) {
    let rounds = setting("DGM_TEST_ROUNDS", 2);
    let mut server = Mortal::own("killed", &[HASTY]);
    let ledger = run(rounds, &mut server, kill_and_restart);
    eprintln!("durability: {rounds} kills of {what}; {ledger}");
    assert!(ledger.interrupted > 0, "no kill met a request: {ledger}");
    let database = &server.database;
    assert_eq!(faults(database, &ledger), [] as [String; 0], "{ledger}");

    let (lost, twice) = (ledger.samples[0], ledger.samples[1]);
    database.sql(&format!("DELETE FROM dgm_performance_metrics WHERE metric_value = {lost}"));
    database.sql(&format!(
        "INSERT INTO dgm_performance_metrics (id, service_name, metric_type, metric_value, measurement_timestamp)
         SELECT id, service_name, metric_type, metric_value, measurement_timestamp + interval '1 ms'
         FROM dgm_performance_metrics WHERE metric_value = {twice}"
    ));
    let (entry, (improvement, result)) = (&ledger.entries[0], &ledger.completions[0]);
    database.sql(&format!("DELETE FROM dgm_archive WHERE archive_entry_id = '{entry}'"));
    database
        .sql(&format!("UPDATE dgm_improvements SET archive_entry_id = NULL WHERE improvement_id = '{improvement}'"));
    let expected = [
        format!("sample {lost} is there 0 times"),
        format!("sample {twice} is there 2 times"),
        "1 ids of samples are there more than once".to_owned(),
        format!("entry {entry} is lost"),
        format!("completion {improvement} with {result} is lost"),
        format!("completion {improvement} with  was not acknowledged"),
    ];
    assert_eq!(faults(database, &ledger), expected);
}

#[test]
fn what_was_acknowledged_outlives_the_service() {
    rounds("the service", |_, serve, load| {
        load.kill_begins();
        serve.kill();
        serve.restart();
    });
}

#[test]
fn what_was_acknowledged_outlives_postgresql() {
    rounds("PostgreSQL", |server, _, load| {
        load.kill_begins();
        server.kill();
        server.restart();
    });
}

#[test]
fn a_postgresql_that_acknowledges_too_early_is_found_out() {
    // Nothing but a commit that waits writes the log: not the WAL writer, not a full buffer, not an old page.
    let late = [("wal_buffers", "64MB"), ("bgwriter_lru_maxpages", "0")];
    let mut server = Mortal::own("killed", &late);
    // No setting of the server makes a transaction of the service hasty.
    server.database.sql(
        "CREATE FUNCTION hasty() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM set_config('synchronous_commit', 'off', true); RETURN NULL; END $$",
    );
    for table in ["dgm_archive", "dgm_improvements", "dgm_performance_metrics"] {
        server.database.sql(&format!(
            "CREATE TRIGGER hasty BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION hasty()"
        ));
    }
    let writer = server.database.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
    signal(writer.parse().unwrap(), Signal::STOP).unwrap();
    let ledger = run(1, &mut server, |server, _, load| {
        load.kill_begins();
        server.kill();
        server.restart();
    });
    let faults = faults(&server.database, &ledger);
    eprintln!("durability: PostgreSQL that acknowledges too early; {ledger}; {} faults", faults.len());
    assert!(faults.iter().any(|fault| fault.ends_with("is lost") || fault.ends_with("is there 0 times")), "{faults:?}");
}
