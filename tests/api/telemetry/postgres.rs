use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::Watched;
use crate::support::holder::Holder;
use crate::support::{Database, stdout, until};

const SETTINGS: &[(&str, &str)] = &[
    ("shared_preload_libraries", "pg_stat_statements"),
    ("shared_buffers", "32MB"),
    ("max_connections", "43"),
    ("deadlock_timeout", "100ms"),
    ("archive_mode", "on"),
];

fn migrated() -> Database {
    let database =
        Database::own("views and settings of the whole server: sessions, locks, archiver, statements, roles", SETTINGS);
    database.sql("CREATE EXTENSION pg_stat_statements");
    database
}

fn psql(url: &str, statement: &str) -> Child {
    let mut psql = Command::new("psql");
    psql.env("PGOPTIONS", crate::support::hostile::pgoptions());
    psql.args(["-Xqc", statement, url]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn sessions_locks_transactions_and_files_of_the_server_are_seen() {
    let database = migrated();
    let watched = Watched::start(&database, "", &[]);
    let connections = |state: &str| format!("dgm_db_server_connections{{state=\"{state}\"}}");
    assert_eq!(watched.last("dgm_db_server_connections_max"), 43.0);
    assert!(watched.last(&connections("idle")) >= 1.0, "the feed's at least");
    assert!(watched.last(&connections("active")) >= 1.0, "the one that asks");
    assert_eq!(watched.last(&connections("other")), 0.0);
    assert_eq!(watched.last("dgm_db_standbys"), 0.0);
    assert!(watched.last("dgm_db_standby_lag_seconds").is_nan(), "without a standby nothing is known");
    let slots = |state: &str| watched.now(&format!("dgm_db_replication_slots{{state=\"{state}\"}}"));
    assert_eq!(["active", "inactive", "lost"].map(slots), [0.0; 3]);
    assert_eq!(watched.last("dgm_db_replication_slot_wal_bytes"), 0.0);
    assert_eq!(watched.last("dgm_db_wal_max_bytes"), f64::from(1 << 30));
    database.sql("SELECT pg_create_physical_replication_slot('nobody', true)");
    // Its commit writes it out.
    database.sql("SELECT pg_logical_emit_message(true, '', repeat('x', 1100000))");
    assert_eq!(["active", "inactive", "lost"].map(slots), [0.0, 1.0, 0.0]);
    assert!(watched.last("dgm_db_replication_slot_wal_bytes") > 1e6);
    database.sql("SELECT pg_drop_replication_slot('nobody')");
    assert_eq!(["active", "inactive", "lost"].map(slots), [0.0; 3]);
    assert_eq!(watched.last("dgm_db_statistics_visible"), 1.0);
    let size: f64 = database.sql("SELECT pg_database_size(current_database())").parse().unwrap();
    let told = watched.last("dgm_db_size_bytes");
    assert!((told / size - 1.0).abs() < 0.2, "{told} told, {size} asked");

    // A transaction that holds a lock, and one that waits for it.
    watched.until("dgm_db_oldest_transaction_timestamp_seconds", |at| at == 0.0);
    assert_eq!(watched.now("dgm_db_locks_waiting"), 0.0);
    let began = unix_now();
    let lock = "LOCK TABLE dgm_archive IN EXCLUSIVE MODE";
    let holder = Holder::start(&database, lock, 600);
    let mut waiter = psql(&database.url(), &format!("BEGIN; {lock}"));
    watched.until("dgm_db_locks_waiting", |waiting| waiting == 1.0);
    let oldest = watched.last("dgm_db_oldest_transaction_timestamp_seconds");
    assert!((began - 2.0..unix_now()).contains(&oldest), "{oldest}, which began after {began}");
    drop(holder);
    waiter.wait().unwrap();
    watched.until("dgm_db_locks_waiting", |waiting| waiting == 0.0);
    watched.until("dgm_db_oldest_transaction_timestamp_seconds", |at| at == 0.0);

    // Two that wait for each other.
    let deadlocks = "dgm_db_server_deadlocks_total";
    let rolled_back = "dgm_db_server_transactions_total{outcome=\"rolled_back\"}";
    let before = watched.now(rolled_back);
    assert_eq!(watched.last(deadlocks), 0.0);
    // On a busy machine one may have ended before the other begins.
    until("they have met", || {
        let [mut one, mut other] = [("dgm_archive", "users"), ("users", "dgm_archive")].map(|(first, then)| {
            psql(&database.url(), &format!("BEGIN; LOCK TABLE {first}; SELECT pg_sleep(1); LOCK TABLE {then}; COMMIT"))
        });
        one.wait().unwrap();
        other.wait().unwrap();
        database.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == "1"
    });
    watched.until(deadlocks, |count| count == 1.0);
    watched.until(rolled_back, |count| count > before);

    let temporary = "dgm_db_server_temporary_bytes_total";
    assert_eq!(watched.now(temporary), 0.0);
    database.sql(
        "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 200000) n ORDER BY n DESC) s",
    );
    watched.until(temporary, |bytes| bytes > 1e6);
    let committed = "dgm_db_server_transactions_total{outcome=\"committed\"}";
    let (before, from_cache) = (watched.now(committed), watched.last("dgm_db_server_blocks_total{source=\"cache\"}"));
    (0..5).for_each(|_| drop(database.sql("SELECT count(*) FROM pg_class")));
    watched.until(committed, |count| count >= before + 5.0);
    watched.until("dgm_db_server_blocks_total{source=\"cache\"}", |count| count > from_cache);

    // Segments of the log, which the archive takes, and then does not.
    let segments = |outcome: &str| format!("dgm_db_wal_segments_archived_total{{outcome=\"{outcome}\"}}");
    let switch = "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal()";
    let archive_by = |command: &str| {
        database.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        database.sql("SELECT pg_reload_conf()");
        database.sql(switch);
    };
    let last = "dgm_db_wal_last_archived_timestamp_seconds";
    assert_eq!(watched.last(last), 0.0, "none was archived yet");
    archive_by("true");
    watched.until(&segments("archived"), |count| count >= 1.0);
    let ago: f64 = database.sql("SELECT extract(epoch FROM now())").parse::<f64>().unwrap() - watched.last(last);
    assert!((-1.0..60.0).contains(&ago), "{ago} s ago");
    assert_eq!(watched.last(&segments("failed")), 0.0);
    archive_by("false");
    watched.until(&segments("failed"), |count| count >= 1.0);

    // Statistics that are reset neither fall nor leap.
    let before = watched.now(committed);
    database.sql("SELECT pg_stat_reset()");
    let after = watched.now(committed);
    assert!((before..before + 100.0).contains(&after), "{before}, then {after}");
}

#[test]
fn one_part_that_fails_leaves_the_others() {
    let database = migrated();
    let watched = Watched::start(&database, "", &[]);
    assert_eq!(watched.last("dgm_partitions{table=\"dgm_performance_metrics\"}"), 0.0);
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', now()::date)");
    // The size of the table cannot be told while it is locked like this.
    let holder = Holder::start(&database, "LOCK TABLE dgm_archive IN ACCESS EXCLUSIVE MODE", 600);
    watched.until_failed();
    assert_eq!(watched.last("dgm_partitions{table=\"dgm_performance_metrics\"}"), 1.0);
    assert!(watched.last("dgm_db_oldest_transaction_timestamp_seconds") > 0.0);
    drop(holder);
    watched.collect();
}

#[test]
fn rows_are_counted_by_how_they_were_read() {
    let database = migrated();
    let watched = Watched::start(&database, "", &[]);
    let read = |access: &str| format!("dgm_db_rows_read_total{{table=\"dgm_archive\",access=\"{access}\"}}");
    database.sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics, accuracy_score,
             constitutional_compliance_score)
         SELECT 'e' || n, 's', 'p', '{}', 0.5, 0.5 FROM generate_series(1, 500) n",
    );
    watched.until(&read("sequence"), |rows| rows < 500.0);
    let (sequence, index) = (watched.last(&read("sequence")), watched.last(&read("index")));
    database.sql("SELECT count(*) FROM dgm_archive WHERE problem_statement = 'x'");
    watched.until(&read("sequence"), |rows| (sequence + 500.0..sequence + 600.0).contains(&rows));
    database.sql("SET enable_seqscan = off; SELECT * FROM dgm_archive WHERE archive_entry_id = 'e7'");
    watched.until(&read("index"), |rows| rows > index);
}

#[test]
fn statements_are_told_by_name() {
    let database = migrated();
    let watched = Watched::start(&database, "", &[]);
    let of = |figure: &str, name: &str| format!("dgm_db_server_statement_{figure}_total{{statement=\"{name}\"}}");
    assert_eq!(watched.now(&of("calls", "archive_get")), 0.0);
    for n in 0..5 {
        assert_eq!(watched.0.call("GET", &format!("/api/v1/archive/unknown-{n}"), None).status, 404);
    }
    let entry = json!({"archive_entry_id": "e", "service_name": "s", "problem_statement": "p", "accuracy_score": 0.5,
        "constitutional_compliance_score": 1.0});
    watched.0.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
    assert_eq!(watched.now(&of("calls", "archive_get")), 5.0, "from the first on");
    assert_eq!(watched.last(&of("rows", "archive_get")), 0.0);
    assert!(watched.last(&of("seconds", "archive_get")) > 0.0);
    assert_eq!((watched.last(&of("calls", "archive_insert")), watched.last(&of("rows", "archive_insert"))), (1.0, 1.0));
    watched.until(&of("calls", "feed_poll"), |calls| calls >= 1.0);
    assert!(stdout(&database.dgm(&["doctor"])).contains("statistics   ok    all sessions, and statements by name"));

    // Forgotten there, kept here.
    database.sql("SELECT pg_stat_statements_reset()");
    assert_eq!(watched.now(&of("calls", "archive_get")), 5.0);
    watched.0.call("GET", "/api/v1/archive/unknown-again", None);
    watched.collect();
    assert_eq!(watched.last(&of("calls", "archive_get")), 6.0);

    // Of a server that keeps none all stay at 0.
    let database = Database::migrated();
    let watched = Watched::start(&database, "", &[]);
    assert_eq!(watched.now(&of("calls", "feed_poll")), 0.0);
    let doctor = database.dgm(&["doctor"]);
    assert!(stdout(&doctor).contains("statistics   ok    no times of statements"), "{doctor:?}");
    // There, and never loaded: no fault either.
    database.sql("CREATE EXTENSION pg_stat_statements");
    assert_eq!(watched.now(&of("calls", "feed_poll")), 0.0);
    assert!(stdout(&database.dgm(&["doctor"])).contains("no times of statements"));
}

#[test]
fn a_role_that_may_not_see_all_is_told_what_it_may() {
    let database = migrated();
    database.sql("CREATE ROLE plain LOGIN");
    database
        .sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO plain; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO plain");
    let url = database.url().replacen("dgm@", "plain@", 1);
    let watched = Watched::start(&database, "", &[("DATABASE_URL", &url)]);
    let holder = Holder::start(&database, "SELECT 1", 600);
    let other = "dgm_db_server_connections{state=\"other\"}";
    assert!(watched.now(other) >= 1.0, "the holder's");
    assert!(watched.last("dgm_db_server_connections{state=\"idle\"}") >= 1.0, "its own");
    watched.until("dgm_db_oldest_transaction_timestamp_seconds", |at| at == 0.0);
    assert_eq!(watched.last("dgm_db_standbys"), 0.0);
    assert_eq!(watched.last("dgm_db_statistics_visible"), 0.0);
    assert!(watched.last("dgm_db_size_bytes") > 1e6);
    // Its own are not hidden.
    watched.until("dgm_db_server_statement_calls_total{statement=\"feed_poll\"}", |calls| calls >= 1.0);
    let doctor = || {
        let dgm = Command::new(env!("CARGO_BIN_EXE_dgm")).arg("doctor").env("DATABASE_URL", &url).output().unwrap();
        stdout(&dgm)
    };
    assert!(doctor().contains("GRANT pg_monitor TO \"plain\""), "{}", doctor());

    database.sql("GRANT pg_monitor TO plain");
    assert_eq!(watched.now(other), 0.0);
    assert_eq!(watched.last("dgm_db_statistics_visible"), 1.0);
    assert!(watched.last("dgm_db_oldest_transaction_timestamp_seconds") > 0.0);
    assert!(!doctor().contains("pg_monitor"), "{}", doctor());
    drop(holder);
}
