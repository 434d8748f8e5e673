//! Who may speak to whom: every edge, once.

use std::collections::BTreeSet;

/// Labels by which policies select, and what is meant. What is not named here is named by its labels, which stand in no list.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("app.kubernetes.io/component=api,app.kubernetes.io/name=dgm-service", "service"),
    ("app.kubernetes.io/component=api", "service"),
    ("app.kubernetes.io/component=migrate", "migrate"),
    ("app.kubernetes.io/component=backup", "backup"),
    ("app.kubernetes.io/component=loadtest", "loadtest"),
    ("app.kubernetes.io/component=worker", "worker"),
    ("cnpg.io/cluster=dgm-postgres", "postgres"),
    ("cnpg.io/poolerName=dgm-postgres-readers", "pooler"),
    ("redis_setup_type=cluster", "redis"),
    ("dgm.acgs/egress=internet", "outgoing"),
    ("acme.cert-manager.io/http01-solver=true", "challenge"),
    ("gateway.networking.k8s.io/gateway-name=dgm", "gateway"),
    ("sidecar.istio.io/inject=true", "meshed"),
    ("", "all"),
];
/// Of those, pods of our own: each must be a pod that there is.
pub(super) const OURS: [&str; 5] = ["service", "migrate", "backup", "loadtest", "worker"];

const BASE: &[&str] = &[
    "all -> kube-system/k8s-app=kube-dns 53/TCP",
    "all -> kube-system/k8s-app=kube-dns 53/UDP",
    "service <- acgs 8007/TCP",
    "service <- worker 8007/TCP",
    "service <- loadtest 8007/TCP",
    "service <- loadtest 9007/TCP",
    "service <- monitoring/app.kubernetes.io/name=prometheus 9007/TCP",
    "service -> postgres 5432/TCP",
    "service -> redis 6379/TCP",
    "service -> observability/app.kubernetes.io/name=opentelemetry-collector 4318/TCP",
    "service -> acgs 8000/TCP",
    "service -> acgs 8001/TCP",
    "service -> acgs 8004/TCP",
    "migrate -> postgres 5432/TCP",
    "loadtest -> service 8007/TCP",
    "loadtest -> service 9007/TCP",
    "worker -> service 8007/TCP",
    "outgoing -> internet 443/TCP",
];
const POSTGRES: &[&str] = &[
    "postgres <- service 5432/TCP",
    "postgres <- migrate 5432/TCP",
    "postgres <- postgres 5432/TCP",
    "postgres <- postgres 8000/TCP",
    "postgres <- cnpg-system/app.kubernetes.io/name=cloudnative-pg 5432/TCP",
    "postgres <- cnpg-system/app.kubernetes.io/name=cloudnative-pg 8000/TCP",
    "postgres <- monitoring/app.kubernetes.io/name=prometheus 9187/TCP",
    "postgres -> postgres 5432/TCP",
    "postgres -> postgres 8000/TCP",
    // The API server, where it is.
    "postgres -> 10.0.0.0/8 443/TCP",
    "postgres -> 10.0.0.0/8 6443/TCP",
    "postgres -> 172.16.0.0/12 443/TCP",
    "postgres -> 172.16.0.0/12 6443/TCP",
    "postgres -> 192.168.0.0/16 443/TCP",
    "postgres -> 192.168.0.0/16 6443/TCP",
];
const FILES: &[&str] = &["backup -> postgres 5432/TCP", "postgres <- backup 5432/TCP"];
const POOLER: &[&str] = &["pooler <- monitoring/app.kubernetes.io/name=grafana 5432/TCP"];
const REDIS: &[&str] = &[
    "redis <- service 6379/TCP",
    "redis <- ot-operators 6379/TCP",
    "redis <- redis 6379/TCP",
    "redis <- redis 16379/TCP",
    "redis -> redis 6379/TCP",
    "redis -> redis 16379/TCP",
];
const INGRESS: &[&str] = &[
    "service <- traefik/app.kubernetes.io/name=traefik 8007/TCP",
    "challenge <- traefik/app.kubernetes.io/name=traefik 8089/TCP",
];
const GATEWAY: &[&str] = &[
    "gateway <- anywhere 80/TCP",
    "gateway <- anywhere 443/TCP",
    "gateway -> service 8007/TCP",
    "gateway -> challenge 8089/TCP",
    "gateway -> istio-system/app=istiod 15012/TCP",
    "service <- gateway 8007/TCP",
    "challenge <- gateway 8089/TCP",
];
const ISTIO: &[&str] = &[
    "meshed <- monitoring/app.kubernetes.io/name=prometheus 15090/TCP",
    "meshed -> istio-system/app=istiod 15012/TCP",
];
const LINKERD: &[&str] = &[
    "service <- acgs 4143/TCP",
    "service <- worker 4143/TCP",
    "service <- loadtest 4143/TCP",
    "service <- traefik/app.kubernetes.io/name=traefik 4143/TCP",
    "service <- monitoring/app.kubernetes.io/name=prometheus 4191/TCP",
    "loadtest -> service 4143/TCP",
    "worker -> service 4143/TCP",
    "service -> linkerd 8080/TCP",
    "service -> linkerd 8086/TCP",
    "service -> linkerd 8090/TCP",
    "loadtest -> linkerd 8080/TCP",
    "loadtest -> linkerd 8086/TCP",
    "loadtest -> linkerd 8090/TCP",
    "worker -> linkerd 8080/TCP",
    "worker -> linkerd 8086/TCP",
    "worker -> linkerd 8090/TCP",
];

/// What a build may have.
pub(super) fn allowed(build: &str) -> BTreeSet<String> {
    let lists: &[&[&str]] = match build {
        "dev" => &[BASE, POSTGRES],
        "staging" | "production" => &[BASE, POSTGRES, FILES, POOLER, REDIS, INGRESS, ISTIO],
        "production-linkerd" => &[BASE, POSTGRES, FILES, POOLER, REDIS, INGRESS, LINKERD],
        "production-gateway" => &[BASE, POSTGRES, FILES, POOLER, REDIS, GATEWAY, ISTIO],
        other => panic!("nobody says who may speak to whom in {other}"),
    };
    lists.iter().flat_map(|edges| edges.iter().map(|edge| (*edge).to_owned())).collect()
}

/// Nothing of this may be reached by whoever may reach the internet: one address of each.
pub(super) const PRIVATE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];
