//! The rules, by the tools of those who run them.

use std::path::Path;
use std::process::{Command, Output};

use dgm_service::observability::{Options, alerts, files};

fn run(program: &str, arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts");
    let command = Command::new(program).args(arguments).current_dir(folder).output();
    command.unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"))
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[test]
fn promtool_finds_nothing_in_the_rules_and_their_tests_hold() {
    let groups = alerts::groups();
    let names = groups.iter().map(|(group, _)| *group).chain(["dgm-slo-figures"]);
    let rules: Vec<String> = names.map(|name| format!("rules/{name}.yaml")).collect();
    let mut arguments = vec!["check", "rules", "--lint=all", "--lint-fatal"];
    arguments.extend(rules.iter().map(String::as_str));
    let checked = run("promtool", &arguments);
    assert!(checked.status.success(), "{}", words(&checked));
    let configured = run("promtool", &["check", "config", "prometheus.yaml"]);
    assert!(configured.status.success(), "{}", words(&configured));
    std::thread::scope(|scope| {
        let test = |file: String| move || run("promtool", &["test", "rules", &file]);
        let written = files(&Options::default()).unwrap().into_keys();
        let tests = written
            .filter_map(|file| file.strip_prefix("alerts/").filter(|f| f.starts_with("tests/")).map(str::to_owned));
        let running: Vec<_> = tests.map(|file| scope.spawn(test(file))).collect();
        assert!(running.len() >= groups.len());
        for tested in running {
            let tested = tested.join().unwrap();
            assert!(tested.status.success(), "{}", words(&tested));
        }
    });
}

#[test]
fn every_alert_has_examples_that_fire_and_that_do_not_and_says_what_to_do() {
    for alert in alerts::groups().into_iter().flat_map(|(_, alerts)| alerts) {
        let name = alert.name;
        let is_silent = name != alerts::WATCHDOG;
        assert!(!alert.fires.is_empty() && alert.silent.is_empty() != is_silent, "{name} lacks an example");
        assert!(alert.summary.ends_with('.') && alert.description.ends_with('.'), "{name} does not speak in sentences");
        assert!(!alert.expr.contains("rate(") || alert.expr.contains('['), "{name}: a rate without a range");
    }
}

#[test]
fn alerts_reach_the_team_that_can_act() {
    let checked = run("amtool", &["check-config", "alertmanager.yaml"]);
    assert!(checked.status.success(), "{}", words(&checked));
    for alert in alerts::groups().into_iter().flat_map(|(_, alerts)| alerts) {
        let (severity, team) = (alert.severity.as_str(), alert.team.as_str());
        let receiver = match severity {
            "critical" => format!("{team}-page"),
            "warning" => format!("{team}-ticket"),
            // Heard by a receiver of its own, which pages nobody while it hears it.
            "none" => "watchdog".to_owned(),
            _ => "nobody".to_owned(),
        };
        let labels = [("alertname", alert.name), ("severity", severity), ("team", team)]
            .map(|(name, value)| format!("{name}={value}"));
        let verify = format!("--verify.receivers={receiver}");
        let mut arguments = vec!["config", "routes", "test", "--config.file=alertmanager.yaml", &verify];
        arguments.extend(labels.iter().map(String::as_str));
        let routed = run("amtool", &arguments);
        assert!(routed.status.success(), "{}: {}", alert.name, words(&routed));
    }
}
