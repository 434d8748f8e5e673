//! That figures of one manifest fit those of another, of the program, and of the specification.

use std::collections::BTreeSet;

use dgm_service::observability::{Options, alerts, dashboards, reference};
use serde_json::{Value, json};

use super::pods::templates;
use super::settings::{environment, service, setting};
use super::{BUILDS, Manifests, SHARED, built, find, labels, list, name, of_kind, one, quantity, text};

fn most_replicas(manifests: &Manifests) -> u64 {
    let fixed = || one(manifests, "Deployment", "dgm-service")["spec"]["replicas"].as_u64().unwrap();
    let scaler = find(manifests, "HorizontalPodAutoscaler", "dgm-service");
    scaler.map_or_else(fixed, |scaler| scaler["spec"]["maxReplicas"].as_u64().unwrap())
}

#[test]
fn the_autoscaler_scales_by_what_there_is() {
    // Before anybody asks for the values of labels, routes among them.
    dgm_service::http::define_labels();
    let metrics: BTreeSet<&str> = reference::entries().iter().map(|entry| entry.name).collect();
    let adapter = text(&one(built("cluster"), "ConfigMap", "prometheus-adapter")["data"]["config.yaml"]);
    for build in SHARED {
        let scaler = one(built(build), "HorizontalPodAutoscaler", "dgm-service");
        let asked = list(&scaler["spec"]["metrics"]);
        let resources: Vec<&str> = asked.iter().filter_map(|one| one["resource"]["name"].as_str()).collect();
        assert_eq!(resources, ["cpu", "memory"]);
        let pods: Vec<&str> = asked.iter().filter_map(|one| one["pods"]["metric"]["name"].as_str()).collect();
        assert_eq!(pods.len(), 1);
        assert!(metrics.contains(pods[0]), "{}: the service has no such metric", pods[0]);
        assert!(adapter.contains(&format!("as: {}\n", pods[0])), "no rule of the adapter gives {}", pods[0]);
        // The autoscaler says how many there are: a number in the Deployment would take it back at each rollout.
        let deployment = one(built(build), "Deployment", "dgm-service");
        assert!(deployment["spec"].get("replicas").is_none(), "{build}");
        assert_eq!(scaler["spec"]["minReplicas"], 3, "the specification's number");
        let budget = &one(built(build), "PodDisruptionBudget", "dgm-service")["spec"];
        let (away, least) =
            (budget["maxUnavailable"].as_u64().unwrap(), scaler["spec"]["minReplicas"].as_u64().unwrap());
        assert!((1..least).contains(&away), "{build}: {away} of {least} may be away");
        assert_eq!(budget["selector"], deployment["spec"]["selector"]);
    }
}

#[test]
fn the_service_expects_the_standbys_that_there_are() {
    for build in BUILDS {
        let manifests = built(build);
        let servers = one(manifests, "Cluster", "dgm-postgres")["spec"]["instances"].as_u64().unwrap();
        assert_eq!(setting(manifests, "database.standbys"), (servers - 1).to_string(), "{build}");
    }
}

/// The sum of docs/OPERATIONS.md.
#[test]
fn postgresql_takes_the_connections_of_all_replicas() {
    for build in BUILDS {
        let manifests = built(build);
        let pools: u64 = ["database.max_connections", "database.write_connections"]
            .iter()
            .map(|key| setting(manifests, key).parse::<u64>().unwrap())
            .sum();
        let needed = (most_replicas(manifests) + 1) * (pools + 12) + 10;
        let parameters = &one(manifests, "Cluster", "dgm-postgres")["spec"]["postgresql"]["parameters"];
        let there: u64 = text(&parameters["max_connections"]).parse().unwrap();
        assert!(needed <= there, "{build}: {needed} of {there}");
    }
}

/// The service must not go through the pooler in transaction mode, nor to standbys behind one name: its lag is measured of one.
#[test]
fn the_service_asks_the_primary_itself() {
    for build in BUILDS {
        let manifests = built(build);
        let variables = list(&service(manifests)["env"]);
        let url = variables.iter().find(|variable| variable["name"] == "DATABASE_URL").unwrap();
        let expected = json!({"name": "dgm-postgres-app", "key": "uri"});
        assert_eq!(
            url["valueFrom"]["secretKeyRef"], expected,
            "{build}: CloudNativePG's own, which leads to the primary"
        );
        assert!(!environment(manifests, service(manifests)).contains_key("DATABASE_REPLICA_URL"), "{build}");
    }
}

#[test]
fn the_quota_has_room_for_the_most() {
    for build in BUILDS {
        let manifests = built(build);
        let hard = &one(manifests, "ResourceQuota", "dgm")["spec"]["hard"];
        for (resource, kind) in [("cpu", "requests"), ("memory", "requests"), ("cpu", "limits"), ("memory", "limits")] {
            let of = |holder: &Value| quantity(&holder["resources"][kind][resource]);
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let times = |count: u64| count as f64;
            let mut sum = times(most_replicas(manifests) + 1) * of(service(manifests));
            for cluster in of_kind(manifests, "Cluster") {
                sum += times(cluster["spec"]["instances"].as_u64().unwrap()) * of(&cluster["spec"]);
            }
            for cluster in of_kind(manifests, "RedisCluster") {
                sum += 6.0 * of(&cluster["spec"]["kubernetesConfig"]);
            }
            for (_, template, _) in templates(built("worker")).chain(templates(built("loadtest"))) {
                sum += 2.0 * of(&template["spec"]["containers"][0]);
            }
            let room = quantity(&hard[format!("{kind}.{resource}")]);
            assert!(sum <= room, "{build}: {kind} of {resource}: {sum} of {room}");
        }
        let claims: f64 = of_kind(manifests, "PersistentVolumeClaim").map(|claim| claimed(&claim["spec"])).sum();
        assert!(claims < quantity(&hard["requests.storage"]));
    }
}

fn claimed(spec: &Value) -> f64 {
    quantity(&spec["resources"]["requests"]["storage"])
}

/// The specification's storage (1.1.3).
#[test]
fn volumes_are_as_large_as_asked_for() {
    let manifests = built("production");
    for (called, size) in [("dgm-archive", "2Ti"), ("dgm-logs", "100Gi"), ("dgm-backups", "6Ti")] {
        let spec = &one(manifests, "PersistentVolumeClaim", called)["spec"];
        assert_eq!(spec["resources"]["requests"]["storage"], size);
        assert_eq!(spec["accessModes"], json!(["ReadWriteMany"]), "{called}: replicas are on several nodes");
        assert!(spec["storageClassName"].is_string());
    }
    let (_, worker, _) = templates(built("worker")).next().unwrap();
    let volumes = list(&worker["spec"]["volumes"]);
    let workspace = &volumes[0]["ephemeral"]["volumeClaimTemplate"]["spec"];
    assert_eq!(workspace["resources"]["requests"]["storage"], "500Gi");
    for build in SHARED {
        let manifests = built(build);
        assert_eq!(setting(manifests, "telemetry.log_retention_days"), "30");
        let folder: f64 = setting(manifests, "telemetry.log_max_bytes").parse().unwrap();
        let claim = claimed(&one(manifests, "PersistentVolumeClaim", "dgm-logs")["spec"]);
        // At worst each replica is on a node of its own, with a folder of its own.
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let nodes = most_replicas(manifests) as f64;
        assert!(nodes * folder <= claim, "{build}: {nodes} folders of {folder} in {claim}");
        let caches: f64 = ["cache.max_bytes", "cache.selection_max_bytes"]
            .iter()
            .map(|key| setting(manifests, key).parse::<f64>().unwrap())
            .sum();
        let requested = quantity(&service(manifests)["resources"]["requests"]["memory"]);
        assert!(caches <= requested / 2.0, "{build}: caches of {caches} would keep the autoscaler adding replicas");
    }
    // Each folder of the settings is a volume: the root cannot be written to.
    let paths: Vec<&str> =
        list(&service(manifests)["volumeMounts"]).iter().map(|mount| text(&mount["mountPath"])).collect();
    let export = setting(manifests, "samples.export_url");
    for folder in [setting(manifests, "telemetry.log_dir"), export.trim_start_matches("file://").to_owned()] {
        assert!(paths.iter().any(|path| folder.starts_with(path)), "{folder} is on no volume");
    }
}

#[test]
fn backups_reach_back_ninety_days_and_are_made_daily() {
    for build in SHARED {
        let manifests = built(build);
        assert_eq!(one(manifests, "ObjectStore", "dgm-postgres")["spec"]["retentionPolicy"], "90d");
        let backup = &one(manifests, "ScheduledBackup", "dgm-postgres")["spec"];
        let schedule: Vec<&str> = text(&backup["schedule"]).split(' ').collect();
        assert_eq!(schedule[3..], ["*", "*", "*"], "each day");
        let cluster = &one(manifests, "Cluster", "dgm-postgres")["spec"];
        assert_eq!(cluster["instances"], 3);
        let plugin = &cluster["plugins"][0];
        assert_eq!((&plugin["name"], &plugin["isWALArchiver"]), (&backup["pluginConfiguration"]["name"], &json!(true)));
        assert_eq!(plugin["parameters"]["barmanObjectName"], "dgm-postgres");
        assert!(
            find(manifests, "Pooler", "dgm-postgres-readers")
                .is_some_and(|one| one["spec"]["pgbouncer"]["poolMode"] == "session")
        );
        assert!(cluster["postgresql"]["parameters"]["pg_stat_statements.max"].is_string());
    }
}

/// Each file that the service keeps on a claim is in the copy that a night makes, of which it is told if there is none.
#[test]
fn files_are_copied_daily_after_the_database() {
    for build in SHARED {
        let manifests = built(build);
        let job = &one(manifests, "CronJob", "dgm-files-backup")["spec"];
        let schedule: Vec<&str> = text(&job["schedule"]).split(' ').collect();
        assert_eq!(schedule[2..], ["*", "*", "*"], "each day");
        let database = &one(manifests, "ScheduledBackup", "dgm-postgres")["spec"]["schedule"];
        let database: Vec<&str> = text(database).split(' ').collect();
        let hour = |field: &str| field.parse::<u32>().unwrap();
        assert!(
            hour(database[2]) < hour(schedule[1]),
            "a file more than the database knows does no harm, one less is lost"
        );
        let pod = &job["jobTemplate"]["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["image"], service(manifests)["image"]);
        let claim_at = |path: &str| {
            let mount = list(&container["volumeMounts"]).iter().find(|mount| mount["mountPath"] == path);
            let name = &mount.unwrap_or_else(|| panic!("nothing at {path}"))["name"];
            let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == *name).unwrap();
            text(&volume["persistentVolumeClaim"]["claimName"])
        };
        let target = text(&container["args"][2]).strip_prefix("file://").unwrap();
        assert_eq!((claim_at(target), claim_at("/var/lib/dgm")), ("dgm-backups", "dgm-archive"));
        let told = environment(manifests, container);
        for key in ["artifacts.url", "samples.export_url"] {
            let (section, field) = key.split_once('.').unwrap();
            let url = &told[&format!("DGM__{}__{}", section.to_uppercase(), field.to_uppercase())];
            assert_eq!(*url, setting(manifests, key), "{build}");
            assert!(url.starts_with("file:///var/lib/dgm/"), "{build}: {url}");
        }
    }
}

#[test]
fn prometheus_finds_the_service_under_the_name_of_its_rules() {
    for build in SHARED {
        let manifests = built(build);
        let monitor = &one(manifests, "ServiceMonitor", "dgm-service")["spec"];
        let wanted = labels(&monitor["selector"]["matchLabels"]);
        let has = |service: &&Value| {
            let there = labels(&service["metadata"]["labels"]);
            wanted.iter().all(|label| there.contains(label))
        };
        let found: Vec<&Value> = of_kind(manifests, "Service").filter(has).collect();
        assert_eq!(found.iter().map(|one| name(one)).collect::<Vec<_>>(), ["dgm-service-operations"], "{build}");
        let ports: Vec<&Value> = list(&found[0]["spec"]["ports"]).iter().map(|port| &port["name"]).collect();
        for endpoint in list(&monitor["endpoints"]) {
            assert!(ports.contains(&&endpoint["port"]), "{build}: no port {}", endpoint["port"]);
        }
        let job = &found[0]["metadata"]["labels"][text(&monitor["jobLabel"])];
        assert_eq!(text(job), Options::default().job);
        let rules = list(&one(manifests, "PrometheusRule", "dgm")["spec"]["groups"]);
        let there: BTreeSet<&str> =
            rules.iter().flat_map(|group| list(&group["rules"])).filter_map(|rule| rule["alert"].as_str()).collect();
        let expected: BTreeSet<&str> =
            alerts::groups().iter().flat_map(|(_, all)| all).map(|alert| alert.name).collect();
        assert_eq!(there, expected, "{build}");
        for dashboard in dashboards::all() {
            let map = one(manifests, "ConfigMap", &format!("dashboard-{}", dashboard.uid));
            assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
            let json = text(&map["data"][format!("{}.json", dashboard.uid)]);
            assert!(json.len() < 1_000_000, "the API server takes a mebibyte");
            assert_eq!(serde_json::from_str::<Value>(json).unwrap()["uid"], dashboard.uid);
        }
    }
}

#[test]
fn certificates_are_renewed_and_are_those_that_are_shown() {
    for build in SHARED {
        let manifests = built(build);
        let certificate = &one(manifests, "Certificate", "dgm-service")["spec"];
        let hours = |field: &str| text(&certificate[field]).trim_end_matches('h').parse::<u32>().unwrap();
        assert!(hours("renewBefore") * 2 < hours("duration"));
        let issuer = text(&certificate["issuerRef"]["name"]);
        assert!(find(built("cluster"), "ClusterIssuer", issuer).is_some(), "no issuer {issuer}");
        let (secret, host) = if let Some(ingress) = find(manifests, "Ingress", "dgm-service") {
            let spec = &ingress["spec"];
            assert_eq!(spec["tls"][0]["hosts"][0], spec["rules"][0]["host"]);
            (&spec["tls"][0]["secretName"], &spec["rules"][0]["host"])
        } else {
            let listener = &one(manifests, "Gateway", "dgm")["spec"]["listeners"][1];
            (&listener["tls"]["certificateRefs"][0]["name"], &listener["hostname"])
        };
        assert_eq!((secret, host), (&certificate["secretName"], &certificate["dnsNames"][0]), "{build}");
    }
}

#[test]
fn the_load_test_calls_the_services_that_there_are() {
    let job = one(built("loadtest"), "Job", "dgm-loadtest");
    let arguments = list(&job["spec"]["template"]["spec"]["containers"][0]["args"]);
    for (flag, called) in [("--host", "dgm-service"), ("--operations", "dgm-service-operations")] {
        let service = one(built("production"), "Service", called);
        let (namespace, port) = (text(&service["metadata"]["namespace"]), &service["spec"]["ports"][0]["port"]);
        let wanted = format!("{flag}=http://{called}.{namespace}.svc.cluster.local:{port}");
        assert!(arguments.contains(&json!(wanted)), "no {wanted} in {arguments:?}");
    }
}
