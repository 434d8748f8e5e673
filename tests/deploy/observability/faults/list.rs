//! The faults.

use serde_json::json;

use super::stack::Stack;
use crate::support::serve::LOG_DIR;

/// Who uses the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Loops, researchers, dashboards.
    Ordinary,
    /// The same, and nobody claims improvements.
    WithoutWorkers,
    /// Many writes; each result is read once.
    Writes,
}

/// A part that only some faults have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// PostgreSQL has its data on the small disk.
    PostgresOnVolume,
    /// A standby.
    Standby,
    /// A second replica of the service.
    Replica,
    /// A clock of the service that can be set wrong.
    Clock,
}

pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Of PostgreSQL.
    pub(super) server: &'static [(&'static str, &'static str)],
    pub(super) load: Load,
    /// Megabytes of a small disk, if it needs one.
    pub(super) volume: Option<u32>,
    /// Settings whose value is a folder of that disk: the name, what comes before the path, the folder.
    pub(super) folders: &'static [(&'static str, &'static str, &'static str)],
    /// What else it needs.
    pub(super) needs: &'static [Need],
    /// Before anything is watched.
    pub(super) prepare: fn(&mut Stack),
    pub(super) make: fn(&mut Stack),
    pub(super) repair: fn(&mut Stack),
    /// What must be told.
    pub(super) right: &'static [&'static str],
    /// What may be told as well: other true statements about the same fault.
    pub(super) also: &'static [&'static str],
    /// Seconds that it lasts at least, at the scale of `make alerts-test`.
    pub(super) lasts: u64,
}

const ORDINARY: Fault = Fault {
    name: "",
    settings: &[],
    server: &[],
    load: Load::Ordinary,
    volume: None,
    folders: &[],
    needs: &[],
    prepare: |_| (),
    make: |_| (),
    repair: |_| (),
    right: &[],
    also: &[],
    lasts: 35,
};

/// What callers feel of a fault.
const FELT: [&str; 3] = ["DgmErrorBudgetBurn", "DgmLatencyBudgetBurn", "DgmIngestBudgetBurn"];

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "Redis stopped",
        make: |stack| stack.redis.kill(),
        repair: |stack| stack.redis.restart_empty(),
        right: &["DgmRedisDown"],
        ..ORDINARY
    },
    Fault {
        name: "partition removed",
        make: |stack| {
            let next = stack.sql("SELECT 'dgm_performance_metrics_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')");
            stack.sql(&format!("DROP TABLE {next}"));
        },
        repair: |stack| assert!(stack.postgres.database.dgm(&["partition", "ensure"]).status.success()),
        right: &["DgmPartitionMissing"],
        ..ORDINARY
    },
    Fault {
        name: "PostgreSQL stopped",
        make: |stack| stack.postgres.kill(),
        repair: |stack| stack.postgres.restart(),
        right: &["DgmPostgresDown"],
        ..ORDINARY
    },
    Fault {
        name: "pool exhausted",
        settings: &[("DGM__DATABASE__MAX_CONNECTIONS", "2"), ("DGM__DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1")],
        make: |stack| {
            stack.vandal_sql("BEGIN; LOCK TABLE dgm_improvements IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT");
            // Readers of what is locked.
            stack.vandal_http("for i in $(seq 12); do", "/api/v1/improvements", "& done; wait");
        },
        repair: Stack::no_vandals,
        right: &["DgmPoolSaturated"],
        also: &[
            FELT[0],
            FELT[1],
            FELT[2],
            "DgmQueryLatencyHigh",
            "DgmStatementErrors",
            "DgmLocksWaiting",
            "DgmJobFailing",
        ],
        ..ORDINARY
    },
    Fault {
        name: "job made to fail",
        settings: &[("DGM__JOBS__SCHEDULES", "ensure-partitions=*/5 * * * * *")],
        make: |stack| drop(stack.sql("ALTER FUNCTION create_monthly_partition RENAME TO gone")),
        repair: |stack| drop(stack.sql("ALTER FUNCTION gone RENAME TO create_monthly_partition")),
        right: &["DgmJobFailing"],
        also: &["DgmJobStale", "DgmStatementErrors"],
        ..ORDINARY
    },
    Fault {
        name: "hit rate destroyed",
        make: |stack| {
            // Nobody has asked for these before.
            stack.vandal_http("n=$((${n:-0} + 100));", "/api/v1/archive/x[$n-$((n + 99))]", "");
        },
        repair: Stack::no_vandals,
        right: &["DgmCacheHitRateLow"],
        also: &["DgmCacheBudgetBurn"],
        ..ORDINARY
    },
    Fault {
        name: "slow queries by a lock",
        make: |stack| {
            stack.vandal_sql(
                "BEGIN; LOCK TABLE dgm_improvements IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.7); COMMIT",
            );
        },
        repair: Stack::no_vandals,
        right: &["DgmQueryLatencyHigh"],
        also: &[FELT[1], "DgmLocksWaiting"],
        ..ORDINARY
    },
    Fault {
        name: "flushes of the write-ahead log slow",
        server: &[("fsync", "on")],
        make: |stack| {
            // PostgreSQL itself waits before each flush, as it would for a disk that takes 0.1 s.
            for setting in ["commit_siblings = 0", "commit_delay = 100000"] {
                stack.sql(&format!("ALTER SYSTEM SET {setting}"));
            }
            stack.sql("SELECT pg_reload_conf()");
        },
        repair: |stack| {
            stack.sql("ALTER SYSTEM RESET ALL");
            stack.sql("SELECT pg_reload_conf()");
        },
        right: &["DgmWalFlushSlow"],
        also: &[FELT[1], "DgmQueryLatencyHigh"],
        ..ORDINARY
    },
    Fault {
        name: "disk of the log files full",
        settings: &[("RUST_LOG", "info,dgm_service=debug")],
        // Enough for the lines of some minutes after the repair.
        volume: Some(64),
        folders: &[(LOG_DIR, "", "logs")],
        make: |stack| stack.fill_volume(0),
        repair: |stack| stack.empty_volume(),
        // For minutes it is looked at whether they stay.
        lasts: 90,
        right: &["DgmLogWritesFailing", "DgmVolumeFull"],
        ..ORDINARY
    },
    Fault {
        name: "clock set wrong",
        needs: &[Need::Clock],
        make: |stack| stack.set_clock("+1h"),
        repair: |stack| stack.set_clock("+0"),
        right: &["DgmClockDiffers"],
        ..ORDINARY
    },
    Fault {
        name: "queue left unclaimed",
        load: Load::WithoutWorkers,
        // Nobody claims from the start.
        make: |_| (),
        repair: |stack| {
            stack.sql("UPDATE dgm_improvements SET status = 'cancelled', completed_at = now() WHERE status = 'queued'");
        },
        right: &["DgmQueueAgeHigh"],
        ..ORDINARY
    },
    Fault {
        name: "mostly writes",
        load: Load::Writes,
        // A quarter of an hour and some more.
        lasts: 75,
        ..ORDINARY
    },
    Fault {
        name: "standby stopped",
        needs: &[Need::Standby],
        make: |stack| stack.standby.as_mut().unwrap().stop(),
        repair: |stack| stack.standby.as_mut().unwrap().start(),
        right: &["DgmStandbyMissing", "DgmSlotInactive"],
        lasts: 60,
        ..ORDINARY
    },
    Fault {
        name: "slot without a consumer",
        prepare: |stack| {
            for statement in ["ALTER SYSTEM SET max_wal_size = '32MB'", "SELECT pg_reload_conf()"] {
                stack.sql(statement);
            }
        },
        make: |stack| {
            stack.sql("SELECT pg_create_physical_replication_slot('nobody', true)");
            stack.sql(
                "SELECT count(pg_logical_emit_message(false, '', repeat('x', 1000000))) FROM generate_series(1, 300)",
            );
        },
        repair: |stack| drop(stack.sql("SELECT pg_drop_replication_slot('nobody')")),
        right: &["DgmSlotInactive", "DgmSlotWalHigh"],
        lasts: 60,
        ..ORDINARY
    },
    Fault {
        name: "disk of PostgreSQL full",
        volume: Some(1000),
        needs: &[Need::PostgresOnVolume],
        server: &[("max_wal_size", "64MB"), ("min_wal_size", "32MB")],
        // What is left is enough for the test.
        make: |stack| stack.fill_volume(90 << 20),
        repair: |stack| stack.empty_volume(),
        right: &["DgmDatabaseDiskFull"],
        ..ORDINARY
    },
    Fault {
        name: "disk of a tablespace full",
        volume: Some(8),
        prepare: |stack| {
            let folder = stack.volume.as_ref().unwrap().folder_of_postgres("small");
            stack.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
            stack.sql("ALTER TABLE dgm_improvements SET TABLESPACE small");
        },
        make: |stack| stack.fill_volume(0),
        repair: |stack| stack.empty_volume(),
        right: &["DgmPostgresFailing"],
        also: &[FELT[0], FELT[2], "DgmStatementErrors", "DgmJobFailing"],
        ..ORDINARY
    },
    Fault {
        name: "connections exhausted before the start",
        make: |stack| {
            stack.serve.kill();
            stack.occupy(60);
            std::thread::sleep(std::time::Duration::from_secs(3));
            stack.serve.restart();
        },
        repair: Stack::free_connections,
        right: &["DgmConnectionsRefused"],
        also: &[FELT[0], FELT[1], FELT[2], "DgmChangeFeedStale", "DgmJobStale", "DgmJobMissed", "DgmDown"],
        // A longer one burns more of the budgets than these times of the rules forget within minutes.
        lasts: 12,
        ..ORDINARY
    },
    Fault {
        name: "target of exports and artifacts not mounted",
        volume: Some(8),
        folders: &[("DGM__SAMPLES__EXPORT_URL", "file://", "exports"), ("DGM__ARTIFACTS__URL", "file://", "artifacts")],
        prepare: |stack| {
            // An empty storage would be a new one.
            let entry = json!({"archive_entry_id": "kept", "service_name": "s", "problem_statement": "p",
                "accuracy_score": 0.5, "constitutional_compliance_score": 1});
            stack.serve.call("POST", "/api/v1/archive", Some(&entry)).expect(201);
            let put = stack.serve.request("PUT", "/api/v1/archive/kept/artifacts/log").body("a log").send().unwrap();
            assert_eq!(put.status(), 201);
        },
        make: |stack| {
            for folder in ["exports", "artifacts"] {
                std::fs::rename(stack.on_volume(folder), stack.on_volume(&format!("{folder}-away"))).unwrap();
                std::fs::create_dir(stack.on_volume(folder)).unwrap();
            }
        },
        repair: |stack| {
            for folder in ["exports", "artifacts"] {
                std::fs::remove_dir(stack.on_volume(folder)).unwrap();
                std::fs::rename(stack.on_volume(&format!("{folder}-away")), stack.on_volume(folder)).unwrap();
            }
        },
        right: &["DgmStorageTargetMissing"],
        also: &["DgmArtifactStorageFailing"],
        ..ORDINARY
    },
    Fault {
        name: "pg_monitor taken away",
        prepare: |stack| drop(stack.sql("CREATE ROLE keeper SUPERUSER LOGIN")),
        make: |stack| drop(stack.sql_as_keeper("ALTER ROLE dgm NOSUPERUSER")),
        repair: |stack| drop(stack.sql_as_keeper("ALTER ROLE dgm SUPERUSER")),
        right: &["DgmStatisticsHidden"],
        lasts: 45,
        ..ORDINARY
    },
    Fault {
        name: "a replica of another version",
        needs: &[Need::Replica],
        make: |stack| {
            let other = stack.other.as_mut().unwrap();
            other.kill();
            other.become_another_build();
            other.restart();
        },
        repair: |stack| {
            let other = stack.other.as_mut().unwrap();
            other.kill();
            other.become_this_build();
            other.restart();
        },
        right: &["DgmVersionsMixed"],
        also: &["DgmDown"],
        lasts: 110,
        ..ORDINARY
    },
];
