//! Configurations of Prometheus, of Alertmanager, with receivers that its user fills in, and of Grafana.

use std::fmt::Write as _;

use super::Options;
use super::dashboard::Dashboard;
use super::rule::{GROUPS, NOTE, Team};
use super::time::scaled;

/// A whole configuration for one machine; elsewhere its parts are taken over.
pub(super) fn prometheus(options: &Options) -> String {
    let Options { job, target, alertmanager, pace, .. } = options;
    let interval = scaled("15s", *pace);
    format!(
        "{NOTE}global:\n\
         \x20 scrape_interval: {interval}\n\
         \x20 evaluation_interval: {interval}\n\
         rule_files:\n\
         \x20 - rules/*.yaml\n\
         alerting:\n\
         \x20 alertmanagers:\n\
         \x20   - static_configs:\n\
         \x20       - targets: ['{alertmanager}']\n\
         scrape_configs:\n\
         \x20 - job_name: '{job}'\n\
         \x20   static_configs:\n\
         \x20     - targets: ['{target}']\n"
    )
}

/// Routing by severity and team; what is a consequence is silent while its cause fires.
pub(super) fn alertmanager(options: &Options) -> String {
    let Options { receivers, pace, .. } = options;
    let wait = |time| scaled(time, *pace);
    let mut text = format!(
        "{NOTE}# Receivers are where your people are reached: put their integrations in (pagerduty_configs, slack_configs, email_configs).\n\
         # As they stand, they call webhooks on this machine, so that the whole path can be tried.\n\
         route:\n\
         \x20 receiver: nobody\n\
         \x20 group_by: [alertname, job]\n\
         \x20 group_wait: {}\n\
         \x20 group_interval: {}\n\
         \x20 repeat_interval: 12h\n\
         \x20 routes:\n\
         \x20   # What helps to find a cause wakes nobody; it is seen on the dashboards.\n\
         \x20   - matchers: ['severity=\"info\"']\n\
         \x20     receiver: nobody\n",
        wait("30s"),
        wait("5m")
    );
    for team in Team::ALL.map(Team::as_str) {
        for (severity, receiver, repeat) in [("critical", "page", "1h"), ("warning", "ticket", "12h")] {
            let repeat = if *pace < 1.0 { "12h" } else { repeat };
            let _ = write!(
                text,
                "    - matchers: ['team=\"{team}\"', 'severity=\"{severity}\"']\n      receiver: {team}-{receiver}\n      repeat_interval: {repeat}\n"
            );
        }
    }
    text.push_str("inhibit_rules:\n");
    for (why, source, targets, equal) in INHIBITED {
        let _ = write!(
            text,
            "  # {why}\n  - source_matchers: ['{source}']\n    target_matchers: ['{targets}']\n    equal: [{equal}]\n"
        );
    }
    text.push_str("receivers:\n  - name: nobody\n");
    for team in Team::ALL.map(Team::as_str) {
        for receiver in ["page", "ticket"] {
            let _ = write!(
                text,
                "  - name: {team}-{receiver}\n    webhook_configs:\n      - url: {receivers}{team}-{receiver}\n        send_resolved: true\n"
            );
        }
    }
    text
}

/// The files of rules as one resource of the Prometheus operator.
pub(super) fn prometheus_rule(files: &[String]) -> String {
    let mut text = format!(
        "{NOTE}apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: dgm\nspec:\n  {GROUPS}"
    );
    for line in files.iter().filter_map(|file| file.split_once(GROUPS)).flat_map(|(_, groups)| groups.lines()) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// The dashboards as `ConfigMaps`, each with the label that the sidecar of Grafana's chart looks for.
pub(super) fn config_maps(dashboards: &[Dashboard]) -> String {
    let mut text = format!(
        "{NOTE}# It stands here because kustomize reads no file above its own folder; k8s/components/monitoring takes it up.\n\
         apiVersion: kustomize.config.k8s.io/v1beta1\n\
         kind: Kustomization\n\
         generatorOptions:\n\
         \x20 disableNameSuffixHash: true\n\
         \x20 labels:\n\
         \x20   grafana_dashboard: \"1\"\n\
         \x20 annotations:\n\
         \x20   grafana_folder: dgm\n\
         configMapGenerator:\n"
    );
    for Dashboard { uid, .. } in dashboards {
        let _ = write!(text, "  - name: dashboard-{uid}\n    files:\n      - {uid}.json\n");
    }
    text
}

/// Why, cause, consequences, what must be equal.
const INHIBITED: &[(&str, &str, &str, &str)] = &[
    (
        "An instance that is not there has no other trouble.",
        "alertname=\"DgmDown\"",
        "alertname=~\"Dgm.*\", alertname!=\"DgmDown\"",
        "job, instance",
    ),
    (
        "Without any instance there is nothing to measure.",
        "alertname=\"DgmTargetAbsent\"",
        "alertname=~\"Dgm.*\", alertname!=\"DgmTargetAbsent\"",
        "job",
    ),
    (
        "Without PostgreSQL nothing else works; what shows it need not be told.",
        "alertname=\"DgmPostgresDown\", scope=\"all\"",
        "alertname=~\"Dgm(ErrorBudgetBurn|LatencyBudgetBurn|IngestBudgetBurn|CacheBudgetBurn|CacheHitRateLow|CacheStampede|CacheSlow|ChangeFeedStale|InvalidationLag|PoolSaturated|WritesRefused|StatementErrors|QueryLatencyHigh|LongTransaction|LocksWaiting|ConnectionsHigh|ReplicationLag|Job.*|QueueAgeHigh|LeasesExpiring|SamplesRejected)\"",
        "job",
    ),
    (
        "Without Redis the cache answers less, and later.",
        "alertname=\"DgmRedisDown\"",
        "alertname=~\"Dgm(Cache.*|Redis(MemoryHigh|Evicting))\"",
        "job",
    ),
    (
        "The page makes the ticket of the same alert needless.",
        "severity=\"critical\"",
        "severity=\"warning\"",
        "alertname, job, instance, volume, pool, persistentvolumeclaim, name",
    ),
];

/// Grafana's datasources.
pub(super) fn datasources() -> String {
    format!(
        "{NOTE}apiVersion: 1\ndatasources:\n\
         \x20 - {{uid: prometheus, name: Prometheus, type: prometheus, access: proxy, url: '${{PROMETHEUS_URL}}', isDefault: true}}\n\
         \x20 # A role that may only read: see dashboards/README.md.\n\
         \x20 - uid: dgm-postgres\n\
         \x20   name: dgm archive\n\
         \x20   type: grafana-postgresql-datasource\n\
         \x20   url: '${{DGM_READER_ADDRESS}}'\n\
         \x20   user: '${{DGM_READER}}'\n\
         \x20   jsonData: {{database: '${{DGM_READER_DATABASE}}', sslmode: '${{DGM_READER_SSLMODE}}', postgresVersion: 1500}}\n\
         \x20   secureJsonData: {{password: '${{DGM_READER_PASSWORD}}'}}\n"
    )
}

/// Where Grafana finds the dashboards.
pub(super) fn providers() -> String {
    format!(
        "{NOTE}apiVersion: 1\nproviders:\n\
         \x20 - {{name: dgm, folder: dgm, type: file, disableDeletion: true, allowUiUpdates: false, options: {{path: /var/lib/grafana/dashboards/dgm}}}}\n"
    )
}
