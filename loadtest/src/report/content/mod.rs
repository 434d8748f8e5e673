//! What the documents for people say, in their order, however they are written down: sentences and tables.

mod around;
mod disk;
pub(crate) mod format;
mod judged;
mod load;
mod service;

pub(crate) use self::around::followed;
pub(crate) use self::disk::{evidence, missed, paused, pauses, sentence, share_of_pauses};
pub(crate) use self::judged::{bottleneck, cores_of};
pub(crate) use self::load::{best, first_over};
use super::Report;
use crate::verdict::{self, Outcome};

/// A section of a document.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) part: Part,
    pub(crate) title: &'static str,
    /// Paragraphs before plots and tables.
    pub(crate) text: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

/// Which section it is, so that plots find their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Verdict,
    Bottleneck,
    Disk,
    Time,
    Latency,
    Operations,
    Phases,
    Bare,
    OpenLoop,
    Server,
    Looks,
    Failures,
    Facts,
}

impl Part {
    /// Its id in a document.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Bottleneck => "bottleneck",
            Self::Disk => "disk",
            Self::Time => "time",
            Self::Latency => "latency",
            Self::Operations => "operations",
            Self::Phases => "phases",
            Self::Bare => "bare",
            Self::OpenLoop => "open-loop",
            Self::Server => "server",
            Self::Looks => "looks",
            Self::Failures => "failures",
            Self::Facts => "facts",
        }
    }
}

/// A table. The first cell of each row is the row's name.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column: what it is of, and whether it is of figures, which stand at the right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) figures: bool,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) mark: Mark,
}

/// How a cell stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// As it should be.
    Good,
    /// The run fails by it: its row stands out, too.
    Bad,
    /// Worth a look: above a bound that the run need not be held to.
    High,
    /// Of no weight.
    Faint,
}

impl Cell {
    fn marked(text: impl Into<String>, mark: Mark) -> Self {
        Self { text: text.into(), mark }
    }

    /// Marked where the condition holds.
    fn high(text: impl Into<String>, high: bool) -> Self {
        Self::marked(text, if high { Mark::High } else { Mark::None })
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::marked(text, Mark::None)
    }
}

/// Columns of a table: one of names, and those of figures.
fn columns(name: &'static str, figures: &[&'static str]) -> Vec<Column> {
    let figures = figures.iter().map(|&name| Column { name, figures: true });
    std::iter::once(Column { name, figures: false }).chain(figures).collect()
}

/// Columns of a table of words.
fn words(names: &[&'static str]) -> Vec<Column> {
    names.iter().map(|&name| Column { name, figures: false }).collect()
}

/// The verdict in one line.
pub(crate) fn headline(report: &Report) -> String {
    let failed: Vec<_> = report.verdict.iter().filter(|target| target.outcome.fails()).collect();
    let met = report.verdict.iter().filter(|target| target.outcome == Outcome::Met).count();
    let paused = paused(report);
    let (paused, blamed) = (paused.as_deref(), failed.iter().any(|target| target.outcome == Outcome::MissedInPauses));
    match (failed.as_slice(), paused) {
        ([], None) => format!("PASSED: {met} targets met"),
        ([], Some(paused)) => format!("PASSED: {met} targets met; {paused}"),
        (failed, Some(paused)) if blamed => {
            let full = failed.iter().map(|target| format!("{} {}", target.name, target.measured)).collect::<Vec<_>>();
            let without = failed.iter().filter_map(|target| verdict::effect(report, &target.name));
            let without = without.map(|effect| format!("{:.1} ms", effect.p95_without_ms)).collect::<Vec<_>>();
            format!("FAILED: {}; {paused}; without those windows {}", full.join(", "), without.join(", "))
        }
        (failed, _) => {
            format!("FAILED: {}", failed.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join("; "))
        }
    }
}

/// What a reader wants to know next, in one sentence.
pub(crate) fn summary(report: &Report) -> String {
    use self::format::{count, figure, millis};
    let all = &report.all;
    let of = if report.machines > 1 { format!("One of {} machines: ", report.machines) } else { String::new() };
    format!(
        "{of}{} requests a second with at most {} users, {} successful requests in {:.0} s; p50 {} ms, p95 {} ms (corrected {} \
         ms), p99 {} ms; {} shed, {} failed",
        figure(report.requests_per_second),
        count(u64::try_from(report.users).unwrap_or(u64::MAX)),
        count(all.succeeded),
        report.seconds,
        millis(all.raw.p50_ms),
        millis(all.raw.p95_ms),
        millis(all.corrected.p95_ms),
        millis(all.raw.p99_ms),
        count(all.shed),
        count(all.failed),
    )
}

/// All sections, in the order of the documents.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    vec![
        judged::verdict(report),
        judged::cores(report),
        disk::disk(report),
        load::time(report),
        load::latency(report),
        load::operations(report),
        load::phases(report),
        service::bare(report),
        service::open_loop(report),
        service::server(report),
        around::looks(report),
        around::failures(report),
        around::facts(report),
    ]
}
