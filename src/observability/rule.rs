//! Rules of Prometheus as data.

/// How soon somebody must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody is woken.
    Critical,
    /// In working hours.
    Warning,
    /// Nobody is told; it helps whoever looks for a cause.
    Info,
    /// It always fires, and the receiver acts when it stops.
    None,
}

impl Severity {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::None => "none",
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
    /// How long it keeps firing after its condition ended (`keep_firing_for`): a value near its threshold, or events that are rare, must
    /// not end it while the cause persists. Longer than [`LINGERS`] where the events are rarer, or where the consequences, which it
    /// inhibits, fade more slowly.
    pub lingers: &'static str,
    /// The condition. `$(5m)` stands for seconds, `$job` for the job that scrapes the service. Gauges are read with
    /// `last_over_time` (see `time::held`), so that a scrape that is missed neither ends an alert nor restarts its wait.
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

/// How long an alert keeps firing, if nothing else is said.
pub(super) const LINGERS: &str = "5m";
/// The same where the cause shows by events: a burst ends, its cause need not have. Not for what is silent while another alert fires: it
/// would be reported after that one.
pub(super) const LINGERS_AFTER_EVENTS: &str = "15m";
/// The same of what keeps others silent: those look back 5 minutes, and keep firing for [`LINGERS`].
pub(super) const LINGERS_OF_CAUSES: &str = "11m";

impl Alert {
    pub(super) fn new(name: &'static str, severity: Severity, team: Team, dashboard: &'static str) -> Self {
        Self {
            name,
            severity,
            team,
            wait: "0m",
            lingers: LINGERS,
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
    pub(super) fn needs_figures(&self) -> bool {
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
        self.lingers = time;
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
