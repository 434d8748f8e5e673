//! The verdict for a terminal.

use std::fmt::Write as _;

use super::Report;
use super::content::{evidence, headline, missed, pauses, sentence, share_of_pauses};

/// Pauses that are listed.
const PAUSES: usize = 10;

/// The table of targets, and under it what a reader wants to know next.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let width = |cell: fn(&crate::verdict::Target) -> &str| {
        report.verdict.iter().map(|target| cell(target).chars().count()).max().unwrap_or(0)
    };
    let (names, wanted, measured) = (width(|t| &t.name), width(|t| &t.wanted), width(|t| &t.measured));
    for target in &report.verdict {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{:<names$}  {:>wanted$}  {:>measured$}  {}",
            target.name,
            target.wanted,
            target.measured,
            target.outcome.name()
        );
    }
    let all = &report.all;
    let _ = writeln!(
        text,
        "\n{} requests in {:.0} s, {:.0}/s with {} users; p50 {:.1}, p95 {:.1} (corrected {:.1}), p99 {:.1} ms",
        all.succeeded,
        report.seconds,
        report.requests_per_second,
        report.users,
        all.raw.p50_ms,
        all.raw.p95_ms,
        all.corrected.p95_ms,
        all.raw.p99_ms
    );
    if let Some(bare) = &report.bare {
        let _ = writeln!(
            text,
            "{:.2} of a bare axum handler, to which the same users make {:.0} requests/s",
            bare.ratio, bare.requests_per_second
        );
    }
    if !report.processes.is_empty() {
        let cores = report.processes.iter().map(|share| format!("{} {:.2}", share.program, share.cores));
        let _ = writeln!(text, "cores kept busy: {}", cores.collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(text, "{}", sentence(report));
    for (of, pause) in pauses(report).take(PAUSES) {
        let disk = report.open_loop.as_ref().filter(|_| of == "open").map_or(&report.disk, |open| &open.disk);
        let (from, ms) = (pause.from, pause.seconds() * 1e3);
        let _ = writeln!(text, "  {of} loop, {from:.2} s: {ms:.0} ms ({})", evidence(pause, disk));
    }
    if let Some(more) = pauses(report).count().checked_sub(PAUSES).filter(|more| *more > 0) {
        let _ = writeln!(text, "  {more} more in report.html");
    }
    for (target, effect) in missed(report) {
        let _ = writeln!(text, "{}: {}, {}", target.name, target.measured, share_of_pauses(effect));
    }
    for failure in report.failures.iter().take(10) {
        let _ = writeln!(text, "{} x {}: {}", failure.count, failure.operation, failure.kind);
    }
    text.push_str(&headline(report));
    text
}
