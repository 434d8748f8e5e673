//! PostgreSQL, Redis, the service, Prometheus, Alertmanager and somebody who is told: as operators have them, with all that
//! `dgm observability` writes, and shorter times.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::blocking::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::collector::collector;
use crate::support::port::Port;
use crate::support::run::subfolder;
use crate::support::until;

/// What somebody was told: an alert, whether it fires, when.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) alert: String,
    pub(super) severity: String,
    pub(super) receiver: String,
    pub(super) firing: bool,
    pub(super) at: Instant,
}

/// A program; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prometheus, Alertmanager and a webhook behind it.
pub(super) struct Monitoring {
    _prometheus: Process,
    _alertmanager: Process,
    pub(super) url: String,
    told: Arc<Mutex<Vec<Told>>>,
    client: Client,
    _directory: TempDir,
    _ports: [Port; 2],
}

impl Monitoring {
    /// Of a service whose operations listener is there, with all times of the rules so many times as long.
    pub(super) fn start(target: &str, pace: f64) -> Self {
        let directory = subfolder();
        let folder = directory.path().join("alerts");
        let told = Arc::default();
        let receivers = webhook(Arc::clone(&told));
        let ports = [Port::claim(), Port::claim()];
        let [own, alertmanager] = [ports[0].address(), ports[1].address()];
        let written = Command::new(env!("CARGO_BIN_EXE_dgm"))
            .args(["observability", "--target", target, "--alertmanager", &alertmanager, "--receivers", &receivers])
            .args(["--pace", &pace.to_string(), "--output"])
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let manager = start(
            "prometheus-alertmanager",
            &folder,
            &[
                "--config.file=alertmanager.yaml",
                "--storage.path=alertmanager",
                &format!("--web.listen-address={alertmanager}"),
                "--cluster.listen-address=",
            ],
        );
        let prometheus = start(
            "prometheus",
            &folder,
            &[
                "--config.file=prometheus.yaml",
                "--storage.tsdb.path=prometheus",
                // By default what it sends before it has found Alertmanager is sent again after a minute only.
                "--rules.alert.resend-delay=1s",
                &format!("--web.listen-address={own}"),
            ],
        );
        let monitoring = Self {
            _prometheus: prometheus,
            _alertmanager: manager,
            url: format!("http://{own}"),
            told,
            client: Client::new(),
            _directory: directory,
            _ports: ports,
        };
        let answers = |url: String| monitoring.client.get(url).send().is_ok_and(|answer| answer.status().is_success());
        until("Alertmanager is ready", || answers(format!("http://{alertmanager}/-/ready")));
        until("Prometheus is ready", || answers(format!("{}/-/ready", monitoring.url)));
        monitoring
    }

    /// The result of an instant query.
    pub(super) fn query(&self, expr: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query", self.url);
        let url = url::Url::parse_with_params(&url, [("query", expr)]).unwrap();
        let answer = self.client.get(url).send().unwrap();
        let answer: Value = answer.json().unwrap();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        match answer["data"]["result"].as_array() {
            Some(result) if answer["data"]["resultType"] == "vector" => result.clone(),
            _ => vec![answer["data"].clone()],
        }
    }

    /// The rules, as Prometheus sees them: name and health.
    pub(super) fn rules(&self) -> Vec<(String, String, String)> {
        let answer = self.client.get(format!("{}/api/v1/rules", self.url)).send().unwrap();
        let answer: Value = answer.json().unwrap();
        let word = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| (word(rule, "name"), word(rule, "health"), word(rule, "lastError"))).collect()
    }

    /// What was told since a moment.
    pub(super) fn told(&self, since: Instant) -> Vec<Told> {
        self.told.lock().unwrap().iter().filter(|told| told.at >= since).cloned().collect()
    }

    /// The alerts that Prometheus has pending or firing, but those that tell nobody.
    pub(super) fn active(&self) -> BTreeSet<String> {
        let active = self.query("ALERTS{severity!~\"info|none\"}");
        active.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

fn start(program: &str, folder: &Path, arguments: &[&str]) -> Process {
    let log = std::fs::File::create(folder.join(format!("{program}.log"))).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(log);
    Process(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it")))
}

/// Listens to what Alertmanager tells; answers where.
fn webhook(told: Arc<Mutex<Vec<Told>>>) -> String {
    let (url, received) = collector();
    std::thread::spawn(move || {
        for message in received {
            let message: Value = serde_json::from_slice(&message.body).unwrap();
            for alert in message["alerts"].as_array().unwrap() {
                let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
                told.lock().unwrap().push(Told {
                    alert: label("alertname"),
                    severity: label("severity"),
                    receiver: message["receiver"].as_str().unwrap().to_owned(),
                    firing: alert["status"] == "firing",
                    at: Instant::now(),
                });
            }
        }
    });
    format!("{url}/")
}
