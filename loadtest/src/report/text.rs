//! The verdict for a terminal.

use std::fmt::Write as _;

use super::Report;
use super::content::headline;

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
    for failure in report.failures.iter().take(10) {
        let _ = writeln!(text, "{} x {}: {}", failure.count, failure.operation, failure.kind);
    }
    text.push_str(&headline(report));
    text
}
