//! The service beside a bare handler, under an open loop, and as it tells of itself.

use std::collections::BTreeMap;

use super::format::{count, figure, millis, percent};
use super::{Cell, Part, Section, Table, columns};
use crate::processes::{self, Share};
use crate::report::Report;
use crate::verdict::LATENCY_MS;

/// Said of what a profile leaves out.
const NOT_MEASURED: &str = "This run did not measure it.";

pub(super) fn bare(report: &Report) -> Section {
    let (text, tables) = match &report.bare {
        None => (NOT_MEASURED.to_owned(), Vec::new()),
        Some(bare) => {
            let laps = bare.laps.iter().enumerate();
            let row = |what: String, rate: f64, processes: &[Share]| -> Vec<Cell> {
                let cores = processes::cores(processes);
                vec![what.into(), figure(rate).into(), figure(cores).into(), figure(cores / rate * 1e4).into()]
            };
            let mut rows: Vec<_> =
                laps.map(|(at, lap)| row(format!("lap {}", at + 1), lap.requests_per_second, &lap.processes)).collect();
            rows.push(row("the service".into(), report.requests_per_second, &report.processes));
            let text = format!(
                "The same users reach {} requests a second against axum with an answer of the service and none of its \
                 work: the service reaches {} of that.",
                figure(bare.requests_per_second),
                percent(bare.ratio),
            );
            let caption = "Successful requests, and what took part of the processor".to_owned();
            let headings = ["Requests a second", "Cores kept busy", "Processor seconds of 10,000 requests"];
            (text, vec![Table { caption, columns: columns("Against", &headings), rows }])
        }
    };
    Section { part: Part::Bare, title: "Beside a bare handler", text: vec![text], tables }
}

fn unknown() -> String {
    "an unknown time".to_owned()
}

pub(super) fn open_loop(report: &Report) -> Section {
    let (text, tables) = match &report.open_loop {
        None => (NOT_MEASURED.to_owned(), Vec::new()),
        Some(open) => {
            let (figures, raw) = (&open.figures, &open.figures.raw);
            let latency = |value: f64| Cell::high(millis(value), value >= LATENCY_MS);
            let lost = |lost: u64| Cell::high(count(lost), lost > 0);
            let row = vec![
                figure(f64::from(open.rate)).into(),
                figure(open.reached).into(),
                count(figures.succeeded).into(),
                latency(raw.p50_ms),
                latency(raw.p95_ms),
                latency(raw.p99_ms),
                latency(raw.max_ms),
                lost(figures.shed),
                lost(figures.failed),
            ];
            let text = format!(
                "For {} s requests left when they were due, whether or not earlier ones were answered; their times begin \
                 when they were due. Meanwhile 95 of 100 answers of Redis took at most {}, waits for a database connection {}.",
                open.seconds,
                open.waits.cache_answer_p95_ms.map_or_else(unknown, |value| format!("{} ms", millis(value))),
                open.waits.pool_wait_p95_ms.map_or_else(unknown, |value| format!("{} ms", millis(value))),
            );
            let names = ["Reached", "Succeeded", "p50", "p95", "p99", "Highest", "Shed", "Failed"];
            let caption = "Requests a second, wanted and reached; latency in milliseconds".to_owned();
            (text, vec![Table { caption, columns: columns("Wanted", &names), rows: vec![row] }])
        }
    };
    Section { part: Part::OpenLoop, title: "Open loop", text: vec![text], tables }
}

pub(super) fn server(report: &Report) -> Section {
    let server = &report.server;
    let ms = |value: f64| format!("{} ms", figure(value));
    let told = [
        ("Connections of callers, at most", server.connections.map(figure)),
        ("Lookups that the cache answered", server.hit_ratio.map(percent)),
        ("Answers of Redis, p95", server.waits.cache_answer_p95_ms.map(ms)),
        ("Rows found by an index, of tables that are not small", server.index_ratio.map(percent)),
        ("Wait for a database connection, p95", server.waits.pool_wait_p95_ms.map(ms)),
        ("Commits a second", server.commits_per_second.map(figure)),
        ("Rows written a second", server.rows_written_per_second.map(figure)),
    ];
    let rows = told.into_iter().map(|(name, value)| {
        let value = value.unwrap_or_else(|| "not told".to_owned());
        vec![name.into(), value.into()]
    });
    let caption = "What the service told of itself and of its database".to_owned();
    let mut tables = vec![Table { caption, columns: columns("Of", &["Value"]), rows: rows.collect() }];
    let sorted = |values: &BTreeMap<String, f64>, descending: bool, show: fn(f64) -> String| {
        let mut values: Vec<_> = values.iter().collect();
        values.sort_by(|a, b| if descending { b.1.total_cmp(a.1) } else { a.1.total_cmp(b.1) });
        values.into_iter().map(|(name, value)| vec![name.as_str().into(), show(*value).into()]).collect::<Vec<_>>()
    };
    if !server.statement_p95_ms.is_empty() {
        tables.push(Table {
            caption: "Statements, slowest first: p95 in milliseconds".to_owned(),
            columns: columns("Statement", &["p95"]),
            rows: sorted(&server.statement_p95_ms, true, figure),
        });
    }
    if !server.index_tables.is_empty() {
        tables.push(Table {
            caption: "Tables that are not small, least first: rows that an index found, of all rows read".to_owned(),
            columns: columns("Table", &["Found by an index"]),
            rows: sorted(&server.index_tables, false, percent),
        });
    }
    Section { part: Part::Server, title: "What the service told", text: Vec::new(), tables }
}
