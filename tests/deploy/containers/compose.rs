//! compose.yaml: every service has limits and no rights that it does not need, and nothing of it is the world's business.

use std::collections::BTreeSet;
use std::process::Command;

use dgm_service::config::DEFAULTS;
use serde_json::{Map, Value};

use super::read;

const SERVICE: &str = concat!("dgm-service:", env!("CARGO_PKG_VERSION"));

/// compose.yaml with its anchors filled in.
fn compose() -> Value {
    let mut yaml: yaml_serde::Value = yaml_serde::from_str(&read("compose.yaml")).unwrap();
    // What is merged may bring a merge of its own.
    yaml.apply_merge().unwrap();
    yaml.apply_merge().unwrap();
    let compose = serde_json::to_value(yaml).unwrap();
    assert!(!compose.to_string().contains("\"<<\""), "merged deeper than this test looks");
    compose
}

fn services(compose: &Value) -> &Map<String, Value> {
    compose["services"].as_object().unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// What a value is without an environment: `${NAME:-default}`, `${NAME:?why}`.
fn by_default(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, behind) = after.split_once('}').unwrap();
        out.push_str(before);
        out.push_str(inside.split_once(":-").map_or("secret", |(_, default)| default));
        rest = behind;
    }
    out + rest
}

/// The variables of a text that must be set.
fn required(text: &str) -> BTreeSet<String> {
    let inside = text.split("${").skip(1).filter_map(|part| part.split_once('}')).map(|(inside, _)| inside);
    inside.filter_map(|inside| inside.split_once(":?")).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_service_has_limits_and_no_rights() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for never in ["privileged", "cap_add", "pid", "ipc", "devices"] {
            assert!(service.get(never).is_none(), "{name}: {never}");
        }
        let memory = service["mem_limit"].as_str().unwrap_or_else(|| panic!("{name} has no limit of memory"));
        assert_eq!(service["memswap_limit"], memory, "{name}: swap would hide the limit");
        assert!(service.get("cpus").is_some(), "{name} has no limit of processors");
        assert!(service["pids_limit"].as_u64().is_some_and(|limit| limit <= 256), "{name}");
        for option in ["max-size", "max-file"] {
            assert!(service["logging"]["options"][option].is_string(), "{name}: logs without {option}");
        }
        let ours = service["image"].as_str().unwrap().starts_with("dgm-");
        let user = service["user"].as_str().unwrap_or(if ours { "65532:65532" } else { "0" });
        assert!(user.split(':').next().unwrap().parse::<u32>().unwrap() > 0, "{name} runs as root");
        for volume in texts(&service["volumes"]) {
            assert!(!volume.contains("docker.sock"), "{name}");
        }
        let asked = service["healthcheck"]["test"].is_array() || service["image"] == SERVICE;
        match service["restart"].as_str().unwrap() {
            "unless-stopped" => assert!(asked, "{name}: nobody asks how it does"),
            _ => assert_eq!(service["healthcheck"]["disable"], true, "{name} is run once"),
        }
    }
}

#[test]
fn the_service_has_what_the_specification_gives_it() {
    let compose = compose();
    let service = &compose["services"]["dgm"];
    assert_eq!(by_default(service["cpus"].as_str().unwrap()), "4");
    assert_eq!(by_default(service["mem_limit"].as_str().unwrap()), "16g");
    let volumes = texts(&service["volumes"]);
    assert_eq!(volumes, ["logs:/var/log/dgm", "artifacts:/var/lib/dgm"], "those of the Dockerfile");
    let settings: toml::Table = DEFAULTS.parse().unwrap();
    let seconds = |key| settings["http"][key].as_integer().unwrap();
    let grace: i64 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!(grace > seconds("unready_seconds") + seconds("drain_seconds") + 5, "{grace} s are too short to drain");

    // The program knows every variable, and takes the values.
    let mut dgm = Command::new(env!("CARGO_BIN_EXE_dgm"));
    for (name, value) in service["environment"].as_object().unwrap() {
        dgm.env(name, by_default(value.as_str().unwrap()));
    }
    let output = dgm.arg("config").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("@postgres:5432/dgm") && shown.contains("@redis:6379"), "{shown}");
}

#[test]
fn only_the_api_can_be_published_to_others() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for port in texts(&service["ports"]) {
            let api = name == "dgm" && port.ends_with(":8007");
            assert!(api || port.starts_with("127.0.0.1:"), "{name}: {port} is anybody's");
            assert!(
                by_default(port).starts_with("127.0.0.1:"),
                "{name}: {port} is anybody's unless one says otherwise"
            );
        }
    }
    assert_eq!(compose["networks"]["backend"]["internal"], true);
    for name in ["postgres", "redis"] {
        assert_eq!(texts(&compose["services"][name]["networks"]), ["backend"], "{name}");
        assert!(compose["services"][name].get("ports").is_none(), "{name}");
    }
    let profiles = |name: &str| texts(&compose["services"][name]["profiles"]).join(" ");
    for (name, profile) in [("dgm", ""), ("migrate", ""), ("postgres", ""), ("redis", ""), ("loadtest", "loadtest")] {
        assert_eq!(profiles(name), profile, "{name}");
    }
    for name in ["prometheus", "alertmanager", "grafana"] {
        assert_eq!(profiles(name), "monitoring", "{name}");
    }
}

#[test]
fn services_start_after_what_they_need() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let once = compose["services"][other]["restart"] == "no";
            let wanted = if once { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], wanted, "{name} needs {other}");
        }
    }
    let needs =
        |name: &str| compose["services"][name]["depends_on"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(needs("dgm"), ["migrate", "postgres", "redis"]);
    let mut used = BTreeSet::new();
    for service in services(&compose).values() {
        let names = texts(&service["volumes"]).into_iter().map(|volume| volume.split(':').next().unwrap().to_owned());
        used.extend(names.filter(|name| !name.starts_with('.')));
    }
    let declared: BTreeSet<_> = compose["volumes"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, declared);
}

#[test]
fn no_password_stands_in_a_file() {
    let text = read("compose.yaml");
    let secrets = required(&text);
    let example = read(".env.example");
    let empty: BTreeSet<_> = example.lines().filter_map(|line| line.strip_suffix('=')).map(str::to_owned).collect();
    assert_eq!(
        secrets,
        empty.iter().filter(|name| !name.starts_with('#')).cloned().collect(),
        ".env.example and compose.yaml"
    );
    assert!(
        secrets.iter().all(|name| name.ends_with("_PASSWORD")),
        "scripts/compose-env fills in passwords: {secrets:?}"
    );
    let compose = compose();
    for (name, service) in services(&compose) {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            if ["PASSWORD", "AUTH", "URL"].iter().any(|word| variable.contains(word)) {
                let value = value.as_str().unwrap();
                let open = value.contains('@') || !variable.contains("URL");
                assert!(!open || !required(value).is_empty(), "{name}: {variable} is written out");
            }
        }
    }
    assert!(read(".gitignore").lines().any(|line| line == ".env"));
}
