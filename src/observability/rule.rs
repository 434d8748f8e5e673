//! Rules of Prometheus: what they are, and how they are written.

use std::fmt::Write as _;

use super::Options;
use super::time::scaled;

/// How soon somebody must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody is woken.
    Critical,
    /// In working hours.
    Warning,
    /// Nobody is told; it helps whoever looks for a cause.
    Info,
}

impl Severity {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Team {
    /// Those who run this service.
    Service,
    /// Those who run PostgreSQL.
    Database,
    /// Those who run machines, clusters, Redis and the monitoring.
    Platform,
}

impl Team {
    /// Every team.
    pub const ALL: [Self; 3] = [Self::Service, Self::Database, Self::Platform];

    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Platform => "platform",
        }
    }
}

/// Series, in promtool's notation, and a time at which the rule is looked at.
#[derive(Debug, Clone)]
pub struct Example {
    /// Series and values; one value a minute.
    pub series: Vec<(String, String)>,
    /// When.
    pub at: &'static str,
}

/// An alert with its examples.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its name; with another severity or window it may occur again.
    pub name: &'static str,
    /// How soon.
    pub severity: Severity,
    /// Who.
    pub team: Team,
    /// How long the condition must hold.
    pub wait: &'static str,
    /// How long it goes on after its condition ended, for a cause whose consequences fade more slowly than it does: what it
    /// inhibits must not be told after it.
    pub lingers: Option<&'static str>,
    /// The condition. `$(5m)` stands for seconds, `$job` for the job that scrapes the service.
    pub expr: String,
    /// More labels.
    pub labels: Vec<(&'static str, String)>,
    /// One line.
    pub summary: String,
    /// What it says, with figures.
    pub description: String,
    /// The dashboard that shows it.
    pub dashboard: &'static str,
    /// When it fires: each for another reason.
    pub fires: Vec<Example>,
    /// When it does not: each for another reason.
    pub silent: Vec<Example>,
}

impl Alert {
    pub(super) fn new(name: &'static str, severity: Severity, team: Team, dashboard: &'static str) -> Self {
        Self {
            name,
            severity,
            team,
            wait: "0m",
            lingers: None,
            expr: String::new(),
            labels: Vec::new(),
            summary: String::new(),
            description: String::new(),
            dashboard,
            fires: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// Whether it looks at what recording rules make of what its examples give.
    fn needs_figures(&self) -> bool {
        let gives = |example: &Example| example.series.iter().any(|(series, _)| series.starts_with("dgm:"));
        self.expr.contains("dgm:") && !self.fires.iter().any(gives)
    }

    /// The condition, and how long it must hold.
    pub(super) fn when(mut self, wait: &'static str, expr: impl Into<String>) -> Self {
        self.wait = wait;
        self.expr = expr.into();
        self
    }

    pub(super) fn lingers(mut self, time: &'static str) -> Self {
        self.lingers = Some(time);
        self
    }

    pub(super) fn labels(mut self, name: &'static str, value: &str) -> Self {
        self.labels.push((name, value.to_owned()));
        self
    }

    pub(super) fn says(mut self, summary: &str, description: &str) -> Self {
        summary.clone_into(&mut self.summary);
        description.clone_into(&mut self.description);
        self
    }

    pub(super) fn fires(mut self, at: &'static str, series: &[(impl AsRef<str>, impl AsRef<str>)]) -> Self {
        self.fires.push(example(at, series));
        self
    }

    pub(super) fn silent(mut self, at: &'static str, series: &[(impl AsRef<str>, impl AsRef<str>)]) -> Self {
        self.silent.push(example(at, series));
        self
    }
}

fn example(at: &'static str, series: &[(impl AsRef<str>, impl AsRef<str>)]) -> Example {
    Example {
        series: series.iter().map(|(name, values)| (name.as_ref().to_owned(), values.as_ref().to_owned())).collect(),
        at,
    }
}

/// A recording rule.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The series that it makes: level, metric, operations (<https://prometheus.io/docs/practices/rules/>).
    pub record: String,
    /// Labels that it adds.
    pub labels: Vec<(&'static str, String)>,
    /// What it records.
    pub expr: String,
}

pub(super) const NOTE: &str =
    "# Written by `dgm observability`; `make generate` writes it anew. Change src/observability/ instead.\n";

/// The file of the recording rules.
pub(super) const FIGURES: &str = "alerts/rules/dgm-slo-figures.yaml";

/// A text as YAML: JSON's strings are YAML's too.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a file of rules begins with; its groups follow.
pub(super) const GROUPS: &str = "groups:\n";

fn block(text: &mut String, expr: &str) {
    text.push_str("        expr: |-\n");
    for line in expr.lines() {
        let _ = writeln!(text, "          {line}");
    }
}

fn labels<'a>(text: &mut String, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    text.push_str("        labels:\n");
    for (name, value) in labels {
        let _ = writeln!(text, "          {name}: {}", quoted(value));
    }
}

/// A file of recording rules.
pub(super) fn recordings(group: &str, rules: &[Recording], options: &Options) -> String {
    let mut text = format!("{NOTE}{GROUPS}  - name: {group}\n    rules:\n");
    for rule in rules {
        let _ = writeln!(text, "      - record: {}", rule.record);
        block(&mut text, &options.fill(&rule.expr));
        labels(&mut text, rule.labels.iter().map(|(name, value)| (*name, value.as_str())));
    }
    text
}

/// A file of alerts.
pub(super) fn alerts(group: &str, alerts: &[Alert], options: &Options) -> String {
    let mut text = format!("{NOTE}{GROUPS}  - name: {group}\n    rules:\n");
    for alert in alerts {
        let _ = writeln!(text, "      - alert: {}", alert.name);
        block(&mut text, &options.fill(&alert.expr));
        let _ = writeln!(text, "        for: {}", scaled(alert.wait, options.pace));
        if let Some(time) = alert.lingers {
            let _ = writeln!(text, "        keep_firing_for: {}", scaled(time, options.pace));
        }
        let fixed = [("severity", alert.severity.as_str()), ("team", alert.team.as_str())];
        labels(&mut text, fixed.into_iter().chain(alert.labels.iter().map(|(name, value)| (*name, value.as_str()))));
        text.push_str("        annotations:\n");
        for (name, value) in [
            ("summary", alert.summary.replace("$job", &options.job)),
            ("description", alert.description.replace("$job", &options.job)),
            ("runbook_url", options.runbook(alert.name)),
            ("dashboard_url", options.dashboard(alert.dashboard)),
        ] {
            let _ = writeln!(text, "          {name}: {}", quoted(&value));
        }
    }
    text
}

/// promtool's tests of alerts (<https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>).
pub(super) fn tests(group: &str, alerts: &[Alert]) -> String {
    let mut text = format!("{NOTE}rule_files:\n  - ../rules/{group}.yaml\n");
    // Evaluating them takes most of the time, and few need them.
    if alerts.iter().any(Alert::needs_figures) {
        let _ = writeln!(text, "  - ../../{FIGURES}");
    }
    text.push_str("evaluation_interval: 1m\ntests:\n");
    for alert in alerts {
        let mut selector = format!("alertname=\"{}\", severity=\"{}\"", alert.name, alert.severity.as_str());
        for (name, value) in &alert.labels {
            let _ = write!(selector, ", {name}=\"{value}\"");
        }
        let fires = alert.fires.iter().map(|example| (example, true));
        let cases = fires.chain(alert.silent.iter().map(|example| (example, false)));
        for (example, fires) in cases {
            let verb = if fires { "fires" } else { "is silent" };
            let _ =
                writeln!(text, "  - name: {}", quoted(&format!("{} ({}) {verb}", alert.name, alert.severity.as_str())));
            text.push_str("    interval: 1m\n    input_series:\n");
            for (series, values) in &example.series {
                let _ = writeln!(text, "      - series: {}\n        values: {}", quoted(series), quoted(values));
            }
            // promtool compares annotations word by word where it is asked for alerts; the series of Prometheus itself say
            // whether one fires.
            let query = format!("group by (alertname) (ALERTS{{{selector}, alertstate=\"firing\"}})");
            let _ = write!(
                text,
                "    promql_expr_test:\n      - expr: {}\n        eval_time: {}\n        exp_samples:",
                quoted(&query),
                example.at
            );
            if fires {
                let labels = format!("{{alertname=\"{}\"}}", alert.name);
                let _ = write!(text, "\n          - labels: {}\n            value: 1\n", quoted(&labels));
            } else {
                text.push_str(" []\n");
            }
        }
    }
    text
}
