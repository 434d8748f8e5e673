//! The verdict, and who was the bottleneck.

use super::format::{figure, percent};
use super::{Cell, Column, Mark, Part, Section, Table, columns};
use crate::facts::CORES;
use crate::processes;
use crate::report::Report;
use crate::verdict::Outcome;

/// Share of the machine's cores from which on they count as all busy: the rest is lost in between.
const FULL: f64 = 0.9;
/// The program that is judged, as [`crate::processes`] calls it.
const SERVICE: &str = "service";
/// The program that judges.
const LOAD_TEST: &str = "load test";

pub(super) fn verdict(report: &Report) -> Section {
    let rows = report.verdict.iter().map(|target| {
        let mark = match target.outcome {
            Outcome::Met => Mark::Good,
            Outcome::Missed | Outcome::MissedInPauses | Outcome::Unknown => Mark::Bad,
            Outcome::NotJudged => Mark::Faint,
        };
        let outcome = Cell::marked(target.outcome.name(), mark);
        vec![target.name.as_str().into(), target.wanted.as_str().into(), target.measured.as_str().into(), outcome]
    });
    let mut columns = columns("Target", &["Wanted", "Measured"]);
    columns.push(Column { name: "Outcome", figures: false });
    let caption = "Targets, what was measured of each, and what came of it".to_owned();
    let tables = vec![Table { caption, columns, rows: rows.collect() }];
    Section { part: Part::Verdict, title: "Verdict", text: Vec::new(), tables }
}

pub(super) fn cores(report: &Report) -> Section {
    let all = processes::cores(&report.processes);
    let rows = report.processes.iter().map(|share| {
        let of_machine = cores_of(report).map_or_else(|| "-".to_owned(), |cores| percent(share.cores / cores));
        vec![
            share.program.as_str().into(),
            figure(share.seconds).into(),
            figure(share.cores).into(),
            of_machine.into(),
            percent(share.cores / all).into(),
        ]
    });
    let table = Table {
        caption:
            "Processor time while the load ran: seconds, cores kept busy, and their share of the machine and of these \
                  programs"
                .to_owned(),
        columns: columns("Program", &["Seconds", "Cores", "Of machine", "Of these"]),
        rows: rows.collect(),
    };
    let tables = if report.processes.is_empty() { Vec::new() } else { vec![table] };
    Section { part: Part::Bottleneck, title: "Who was the bottleneck", text: vec![bottleneck(report)], tables }
}

/// The machine's cores, where the facts name a number.
pub(crate) fn cores_of(report: &Report) -> Option<f64> {
    let (_, cores) = report.facts.iter().find(|(name, _)| name == CORES)?;
    cores.parse().ok().filter(|cores: &f64| cores.is_finite() && *cores > 0.0)
}

/// Whose processors were busy, and what follows from it.
pub(crate) fn bottleneck(report: &Report) -> String {
    let cores_used = |program: &str| report.processes.iter().find(|share| share.program == program).map(|s| s.cores);
    let Some(service) = cores_used(SERVICE) else {
        return "Not known: the load test was not told the service's process (DGM_SERVER_PID, DGM_POSTGRES_PID, \
                DGM_REDIS_PID), or the service is not on this machine."
            .to_owned();
    };
    let used = processes::cores(&report.processes);
    let mut programs: Vec<_> = report.processes.iter().collect();
    programs.sort_by(|a, b| b.cores.total_cmp(&a.cores));
    let Some(cores) = cores_of(report) else {
        let each = programs.iter().map(|share| format!("the {} {}", share.program, figure(share.cores)));
        let each = each.collect::<Vec<_>>().join(", ");
        return format!("Cores kept busy: {each}; how many the machine has is not known.");
    };
    let each = programs.iter().map(|share| format!("{} {}", share.program, percent(share.cores / cores)));
    let each = each.collect::<Vec<_>>().join(", ");
    let service_took = if service < 1.0 {
        format!("The service kept less than one core busy ({}).", figure(service))
    } else {
        format!("The service kept {} cores busy.", figure(service))
    };
    let (used_text, of) = (figure(used), figure_of_cores(cores));
    if used >= FULL * cores {
        let load_test = cores_used(LOAD_TEST).unwrap_or(0.0);
        return format!(
            "The processors: {used_text} of the machine's {of} were busy ({each}). The load test itself took {}, which a \
             service on a machine of its own would have had; the figures are the least that it can do. {service_took}",
            percent(load_test / cores),
        );
    }
    format!(
        "Not the processors, as far as these programs go: they kept {used_text} of the machine's {of} busy ({each}); the \
         rest was idle, or programs that are not of this run had it. {service_took} Where the rest was idle, callers waited \
         for something else: the disk, locks, their own pauses or rate."
    )
}

fn figure_of_cores(cores: f64) -> String {
    format!("{cores:.0} core{}", if cores > 1.5 { "s" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{cores, sample};

    #[test]
    fn full_cores_are_the_bottleneck_and_who_took_them_is_said() {
        let text = bottleneck(&cores(sample(), "2", &[("load test", 1.1), ("service", 0.5), ("PostgreSQL", 0.3)]));
        assert!(
            text.starts_with("The processors: 1.90 of the machine's 2 cores were busy (load test 55.0 %"),
            "{text}"
        );
        assert!(text.contains("load test itself took 55.0 %") && text.contains("less than one core"), "{text}");
    }

    #[test]
    fn idle_cores_are_not() {
        let text = bottleneck(&cores(sample(), "8", &[("load test", 1.0), ("service", 2.0)]));
        assert!(text.starts_with("Not the processors") && text.contains("service kept 2.00 cores"), "{text}");
    }

    #[test]
    fn nothing_is_guessed() {
        assert!(bottleneck(&cores(sample(), "2", &[])).starts_with("Not known"));
        assert!(bottleneck(&cores(sample(), "2", &[("load test", 1.0)])).starts_with("Not known"));
        let text = bottleneck(&cores(sample(), "unknown", &[("load test", 1.0), ("service", 2.0)]));
        assert_eq!(
            text,
            "Cores kept busy: the service 2.00, the load test 1.00; how many the machine has is not known."
        );
    }
}
