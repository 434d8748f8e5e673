//! What was acknowledged, and whether the database agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::support::Database;

/// Every sample has a value of its own, by which it is found again.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Acknowledged.
    pub(super) samples: Vec<u64>,
    /// Sent without id, and the answer was lost: there or not, but not twice.
    pub(super) doubtful: Vec<u64>,
    /// Archive entries that were created.
    pub(super) entries: Vec<String>,
    /// Improvements that were queued.
    pub(super) improvements: Vec<String>,
    /// Improvements that were completed, with their entries.
    pub(super) completions: Vec<(String, String)>,
    /// Requests that had no answer yet when a server was killed.
    pub(super) interrupted: usize,
    /// Requests that were sent again, their answer being lost.
    pub(super) repeated: usize,
    /// Answers other than acknowledgements.
    pub(super) refused: Vec<String>,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, doubtful, entries, improvements, completions, interrupted, repeated, refused } = self;
        let (samples, doubtful, entries) = (samples.len(), doubtful.len(), entries.len());
        write!(f, "{samples} samples, {entries} entries, {} improvements, ", improvements.len())?;
        write!(
            f,
            "{} completions acknowledged; {interrupted} requests interrupted by a kill, {repeated} repeated, ",
            completions.len()
        )?;
        write!(f, "{doubtful} doubtful, {} refused", refused.len())
    }
}

impl FromIterator<Self> for Ledger {
    fn from_iter<I: IntoIterator<Item = Self>>(ledgers: I) -> Self {
        ledgers.into_iter().fold(Self::default(), |mut all, one| {
            all.samples.extend(one.samples);
            all.doubtful.extend(one.doubtful);
            all.entries.extend(one.entries);
            all.improvements.extend(one.improvements);
            all.completions.extend(one.completions);
            all.interrupted += one.interrupted;
            all.repeated += one.repeated;
            all.refused.extend(one.refused);
            all
        })
    }
}

/// Everything in which the database and the ledger differ. What has an id was repeated until it was acknowledged, so
/// there must be exactly what the ledger says.
pub(super) fn faults(database: &Database, ledger: &Ledger) -> Vec<String> {
    let mut faults = ledger.refused.clone();
    let stored = database.sql("SELECT metric_value::bigint, count(*) FROM dgm_performance_metrics GROUP BY 1");
    let stored: BTreeMap<u64, u64> = stored
        .lines()
        .map(|line| {
            let (value, count) = line.split_once('|').unwrap();
            (value.parse().unwrap(), count.parse().unwrap())
        })
        .collect();
    let count = |value: &u64| stored.get(value).copied().unwrap_or(0);
    let wrong = ledger.samples.iter().filter(|value| count(value) != 1);
    let twice = ledger.doubtful.iter().filter(|value| count(value) > 1);
    faults.extend(wrong.chain(twice).map(|value| format!("sample {value} is there {} times", count(value))));
    let sent: BTreeSet<&u64> = ledger.samples.iter().chain(&ledger.doubtful).collect();
    faults.extend(stored.keys().filter(|v| !sent.contains(v)).map(|v| format!("sample {v} was not sent")));
    let twice = database.sql(
        "SELECT count(*) FROM (SELECT FROM dgm_performance_metrics GROUP BY service_name, id HAVING count(*) > 1) twice",
    );
    if twice != "0" {
        faults.push(format!("{twice} ids of samples are there more than once"));
    }

    let results = ledger.completions.iter().map(|(_, entry)| entry);
    let entries: BTreeSet<String> = ledger.entries.iter().chain(results).cloned().collect();
    compare("entry", &database.sql("SELECT archive_entry_id FROM dgm_archive"), &entries, &mut faults);
    let queued = ledger.improvements.iter().cloned().collect();
    compare("improvement", &database.sql("SELECT improvement_id FROM dgm_improvements"), &queued, &mut faults);
    let completed: BTreeSet<String> =
        ledger.completions.iter().map(|(improvement, entry)| format!("{improvement} with {entry}")).collect();
    let stored = database.sql(
        "SELECT improvement_id || ' with ' || coalesce(archive_entry_id, '') FROM dgm_improvements WHERE status = 'completed'",
    );
    compare("completion", &stored, &completed, &mut faults);
    faults
}

fn compare(what: &str, stored: &str, acknowledged: &BTreeSet<String>, faults: &mut Vec<String>) {
    let stored: BTreeSet<String> = stored.lines().map(str::to_owned).collect();
    faults.extend(acknowledged.difference(&stored).map(|name| format!("{what} {name} is lost")));
    faults.extend(stored.difference(acknowledged).map(|name| format!("{what} {name} was not acknowledged")));
}
