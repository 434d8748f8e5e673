//! Configurations of Prometheus, of Alertmanager, with receivers that its user fills in, and of Grafana.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Options;
use super::alerts::WATCHDOG;
use super::dashboard::Dashboard;
use super::rule::Team;
use super::rule_file::{Group, Rules};
use super::time::scaled;

/// A whole configuration for one machine; elsewhere its parts are taken over.
pub(super) fn prometheus(options: &Options) -> Value {
    let Options { job, target, alertmanager, pace, .. } = options;
    let interval = scaled("15s", *pace);
    json!({
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules/*.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": target.split(',').collect::<Vec<_>>()}]}],
    })
}

/// Routing by severity and team; what is a consequence is silent while its cause fires.
pub(super) fn alertmanager(options: &Options) -> (Vec<String>, Value) {
    let Options { receivers, pace, .. } = options;
    let teams = || Team::ALL.map(Team::as_str).into_iter();
    // A receiver that pages when it has heard nothing for some minutes.
    let watchdog = json!({"matchers": [format!("alertname=\"{WATCHDOG}\"")], "receiver": "watchdog", "group_wait": "0s",
        "group_interval": scaled("1m", *pace), "repeat_interval": scaled("1m", *pace)});
    let mut routes = vec![watchdog, json!({"matchers": ["severity=\"info\""], "receiver": "nobody"})];
    for team in teams() {
        for (severity, receiver, repeat) in [("critical", "page", "1h"), ("warning", "ticket", "12h")] {
            let matchers = [format!("team=\"{team}\""), format!("severity=\"{severity}\"")];
            routes.push(json!({"matchers": matchers, "receiver": format!("{team}-{receiver}"),
                "repeat_interval": if *pace < 1.0 { "12h" } else { repeat }}));
        }
    }
    let mut people = vec![json!({"name": "nobody"})];
    let names = teams().flat_map(|team| [format!("{team}-page"), format!("{team}-ticket")]);
    for name in names.chain(["watchdog".to_owned()]) {
        let url = format!("{receivers}{name}");
        people.push(json!({"name": name, "webhook_configs": [{"url": url, "send_resolved": true}]}));
    }
    let inhibited = |(_, source, targets, equal): &(&str, &str, &str, &[&str])| json!({"source_matchers": [source], "target_matchers": [targets], "equal": equal});
    let document = json!({
        "route": {"receiver": "nobody", "group_by": ["alertname", "job"], "group_wait": scaled("30s", *pace),
            "group_interval": scaled("5m", *pace), "repeat_interval": "12h", "routes": routes},
        "inhibit_rules": INHIBITED.iter().map(inhibited).collect::<Vec<_>>(),
        "receivers": people,
    });
    let mut notes: Vec<_> = ALERTMANAGER_NOTES.iter().map(ToString::to_string).collect();
    notes.extend(INHIBITED.iter().enumerate().map(|(at, (why, ..))| format!("  {}. {why}", at + 1)));
    (notes, document)
}

/// What the reader of the file must know; the reasons of the inhibit rules follow.
const ALERTMANAGER_NOTES: &[&str] = &[
    "Receivers are where your people are reached: put their integrations in (pagerduty_configs, slack_configs, email_configs).",
    "As generated, they call webhooks on this machine, so that the whole path can be tried.",
    "Alerts of severity info notify nobody: they help to find a cause and are seen on the dashboards.",
    "DgmWatchdog always fires. Give its receiver to a service outside that pages when it hears nothing for some minutes.",
    "Reasons of the inhibit rules, in their order:",
];

/// The groups of rules as one resource of the Prometheus operator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrometheusRule {
    api_version: &'static str,
    kind: &'static str,
    metadata: BTreeMap<&'static str, &'static str>,
    spec: Rules,
}

impl PrometheusRule {
    pub(super) fn new(groups: Vec<Group>) -> Self {
        Self {
            api_version: "monitoring.coreos.com/v1",
            kind: "PrometheusRule",
            metadata: [("name", "dgm")].into(),
            spec: Rules { groups },
        }
    }
}

/// The dashboards as `ConfigMaps`, each with the label that the sidecar of Grafana's chart looks for. kustomize reads no file
/// above its own folder, so it is next to them; k8s/components/monitoring includes it.
pub(super) fn config_maps(dashboards: &[Dashboard]) -> Value {
    let of = |Dashboard { uid, .. }: &Dashboard| json!({"name": format!("dashboard-{uid}"), "files": [format!("{uid}.json")]});
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "generatorOptions": {"disableNameSuffixHash": true, "labels": {"grafana_dashboard": "1"},
            "annotations": {"grafana_folder": "dgm"}},
        "configMapGenerator": dashboards.iter().map(of).collect::<Vec<_>>(),
    })
}

/// What does not work without PostgreSQL.
const WITHOUT_POSTGRES: &str = "alertname=~\"Dgm(ErrorBudgetBurn|LatencyBudgetBurn|IngestBudgetBurn|CacheBudgetBurn|CacheHitRateLow|CacheStampede|CacheSlow|ChangeFeedStale|InvalidationLag|PoolSaturated|WritesRefused|StatementErrors|QueryLatencyHigh|LongTransaction|LocksWaiting|ConnectionsHigh|ReplicationLag|Job.*|QueueAgeHigh|LeasesExpiring|SamplesRejected)\"";

/// Why, cause, consequences, what must be equal.
const INHIBITED: &[(&str, &str, &str, &[&str])] = &[
    (
        "An instance that is down has no other fault.",
        "alertname=\"DgmDown\"",
        "alertname=~\"Dgm.*\", alertname!=\"DgmDown\"",
        &["job", "instance"],
    ),
    (
        "Without any instance there is nothing to measure.",
        "alertname=\"DgmTargetAbsent\"",
        "alertname=~\"Dgm.*\", alertname!=\"DgmTargetAbsent\"",
        &["job"],
    ),
    (
        "Without PostgreSQL nothing else works: the consequences need no notification.",
        "alertname=\"DgmPostgresDown\", scope=\"all\"",
        WITHOUT_POSTGRES,
        &["job"],
    ),
    (
        "A service that gets no connection has the same consequences.",
        "alertname=\"DgmConnectionsRefused\"",
        WITHOUT_POSTGRES,
        &["job"],
    ),
    (
        "Without Redis the cache answers less, and later.",
        "alertname=\"DgmRedisDown\"",
        "alertname=~\"Dgm(Cache.*|Redis(MemoryHigh|Evicting|WritesRefused|InfoRefused))\"",
        &["job"],
    ),
    (
        "The page makes the ticket of the same alert unnecessary.",
        "severity=\"critical\"",
        "severity=\"warning\"",
        &["alertname", "job", "instance", "volume", "pool", "persistentvolumeclaim", "name"],
    ),
];

/// Grafana's datasources. The role of the second may only read: see dashboards/README.md.
pub(super) fn datasources() -> Value {
    json!({"apiVersion": 1, "datasources": [
        {"uid": "prometheus", "name": "Prometheus", "type": "prometheus", "access": "proxy", "url": "${PROMETHEUS_URL}",
            "isDefault": true},
        {"uid": "dgm-postgres", "name": "dgm archive", "type": "grafana-postgresql-datasource", "url": "${DGM_READER_ADDRESS}",
            "user": "${DGM_READER}", "secureJsonData": {"password": "${DGM_READER_PASSWORD}"},
            "jsonData": {"database": "${DGM_READER_DATABASE}", "sslmode": "${DGM_READER_SSLMODE}", "postgresVersion": 1500}},
    ]})
}

/// Where Grafana finds the dashboards.
pub(super) fn providers() -> Value {
    json!({"apiVersion": 1, "providers": [{"name": "dgm", "folder": "dgm", "type": "file", "disableDeletion": true,
        "allowUiUpdates": false, "options": {"path": "/var/lib/grafana/dashboards/dgm"}}]})
}
