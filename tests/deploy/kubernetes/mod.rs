//! What the manifests under k8s/ must say beyond their schemas, of what kustomize builds of them. Each rule answers with faults;
//! beside each there is a test that breaks what is well in one place at a time, and must be told so.

mod edges;
mod fit;
mod network;
mod pods;
mod rollout;
mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize as _;
use serde_json::Value;

/// What is built: environments, and production with other components.
const BUILDS: [&str; 5] = ["dev", "staging", "production", "production-linkerd", "production-gateway"];
/// Those of them that are not for one developer.
const SHARED: [&str; 4] = ["staging", "production", "production-linkerd", "production-gateway"];

type Manifests = Vec<Value>;

static BUILT: LazyLock<BTreeMap<String, Manifests>> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/k8s-build");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(script).arg(folder.path().join("built")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut built = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path().join("built")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let documents = yaml_serde::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap());
        built.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), documents.collect());
    }
    built
});

fn built(name: &str) -> &'static Manifests {
    BUILT.get(name).unwrap_or_else(|| panic!("nothing is built as {name}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn name(manifest: &Value) -> &str {
    text(&manifest["metadata"]["name"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn of_kind<'a>(manifests: &'a Manifests, kind: &str) -> impl Iterator<Item = &'a Value> {
    manifests.iter().filter(move |manifest| manifest["kind"] == kind)
}

fn find<'a>(manifests: &'a Manifests, kind: &str, called: &str) -> Option<&'a Value> {
    of_kind(manifests, kind).find(|manifest| name(manifest) == called)
}

fn one<'a>(manifests: &'a Manifests, kind: &str, called: &str) -> &'a Value {
    find(manifests, kind, called).unwrap_or_else(|| panic!("no {kind} {called}"))
}

/// Labels as `key=value`, sorted.
fn labels(map: &Value) -> Vec<String> {
    let Some(map) = map.as_object() else { return Vec::new() };
    let mut all: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    all.sort();
    all
}

/// A quantity of Kubernetes in its base unit: cores, or bytes.
fn quantity(value: &Value) -> f64 {
    let text = text(value);
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        other => panic!("{other} is no unit that is used here"),
    };
    digits.parse::<f64>().unwrap() * unit
}

/// Gives what is broken in each way to a rule, which must find each fault, by words of it.
fn bites(good: &Value, rule: impl Fn(&Value) -> Vec<String>, breaks: &[(&str, Value, &str)]) {
    assert_eq!(rule(good), Vec::<String>::new());
    for (pointer, wrong, words) in breaks {
        let mut broken = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let place = broken.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        let key = key.replace("~1", "/");
        match (place, wrong) {
            (Value::Object(map), Value::Null) => drop(map.remove(&key).unwrap_or_else(|| panic!("no {pointer}"))),
            (Value::Object(map), wrong) => drop(map.insert(key, wrong.clone())),
            (Value::Array(all), wrong) => all[key.parse::<usize>().unwrap()] = wrong.clone(),
            (other, _) => panic!("{other} has no {key}"),
        }
        let faults = rule(&broken);
        assert!(faults.iter().any(|fault| fault.contains(words)), "{pointer}: {wrong}: {faults:?} has not {words:?}");
    }
}
