//! Reads plans from the server's log.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Database, until};

/// What grows with the archive. The others stay small by themselves or by a job.
const LARGE: [&str; 4] = ["dgm_archive", "dgm_improvements", "dgm_improvement_events", "dgm_archive_inspirations"];
const SAMPLES: &str = "dgm_performance_metrics_";
/// Partitions of one answer about a day or less: that of the day, that of the day before, and those made ahead, in which an
/// open end must be looked for.
const FEW: usize = 5;

/// What stands in a statement, and the indexes of which its plan goes by one whatever the values; those of partitions begin
/// alike.
const EXPECTED: &[(&str, &[&str])] = &[
    ("WHERE a.archive_entry_id = $1", &["dgm_archive_archive_entry_id_key"]),
    ("FROM walk w JOIN dgm_archive p ON", &["dgm_archive_archive_entry_id_key"]),
    ("JOIN dgm_archive c ON c.parent_entry_id", &["idx_dgm_archive_parent"]),
    ("WHERE c.parent_entry_id = parent.id LIMIT", &["idx_dgm_archive_parent"]),
    ("FROM dgm_improvements i WHERE i.improvement_id = $1", &["dgm_improvements_improvement_id_key"]),
    ("i.status = 'running' AND i.lease_token = $2", &["dgm_improvements_improvement_id_key"]),
    ("(i.status = 'running') IS TRUE", &["dgm_improvements_improvement_id_key"]),
    ("ORDER BY i.improvement_id FOR UPDATE", &["dgm_improvements_improvement_id_key"]),
    ("FOR UPDATE SKIP LOCKED LIMIT g.most", &["idx_dgm_improvements_claimable"]),
    ("WHERE improvement_id = $1 AND event_id > $2", &["idx_dgm_improvement_events_of"]),
    ("WHERE improvement_id = w.id AND event_id > w.after", &["idx_dgm_improvement_events_of"]),
    ("WHERE service_name = s.name AND transaction_id", &["idx_dgm_improvement_events_service"]),
    ("percentile_cont", &["dgm_performance_metrics_"]),
    ("SELECT t.metric_type, newest.*", &["dgm_performance_metrics_"]),
];

pub(super) struct Judge<'a> {
    database: &'a Database,
    log: PathBuf,
    from: usize,
}

pub(super) struct Verdict {
    pub(super) plans: usize,
    pub(super) faults: Vec<String>,
    /// Of what is expected, what no statement was about.
    pub(super) unseen: Vec<&'static str>,
}

impl<'a> Judge<'a> {
    pub(super) fn from_now_on(database: &'a Database) -> Self {
        let log = database.log();
        let from = std::fs::read(&log).unwrap().len();
        Self { database, log, from }
    }

    /// On every statement that was logged since.
    pub(super) fn verdict(&self) -> Verdict {
        // The log is written by many processes; once it has this, it has what was before.
        let mark = format!("SELECT 'mark {}'", self.from);
        self.database.sql(&mark);
        let mut text = String::new();
        until("the server logs its plans", || {
            text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()[self.from..]).into_owned();
            text.contains(&mark)
        });
        let plans = plans(&text);
        let mut seen = BTreeSet::new();
        let faults = plans.iter().flat_map(faults).filter(|fault| seen.insert(fault.clone())).collect();
        let about = |part: &str| plans.iter().any(|plan| plan["Query Text"].as_str().is_some_and(|t| t.contains(part)));
        let unseen = EXPECTED.iter().map(|(part, _)| *part).filter(|part| !about(part)).collect();
        Verdict { plans: plans.len(), faults, unseen }
    }
}

/// A plan follows its line, each of its own lines after a tab.
fn plans(log: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if line.ends_with(" plan:") {
            let mut json = String::new();
            while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
                json.push_str(more);
            }
            plans.push(serde_json::from_str(&json).unwrap());
        }
    }
    plans
}

fn faults(explained: &Value) -> Vec<String> {
    let text = explained["Query Text"].as_str().unwrap();
    let (mut whole, mut partitions, mut indexes) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    walk(&explained["Plan"], &mut |node| {
        indexes.extend(node["Index Name"].as_str().map(str::to_owned));
        let Some(table) = node["Relation Name"].as_str() else { return };
        // An insert names what it may insert into.
        if node["Node Type"] == "ModifyTable" {
            return;
        }
        if node["Node Type"] == "Seq Scan" && (LARGE.contains(&table) || table.starts_with(SAMPLES)) {
            whole.push(table.to_owned());
        }
        if table.starts_with(SAMPLES) {
            partitions.insert(table.to_owned());
        }
    });
    let mut faults: Vec<String> = whole.iter().map(|table| format!("reads {table} whole: {text}")).collect();
    for (part, any) in EXPECTED {
        if text.contains(part) && !indexes.iter().any(|used| any.iter().any(|index| used.starts_with(index))) {
            faults.push(format!("does not go by {any:?} but by {indexes:?}: {text}"));
        }
    }
    if partitions.len() > FEW {
        faults = vec![format!("reads {} partitions: {text}", partitions.len())];
    }
    faults
}

fn walk(node: &Value, visit: &mut impl FnMut(&Value)) {
    visit(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, visit);
    }
}
