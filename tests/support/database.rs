//! A database of one test, with helpers to look at it from outside.

use std::path::Path;
use std::process::{Command, Output};

use dgm_service::postgres::Server;
use tempfile::TempDir;

use super::run::{MIGRATED, READY, WITHOUT_DISK, postgres, subfolder};
use super::{dgm, sql, stdout};

/// A database, on the server of the run or on one of its own.
pub(crate) struct Database {
    place: Place,
    name: String,
}

enum Place {
    Shared,
    // Order matters: the server stops before its directory is removed.
    Own { server: Server, directory: TempDir },
}

impl Database {
    /// One with the schema.
    pub(crate) fn migrated() -> Self {
        Self { place: Place::Shared, name: postgres().create(Some(MIGRATED)) }
    }

    /// One with the schema and the partitions that a service makes when it starts.
    pub(crate) fn ready() -> Self {
        Self { place: Place::Shared, name: postgres().create(Some(READY)) }
    }

    /// One without the schema.
    pub(crate) fn empty() -> Self {
        Self { place: Place::Shared, name: postgres().create(None) }
    }

    /// One with the schema on a server of its own, with settings of the server. tests/README.md has the reason.
    #[track_caller]
    pub(crate) fn own(reason: &str, settings: &[(&str, &str)]) -> Self {
        super::assert_listed(reason, std::panic::Location::caller().file());
        Self::own_at(settings, subfolder())
    }

    /// The same on the disk of a folder.
    #[track_caller]
    pub(crate) fn own_in(reason: &str, settings: &[(&str, &str)], folder: &Path) -> Self {
        super::assert_listed(reason, std::panic::Location::caller().file());
        let directory = tempfile::Builder::new().prefix("server").rand_bytes(0).tempdir_in(folder).unwrap();
        super::make_traversable(directory.path());
        Self::own_at(settings, directory)
    }

    fn own_at(settings: &[(&str, &str)], directory: TempDir) -> Self {
        postgres().pristine(directory.path());
        let ordinary = [WITHOUT_DISK, ("shared_buffers", "32MB"), ("max_connections", "40")];
        let settings: Vec<_> = ordinary.into_iter().chain(settings.iter().copied()).collect();
        let server = Server::start(directory.path(), &settings).unwrap();
        Self { place: Place::Own { server, directory }, name: MIGRATED.to_owned() }
    }

    fn server(&self) -> &Server {
        match &self.place {
            Place::Shared => postgres().server(),
            Place::Own { server, .. } => server,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Shared => postgres().url(&self.name),
            Place::Own { server, .. } => server.url(&self.name),
        }
    }

    /// The port of the server on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.server().port()
    }

    /// By TCP, for a role with a password.
    pub(crate) fn tcp_url(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{}", self.port(), self.name)
    }

    /// The folder of a server of its own.
    pub(crate) fn directory(&self) -> &Path {
        match &self.place {
            Place::Shared => panic!("the server is not this test's"),
            Place::Own { directory, .. } => directory.path(),
        }
    }

    /// What a server of its own writes.
    pub(crate) fn log(&self) -> std::path::PathBuf {
        self.directory().join("postgres.log")
    }

    /// The schema as `pg_dump` writes it, without the migrator's own two tables and the comment lines with tokens.
    pub(crate) fn schema(&self) -> String {
        let dump = Command::new("pg_dump")
            .env("PGOPTIONS", super::hostile::pgoptions())
            .args([
                "--schema-only",
                "-T",
                "_sqlx_migrations",
                "-T",
                "dgm_migration_audit",
                "-T",
                "dgm_migration_audit_*",
            ])
            // A pooler may drop PGOPTIONS.
            .arg(self.server().url(&self.name))
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

    /// See [`sql`].
    pub(crate) fn sql(&self, statement: &str) -> String {
        sql(&self.url(), statement)
    }

    /// The secret of a new API token.
    pub(crate) fn token(&self, role: &str) -> String {
        let made = self.dgm(&["token", "create", "--name", role, "--role", role]);
        assert!(made.status.success(), "{made:?}");
        stdout(&made).trim().to_owned()
    }

    /// Another database of the same server with the same content. Nobody may be connected to this one.
    pub(crate) fn clone_as(&self, name: &str) -> Clone<'_> {
        let name = format!("{}_{name}", self.name);
        sql(&self.server().url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE {}", self.name));
        Clone { database: self, name }
    }

    /// Runs the real binary against this database.
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
    fn url(&self) -> String {
        self.database.server().url(&self.name)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        sql(&self.url(), statement)
    }

    pub(crate) fn dgm(&self, arguments: &[&str]) -> Output {
        dgm(&self.url(), arguments)
    }
}
