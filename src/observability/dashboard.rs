//! Dashboards of Grafana: rows of panels, what one chooses, and what is marked on every panel.

use serde_json::{Value, json};

use super::Options;
use super::panel::datasource;
pub use super::panel::{Bad, Beyond, Look, Panel, Query, Source};

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// A dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// What addresses know it by; it never changes.
    pub uid: &'static str,
    /// Its title.
    pub title: &'static str,
    /// For whom it is and what it answers.
    pub description: &'static str,
    /// Rows with their panels.
    pub rows: Vec<(&'static str, Vec<Panel>)>,
    /// Whether one chooses a service of the archive.
    pub by_service: bool,
}

impl Dashboard {
    /// Every panel.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|(_, panels)| panels)
    }

    /// As Grafana reads it.
    pub(super) fn json(&self, options: &Options) -> Value {
        let (mut panels, mut id, mut y) = (Vec::new(), 0, 0);
        for (title, row) in &self.rows {
            id += 1;
            panels.push(json!({"id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in row {
                let (width, height) = panel.size;
                if x + width > COLUMNS {
                    (x, y, tallest) = (0, y + tallest, 0);
                }
                id += 1;
                panels.push(panel.json(id, (x, y), options));
                (x, tallest) = (x + width, tallest.max(height));
            }
            y += tallest;
        }
        json!({
            "uid": self.uid, "title": self.title, "description": self.description, "tags": ["dgm"], "schemaVersion": 39, "version": 1,
            "editable": false, "graphTooltip": 1, "refresh": "30s", "timezone": "utc", "time": {"from": "now-6h", "to": "now"},
            "links": [{"type": "dashboards", "tags": ["dgm"], "title": "dgm", "asDropdown": true, "keepTime": true, "includeVars": true}],
            "templating": {"list": self.variables()},
            "annotations": {"list": annotations()},
            "panels": panels,
        })
    }

    fn variables(&self) -> Vec<Value> {
        let choice = |name: &str, label: &str, query: &str| {
            json!({"name": name, "label": label, "type": "query", "datasource": datasource(Source::Prometheus), "query": query,
                "definition": query, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".+", "sort": 1,
                "current": {"text": ["All"], "value": ["$__all"]}})
        };
        let source = |name: &str, label: &str, query: &str| json!({"name": name, "label": label, "type": "datasource", "query": query});
        let mut list = vec![
            source("datasource", "Prometheus", "prometheus"),
            choice("job", "Job", "label_values(dgm_build_info, job)"),
            choice("instance", "Instance", "label_values(dgm_build_info{job=~\"$job\"}, instance)"),
        ];
        if self.by_service {
            list.push(source("database", "PostgreSQL", "grafana-postgresql-datasource"));
            list.push(json!({"name": "service", "label": "Service", "type": "query", "datasource": datasource(Source::Postgres),
                "query": SERVICES, "definition": SERVICES, "refresh": 1, "multi": false, "includeAll": false}));
        }
        list
    }
}

/// The services that one may choose from, those that grew last first.
pub const SERVICES: &str = "SELECT service_name FROM dgm_archive GROUP BY 1 ORDER BY max(created_at) DESC LIMIT 500";

/// What happened to the service: versions that came, processes that began.
fn annotations() -> Value {
    let query = |name: &str, colour: &str, expr: &str, title: &str, at_value: bool| {
        json!({"name": name, "enable": true, "iconColor": colour, "datasource": datasource(Source::Prometheus), "expr": expr,
            "step": "60s", "titleFormat": title, "textFormat": title, "useValueForTime": at_value})
    };
    json!([
        query("Deploys", "blue", DEPLOYS, "{{version}} {{revision}}", false),
        query("Starts", "purple", STARTS, "{{instance}} began", true),
    ])
}

/// A version that was not there two minutes before.
pub const DEPLOYS: &str = "group by (version, revision) (dgm_build_info{job=~\"$job\"}) \
     unless group by (version, revision) (dgm_build_info{job=~\"$job\"} offset 2m)";
/// When processes began, in Grafana's milliseconds.
pub const STARTS: &str = "process_start_time_seconds{job=~\"$job\", instance=~\"$instance\"} * 1000";
