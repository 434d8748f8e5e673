//! Interrupted in the middle, it leaves nothing half, and goes on where it was.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{counts, errors, orphans, rows_of};
use crate::support::holder::Holder;
use crate::support::{Database, signal, stdout, until};

const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%dgm:forget_%'";

/// Two services whose lineage goes to and fro between them, an improvement with many events, and samples; nothing tells
/// their order but who refers to whom: same time, same generation, ids at random.
fn fill(database: &Database) {
    database.sql(
        "INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, service_name, problem_statement, performance_metrics,
             accuracy_score, constitutional_compliance_score)
         SELECT md5(n::text), CASE WHEN n > 0 THEN md5((n - 1)::text) END,
             CASE WHEN n BETWEEN 2000 AND 2009 THEN 'experiment-b' ELSE 'experiment-a' END, 'p', '{}', 0.5, 1
         FROM generate_series(0, 4999) n;
         INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics,
             accuracy_score, constitutional_compliance_score, created_at)
         SELECT 'old' || n, 'experiment-a', 'p', '{}', 0.5, 1, now() - interval '1 day' - n * interval '1 s'
         FROM generate_series(0, 2499) n;
         INSERT INTO dgm_archive_access (archive_entry_id) VALUES ('old1500'), ('old2499');
         INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, parent_entry_id, created_at)
         SELECT 'i' || n, 'experiment-a', 'p', md5('7'), now() - n * interval '1 s' FROM generate_series(1, 600) n;
         UPDATE dgm_improvements SET status = 'cancelled' WHERE improvement_id = 'i300';
         INSERT INTO dgm_improvement_events (improvement_id, event, data)
         SELECT 'i300', 'progress', '{}' FROM generate_series(1, 3000);
         SELECT create_monthly_partition('dgm_performance_metrics', (now() - m * interval '1 month')::date)
         FROM generate_series(-1, 2) m;
         INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
         SELECT 'experiment-' || s, 't', n, now() - (n % 3) * interval '1 month'
         FROM generate_series(1, 4500) n, unnest('{a,c}'::text[]) s",
    );
}

fn start(database: &Database) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
    command.args(["forget", "experiment-a", "experiment-b", "--yes"]).env("DATABASE_URL", database.url());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn what_was_interrupted_goes_on_where_it_was() {
    let database = Database::migrated();
    fill(&database);
    let stranger = rows_of(&database, "experiment-c");
    assert_eq!(counts(&database, "experiment-a"), "7490|600|4500");

    // Killed while it waits for what hangs on an improvement: what was done before is done.
    let lock = "SELECT FROM dgm_improvement_events WHERE improvement_id = 'i400' FOR UPDATE";
    let holder = Holder::start(&database, lock, 600);
    let mut killed = start(&database);
    until("it waits for the improvement", || database.sql(WAITS) == "1");
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(holder);
    until("its session ends", || {
        database
            .sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%dgm:forget_%' AND pid <> pg_backend_pid()")
            == "0"
    });
    // The newest 250 are gone, and of the next 250 those before the one with many events.
    assert_eq!(counts(&database, "experiment-a"), "7490|301|0");
    let whole = "SELECT count(*) FROM dgm_improvements i WHERE NOT EXISTS
         (SELECT FROM dgm_improvement_events e WHERE e.improvement_id = i.improvement_id)";
    assert_eq!((database.sql(whole).as_str(), orphans(&database).as_str()), ("0", ""));

    // Ctrl-C while it waits for what hangs on an entry: the batch is finished first.
    let lock = "SELECT FROM dgm_archive_access WHERE archive_entry_id = 'old1500' FOR UPDATE";
    let holder = Holder::start(&database, lock, 600);
    let child = start(&database);
    until("it waits for the entry", || database.sql(WAITS) == "1");
    signal(child.id(), Signal::INT).unwrap();
    drop(holder);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(errors(&output).contains("stopped before the end; the same command goes on where it was"), "{output:?}");
    let left: usize = counts(&database, "experiment-a").split('|').next().unwrap().parse().unwrap();
    assert!((1..7490).contains(&left), "{left}");
    assert_eq!(orphans(&database), "");

    // A row that is held for longer than a statement waits.
    let lock = "SELECT FROM dgm_archive_access WHERE archive_entry_id = 'old2499' FOR UPDATE";
    let holder = Holder::start(&database, lock, 600);
    let output = start(&database).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = errors(&output);
    assert!(said.contains("the same command goes on where it was") && said.contains("lock timeout"), "{said}");
    drop(holder);

    // Entries that somebody works on are left, with those above them, and told.
    let lock = "SELECT FROM dgm_archive WHERE archive_entry_id = md5('2') FOR UPDATE";
    let holder = Holder::start(&database, lock, 600);
    let output = start(&database).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output).contains("3 rows are there that came or were taken up meanwhile"), "{output:?}");
    drop(holder);

    let output = start(&database).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(["experiment-a", "experiment-b"].map(|service| counts(&database, service)), ["0|0|0", "0|0|0"]);
    let again = start(&database).wait_with_output().unwrap();
    assert!(again.status.success() && stdout(&again).starts_with("nothing to remove"), "{again:?}");
    assert_eq!(database.sql("SELECT count(*) FROM dgm_improvement_events"), "0");
    assert_eq!(orphans(&database), "");
    assert_eq!(rows_of(&database, "experiment-c"), stranger);
}
