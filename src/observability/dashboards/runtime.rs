//! For whoever runs the process: processor, memory, files, runtime, logs and traces, the scrape itself.

use crate::observability::dashboard::{Bad, Dashboard, Panel};

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "dgm-runtime",
        title: "dgm / Runtime",
        description: "The process and what it needs: processors, memory, descriptors, the runtime's threads, volumes; its logs, traces and scrapes.",
        rows: vec![("Process", process()), ("Runtime", runtime()), ("Logs, traces, scrapes", telemetry())],
        by_service: false,
    }
}

fn process() -> Vec<Panel> {
    vec![
        Panel::lines("Processors", "none", "Processors that the process uses.")
            .ask("{{instance}}", "sum by (instance) (rate(process_cpu_seconds_total{$sel}[$__rate_interval]))"),
        Panel::lines("Memory", "bytes", "Memory that is resident.")
            .ask("{{instance}}", "sum by (instance) (process_resident_memory_bytes{$sel})"),
        Panel::lines("Address space", "bytes", "Address space; much larger than memory, and no matter.")
            .ask("{{instance}}", "sum by (instance) (process_virtual_memory_bytes{$sel})"),
        Panel::lines("File descriptors", "none", "Descriptors that are open, connections among them, and the most.")
            .ask("{{instance}}", "sum by (instance) (process_open_fds{$sel})")
            .ask("most of {{instance}}", "sum by (instance) (process_max_fds{$sel})")
            .alerts(&["DgmFileDescriptorsHigh"]),
        Panel::lines("Threads", "none", "Threads of the process.")
            .ask("{{instance}}", "sum by (instance) (process_threads{$sel})"),
        Panel::figure("Up since", "dateTimeFromNow", "When the youngest process began.")
            .ask("began", "max(process_start_time_seconds{$sel}) * 1000")
            .alerts(&["DgmRestarting"]),
        Panel::figure("Panics", "none", "Panics within the last hour.")
            .ask("panics", "sum(increase(dgm_panics_total{$sel}[1h]))")
            .alerts(&["DgmPanic"]),
        Panel::lines("Clock", "s", "How far the clock of the process is ahead of the database's. Above 5 s either way nothing is deleted by its age.")
            .ask("{{instance}}", "sum by (instance) (dgm_clock_difference_seconds{$sel})")
            .alerts(&["DgmClockDiffers"]),
    ]
}

fn runtime() -> Vec<Panel> {
    vec![
        Panel::lines("Delay of tasks", "s", "How late a task runs that is ready: everything that is served is as late. A millisecond is the timer's.")
            .quantiles("dgm_runtime_delay_seconds", "")
            .bad(Bad::Above(0.05))
            .alerts(&["DgmRuntimeSaturated"]),
        Panel::lines("Busy threads", "percentunit", "Share of the time that the runtime's threads were not idle.")
            .ask(
                "{{instance}}",
                "sum by (instance) (rate(dgm_runtime_busy_seconds_total{$sel}[$__rate_interval])) / sum by (instance) (dgm_runtime_workers{$sel})",
            )
            .bad(Bad::Above(0.9)),
        Panel::lines("Tasks", "none", "Tasks that have not ended, and those that wait for any thread.")
            .ask("{{instance}}", "sum by (instance) (dgm_runtime_tasks{$sel})")
            .ask("waiting in {{instance}}", "sum by (instance) (dgm_runtime_queued{$sel})"),
    ]
}

fn telemetry() -> Vec<Panel> {
    vec![
        Panel::lines("Volumes", "percentunit", "Share of each volume that is in use; only those that are configured.")
            .ask("{{volume}} {{instance}}", "1 - dgm_volume_free_bytes{$sel} / dgm_volume_size_bytes{$sel}")
            .bad(Bad::Above(0.8))
            .alerts(&["DgmVolumeFull", "DgmDatabaseDiskFull"]),
        Panel::lines(
            "Storage targets",
            "bool_yes_no",
            "Whether the targets of exports and artifacts are there; only those that are configured.",
        )
        .ask("{{target}} {{instance}}", "min by (target, instance) (dgm_storage_target_ready{$sel})")
        .bad(Bad::Below(1.0))
        .alerts(&["DgmStorageTargetMissing"]),
        Panel::lines("Log lines", "cps", "Log lines a second by level, and lines that were lost.")
            .ask("{{level}}", "sum by (level) (rate(dgm_log_events_total{$sel}[$__rate_interval]))")
            .ask("lost: {{reason}}", "sum by (reason) (rate(dgm_log_failures_total{$sel}[$__rate_interval]))")
            .alerts(&["DgmLogWritesFailing"]),
        Panel::lines(
            "Spans",
            "cps",
            "Spans a second that were sent, that the collector refused, and that did not fit.",
        )
        .ask("{{outcome}}", "sum by (outcome) (rate(dgm_trace_spans_total{$sel}[$__rate_interval]))")
        .alerts(&["DgmTraceExportFailing"]),
        Panel::lines("Samples of a scrape", "none", "How many samples a scrape of each instance has; some thousands.")
            .ask("{{instance}}", "sum by (instance) (scrape_samples_scraped{$sel})")
            .bad(Bad::Above(10_000.0))
            .alerts(&["DgmCardinalityHigh"]),
        Panel::lines("Time of a scrape", "s", "How long a scrape takes.")
            .ask("{{instance}}", "sum by (instance) (scrape_duration_seconds{$sel})"),
    ]
}
