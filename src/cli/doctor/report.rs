//! Lines of a report, for people and for programs.

use serde::Serialize;

/// How well a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Fail,
    /// Not checked, for a reason that another line has.
    Skip,
}

#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    /// `false` for what failed.
    ok: bool,
    level: Level,
    text: String,
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn add(&mut self, check: &'static str, outcome: Result<String, String>) {
        let (level, text) = match outcome {
            Ok(text) => (Level::Ok, text),
            Err(text) => (Level::Fail, text),
        };
        self.lines.push(Line { check, ok: level != Level::Fail, level, text });
    }

    /// Each of these depends on something that another line reports.
    pub(super) fn skip(&mut self, checks: &[&'static str], why: &str) {
        for check in checks {
            let text = format!("not checked: {why}");
            self.lines.push(Line { check, ok: true, level: Level::Skip, text });
        }
    }

    pub(super) fn is_well(&self) -> bool {
        self.lines.iter().all(|line| line.ok)
    }

    pub(super) fn print(&self) {
        for Line { check, level, text, .. } in &self.lines {
            let word = match level {
                Level::Ok => "ok",
                Level::Fail => "FAIL",
                Level::Skip => "skip",
            };
            say!("{check:<12} {word:<5} {text}");
        }
    }

    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        say!("{}", serde_json::to_string_pretty(&self.lines)?);
        Ok(())
    }
}
