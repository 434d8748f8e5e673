//! Panels of Grafana: what they are, and how they are written
//! (<https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>).

use serde_json::{Value, json};

use super::Options;
use super::objectives::LATENCY_SECONDS;
use super::words::milliseconds;

/// Where a query goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `PromQL`. `$sel` stands for the matchers of job and instance.
    Prometheus,
    /// SQL, for what has a value for each service: a service is no label.
    Postgres,
}

/// How a panel looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines over time.
    Lines,
    /// Areas on top of each other.
    Stack,
    /// A figure.
    Figure,
    /// A table of what is now.
    Table,
    /// Lines over something that is no time: the first column.
    Trend,
}

/// A query with the legend of its series.
#[derive(Debug, Clone)]
pub struct Query {
    /// The expression.
    pub expr: String,
    /// The legend; `{{label}}` stands for a label's value.
    pub legend: &'static str,
}

impl Query {
    /// The expression with the matchers of the chosen targets in it.
    #[must_use]
    pub fn promql(&self) -> String {
        self.expr.replace("$sel", "job=~\"$job\", instance=~\"$instance\"")
    }
}

/// A panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// What one sees, and what is good.
    pub description: String,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    /// How it looks.
    pub look: Look,
    /// Where its queries go.
    pub source: Source,
    /// What is asked.
    pub queries: Vec<Query>,
    /// From where on it is bad; a line is drawn there.
    pub bad: Option<Bad>,
    /// The alerts about it: it links to their runbooks.
    pub alerts: &'static [&'static str],
    /// Where else to look.
    pub beyond: Option<Beyond>,
    /// Its width and height on the grid.
    pub size: (u32, u32),
}

/// What else tells of it, in Grafana's Explore.
#[derive(Debug, Clone, Copy)]
pub enum Beyond {
    /// Traces that took long, of a datasource with the uid `tempo`.
    SlowTraces,
    /// Log lines of errors, of a datasource with the uid `loki`.
    Errors,
}

impl Beyond {
    fn link(self) -> Value {
        let (title, datasource, query) = match self {
            Self::SlowTraces => (
                format!("Traces that took more than {}", milliseconds(LATENCY_SECONDS)),
                "tempo",
                json!({"refId": "A", "queryType": "traceql", "query": format!(
                    "{{ resource.service.name = \"dgm-service\" && duration > {} }}",
                    milliseconds(LATENCY_SECONDS).replace(' ', "")
                )}),
            ),
            Self::Errors => (
                "Log lines of warnings and errors".to_owned(),
                "loki",
                json!({"refId": "A", "expr": "{service_name=\"dgm-service\"} | json | level=~\"WARN|ERROR\""}),
            ),
        };
        let left =
            json!({"datasource": datasource, "queries": [query], "range": {"from": "now-1h", "to": "now"}}).to_string();
        let url = url::form_urlencoded::Serializer::new("/explore?".to_owned()).append_pair("left", &left).finish();
        json!({"title": title, "url": url, "targetBlank": true})
    }
}

/// The edge of what is good.
#[derive(Debug, Clone, Copy)]
pub enum Bad {
    /// More than this is bad.
    Above(f64),
    /// Less than this is bad.
    Below(f64),
}

impl Panel {
    fn new(look: Look, title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self {
            title,
            description: description.into(),
            unit,
            look,
            source: Source::Prometheus,
            queries: Vec::new(),
            bad: None,
            alerts: &[],
            beyond: None,
            size: (8, 8),
        }
    }

    pub(super) fn lines(title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self::new(Look::Lines, title, unit, description)
    }

    pub(super) fn stack(title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self::new(Look::Stack, title, unit, description)
    }

    pub(super) fn figure(title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self { size: (4, 4), ..Self::new(Look::Figure, title, unit, description) }
    }

    pub(super) fn table(title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self { size: (12, 8), ..Self::new(Look::Table, title, unit, description) }
    }

    pub(super) fn trend(title: &'static str, unit: &'static str, description: impl Into<String>) -> Self {
        Self { size: (12, 9), source: Source::Postgres, ..Self::new(Look::Trend, title, unit, description) }
    }

    pub(super) fn ask(mut self, legend: &'static str, expr: impl Into<String>) -> Self {
        self.queries.push(Query { expr: expr.into(), legend });
        self
    }

    pub(super) fn sql(mut self, sql: &str) -> Self {
        self.source = Source::Postgres;
        self.ask("", sql)
    }

    /// Quantiles of a histogram, over all that its labels do not keep apart.
    pub(super) fn quantiles(mut self, histogram: &str, matchers: &str) -> Self {
        for (legend, quantile) in [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")] {
            self = self.ask(
                legend,
                format!("histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket{{$sel{matchers}}}[$__rate_interval])))"),
            );
        }
        self
    }

    pub(super) fn bad(mut self, bad: Bad) -> Self {
        self.bad = Some(bad);
        self
    }

    pub(super) fn alerts(mut self, alerts: &'static [&'static str]) -> Self {
        self.alerts = alerts;
        self
    }

    pub(super) fn beyond(mut self, beyond: Beyond) -> Self {
        self.beyond = Some(beyond);
        self
    }

    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    fn thresholds(&self) -> Value {
        let steps = match self.bad {
            None => json!([{"color": "green", "value": null}]),
            Some(Bad::Above(edge)) => json!([{"color": "green", "value": null}, {"color": "red", "value": edge}]),
            Some(Bad::Below(edge)) => json!([{"color": "red", "value": null}, {"color": "green", "value": edge}]),
        };
        json!({"mode": "absolute", "steps": steps})
    }

    pub(super) fn json(&self, id: usize, at: (u32, u32), options: &Options) -> Value {
        let datasource = datasource(self.source);
        let targets: Vec<Value> = self
            .queries
            .iter()
            .enumerate()
            .map(|(index, query)| {
                let name = char::from(b'A' + u8::try_from(index).unwrap_or(25)).to_string();
                match self.source {
                    Source::Prometheus => json!({
                        "datasource": datasource, "refId": name, "expr": query.promql(), "legendFormat": query.legend,
                        "instant": self.look == Look::Table, "range": self.look != Look::Table, "editorMode": "code",
                        "format": if self.look == Look::Table { "table" } else { "time_series" },
                    }),
                    Source::Postgres => json!({
                        "datasource": datasource, "refId": name, "rawSql": query.expr, "rawQuery": true, "format": "table",
                        "editorMode": "code",
                    }),
                }
            })
            .collect();
        let lines = matches!(self.look, Look::Lines | Look::Stack | Look::Trend);
        let custom = json!({
            "lineWidth": 1, "fillOpacity": if self.look == Look::Stack { 40 } else { 8 }, "showPoints": "never", "spanNulls": false,
            "stacking": {"mode": if self.look == Look::Stack { "normal" } else { "none" }},
            "thresholdsStyle": {"mode": if self.bad.is_some() { "dashed" } else { "off" }},
        });
        let looks = match self.look {
            Look::Lines | Look::Stack => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Look::Figure => json!({
                "reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area",
                "colorMode": if self.bad.is_some() { "value" } else { "none" },
            }),
            Look::Table => json!({"showHeader": true, "footer": {"show": false}}),
            Look::Trend => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"}, "xField": "generation",
            }),
        };
        let further: Vec<Value> = self
            .alerts
            .iter()
            .map(|alert| json!({"title": format!("Runbook: {alert}"), "url": options.runbook(alert), "targetBlank": true}))
            .chain(self.beyond.map(Beyond::link))
            .collect();
        let (width, height) = self.size;
        json!({
            "id": id, "type": match self.look {
                Look::Lines | Look::Stack => "timeseries", Look::Figure => "stat", Look::Table => "table", Look::Trend => "trend",
            },
            "title": self.title, "description": self.description, "datasource": datasource, "targets": targets, "links": further,
            "gridPos": {"x": at.0, "y": at.1, "w": width, "h": height},
            "fieldConfig": {"defaults": {
                "unit": self.unit, "thresholds": self.thresholds(), "custom": if lines { custom } else { json!({}) },
            }, "overrides": []},
            "transformations": if self.look == Look::Table && self.source == Source::Prometheus {
                json!([{"id": "merge", "options": {}}, {"id": "organize", "options": {"excludeByName": {"Time": true}}}])
            } else { json!([]) },
            "options": looks,
        })
    }
}

pub(super) fn datasource(source: Source) -> Value {
    match source {
        Source::Prometheus => json!({"type": "prometheus", "uid": "${datasource}"}),
        Source::Postgres => json!({"type": "grafana-postgresql-datasource", "uid": "${database}"}),
    }
}
