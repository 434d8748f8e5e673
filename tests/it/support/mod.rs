//! A private PostgreSQL for one test, with helpers to look at it from outside.

pub(crate) mod collector;
pub(crate) mod crash;
pub(crate) mod dev;
pub(crate) mod holder;
pub(crate) mod parquet;
pub(crate) mod redis;
pub(crate) mod serve;
pub(crate) mod wire;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dgm_service::postgres::Server;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server with its data in a temporary directory; both go with the value.
pub(crate) struct Database {
    // Order matters: the server stops before its directory is removed.
    server: Server,
    directory: TempDir,
}

impl Database {
    pub(crate) fn start() -> Self {
        Self::start_with(&[("shared_buffers", "32MB"), ("max_connections", "40")])
    }

    /// With settings of the server.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The server may run under another account, which must be able to reach its folder.
        make_traversable(directory.path());
        let settings: Vec<_> = [("fsync", "off")].into_iter().chain(settings.iter().copied()).collect();
        let server = Server::start(directory.path(), &settings).unwrap();
        Self { server, directory }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("postgres")
    }

    /// What the server writes.
    pub(crate) fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("postgres.log")
    }

    /// The schema as `pg_dump` writes it, without the migrator's own two tables and the comment lines with tokens.
    pub(crate) fn schema(&self) -> String {
        let dump = Command::new("pg_dump")
            .args([
                "--schema-only",
                "-T",
                "_sqlx_migrations",
                "-T",
                "dgm_migration_audit",
                "-T",
                "dgm_migration_audit_*",
            ])
            .arg(self.url())
            .output()
            .unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let text = String::from_utf8(dump.stdout).unwrap();
        // Newer pg_dump guards its output by a random token, which differs from dump to dump.
        text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).fold(
            String::new(),
            |mut kept, line| {
                kept.push_str(line);
                kept.push('\n');
                kept
            },
        )
    }

    /// One with the schema.
    pub(crate) fn migrated() -> Self {
        let database = Self::start();
        assert!(database.dgm(&["migrate", "up"]).status.success());
        database
    }

    /// What psql answers, fields by `|`, rows by line.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.sql_in("postgres", statement)
    }

    /// The secret of a new API token.
    pub(crate) fn token(&self, role: &str) -> String {
        let made = self.dgm(&["token", "create", "--name", role, "--role", role]);
        assert!(made.status.success(), "{made:?}");
        stdout(&made).trim().to_owned()
    }

    /// Another database of the same server with the same content. Nobody may be connected to this one.
    pub(crate) fn clone_as(&self, name: &str) -> Clone<'_> {
        self.sql_in("template1", &format!("CREATE DATABASE {name} TEMPLATE postgres"));
        Clone { database: self, name: name.to_owned() }
    }

    fn sql_in(&self, name: &str, statement: &str) -> String {
        let output = Command::new("psql").args(["-XAtqc", statement]).arg(self.server.url(name)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output).trim().to_owned()
    }

    /// Runs the real binary against this server.
    pub(crate) fn dgm(&self, arguments: &[&str]) -> Output {
        dgm(&self.url(), arguments)
    }
}

/// See [`Database::clone_as`].
pub(crate) struct Clone<'a> {
    database: &'a Database,
    name: String,
}

impl Clone<'_> {
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.database.sql_in(&self.name, statement)
    }

    pub(crate) fn dgm(&self, arguments: &[&str]) -> Output {
        dgm(&self.database.server.url(&self.name), arguments)
    }
}

fn dgm(url: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dgm")).args(arguments).env("DATABASE_URL", url).output().unwrap()
}

pub(crate) fn make_traversable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails when there is no such process.
pub(crate) fn signal(process: u32, signal: Signal) -> rustix::io::Result<()> {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal)
}

/// A number that the environment may set: how long a test runs.
pub(crate) fn setting(name: &str, ordinary: usize) -> usize {
    std::env::var(name).map_or(ordinary, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends what runs until the flag is set; also when its owner panics, for whom the others would run on.
pub(crate) struct Stopper<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
