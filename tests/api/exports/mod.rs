//! Exported months: the places for them, their names, and their way back.

mod import;
mod names;
mod targets;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Database, parquet, stdout};

/// A database with one month that is no longer kept.
struct Installation {
    database: Database,
    /// The month, as in `2024_08`.
    month: String,
}

impl Installation {
    fn new() -> Self {
        let database = Database::ready();
        let month = database.sql("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '15 months', 'YYYY_MM')");
        Self { database, month }
    }

    fn partition(&self) -> String {
        format!("dgm_performance_metrics_{}", self.month)
    }

    /// Fills the month with samples, in the order of a list of numbers (SQL).
    fn fill(&self, numbers: &str) {
        self.database.sql(&format!(
            "SELECT create_monthly_partition('dgm_performance_metrics', to_date('{month}', 'YYYY_MM'));
             INSERT INTO dgm_performance_metrics
                (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at)
             SELECT {ID}, 'größe ' || n % 7, 'latency_seconds', n / 3.0::float8, at, CASE n % 2 WHEN 0 THEN 'entry ' || n END,
                at + interval '1 microsecond'
             FROM {numbers} AS numbers (n), LATERAL (
                SELECT to_timestamp('{month}', 'YYYY_MM')::timestamp AT TIME ZONE 'UTC' + n * interval '3 s' AS at) times",
            month = self.month
        ));
    }

    /// The rows of the month, each with all of its columns.
    fn rows(&self) -> String {
        let range = format!(
            "measurement_timestamp >= to_timestamp('{month}', 'YYYY_MM')::timestamp AT TIME ZONE 'UTC' AND
             measurement_timestamp < (to_timestamp('{month}', 'YYYY_MM')::timestamp + interval '1 month') AT TIME ZONE 'UTC'",
            month = self.month
        );
        self.database.sql(&format!(
            "SELECT count(*), md5(string_agg(m::text, '' ORDER BY id)) FROM dgm_performance_metrics m WHERE {range}"
        ))
    }

    fn dgm(&self, arguments: &[&str], exports: &str) -> Output {
        self.command(arguments, exports).output().unwrap()
    }

    fn command(&self, arguments: &[&str], exports: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dgm"));
        command.args(arguments).env("DATABASE_URL", self.database.url()).env("DGM__SAMPLES__EXPORT_URL", exports);
        command
    }

    /// Runs retention; what it says of itself, or why it failed.
    fn retire(&self, exports: &str) -> Result<String, String> {
        let run = self.dgm(&["job", "run", "enforce-retention"], exports);
        if run.status.success() { Ok(stdout(&run).trim().to_owned()) } else { Err(stderr(&run)) }
    }

    fn status(&self) -> String {
        let status = stdout(&self.database.dgm(&["partition", "status"]));
        status.lines().find(|line| line.starts_with(&self.partition())).unwrap_or_default().to_owned()
    }
}

/// Ids as the service makes them: the upper half is a time, which many of them share.
const ID: &str = "('019a4b00-0000-7' || lpad(to_hex(n % 16), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid";

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn initialise(folder: &Path, purpose: &str) {
    let made = crate::support::dgm("", &["files", "init", "--purpose", purpose, &url(folder)]);
    assert!(made.status.success(), "{made:?}");
}

/// The exported months of a folder.
fn exported(folder: &Path) -> Vec<PathBuf> {
    parquet::files(folder)
}
