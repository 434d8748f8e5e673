//! Rules of Prometheus and their tests, as the files have them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Options;
use super::rule::{Alert, Example, Recording};
use super::rule_test::with_gap;
use super::time::{held, parse, scaled};

/// The file of the recording rules.
pub(super) const FIGURES: &str = "alerts/rules/dgm-slo-figures.yaml";

/// A file of rules (<https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>); also the `spec` of a
/// `PrometheusRule`.
#[derive(Debug, Serialize)]
pub(super) struct Rules {
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Group {
    name: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'static str>,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<String>,
    labels: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

#[derive(Debug, Clone, Serialize)]
struct Annotations {
    summary: String,
    description: String,
    runbook_url: String,
    dashboard_url: String,
}

/// A group of recording rules.
pub(super) fn recordings(name: &'static str, recordings: &[Recording], options: &Options) -> Group {
    let rule = |recording: &Recording| Rule {
        record: Some(recording.record.clone()),
        expr: options.fill(&recording.expr),
        labels: recording.labels.iter().cloned().collect(),
        ..Rule::default()
    };
    Group { name, rules: recordings.iter().map(rule).collect() }
}

/// A group of alerts.
pub(super) fn alerts(name: &'static str, alerts: &[Alert], options: &Options) -> Group {
    let rule = |alert: &Alert| Rule {
        alert: Some(alert.name),
        expr: options.fill(&held(&alert.expr)),
        wait: Some(scaled(alert.wait, options.pace)),
        keep_firing_for: Some(scaled(alert.lingers, options.pace)),
        labels: [("severity", alert.severity.as_str().to_owned()), ("team", alert.team.as_str().to_owned())]
            .into_iter()
            .chain(alert.labels.iter().cloned())
            .collect(),
        annotations: Some(Annotations {
            summary: alert.summary.replace("$job", &options.job),
            description: alert.description.replace("$job", &options.job),
            runbook_url: options.runbook(alert.name),
            dashboard_url: options.dashboard(alert.dashboard),
        }),
        ..Rule::default()
    };
    Group { name, rules: alerts.iter().map(rule).collect() }
}

/// promtool's tests of alerts (<https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>).
#[derive(Debug, Serialize)]
pub(super) struct TestFile {
    rule_files: Vec<String>,
    evaluation_interval: &'static str,
    tests: Vec<Case>,
}

#[derive(Debug, Serialize)]
struct Case {
    name: String,
    interval: &'static str,
    input_series: Vec<Series>,
    promql_expr_test: Vec<Expectation>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Series {
    series: String,
    values: String,
}

#[derive(Debug, Serialize)]
struct Expectation {
    expr: String,
    eval_time: String,
    exp_samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
struct Sample {
    labels: String,
    value: u8,
}

/// The tests of a group of alerts, by file: those of alerts that look at recording rules have one of their own, since few need them and
/// evaluating them takes most of the time.
pub(super) fn tests(group: &str, alerts: &[Alert]) -> Vec<(String, TestFile)> {
    let (with_figures, without): (Vec<&Alert>, Vec<&Alert>) = alerts.iter().partition(|alert| alert.needs_figures());
    let rules = format!("../rules/{group}.yaml");
    let files = [
        (group.to_owned(), test_file(vec![rules.clone()], &without)),
        (format!("{group}-figures"), test_file(vec![rules, format!("../../{FIGURES}")], &with_figures)),
    ];
    files.into_iter().filter(|(_, file)| !file.tests.is_empty()).collect()
}

fn test_file(rule_files: Vec<String>, alerts: &[&Alert]) -> TestFile {
    let of = |alert: &&Alert| {
        let fires = alert.fires.iter().flat_map(|example| firing(alert, example));
        fires.chain(alert.silent.iter().map(|example| test(alert, example, false))).collect::<Vec<_>>()
    };
    let tests: Vec<Case> = alerts.iter().flat_map(of).collect();
    // What is watched for a day needs no evaluation each minute, and 200 hours of them take seconds.
    let ends = tests.iter().flat_map(|case| &case.promql_expr_test).filter_map(|expected| parse(&expected.eval_time));
    let evaluation_interval = if ends.max() >= Some(Duration::from_hours(10)) { "5m" } else { "1m" };
    TestFile { rule_files, evaluation_interval, tests }
}

fn test(alert: &Alert, example: &Example, fires: bool) -> Case {
    let name = if fires { "fires" } else { "is silent" };
    case(alert, name, &example.series, &[example.at.to_owned()], fires)
}

/// Where missed scrapes leave the series as they are, one case has both.
fn firing(alert: &Alert, example: &Example) -> Vec<Case> {
    let (fires, lasts) = (test(alert, example, true), lasting(alert, example));
    if fires.input_series == lasts.input_series { vec![lasts] } else { vec![fires, lasts] }
}

/// An alert whose cause persists waits and fires on while scrapes are missed: one in the middle of the wait, and two later on.
fn lasting(alert: &Alert, example: &Example) -> Case {
    let minutes = |time: &str| parse(time).map_or(0, |time| time.as_secs() / 60);
    let (at, wait) = (minutes(example.at), minutes(alert.wait));
    let mut gaps = vec![(at + 4, 2)];
    if wait > 1 {
        gaps.insert(0, (at - wait / 2, 1));
    }
    let end = at + 10;
    let series: Vec<_> =
        example.series.iter().map(|(series, values)| (series.clone(), with_gap(series, values, &gaps, end))).collect();
    let times = [at, at + 4, at + 5, at + 6, end].map(|minute| format!("{minute}m"));
    case(alert, "goes on while scrapes are missed", &series, &times, true)
}

fn case(alert: &Alert, what: &str, series: &[(String, String)], times: &[String], fires: bool) -> Case {
    let Alert { name, severity, labels, .. } = alert;
    let severity = severity.as_str();
    let more = labels.iter().map(|(name, value)| format!(", {name}=\"{value}\"")).collect::<Vec<_>>().concat();
    let selector = format!("alertname=\"{name}\", severity=\"{severity}\"{more}, alertstate=\"firing\"");
    let sample = || fires.then(|| Sample { labels: format!("{{alertname=\"{name}\"}}"), value: 1 });
    let input = |(series, values): &(String, String)| Series { series: series.clone(), values: values.clone() };
    // promtool compares annotations word by word where it is asked for alerts; the series of Prometheus itself say whether
    // one fires.
    let expected = |time: &String| Expectation {
        expr: format!("group by (alertname) (ALERTS{{{selector}}})"),
        eval_time: time.clone(),
        exp_samples: sample().into_iter().collect(),
    };
    Case {
        name: format!("{name} ({severity}) {what}"),
        interval: "1m",
        input_series: series.iter().map(input).collect(),
        promql_expr_test: times.iter().map(expected).collect(),
    }
}
