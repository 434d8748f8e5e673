//! A session of psql that stays, for tests with many statements: a process for each costs more than the statement.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Database;

/// The session; ends with the value.
pub(crate) struct Session {
    psql: Child,
    statements: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    pub(crate) fn open(database: &Database) -> Self {
        let mut psql = Command::new("psql");
        psql.env("PGOPTIONS", super::hostile::pgoptions());
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1"]).arg(database.url());
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (statements, answers) = (psql.stdin.take().unwrap(), BufReader::new(psql.stdout.take().unwrap()));
        Self { psql, statements, answers }
    }

    /// What it answers to a statement that gives one row.
    pub(crate) fn row(&mut self, statement: &str) -> String {
        writeln!(self.statements, "{statement};").unwrap();
        let mut line = String::new();
        assert!(self.answers.read_line(&mut line).unwrap() > 0, "psql ended at {statement}");
        line.trim_end().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
