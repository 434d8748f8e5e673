//! Every migration forward, back and forward again; the audit; and what an operator sees.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dgm_service::store::migrate::{Error, MIGRATOR, Session};
use sqlx::{Connection as _, PgConnection};

use crate::support::holder::Holder;
use crate::support::{Database, Slowdown, stdout};

async fn open(database: &Database) -> Session {
    Session::open(&database.url(), Duration::from_secs(5)).await.unwrap()
}

#[tokio::test]
async fn every_step_up_down_up_gives_the_same_schema() {
    let database = Database::empty();
    let mut session = open(&database).await;
    let empty = database.schema();
    let versions: Vec<i64> = session.status().await.unwrap().iter().map(|s| s.version).collect();
    assert!(versions.len() >= 9);
    let mut before = empty.clone();
    for (index, version) in versions.iter().enumerate() {
        session.up(Some(*version)).await.unwrap();
        let after = database.schema();
        assert_ne!(before, after, "migration {version} changes nothing");
        let below = if index == 0 { 0 } else { versions[index - 1] };
        session.down(below).await.unwrap();
        assert_eq!(before, database.schema(), "down of {version} leaves something");
        session.up(Some(*version)).await.unwrap();
        assert_eq!(after, database.schema(), "second up of {version} differs");
        before = after;
    }
    session.down(0).await.unwrap();
    assert_eq!(empty, database.schema());
    drop(session);

    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let audited: (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE direction = 'up'), count(*) FILTER (WHERE direction = 'down')
         FROM dgm_migration_audit WHERE success AND performed_by = 'dgm' AND octet_length(checksum) > 0",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let steps = i64::try_from(versions.len()).unwrap();
    assert_eq!(audited, (2 * steps, 2 * steps));
}

#[tokio::test]
async fn only_one_migrator_at_a_time() {
    let database = Database::empty();
    let holder = open(&database).await;
    let Err(refused) = Session::open(&database.url(), Duration::from_millis(300)).await else {
        panic!("two migrators at once");
    };
    assert!(matches!(refused, Error::Locked(_)), "{refused}");
    drop(holder);
    let mut next = open(&database).await;
    assert!(!next.up(None).await.unwrap().steps.is_empty());
}

#[tokio::test]
async fn a_changed_migration_is_refused_and_named() {
    let database = Database::empty();
    let mut session = open(&database).await;
    session.up(None).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 4")
        .execute(session.connection())
        .await
        .unwrap();
    assert!(matches!(session.down(3).await, Err(Error::Drift(4))));
    drop(session);
    let verify = database.dgm(&["migrate", "verify"]);
    assert!(!verify.status.success());
    assert!(stdout(&verify).contains("0004 create improvements: changed since it was applied"), "{}", stdout(&verify));
}

#[tokio::test]
async fn the_command_line_says_what_is_lost_before_it_is_lost() {
    let database = Database::empty();
    assert!(database.dgm(&["migrate", "up"]).status.success());
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics,
                                  accuracy_score, constitutional_compliance_score)
         VALUES ('a', 's', 'p', '{}', 0.5, 1), ('b', 's', 'p', '{}', 0.5, 1), ('c', 's', 'p', '{}', 0.5, 1)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let refused = database.dgm(&["migrate", "down", "--to", "0"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stdout(&refused);
    let loses = |said: &str, table| said.lines().any(|line| line.split_whitespace().nth(1) == Some(table));
    assert!(said.lines().any(|line| line.split_whitespace().eq(["3", "dgm_archive"])), "{said}");
    assert!(said.contains("0002 create archive") && said.contains("add --yes"), "{said}");
    let part = stdout(&database.dgm(&["migrate", "down", "--to", "5"]));
    assert!(loses(&part, "dgm_job_runs") && !loses(&part, "dgm_archive"), "{part}");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM dgm_archive").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 3);

    assert!(database.dgm(&["migrate", "down", "--to", "0", "--yes"]).status.success());
    assert!(database.dgm(&["migrate", "up"]).status.success());
    let verified = database.dgm(&["migrate", "verify"]);
    assert!(verified.status.success(), "{}", stdout(&verified));
    assert!(stdout(&verified).contains("ok    lineage cycles"));
    assert_eq!(database.dgm(&["migrate", "up", "--to", "4711"]).status.code(), Some(1));
}

#[tokio::test]
async fn an_index_that_was_interrupted_is_built_again() {
    let database = Database::empty();
    assert!(database.dgm(&["migrate", "up", "--to", "8"]).status.success());
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    // What CREATE INDEX CONCURRENTLY leaves when it is cut off.
    sqlx::raw_sql(
        "CREATE INDEX idx_dgm_archive_metrics_gin ON dgm_archive USING gin (performance_metrics);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_dgm_archive_metrics_gin'::regclass",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let up = database.dgm(&["migrate", "up"]);
    assert!(up.status.success(), "{up:?}");
    assert!(database.dgm(&["migrate", "verify"]).status.success());
}

#[tokio::test]
async fn verify_names_a_cycle() {
    let database = Database::empty();
    let mut session = open(&database).await;
    session.up(None).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, service_name, problem_statement,
                                  performance_metrics, accuracy_score, constitutional_compliance_score)
         VALUES ('a', NULL, 's', 'p', '{}', 0.5, 1), ('b', 'a', 's', 'p', '{}', 0.5, 1), ('c', 'b', 's', 'p', '{}', 0.5, 1);
         UPDATE dgm_archive SET parent_entry_id = 'c' WHERE archive_entry_id = 'b'",
    )
    .execute(session.connection())
    .await
    .unwrap();
    drop(session);
    let verify = database.dgm(&["migrate", "verify"]);
    assert!(!verify.status.success());
    assert!(stdout(&verify).contains("FAIL  lineage cycles: b, c"), "{}", stdout(&verify));
}

#[tokio::test]
async fn scores_keep_their_history_and_versions_rise() {
    let database = Database::empty();
    let mut session = open(&database).await;
    session.up(None).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO dgm_archive (archive_entry_id, service_name, problem_statement, performance_metrics,
                                  accuracy_score, constitutional_compliance_score)
         VALUES ('a', 's', 'p', '{}', 0.5, 1);
         UPDATE dgm_archive SET accuracy_score = 0.75;
         UPDATE dgm_archive SET status = 'archived'",
    )
    .execute(session.connection())
    .await
    .unwrap();
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM dgm_archive").fetch_one(session.connection()).await.unwrap();
    assert_eq!(version, 3);
    let history: Vec<(i64, f64)> =
        sqlx::query_as("SELECT version, accuracy_score::float8 FROM dgm_archive_score_history")
            .fetch_all(session.connection())
            .await
            .unwrap();
    assert_eq!(history, [(1, 0.5)]);
}

#[tokio::test]
async fn partitions_have_utc_bounds_whatever_the_session_says() {
    let database = Database::empty();
    let mut session = open(&database).await;
    session.up(None).await.unwrap();
    // In Auckland the last UTC hours of February are already March.
    sqlx::raw_sql("SET timezone = 'Pacific/Auckland'").execute(session.connection()).await.unwrap();
    let ensure = "SELECT create_monthly_partition('dgm_performance_metrics', '2028-02-17')";
    let made: bool = sqlx::query_scalar(ensure).fetch_one(session.connection()).await.unwrap();
    let again: bool = sqlx::query_scalar(ensure).fetch_one(session.connection()).await.unwrap();
    assert_eq!((made, again), (true, false));
    let insert = "INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
                  VALUES ('s', 'm', 1, $1::timestamptz) RETURNING tableoid::regclass::text";
    let mut landed = Vec::new();
    for at in ["2028-02-01T00:00:00Z", "2028-02-29T23:59:59.999999Z"] {
        let bound = sqlx::query_scalar::<_, String>(insert).bind(at.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
        landed.push(bound.fetch_one(session.connection()).await.unwrap());
    }
    assert_eq!(landed, ["dgm_performance_metrics_2028_02", "dgm_performance_metrics_2028_02"]);
    let outside = sqlx::query_scalar::<_, String>(insert)
        .bind("2028-03-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap())
        .fetch_one(session.connection())
        .await;
    assert_eq!(outside.unwrap_err().as_database_error().unwrap().code().unwrap(), "23514");
    let indexes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE tablename = 'dgm_performance_metrics_2028_02'")
            .fetch_one(session.connection())
            .await
            .unwrap();
    assert_eq!(indexes, 2, "the partition's primary key and series index come with the attach");
}

/// What verify must find, each made by SQL in a database of its own cloned from a sound one.
const DAMAGES: &[(&str, &str)] = &[
    (
        "months without a partition: ",
        "DO $$ BEGIN EXECUTE 'DROP TABLE dgm_performance_metrics_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'); END $$",
    ),
    (
        "months without a partition: ",
        "SELECT create_monthly_partition('dgm_performance_metrics', (now() - interval '5 months')::date)",
    ),
    (
        "partitions with wrong bounds: dgm_performance_metrics_2030_01",
        "CREATE TABLE dgm_performance_metrics_2030_01 PARTITION OF dgm_performance_metrics
         FOR VALUES FROM ('2030-01-01 00:00+01') TO ('2030-02-01 00:00+00')",
    ),
    (
        "partitions that are detached, or half: dgm_performance_metrics_2031_01",
        "CREATE TABLE dgm_performance_metrics_2031_01 (LIKE dgm_performance_metrics)",
    ),
    ("missing or changed objects: index dgm_archive.idx_dgm_archive_parent", "DROP INDEX idx_dgm_archive_parent"),
    (
        "invalid indexes: idx_broken",
        "CREATE INDEX idx_broken ON dgm_archive (id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_broken'::regclass",
    ),
    (
        "broken references: dgm_archive.parent_entry_id (1)",
        "SET session_replication_role = replica; UPDATE dgm_archive SET parent_entry_id = 'gone' WHERE archive_entry_id = 'c'",
    ),
    ("lineage cycles: b, c", "UPDATE dgm_archive SET parent_entry_id = 'c' WHERE archive_entry_id = 'b'"),
    (
        "migration 0005 create performance metrics: changed since it was applied",
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 5",
    ),
    ("migration 0024 harden create monthly partition: not applied", "DELETE FROM _sqlx_migrations WHERE version = 24"),
    (
        "disabled triggers: dgm_archive.trg_dgm_archive_log_update",
        "ALTER TABLE dgm_archive DISABLE TRIGGER trg_dgm_archive_log_update",
    ),
    (
        "missing or changed objects: trigger dgm_archive.trg_dgm_archive_log_insert",
        "DROP TRIGGER trg_dgm_archive_log_insert ON dgm_archive",
    ),
    (
        "missing or changed objects: function dgm_log_archive_delete ",
        "CREATE OR REPLACE FUNCTION dgm_log_archive_delete() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ),
    (
        "unvalidated constraints: chk_new",
        "ALTER TABLE dgm_archive ADD CONSTRAINT chk_new CHECK (generation_number < 1000000) NOT VALID",
    ),
    (
        "missing or changed objects: column dgm_improvements.worker character varying(255)",
        "ALTER TABLE dgm_improvements ALTER worker TYPE text",
    ),
    ("the feed's row: 0 rows", "DELETE FROM dgm_archive_feed"),
];

#[test]
fn verify_and_doctor_name_every_damage() {
    let database = Database::migrated();
    assert!(database.dgm(&["partition", "ensure"]).status.success());
    database.sql(
        "INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, service_name, problem_statement,
                                  performance_metrics, accuracy_score, constitutional_compliance_score)
         VALUES ('a', NULL, 's', 'p', '{}', 0.5, 1), ('b', 'a', 's', 'p', '{}', 0.5, 1), ('c', 'b', 's', 'p', '{}', 0.5, 1)",
    );
    let sound = database.dgm(&["migrate", "verify"]);
    assert!(sound.status.success(), "{}", stdout(&sound));
    for (index, (named, damage)) in DAMAGES.iter().enumerate() {
        let clone = database.clone_as(&format!("damaged_{index}"));
        clone.sql(damage);
        for command in [&["migrate", "verify"][..], &["doctor"]] {
            let output = clone.dgm(command);
            assert!(!output.status.success(), "{command:?} after {damage}");
            assert!(stdout(&output).contains(named), "{command:?} after {damage}: {}", stdout(&output));
        }
    }
}

/// Version and checksum of every file, one direction a line. A line is added and never changed: `make generate` adds what is new.
#[test]
fn the_history_of_migrations_is_never_changed() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/checksums.txt");
    let mut kept = std::fs::read_to_string(&file).unwrap_or_default();
    let line = |migration: &sqlx::migrate::Migration| {
        let direction = if migration.migration_type.is_down_migration() { "down" } else { "up" };
        let start: [u8; 16] = migration.checksum[..16].try_into().unwrap();
        (format!("{:04} {direction:<4}", migration.version), format!("{:032x}", u128::from_be_bytes(start)))
    };
    let now: Vec<(String, String)> = MIGRATOR.iter().map(line).collect();
    if std::env::var_os("DGM_GENERATE").is_some() {
        for (name, checksum) in &now {
            if !kept.contains(name.as_str()) {
                kept = format!("{kept}{name} {checksum}\n");
            }
        }
        std::fs::write(&file, &kept).unwrap();
    }
    let now: Vec<String> = now.iter().map(|(name, checksum)| format!("{name} {checksum}")).collect();
    for line in kept.lines() {
        assert!(now.iter().any(|now| now == line), "{line}: this migration was changed or removed; write a new one");
    }
    for now in &now {
        assert!(kept.lines().any(|line| line == now), "{now} is not in migrations/checksums.txt: run `make generate`");
    }
}

#[tokio::test]
async fn a_step_that_does_not_get_its_locks_lets_others_pass_and_tries_again() {
    let database = Database::empty();
    let mut session = open(&database).await;
    session.up(Some(21)).await.unwrap();
    let slowdown = Slowdown::watch();
    let reader = Holder::start(&database, "SELECT count(*) FROM dgm_job_runs", 5);
    let url = database.url();
    // Somebody who needs the table meanwhile, again and again.
    let others = std::thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            let asked = std::time::Instant::now();
            let output = Command::new("psql")
                .env("PGOPTIONS", crate::support::hostile::pgoptions())
                .args(["-XAtqc", "SELECT count(*) FROM dgm_job_runs"])
                .arg(&url)
                .output()
                .unwrap();
            assert!(output.status.success());
            slowest = slowest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
        slowest
    });
    session.up(Some(22)).await.unwrap();
    let slowest = others.join().unwrap();
    reader.finish();
    assert!(slowest < slowdown.stretch(Duration::from_millis(2900)), "others waited {slowest:?} behind the migration");
    let tries = database.sql("SELECT success FROM dgm_migration_audit WHERE version = 22");
    assert_eq!(tries, "t");
}

#[test]
fn an_index_of_a_partitioned_table_is_built_without_stopping_writers_and_goes_on_after_an_interruption() {
    let database = Database::migrated();
    assert!(database.dgm(&["partition", "ensure"]).status.success());
    let month = |back: u32| format!("date_trunc('month', now() AT TIME ZONE 'UTC' - interval '{back} months')");
    for back in 0..4 {
        let first = month(back);
        database.sql(&format!(
            "SELECT create_monthly_partition('dgm_performance_metrics', {first}::date);
             INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
             SELECT 's', 'm', n, {first} AT TIME ZONE 'UTC' + n * interval '1 s' FROM generate_series(1, 50000) n"
        ));
    }
    // What a migration says.
    let index = "idx_dgm_performance_metrics_value";
    database
        .sql(&format!("CREATE INDEX {index} ON ONLY dgm_performance_metrics (metric_value) WHERE metric_value > 7"));
    let partitions = database.sql(
        "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
        WHERE inhparent = 'dgm_performance_metrics'::regclass ORDER BY 1",
    );
    let partitions: Vec<&str> = partitions.lines().collect();
    // What an interruption leaves: one is built and not attached, one is not valid.
    database.sql(&format!("CREATE INDEX {0}_value ON {0} (metric_value) WHERE metric_value > 7", partitions[0]));
    database.sql(&format!("CREATE INDEX {0}_value ON {0} (metric_value) WHERE metric_value > 7", partitions[1]));
    let invalid =
        format!("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{}_value'::regclass", partitions[1]);
    database.sql(&invalid);
    let verify = database.dgm(&["migrate", "verify"]);
    assert!(stdout(&verify).contains(&format!("invalid indexes: {}_value, {index}", partitions[1])), "{verify:?}");

    let slowdown = Slowdown::watch();
    // Somebody writes all the time, and somebody else reads for longer than attaching waits for at a time.
    let reader = Holder::start(&database, &format!("SELECT count(*) FROM {}", partitions[0]), 4);
    let started = std::time::Instant::now();
    let stop = AtomicBool::new(false);
    let (up, slowest) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !stop.load(Ordering::SeqCst) {
                let asked = std::time::Instant::now();
                database.sql("INSERT INTO dgm_performance_metrics (service_name, metric_type, metric_value, measurement_timestamp)
                              SELECT 's', 'm', 8, now()");
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        });
        let up = database.dgm(&["migrate", "up", "--count-rows"]);
        stop.store(true, Ordering::SeqCst);
        (up, writer.join().unwrap())
    });
    assert!(started.elapsed() > Duration::from_secs(3), "it did not wait for the reader");
    reader.finish();
    let built: Vec<String> = partitions.iter().map(|partition| format!("built {index} on {partition}")).collect();
    let said = stdout(&up);
    assert_eq!(said.lines().filter(|line| line.starts_with("built")).collect::<Vec<_>>(), built, "{up:?}");
    assert!(said.contains("dgm_performance_metrics              200"), "{said}");
    assert!(slowest < slowdown.stretch(Duration::from_secs(1)), "a writer waited {slowest:?}");
    // All of it can be used, has one definition, and a partition to come has it.
    let verify = database.dgm(&["migrate", "verify"]);
    assert!(verify.status.success(), "{verify:?}");
    database.sql("SELECT create_monthly_partition('dgm_performance_metrics', (now() + interval '5 months')::date)");
    let children = format!("SELECT count(*) FROM pg_inherits WHERE inhparent = '{index}'::regclass");
    assert_eq!(database.sql(&children), (partitions.len() + 1).to_string());
    let plan = database
        .sql(&format!("SET enable_seqscan = off; EXPLAIN SELECT * FROM {} WHERE metric_value > 49990", partitions[1]));
    assert!(plan.contains(&format!("{}_value", partitions[1])), "{plan}");
    assert!(stdout(&database.dgm(&["migrate", "up"])).contains("nothing to apply"), "once");
}

#[test]
fn rows_that_a_step_loses_are_told() {
    let database = Database::migrated();
    database.sql("INSERT INTO users (subject) VALUES ('somebody')");
    let down = database.dgm(&["migrate", "down", "--to", "24", "--yes", "--count-rows"]);
    assert!(down.status.success(), "{down:?}");
    assert!(stdout(&down).lines().any(|line| line.split_whitespace().eq(["users", "1", "1"])), "{down:?}");
    // A step that deletes what it should not.
    database.sql(
        "CREATE FUNCTION lose() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; END';
                  CREATE EVENT TRIGGER lose ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION lose()",
    );
    let up = database.dgm(&["migrate", "up", "--count-rows"]);
    assert_eq!(up.status.code(), Some(1), "{up:?}");
    assert!(String::from_utf8_lossy(&up.stderr).contains("fewer rows than before: users"), "{up:?}");
}
