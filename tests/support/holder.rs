//! Somebody who holds what a statement takes.

use std::process::{Child, Command, Stdio};

use super::{Database, until};

/// A session in a transaction; gone with the value. One at a time.
pub(crate) struct Holder<'a> {
    psql: Child,
    database: &'a Database,
}

impl<'a> Holder<'a> {
    /// One that has run a statement and holds what it took, so many seconds at most.
    pub(crate) fn start(database: &'a Database, statement: &str, seconds: u32) -> Self {
        let statement = format!("BEGIN; {statement}; SELECT pg_sleep({seconds}); COMMIT");
        let mut psql = Command::new("psql");
        psql.env("PGOPTIONS", super::hostile::pgoptions());
        psql.args(["-XAtqc", &statement]).arg(database.url()).env("PGAPPNAME", "holder");
        let psql = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let holder = Self { psql, database };
        until("the holder holds", || {
            let sleeps = "datname = current_database() AND application_name = 'holder' AND wait_event = 'PgSleep'";
            database.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {sleeps}")) == "1"
        });
        holder
    }

    /// One that has read all samples.
    pub(crate) fn reader(database: &'a Database, seconds: u32) -> Self {
        Self::start(database, "SELECT count(*) FROM dgm_performance_metrics", seconds)
    }

    /// Waits until its time is over.
    pub(crate) fn finish(mut self) {
        assert!(self.psql.wait().unwrap().success());
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        // A server that sleeps does not see that its client is gone.
        let mine = "datname = current_database() AND application_name = 'holder'";
        self.database.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"));
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
