//! The table.

use std::fmt::Write as _;

use crate::archive::Archive;
use crate::figures::{millis, thousands};
use crate::machine::Facts;
use crate::measure::{Lap, Plan};
use crate::rows::ROWS;
use crate::stack::{Fill, Setup};

/// Answers of each connection below which percentiles say little: what is not answered at the end counts nowhere.
const FEW: u64 = 10;
/// Share of a core from which on the loader is taken for what limits a row: it has one thread.
const LOADER_BOUND: f64 = 0.9;
const HEADS: &str =
    "row|conn.|token|requests/s|bare/s|of bare|p50 ms|p99 ms|errors|service|PostgreSQL|Redis|loader|cores|MiB";
const LEGEND: &str = "\
`of bare`: the rate beside `bare/s`, that of the bare handler at as many connections (a read beside its GET, the rest \
beside its POST), the mean of a lap just before and one just after the row, each a third as long. `service` to \
`loader`: processor seconds of 10,000 requests; `cores`: how many the four kept busy. `MiB`: memory that the service holds afterwards. `errors`: answers of status 400 and above, broken connections, \
answers later than 2 s, claims that found nothing. Percentiles are wrk's, corrected for coordinated omission. Rows that \
write were held against the database's own count. `claim and complete in turn` counts both as requests.

† The loader used its core up: the service can do more. ‡ Fewer than ten answers a connection: percentiles say little.";

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order of measurement.
    pub(crate) laps: Vec<Lap>,
    /// Rows whose setting the program does not know.
    pub(crate) left_out: Vec<&'static str>,
}

impl Report {
    /// The rows that had errors, or lost what they had acknowledged.
    pub(crate) fn faulty(&self) -> Vec<String> {
        let wrong = |lap: &&Lap| lap.figures.errors() > 0 || lap.figures.requests == 0 || lap.lost.is_some();
        let name = |lap: &Lap| format!("{} at {}", lap.row.name, lap.connections);
        self.laps.iter().filter(wrong).map(name).collect()
    }

    /// Facts, table and legend as Markdown.
    pub(crate) fn render(&self, facts: &Facts, plan: &Plan, archive: &Archive, fill: Option<&Fill>) -> String {
        let mut text = String::from("Written by `make bench`.\n\n|  |  |\n|---|---|\n");
        let filled =
            fill.map_or_else(String::new, |fill| format!(", on {} at scale {}", fill.file.display(), fill.scale));
        let run = format!(
            "{} s a row, {} entries of about 2.5 kB in {} services{filled}",
            plan.seconds,
            archive.ids.len(),
            archive.services.len()
        );
        let run = ("Run", run);
        for (name, value) in facts.lines.iter().chain(std::iter::once(&run)) {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text.push('\n');
        let mut laps: Vec<&Lap> = self.laps.iter().collect();
        laps.sort_by_key(|lap| ROWS.iter().position(|row| row.name == lap.row.name));
        let heads = HEADS.split('|').map(str::to_owned).collect();
        let lines: Vec<Vec<String>> = std::iter::once(heads).chain(laps.iter().copied().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        for (number, cells) in lines.iter().enumerate() {
            for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
            }
            text.push_str("|\n");
            if number == 0 {
                let rule = |(column, width): (usize, &usize)| match column {
                    0 => format!("|{}", "-".repeat(width + 2)),
                    _ => format!("|{}:", "-".repeat(width + 1)),
                };
                text.extend(widths.iter().enumerate().map(rule));
                text.push_str("|\n");
            }
        }
        let _ = write!(text, "\n{LEGEND}\n");
        for (lap, lost) in laps.iter().filter_map(|lap| Some((lap, lap.lost.as_ref()?))) {
            let _ = writeln!(text, "\n**{} at {}: {lost}.**", lap.row.title, lap.connections);
        }
        if !self.left_out.is_empty() {
            let _ =
                writeln!(text, "\nLeft out, since the program has no `auth.required`: {}.", self.left_out.join(", "));
        }
        text
    }
}

fn cells(lap: &Lap) -> Vec<String> {
    let Lap { row, connections, figures, bare, cpu, resident, .. } = lap;
    let served = row.setup != Setup::Bare;
    let mark = match () {
        () if cpu.loader / figures.seconds() >= LOADER_BOUND => " †",
        () if figures.requests < u64::from(*connections) * FEW => " ‡",
        () => "",
    };
    // Behind the bare handler nobody works.
    let cost = |shown: bool, seconds: f64| {
        if shown { format!("{:.2}", per_10k(seconds, figures.requests)) } else { dash() }
    };
    vec![
        row.title.to_owned(),
        connections.to_string(),
        row.setup.authenticates().map_or_else(dash, |asked| if asked { "yes" } else { "no" }.to_owned()),
        format!("{}{mark}", thousands(figures.rate())),
        bare.map_or_else(dash, thousands),
        bare.map_or_else(dash, |bare| format!("{:.1} %", figures.rate() / bare * 100.0)),
        millis(figures.p50_us),
        millis(figures.p99_us),
        figures.errors().to_string(),
        cost(true, cpu.service),
        cost(served, cpu.postgres),
        cost(served, cpu.redis),
        cost(true, cpu.loader),
        format!("{:.1}", cpu.sum() / figures.seconds()),
        (resident >> 20).to_string(),
    ]
}

fn dash() -> String {
    "–".to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn per_10k(seconds: f64, requests: u64) -> f64 {
    seconds * 1e4 / requests.max(1) as f64
}
