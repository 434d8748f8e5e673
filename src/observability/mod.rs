//! What operators load: recording rules, alerts and their tests, the configuration of Alertmanager, dashboards. It is data and
//! belongs to the version that it is part of; `dgm observability` writes it for the addresses of its user.

pub mod alerts;
pub mod dashboard;
pub mod dashboards;
mod monitoring;
pub mod objectives;
mod panel;
pub mod reference;
pub mod rule;
pub mod runbooks;
pub mod slo;
mod time;
mod uses;
mod words;

use std::collections::BTreeMap;

/// How the files are written.
#[derive(Debug, Clone)]
pub struct Options {
    /// The job under which Prometheus scrapes the service.
    pub job: String,
    /// Where runbooks are; the alert's name comes after it.
    pub runbooks: String,
    /// Where dashboards are; the dashboard's uid comes after it.
    pub dashboards: String,
    /// The operations listener of the service, for Prometheus.
    pub target: String,
    /// Alertmanager, for Prometheus.
    pub alertmanager: String,
    /// Where Alertmanager's receivers are; a team and how urgent it is come after it.
    pub receivers: String,
    /// Of all times of the rules; below 1 they are shorter, for trials.
    pub pace: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            job: "dgm".to_owned(),
            runbooks: "http://127.0.0.1:9007/runbooks/".to_owned(),
            dashboards: "http://127.0.0.1:3000/d/".to_owned(),
            target: "127.0.0.1:9007".to_owned(),
            alertmanager: "127.0.0.1:9093".to_owned(),
            receivers: "http://127.0.0.1:9099/".to_owned(),
            pace: 1.0,
        }
    }
}

impl Options {
    fn fill(&self, expr: &str) -> String {
        time::fill(&expr.replace("$job", &self.job), self.pace)
    }

    fn runbook(&self, alert: &str) -> String {
        format!("{}{alert}", self.runbooks)
    }

    fn dashboard(&self, uid: &str) -> String {
        format!("{}{uid}", self.dashboards)
    }
}

/// Every file, by its path.
#[must_use]
pub fn files(options: &Options) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let groups = alerts::groups();
    let mut rules = vec![rule::recordings("dgm-slo-figures", &slo::recordings(), options)];
    files.insert(rule::FIGURES.to_owned(), rules[0].clone());
    for (group, alerts) in &groups {
        let text = rule::alerts(group, alerts, options);
        rules.push(text.clone());
        files.insert(format!("alerts/rules/{group}.yaml"), text);
        files.insert(format!("alerts/tests/{group}.yaml"), rule::tests(group, alerts));
    }
    files.insert("k8s/components/monitoring/prometheus-rule.yaml".to_owned(), monitoring::prometheus_rule(&rules));
    files.insert("alerts/prometheus.yaml".to_owned(), monitoring::prometheus(options));
    files.insert("alerts/alertmanager.yaml".to_owned(), monitoring::alertmanager(options));
    let dashboards = dashboards::all();
    files.insert("dashboards/kustomization.yaml".to_owned(), monitoring::config_maps(&dashboards));
    for dashboard in dashboards {
        let text = serde_json::to_string_pretty(&dashboard.json(options)).unwrap_or_default() + "\n";
        files.insert(format!("dashboards/{}.json", dashboard.uid), text);
    }
    files.insert("dashboards/provisioning/datasources/dgm.yaml".to_owned(), monitoring::datasources());
    files.insert("dashboards/provisioning/dashboards/dgm.yaml".to_owned(), monitoring::providers());
    files
}
