//! What the callers saw: over time, by quantile, by operation, by number of users.

use super::format::{count, figure, millis, percent, quantile, share};
use super::{Cell, Column, Part, Section, Table, columns};
use crate::figures::Figures;
use crate::report::{PhaseFigures, Report};
use crate::verdict::LATENCY_MS;

pub(super) fn time(report: &Report) -> Section {
    let seconds = &report.timeline;
    let steady = || {
        let of = |phase: &PhaseFigures| seconds.get(phase.from..phase.to.min(seconds.len())).unwrap_or_default();
        report.phases.iter().flat_map(of)
    };
    let most = steady().map(|second| second.succeeded).max();
    let text = match (steady().map(|second| second.succeeded).min(), most) {
        (Some(least), Some(most)) => {
            let over = steady().filter(|second| second.p95_ms >= LATENCY_MS).count();
            format!(
                "While the number of users stayed, between {} and {} requests succeeded in a second; in {over} of {} such \
                 seconds p95 was {LATENCY_MS:.0} ms or more.",
                count(least),
                count(most),
                steady().count(),
            )
        }
        _ if seconds.is_empty() => "No request was recorded.".to_owned(),
        _ => "There was no second in which the number of users stayed.".to_owned(),
    };
    Section { part: Part::Time, title: "Over time", text: vec![text], tables: Vec::new() }
}

pub(super) fn latency(report: &Report) -> Section {
    let open = report.open_loop.as_ref().map(|open| &open.figures.raw.distribution);
    let at = |distribution: &[(f64, f64)], quantile: f64| {
        let found = distribution.iter().find(|(of, _)| of.total_cmp(&quantile).is_eq());
        let value = found.map_or(0.0, |(_, value)| *value);
        Cell::high(millis(value), value >= LATENCY_MS)
    };
    let rows = report.all.raw.distribution.iter().map(|&(of, value)| {
        let mut row: Vec<Cell> = vec![quantile(of).into(), Cell::high(millis(value), value >= LATENCY_MS)];
        row.push(at(&report.all.corrected.distribution, of));
        row.extend(open.map(|open| at(open, of)));
        row
    });
    let mut names = vec!["Raw", "Corrected"];
    names.extend(open.map(|_| "Open loop"));
    let table = Table {
        caption: format!("Milliseconds by quantile; marked: {LATENCY_MS:.0} ms or more"),
        columns: columns("Quantile", &names),
        rows: rows.collect(),
    };
    let text =
        "Raw: from sending to the end of the answer. Corrected for coordinated omission: with the requests that a \
                stalled user would have sent meanwhile."
            .to_owned();
    Section { part: Part::Latency, title: "Latency", text: vec![text], tables: vec![table] }
}

pub(super) fn operations(report: &Report) -> Section {
    let mut operations: Vec<_> = report.operations.iter().collect();
    operations.sort_by_key(|operation| std::cmp::Reverse(sent(&operation.figures)));
    let all = sent(&report.all);
    let row = |name: &str, figures: &Figures| {
        let latency = |value: f64| Cell::high(millis(value), value >= LATENCY_MS);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rate = figures.succeeded as f64 / report.seconds;
        let lost = |lost: u64| Cell::high(count(lost), lost > 0);
        vec![
            name.into(),
            count(sent(figures)).into(),
            share(sent(figures), all).into(),
            figure(rate).into(),
            latency(figures.raw.p50_ms),
            latency(figures.raw.p95_ms),
            latency(figures.raw.p99_ms),
            latency(figures.corrected.p95_ms),
            lost(figures.shed),
            lost(figures.failed),
        ]
    };
    let rows = operations.iter().map(|operation| row(&operation.name, &operation.figures));
    let rows = rows.chain(std::iter::once(row("all together", &report.all))).collect();
    let names = ["Requests", "Share", "Per second", "p50", "p95", "p99", "p95 corrected", "Shed", "Failed"];
    let caption = format!(
        "Operations, most requests first; successful ones a second over the whole run; latency in milliseconds, marked \
         where it is {LATENCY_MS:.0} or more"
    );
    let tables = vec![Table { caption, columns: columns("Operation", &names), rows }];
    Section { part: Part::Operations, title: "Operations", text: Vec::new(), tables }
}

/// Requests that were sent.
fn sent(figures: &Figures) -> u64 {
    figures.succeeded + figures.shed + figures.failed
}

/// Place of the phase with the highest rate.
pub(crate) fn best(phases: &[PhaseFigures]) -> Option<usize> {
    let served = phases.iter().enumerate().filter(|(_, phase)| phase.requests_per_second > 0.0);
    served.max_by(|(_, a), (_, b)| a.requests_per_second.total_cmp(&b.requests_per_second)).map(|(at, _)| at)
}

/// Place of the first phase whose p95 is no longer good.
pub(crate) fn first_over(phases: &[PhaseFigures]) -> Option<usize> {
    phases.iter().position(|phase| phase.p95_ms >= LATENCY_MS)
}

pub(super) fn phases(report: &Report) -> Section {
    let phases = &report.phases;
    let (best, over) = (best(phases), first_over(phases));
    let rows = phases.iter().enumerate().map(|(at, phase)| {
        let several = phases.len() > 1;
        let notes = [
            (several && best == Some(at)).then_some("highest rate"),
            (over == Some(at)).then_some("first p95 over the bound"),
            (phase.requests_per_second <= 0.0).then_some("nothing succeeded"),
        ];
        vec![
            count(u64::try_from(phase.users).unwrap_or(u64::MAX)).into(),
            format!("{} to {} s", phase.from, phase.to).into(),
            figure(phase.requests_per_second).into(),
            Cell::high(millis(phase.p95_ms), phase.p95_ms >= LATENCY_MS),
            notes.into_iter().flatten().collect::<Vec<_>>().join("; ").into(),
        ]
    });
    let mut columns = columns("Users", &["When", "Per second", "p95"]);
    columns.push(Column { name: "Note", figures: false });
    let caption = "Phases in which the number of users stayed; successful requests, latency in milliseconds".to_owned();
    let tables = vec![Table { caption, columns, rows: rows.collect() }];
    Section { part: Part::Phases, title: "Phases", text: vec![knee(phases)], tables }
}

/// Where more users stopped to mean more requests, and where they began to wait too long.
fn knee(phases: &[PhaseFigures]) -> String {
    let Some(best) = best(phases).and_then(|at| phases.get(at)) else {
        return "No request succeeded while the number of users stayed.".to_owned();
    };
    let most = format!("At most {} requests a second, with {} users", figure(best.requests_per_second), best.users);
    let last = match phases.last() {
        Some(last) if last.users > best.users => {
            let kept = percent(last.requests_per_second / best.requests_per_second);
            format!("; with {} users {kept} of that", last.users)
        }
        _ => String::new(),
    };
    let over = match first_over(phases).and_then(|at| phases.get(at)) {
        Some(over) => format!("p95 first reached {LATENCY_MS:.0} ms with {} users.", over.users),
        None => format!("p95 stayed below {LATENCY_MS:.0} ms in every phase."),
    };
    format!("{most}{last}. {over}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(users: usize, rate: f64, p95_ms: f64) -> PhaseFigures {
        PhaseFigures { users, from: 0, to: 1, requests_per_second: rate, p95_ms }
    }

    #[test]
    fn the_knee_is_named() {
        let phases = [phase(25, 900.0, 10.0), phase(50, 1200.0, 60.0), phase(100, 600.0, 240.0)];
        assert_eq!(
            knee(&phases),
            "At most 1,200 requests a second, with 50 users; with 100 users 50.0 % of that. p95 first reached 100 ms with \
             100 users."
        );
        assert!(knee(&phases[..1]).ends_with("with 25 users. p95 stayed below 100 ms in every phase."));
        assert!(knee(&[phase(1, 0.0, 0.0)]).starts_with("No request"));
        assert!(knee(&[]).starts_with("No request"));
    }
}
