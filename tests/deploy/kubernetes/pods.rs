//! Every pod: what it may do, what it may use, whether anybody looks after it.

use serde_json::{Value, json};

use super::{BUILDS, Manifests, SHARED, built, list, name, of_kind, one, quantity, text};

/// Long-running, and without probes, for a reason.
const UNPROBED: &[(&str, &str)] =
    &[("dgm-worker", "a worker that falls silent loses its lease, and another gets its job")];

/// A pod's template, with its place and whether it runs for good.
pub(super) fn templates(manifests: &Manifests) -> impl Iterator<Item = (String, &Value, bool)> {
    manifests.iter().filter_map(|manifest| {
        let place = format!("{} {}", text(&manifest["kind"]), name(manifest));
        match text(&manifest["kind"]) {
            "Deployment" | "StatefulSet" | "DaemonSet" => Some((place, &manifest["spec"]["template"], true)),
            "Job" => Some((place, &manifest["spec"]["template"], false)),
            "CronJob" => Some((place, &manifest["spec"]["jobTemplate"]["spec"]["template"], false)),
            "Pod" => Some((place, manifest, true)),
            _ => None,
        }
    })
}

fn is_pinned(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    image.contains("@sha256:") || last.split_once(':').is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

fn resources(container: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for kind in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            if container["resources"][kind][resource].is_null() {
                faults.push(format!("no {kind} of {resource}"));
            }
        }
    }
    let bound = |kind: &str, resource: &str| quantity(&container["resources"][kind][resource]);
    if faults.is_empty() && ["cpu", "memory"].iter().any(|what| bound("requests", what) > bound("limits", what)) {
        faults.push("requests more than its limit".to_owned());
    }
    faults
}

fn container_faults(container: &Value, probed: bool) -> Vec<String> {
    let mut faults = resources(container);
    let security = &container["securityContext"];
    let mut must = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    must(security["allowPrivilegeEscalation"] == false, "may gain privileges");
    must(security["readOnlyRootFilesystem"] == true, "may write to its root");
    must(list(&security["capabilities"]["drop"]).contains(&json!("ALL")), "keeps capabilities");
    must(security["capabilities"]["add"].is_null(), "takes capabilities");
    must(security["privileged"] != true, "is privileged");
    must(is_pinned(text(&container["image"])), "an image without a tag that stays");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        must(!probed || container[probe].is_object(), &format!("no {probe}"));
    }
    faults
}

fn faults(template: &Value, probed: bool) -> Vec<String> {
    let spec = &template["spec"];
    let security = &spec["securityContext"];
    let mut faults = Vec::new();
    let mut must = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    must(security["runAsNonRoot"] == true, "may be root");
    must(security["runAsUser"].as_u64().is_some_and(|user| user > 0), "no number of a user");
    must(security["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile");
    must(spec["automountServiceAccountToken"] == false, "has a token of the cluster");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        must(spec[host].is_null(), "shares its node's namespaces");
    }
    must(list(&spec["volumes"]).iter().all(|volume| volume["hostPath"].is_null()), "mounts its node's files");
    must(!list(&spec["containers"]).is_empty(), "has no container");
    for container in list(&spec["initContainers"]).iter().chain(list(&spec["containers"])) {
        let probed = probed && list(&spec["containers"]).contains(container);
        let place = |fault| format!("{}: {fault}", name_of(container));
        faults.extend(container_faults(container, probed).into_iter().map(place));
    }
    faults
}

fn name_of(container: &Value) -> &str {
    text(&container["name"])
}

#[test]
fn every_pod_is_confined_bounded_and_looked_after() {
    let mut found = Vec::new();
    let mut count = 0;
    for build in BUILDS.into_iter().chain(["loadtest", "worker"]) {
        for (place, template, long) in templates(built(build)) {
            let probed = long && !UNPROBED.iter().any(|(unprobed, _)| place.ends_with(unprobed));
            found.extend(faults(template, probed).into_iter().map(|fault| format!("{build}: {place}: {fault}")));
            count += 1;
        }
    }
    assert_eq!(found, Vec::<String>::new());
    // The service and its migration in each build, the backup of files in those that are shared, the load test, a worker.
    assert_eq!(count, 2 * BUILDS.len() + SHARED.len() + 2);
}

#[test]
fn what_is_wrong_with_a_pod_is_found() {
    let good = &one(built("production"), "Deployment", "dgm-service")["spec"]["template"];
    let container = |field: &str| format!("/spec/containers/0/{field}");
    let cases = [
        ("/spec/securityContext/runAsNonRoot".to_owned(), json!(null), "may be root"),
        ("/spec/securityContext/runAsUser".to_owned(), json!(0), "no number of a user"),
        ("/spec/securityContext/seccompProfile".to_owned(), json!(null), "no seccomp profile"),
        ("/spec/automountServiceAccountToken".to_owned(), json!(true), "has a token of the cluster"),
        ("/spec/hostNetwork".to_owned(), json!(true), "shares its node's namespaces"),
        ("/spec/volumes/0".to_owned(), json!({"name": "x", "hostPath": {"path": "/"}}), "mounts its node's files"),
        (container("securityContext/allowPrivilegeEscalation"), json!(true), "may gain privileges"),
        (container("securityContext/readOnlyRootFilesystem"), json!(null), "may write to its root"),
        (container("securityContext/capabilities"), json!({"drop": ["NET_RAW"]}), "keeps capabilities"),
        (container("securityContext/capabilities/add"), json!(["SYS_ADMIN"]), "takes capabilities"),
        (container("securityContext/privileged"), json!(true), "is privileged"),
        (container("resources/limits/memory"), json!(null), "no limits of memory"),
        (container("resources/requests/cpu"), json!(null), "no requests of cpu"),
        (container("resources/requests/memory"), json!("17Gi"), "requests more than its limit"),
        (container("image"), json!("registry:5000/dgm-service"), "an image without a tag"),
        (container("image"), json!("dgm-service:latest"), "an image without a tag"),
        (container("startupProbe"), json!(null), "no startupProbe"),
        (container("livenessProbe"), json!(null), "no livenessProbe"),
        (container("readinessProbe"), json!(null), "no readinessProbe"),
    ];
    let cases: Vec<_> = cases.iter().map(|(place, wrong, words)| (place.as_str(), wrong.clone(), *words)).collect();
    super::bites(good, |template| faults(template, true), &cases);
}

/// Pods that operators make are theirs; what they may use is said in their resources.
#[test]
fn servers_of_operators_are_bounded_too() {
    for build in BUILDS {
        let manifests = built(build);
        for cluster in of_kind(manifests, "Cluster") {
            assert_eq!(resources(&cluster["spec"]), Vec::<String>::new(), "{build}");
        }
        for cluster in of_kind(manifests, "RedisCluster") {
            let spec = &cluster["spec"];
            assert_eq!(resources(&spec["kubernetesConfig"]), Vec::<String>::new(), "{build}");
            assert!(is_pinned(text(&spec["kubernetesConfig"]["image"])));
            assert_eq!(spec["podSecurityContext"]["runAsNonRoot"], true);
            for role in ["redisLeader", "redisFollower"] {
                assert_eq!(spec[role]["securityContext"]["allowPrivilegeEscalation"], false);
                assert_eq!(spec[role]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
            }
        }
        let namespace = one(manifests, "Namespace", "dgm");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    }
}
