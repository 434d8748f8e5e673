//! Whether the disk paused, and what that did to requests.

use super::format::{count, figure, millis, percent};
use super::{Cell, Part, Section, Table, columns, words};
use crate::disk::{Disk, Effect, PAUSE, Pause};
use crate::report::Report;
use crate::verdict::{self, LATENCY_MS, Outcome};

/// The pauses of the closed loop, and of the open one.
pub(crate) fn pauses(report: &Report) -> impl Iterator<Item = (&'static str, &Pause)> {
    let open = report.open_loop.iter().flat_map(|open| &open.disk.pauses);
    report.disk.pauses.iter().map(|pause| ("closed", pause)).chain(open.map(|pause| ("open", pause)))
}

/// "the disk paused 3 times, longest 400 ms, 0.90 s in all"; `None` when it did not, or is not known to have.
pub(crate) fn paused(report: &Report) -> Option<String> {
    let times = pauses(report).count();
    let longest = pauses(report).map(|(_, pause)| pause.seconds()).reduce(f64::max)?;
    let all: f64 = pauses(report).map(|(_, pause)| pause.seconds()).sum();
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    Some(format!("the disk paused {times}, longest {:.0} ms, {all:.2} s in all", longest * 1e3))
}

/// Whether it did, in a sentence.
pub(crate) fn sentence(report: &Report) -> String {
    let disk = &report.disk;
    let watched = || {
        let probe = disk.probe.as_ref().map(|probe| {
            let (p50, p99, max) = (millis(probe.p50_ms), millis(probe.p99_ms), millis(probe.max_ms));
            format!("flush of 8 bytes: p50 {p50}, p99 {p99}, highest {max} ms")
        });
        let device = disk.device.as_ref().map(|device| {
            let (written, busy) = (figure(device.mib_written), percent(device.busy));
            format!("{}: {written} MiB written, busy {busy} of the time", device.name)
        });
        probe.into_iter().chain(device).collect::<Vec<_>>().join("; ")
    };
    match paused(report) {
        Some(paused) => format!("{paused} ({})", watched()),
        None if !disk.was_watched() => format!("whether the disk paused is not known ({})", disk.unknown.join("; ")),
        None => format!("the disk did not pause for {} ms ({})", PAUSE.as_millis(), watched()),
    }
}

/// What the observers saw of a pause.
pub(crate) fn evidence(pause: &Pause, disk: &Disk) -> String {
    let probe = pause.probe_ms.map(|ms| format!("probe: a flush took {ms:.0} ms"));
    let device = pause.device.as_ref().map(|stall| {
        let name = disk.device.as_ref().map_or("device", |device| device.name.as_str());
        format!("{name}: no write completed for {:.0} ms, {} outstanding", stall.ms, stall.outstanding)
    });
    let wal = pause.wal.as_ref().map(|stall| format!("PostgreSQL: no flush for {:.0} ms, {}", stall.ms, stall.waits));
    let mut all: Vec<String> = [probe, device, wal].into_iter().flatten().collect();
    if pause.probe_ms.is_none() && pause.device.is_none() && disk.probe.is_some() {
        all.push("only its flushes: the probe's returned".to_owned());
    }
    all.join("; ")
}

/// What pauses did to the requests of a target that was missed.
pub(crate) fn share_of_pauses(effect: &Effect) -> String {
    format!(
        "without the pauses' windows {} ms; {} of {} requests of {LATENCY_MS:.0} ms and more overlap them",
        figure(effect.p95_without_ms),
        count(effect.slow_during),
        count(effect.slow)
    )
}

/// The targets of latency that were missed in a run with pauses, each with what these did to it.
pub(crate) fn missed(report: &Report) -> impl Iterator<Item = (&verdict::Target, &Effect)> {
    let missed =
        report.verdict.iter().filter(|target| matches!(target.outcome, Outcome::Missed | Outcome::MissedInPauses));
    missed.filter_map(|target| Some((target, verdict::effect(report, &target.name)?)))
}

pub(super) fn disk(report: &Report) -> Section {
    let mut sentence = sentence(report);
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut text = vec![format!("{sentence}.")];
    text.extend(report.disk.directory.as_ref().map(|directory| format!("The database's data is in {directory}.")));
    if !report.disk.unknown.is_empty() && report.disk.was_watched() {
        text.push(format!("Not watched: {}.", report.disk.unknown.join("; ")));
    }
    let tables = [pauses_of(report), effects(report), waits(report)].into_iter().flatten().collect();
    Section { part: Part::Disk, title: "The disk", text, tables }
}

fn pauses_of(report: &Report) -> Option<Table> {
    let rows = pauses(report).map(|(of, pause)| {
        let disk = if of == "open" { report.open_loop.as_ref().map(|open| &open.disk) } else { None };
        let evidence = evidence(pause, disk.unwrap_or(&report.disk));
        let length = format!("{:.0}", pause.seconds() * 1e3);
        vec![format!("{of} loop, {:.2} s", pause.from).into(), length.into(), evidence.into()]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let mut columns = columns("When", &["ms"]);
    columns.extend(words(&["Evidence"]));
    let caption = "Pauses: no write to the disk completed".to_owned();
    (!rows.is_empty()).then_some(Table { caption, columns, rows })
}

fn effects(report: &Report) -> Option<Table> {
    let full = |effect: &Effect| match &effect.operation {
        None => Some(&report.all),
        Some(name) => report.operations.iter().find(|operation| operation.name == *name).map(|found| &found.figures),
    };
    let rows = report.disk.effects.iter().map(|effect| {
        let p95 = full(effect).map_or(0.0, |figures| figures.corrected.p95_ms);
        vec![
            effect.operation.as_deref().unwrap_or("all together").into(),
            Cell::high(millis(p95), p95 >= LATENCY_MS),
            Cell::high(millis(effect.p95_without_ms), effect.p95_without_ms >= LATENCY_MS),
            count(effect.during).into(),
            count(effect.slow).into(),
            count(effect.slow_during).into(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let names = ["p95 corrected", "Without pauses", "Overlap pauses", "Slow", "Slow and overlap"];
    let caption = format!(
        "Requests of the closed loop and the pauses: p95 in milliseconds of all, and of those that overlap no pause; requests that \
         overlap one; slow ones, of {LATENCY_MS:.0} ms and more"
    );
    (!rows.is_empty()).then(|| Table { caption, columns: columns("Operation", &names), rows })
}

fn waits(report: &Report) -> Option<Table> {
    let waits = report.disk.waits.as_ref().filter(|waits| !waits.is_empty())?;
    let row =
        |wait: &crate::disk::Wait| vec![wait.event.as_str().into(), figure(wait.mean).into(), count(wait.most).into()];
    let caption =
        "What PostgreSQL's processes waited for (pg_stat_activity): processes at a time, on average and at most"
            .to_owned();
    Some(Table {
        caption,
        columns: columns("Event", &["Mean", "Most"]),
        rows: waits.iter().take(12).map(row).collect(),
    })
}
