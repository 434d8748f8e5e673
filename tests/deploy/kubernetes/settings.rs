//! What pods are told by their environment, as the program itself takes it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::pods::templates;
use super::{BUILDS, Manifests, bites, built, list, name, of_kind, one, text};

/// Variables that are no settings of the program, and whose they are.
const OTHERS: &[(&str, &str)] = &[
    ("NODE_NAME", "the folder of logs"),
    ("PGSSLMODE", "sqlx"),
    ("PGSSLROOTCERT", "sqlx"),
    ("REDIS_PASSWORD", "part of REDIS_URL"),
];
const WELL_KNOWN: [&str; 5] = ["DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "REDIS_URL", "RUST_LOG", "SERVICE_NAME"];

/// The variables of a container: those of its `ConfigMap`, its own, and a stand-in for what a Secret holds.
pub(super) fn environment(manifests: &Manifests, container: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for source in list(&container["envFrom"]) {
        let data = &one(manifests, "ConfigMap", text(&source["configMapRef"]["name"]))["data"];
        all.extend(data.as_object().unwrap().iter().map(|(key, value)| (key.clone(), text(value).to_owned())));
    }
    for variable in list(&container["env"]) {
        let value = variable["value"].as_str().unwrap_or(match text(&variable["name"]) {
            "DATABASE_URL" => "postgres://dgm@dgm-postgres-rw/dgm",
            _ => "secret",
        });
        all.insert(name_of(variable).to_owned(), value.to_owned());
    }
    all
}

fn name_of(variable: &Value) -> &str {
    text(&variable["name"])
}

/// The container of the service in a build.
pub(super) fn service(manifests: &Manifests) -> &Value {
    &one(manifests, "Deployment", "dgm-service")["spec"]["template"]["spec"]["containers"][0]
}

/// A setting as it is in force in a build, by its dotted key.
pub(super) fn setting(manifests: &Manifests, key: &str) -> String {
    let (section, key) = key.split_once('.').unwrap();
    let variable = format!("DGM__{}__{}", section.to_uppercase(), key.to_uppercase());
    let defaults: toml::Table = dgm_service::config::DEFAULTS.parse().unwrap();
    let default = || defaults[section][key].to_string().trim_matches('"').to_owned();
    environment(manifests, service(manifests)).remove(&variable).unwrap_or_else(default)
}

/// What the program says of variables that it cannot take.
fn refused(environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    for variable in environment.keys() {
        let known = variable.starts_with("DGM__") || WELL_KNOWN.contains(&variable.as_str());
        if !known && !OTHERS.iter().any(|(other, _)| other == variable) {
            faults.push(format!("nobody reads {variable}"));
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_dgm")).arg("config").env_clear().envs(environment).output().unwrap();
    if !output.status.success() {
        faults.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    faults
}

#[test]
fn every_variable_is_a_setting_that_the_program_takes() {
    for build in BUILDS {
        for (place, template, _) in templates(built(build)) {
            for container in list(&template["spec"]["containers"]) {
                assert_eq!(refused(&environment(built(build), container)), Vec::<String>::new(), "{build}: {place}");
            }
        }
    }
    let good = json!(environment(built("production"), service(built("production"))));
    let take = |value: &Value| {
        let variables = value.as_object().unwrap().iter();
        refused(&variables.map(|(key, value)| (key.clone(), text(value).to_owned())).collect())
    };
    bites(
        &good,
        take,
        &[
            ("/DGM__HTTP__UNREADY_SECOND", json!("15"), "unknown setting"),
            ("/DGM__TELEMETRY__LOG_RETENTION_DAYS", json!("0"), "must be 1 or more"),
            ("/DGM__TELEMETRY__TRACE_SAMPLE_RATIO", json!("2"), "must lie in 0..1"),
            ("/DGM_CACHE_MAX_BYTES", json!("1"), "nobody reads DGM_CACHE_MAX_BYTES"),
        ],
    );
}

/// Secrets that pods name, and who makes them: k8s/README.md tells of those that people make.
#[test]
fn every_secret_is_made_by_somebody() {
    let readme = include_str!("../../../k8s/README.md");
    let operators = ["dgm-postgres-app", "dgm-postgres-ca"];
    for build in BUILDS.into_iter().chain(["loadtest", "worker"]) {
        let mut named = Vec::new();
        for manifest in built(build) {
            secrets(manifest, &mut named);
        }
        for secret in named {
            let told = readme.contains(&format!("`{secret}`"));
            assert!(told || operators.contains(&secret.as_str()), "{build}: nobody makes the secret {secret}");
        }
        assert_eq!(of_kind(built(build), "Secret").map(name).next(), None, "{build}: a secret in a file");
    }
}

fn secrets(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                match key.as_str() {
                    "secretKeyRef" | "passwordSecret" | "redisSecret" | "accessKeyId" | "secretAccessKey" => {
                        found.push(text(&inner["name"]).to_owned());
                    }
                    "secret" if inner["secretName"].is_string() => found.push(text(&inner["secretName"]).to_owned()),
                    _ => secrets(inner, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| secrets(inner, found)),
        _ => {}
    }
}
