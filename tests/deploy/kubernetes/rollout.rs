//! That a rollout loses nothing: ports, probes, the drain, the migration, what meshes try again.

use serde_json::{Value, json};

use super::settings::{service, setting};
use super::{BUILDS, Manifests, SHARED, bites, built, list, name, of_kind, one, text};

fn number(manifests: &Manifests, key: &str) -> u64 {
    setting(manifests, key).parse().unwrap()
}

fn port(key: &str) -> u64 {
    let defaults: toml::Table = dgm_service::config::DEFAULTS.parse().unwrap();
    defaults["http"][key].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// What is wrong with how pods come and go, of a Deployment; `drain` is how long the service may take to stop.
fn faults(deployment: &Value, drain: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut must = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    let spec = &deployment["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let rolling = &spec["strategy"]["rollingUpdate"];
    must(rolling["maxUnavailable"] == json!(0), "pods go before others are there");
    must(pod["terminationGracePeriodSeconds"].as_u64() > Some(drain), "is killed before it has drained");
    for (name, key) in [("api", "bind"), ("operations", "ops_bind")] {
        let there = list(&container["ports"]).iter().find(|port| port["name"] == name);
        must(there.is_some_and(|there| there["containerPort"] == json!(port(key))), "a port is not the program's");
    }
    let probe = |name: &str| {
        let get = &container[name]["httpGet"];
        (get["path"].as_str().unwrap_or_default().to_owned(), get["port"].as_str().unwrap_or_default().to_owned())
    };
    let is = |name: &str, path: &str, port: &str| probe(name) == (path.to_owned(), port.to_owned());
    must(is("readinessProbe", "/ready", "api"), "readiness is not asked at the door that callers take");
    for name in ["startupProbe", "livenessProbe"] {
        must(is(name, "/health", "operations"), "callers, or a database that is away, get it killed");
    }
    let figure = |probe: &str, what: &str| container[probe][what].as_u64().unwrap_or(1);
    // A connection is waited for 3 s.
    must(figure("readinessProbe", "timeoutSeconds") > 3, "gives readiness up before the service does");
    let patience = figure("startupProbe", "periodSeconds") * figure("startupProbe", "failureThreshold");
    must(patience >= 30, "gives the start less than half a minute");
    must(!list(&pod["topologySpreadConstraints"]).is_empty(), "all pods may be in one zone");
    must(pod["affinity"]["podAntiAffinity"].is_object(), "all pods may be on one node");
    faults
}

fn drain(manifests: &Manifests) -> u64 {
    // Requests, then jobs, each for as long; then the last counts, the operations listener, spans, connections.
    number(manifests, "http.unready_seconds") + 2 * number(manifests, "http.drain_seconds") + 10
}

#[test]
fn pods_go_when_others_are_there_and_when_they_are_done() {
    for build in BUILDS {
        let manifests = built(build);
        let deployment = one(manifests, "Deployment", "dgm-service");
        assert_eq!(faults(deployment, drain(manifests)), Vec::<String>::new(), "{build}");
    }
    let manifests = built("production");
    assert!(number(manifests, "http.unready_seconds") >= 10, "balancers notice more slowly");
    let pod = |field: &str| format!("/spec/template/spec/{field}");
    let container = |field: &str| pod(&format!("containers/0/{field}"));
    let breaks = [
        ("/spec/strategy/rollingUpdate/maxUnavailable".to_owned(), json!(1), "pods go before others are there"),
        (pod("terminationGracePeriodSeconds"), json!(drain(manifests)), "is killed before it has drained"),
        (pod("topologySpreadConstraints"), json!([]), "all pods may be in one zone"),
        (pod("affinity"), json!({}), "all pods may be on one node"),
        (container("ports/0/containerPort"), json!(8080), "a port is not the program's"),
        (container("readinessProbe/httpGet/path"), json!("/health"), "readiness is not asked"),
        (container("readinessProbe/timeoutSeconds"), json!(1), "gives readiness up"),
        (container("livenessProbe/httpGet/path"), json!("/ready"), "get it killed"),
        (container("livenessProbe/httpGet/port"), json!("api"), "get it killed"),
        (container("startupProbe/failureThreshold"), json!(3), "less than half a minute"),
    ];
    let breaks: Vec<_> = breaks.iter().map(|(place, wrong, words)| (place.as_str(), wrong.clone(), *words)).collect();
    bites(one(manifests, "Deployment", "dgm-service"), |one| faults(one, drain(manifests)), &breaks);
}

/// The Job that goes with an image has its name: an older one's could not be changed.
#[test]
fn each_version_brings_its_migration() {
    for build in BUILDS {
        let manifests = built(build);
        let image = text(&service(manifests)["image"]);
        let (_, tag) = image.rsplit_once(':').unwrap();
        assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{build}");
        let jobs: Vec<&Value> = of_kind(manifests, "Job").collect();
        assert_eq!(jobs.len(), 1);
        let container = &jobs[0]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(name(jobs[0]), format!("dgm-migrate-{}", tag.replace('.', "-")), "{build}");
        assert_eq!((text(&container["image"]), &container["args"][1]), (image, &json!("up")));
    }
}

#[test]
fn services_lead_to_the_ports_of_the_pods() {
    for build in BUILDS {
        let manifests = built(build);
        let ports = list(&service(manifests)["ports"]);
        for (called, key) in [("dgm-service", "bind"), ("dgm-service-operations", "ops_bind")] {
            let service = one(manifests, "Service", called);
            let only = list(&service["spec"]["ports"]);
            assert_eq!(only.len(), 1, "{called} publishes one thing");
            assert_eq!(only[0]["port"], json!(port(key)));
            assert!(
                ports
                    .iter()
                    .any(|there| there["name"] == only[0]["targetPort"] && there["containerPort"] == only[0]["port"])
            );
        }
    }
}

/// Conditions of Envoy in which nothing has reached the service.
const UNSENT: [&str; 2] = ["connect-failure", "refused-stream"];

/// Whether a route of Istio tries a write again that may have been done.
fn tried_twice(routes: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for route in list(&routes["spec"]["http"]) {
        let only_reads = |one: &Value| ["GET", "HEAD"].iter().any(|method| one["method"]["exact"] == *method);
        let reads = !list(&route["match"]).is_empty() && list(&route["match"]).iter().all(only_reads);
        let Some(on) = route["retries"]["retryOn"].as_str() else {
            faults.push(format!("{}: retries are left to the mesh", route["name"]));
            continue;
        };
        if on.split(',').any(|condition| {
            condition.contains("5xx") || condition.contains("retriable") || condition == "gateway-error"
        }) {
            faults.push(format!("{}: an answer is asked for again", route["name"]));
        }
        if !reads && on.split(',').any(|condition| !UNSENT.contains(&condition)) {
            faults.push(format!("{}: what may have been done is done again", route["name"]));
        }
    }
    if list(&routes["spec"]["http"]).last().is_none_or(|last| last.get("match").is_some()) {
        faults.push("what no route matches is left to the mesh".to_owned());
    }
    faults
}

#[test]
fn istio_repeats_no_write() {
    for build in ["staging", "production", "production-gateway"] {
        let manifests = built(build);
        assert_eq!(tried_twice(one(manifests, "VirtualService", "dgm-service")), Vec::<String>::new(), "{build}");
        let mtls = &one(manifests, "PeerAuthentication", "dgm-service")["spec"]["mtls"];
        assert_eq!(mtls, &json!({"mode": "STRICT"}));
        // The mesh must end idle connections before the service does.
        let pool = &one(manifests, "DestinationRule", "dgm-service")["spec"]["trafficPolicy"]["connectionPool"]["http"];
        let idle: u64 = text(&pool["idleTimeout"]).trim_end_matches('s').parse().unwrap();
        assert!(idle < number(manifests, "http.header_timeout_seconds"));
    }
    bites(
        one(built("production"), "VirtualService", "dgm-service"),
        tried_twice,
        &[
            ("/spec/http/2/retries", json!(null), "left to the mesh"),
            ("/spec/http/2/retries/retryOn", json!("connect-failure,reset"), "done again"),
            ("/spec/http/1/retries/retryOn", json!("5xx"), "asked for again"),
            ("/spec/http/1/match/0/method/exact", json!("POST"), "done again"),
            ("/spec/http/2/match", json!([{"method": {"exact": "POST"}}]), "what no route matches"),
        ],
    );
}

/// The same of Linkerd, whose routes say it in annotations.
#[test]
fn linkerd_repeats_no_write() {
    let faults = |route: &Value| {
        let tries = route["metadata"]["annotations"].get("retry.linkerd.io/http").is_some();
        let rules = list(&route["spec"]["rules"]).iter();
        let reads = |one: &Value| ["GET", "HEAD"].iter().any(|method| one["method"] == *method);
        let writes = rules.flat_map(|rule| list(&rule["matches"])).any(|one| !reads(one));
        if tries && writes { vec!["a write may be done again".to_owned()] } else { Vec::new() }
    };
    let manifests = built("production-linkerd");
    let routes: Vec<&Value> = of_kind(manifests, "HTTPRoute").collect();
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().all(|route| faults(route).is_empty()));
    let reads = one(manifests, "HTTPRoute", "dgm-service-reads");
    bites(reads, faults, &[("/spec/rules/0/matches/0/method", json!("POST"), "a write may be done again")]);
}

/// How long Traefik keeps a connection to the service that nobody uses (`idleConnTimeout`, its default).
const TRAEFIK_IDLE_SECONDS: u64 = 90;

#[test]
fn balancers_end_idle_connections_before_the_service_does() {
    for build in SHARED {
        assert!(number(built(build), "http.header_timeout_seconds") > TRAEFIK_IDLE_SECONDS, "{build}");
    }
}

/// The world reaches the API and nothing else of the service.
#[test]
fn nothing_but_the_api_is_published() {
    for build in SHARED {
        let manifests = built(build);
        let mut paths: Vec<(String, u64)> = Vec::new();
        for ingress in of_kind(manifests, "Ingress") {
            for path in list(&ingress["spec"]["rules"]).iter().flat_map(|rule| list(&rule["http"]["paths"])) {
                let backend = &path["backend"]["service"];
                let ports = list(&one(manifests, "Service", text(&backend["name"]))["spec"]["ports"]);
                let port = ports.iter().find(|port| port["name"] == backend["port"]["name"]).unwrap();
                paths.push((text(&path["path"]).to_owned(), port["port"].as_u64().unwrap()));
            }
        }
        if build == "production-gateway" {
            let rule = &one(manifests, "HTTPRoute", "dgm-service")["spec"]["rules"][0];
            let port = rule["backendRefs"][0]["port"].as_u64().unwrap();
            paths.extend(list(&rule["matches"]).iter().map(|one| (text(&one["path"]["value"]).to_owned(), port)));
        }
        assert_eq!(paths, [("/api".to_owned(), port("bind")), ("/docs".to_owned(), port("bind"))], "{build}");
        for service in of_kind(manifests, "Service") {
            assert!(service["spec"].get("type").is_none_or(|kind| kind == "ClusterIP"), "{build}: {}", name(service));
        }
    }
}
