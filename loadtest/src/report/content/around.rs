//! What was followed through the run, what failed, and what the figures depend on.

use clap::ValueEnum as _;

use super::format::{count, figure};
use super::{Column, Part, Section, Table, columns, words};
use crate::report::Report;
use crate::watch::{CONNECTIONS, DATABASE_CONNECTIONS, DEAD, Look, RESIDENT, SERIES};

/// What a reader looks for first: what must not grow.
const FIRST: [&str; 5] = [RESIDENT, CONNECTIONS, DATABASE_CONNECTIONS, SERIES, DEAD];

/// What was followed, with its unit where it has one, and where it was told: seconds with values.
pub(crate) fn followed(looks: &[Look]) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut names: Vec<&str> = FIRST.to_vec();
    for name in looks.iter().flat_map(|look| look.values.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = names.into_iter().map(|name| {
        let (unit, size) = if name == RESIDENT { (", MiB", 1_048_576.0) } else { ("", 1.0) };
        let seen = looks.iter().filter_map(|look| Some((look.at, look.values.get(name)? / size)));
        (format!("{name}{unit}"), seen.collect::<Vec<_>>())
    });
    values.filter(|(_, seen)| !seen.is_empty()).collect()
}

pub(super) fn looks(report: &Report) -> Section {
    let rows = followed(&report.looks).into_iter().map(|(name, seen)| {
        let values = || seen.iter().map(|(_, value)| *value);
        let ends = [values().next(), values().next_back(), values().reduce(f64::min), values().reduce(f64::max)];
        let mut row = vec![name.into()];
        row.extend(ends.map(|end| end.map_or_else(|| "-".to_owned(), seen_value).into()));
        row
    });
    let rows: Vec<_> = rows.collect();
    let (text, tables) = if rows.is_empty() {
        (vec!["The service was not looked at.".to_owned()], Vec::new())
    } else {
        let columns = columns("Of", &["First", "Last", "Lowest", "Highest"]);
        (Vec::new(), vec![Table { caption: "The service's metrics while the load ran".to_owned(), columns, rows }])
    };
    Section { part: Part::Looks, title: "Looks at the service", text, tables }
}

/// Most of what is followed is counted.
fn seen_value(value: f64) -> String {
    let whole = value.fract().abs() <= 0.0 && value.abs() < 100.0;
    if whole { format!("{value:.0}") } else { figure(value) }
}

pub(super) fn failures(report: &Report) -> Section {
    let mut failures: Vec<_> = report.failures.iter().collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    let row = |failure: &&crate::report::FailureCount| {
        vec![failure.operation.as_str().into(), failure.kind.as_str().into(), count(failure.count).into()]
    };
    let mut columns = words(&["Operation", "What happened"]);
    columns.push(Column { name: "Times", figures: true });
    let table = Table {
        caption: "Requests that failed or were shed".to_owned(),
        columns,
        rows: failures.iter().map(row).collect(),
    };
    let (text, tables) =
        if failures.is_empty() { (vec!["None.".to_owned()], Vec::new()) } else { (Vec::new(), vec![table]) };
    Section { part: Part::Failures, title: "Failures", text, tables }
}

pub(super) fn facts(report: &Report) -> Section {
    let profile = report.profile.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let own = [
        ("Profile", profile),
        ("Began", report.began.clone()),
        ("Run", report.run.clone()),
        ("Service at", report.host.clone()),
        ("Machines that loaded", report.machines.to_string()),
        ("Users, at most", report.users.to_string()),
        ("Entries made before", report.entries.to_string()),
        ("Seconds", format!("{:.1}", report.seconds)),
    ];
    let own = own.into_iter().map(|(name, value)| vec![name.into(), value.into()]);
    let gathered = report.facts.iter().map(|(name, value)| vec![name.as_str().into(), value.as_str().into()]);
    let caption = "Run, machine, versions and settings".to_owned();
    let tables = vec![Table { caption, columns: words(&["Of", "Value"]), rows: own.chain(gathered).collect() }];
    Section { part: Part::Facts, title: "Machine, versions and settings", text: Vec::new(), tables }
}
