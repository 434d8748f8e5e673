//! Who may speak to whom, of the policies that are built: what edges.rs lists, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::edges::{NAMES, OURS, PRIVATE, allowed};
use super::pods::templates;
use super::{BUILDS, Manifests, built, labels, list, name, of_kind, text};

fn short(labels: &[String]) -> String {
    let joined = labels.join(",");
    NAMES.iter().find(|(known, _)| *known == joined).map_or(joined.clone(), |(_, name)| (*name).to_owned())
}

/// Whom a selector means: several, where it lists values.
fn selected(selector: &Value) -> Vec<String> {
    let fixed = labels(&selector["matchLabels"]);
    match list(&selector["matchExpressions"]) {
        [] => vec![short(&fixed)],
        [one] if one["operator"] == "In" && fixed.is_empty() => {
            let key = text(&one["key"]);
            list(&one["values"]).iter().map(|value| short(&[format!("{key}={}", text(value))])).collect()
        }
        other => vec![format!("{fixed:?} {other:?}")],
    }
}

fn peers(peer: &Value) -> Vec<String> {
    if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
        let whole = ["0.0.0.0/0", "::/0"].contains(&cidr);
        return vec![match (whole, list(&peer["ipBlock"]["except"]).is_empty()) {
            (true, true) => "anywhere".to_owned(),
            (true, false) => "internet".to_owned(),
            _ => cidr.to_owned(),
        }];
    }
    let Some(namespace) = peer.get("namespaceSelector") else {
        return peer.get("podSelector").map_or_else(|| vec![peer.to_string()], selected);
    };
    let namespace = match &labels(&namespace["matchLabels"])[..] {
        [one] => one.strip_prefix("kubernetes.io/metadata.name=").map_or_else(|| one.clone(), str::to_owned),
        _ => namespace.to_string(),
    };
    match peer.get("podSelector") {
        None => vec![namespace],
        Some(pods) => vec![format!("{namespace}/{}", labels(&pods["matchLabels"]).join(","))],
    }
}

/// Every edge of every policy. What allows everything reads so, and stands in no list.
fn edges(manifests: &Manifests) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for policy in of_kind(manifests, "NetworkPolicy") {
        let spec = &policy["spec"];
        for (rules, ends, arrow) in [("ingress", "from", "<-"), ("egress", "to", "->")] {
            for rule in list(&spec[rules]) {
                let any = || vec!["everything".to_owned()];
                let others: Vec<String> = if list(&rule[ends]).is_empty() {
                    any()
                } else {
                    list(&rule[ends]).iter().flat_map(peers).collect()
                };
                let port = |port: &Value| format!("{}/{}{}", port["port"], text(&port["protocol"]), port["endPort"]);
                let ports: Vec<String> = if list(&rule["ports"]).is_empty() {
                    any()
                } else {
                    list(&rule["ports"]).iter().map(|one| port(one).replace("null", "")).collect()
                };
                for own in selected(&spec["podSelector"]) {
                    for other in &others {
                        all.extend(ports.iter().map(|port| format!("{own} {arrow} {other} {port}")));
                    }
                }
            }
        }
    }
    all
}

/// What differs from the list.
fn strangers(build: &str, manifests: &Manifests) -> Vec<String> {
    let (there, allowed) = (edges(manifests), allowed(build));
    let more = there.difference(&allowed).map(|edge| format!("{build}: nobody allowed {edge}"));
    more.chain(allowed.difference(&there).map(|edge| format!("{build}: no policy allows {edge}"))).collect()
}

/// A connection inside the namespace needs a word on either end.
fn half(edges: &BTreeSet<String>) -> Vec<String> {
    let ends: Vec<(&str, &str, &str, &str)> = edges
        .iter()
        .filter_map(|edge| edge.split(' ').collect::<Vec<_>>().try_into().ok())
        .map(|[own, arrow, other, port]: [&str; 4]| (own, arrow, other, port))
        .collect();
    let inside: BTreeSet<&str> = ends.iter().map(|(own, ..)| *own).collect();
    let mut found = Vec::new();
    for (own, arrow, other, port) in &ends {
        let back = if *arrow == "->" { "<-" } else { "->" };
        let needed = format!("{other} {back} {own} {port}");
        if inside.contains(other) && !edges.contains(&needed) {
            found.push(format!("{own} {arrow} {other} {port} without {needed}"));
        }
    }
    found
}

/// Whether nothing goes that no other policy allows, whether policies say what they are about, what is private.
fn faults(manifests: &Manifests) -> Vec<String> {
    let mut found = Vec::new();
    let denies = |policy: &&Value| policy["spec"] == json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    if of_kind(manifests, "NetworkPolicy").filter(denies).count() != 1 {
        found.push("nothing denies by default".to_owned());
    }
    for policy in of_kind(manifests, "NetworkPolicy") {
        let types = list(&policy["spec"]["policyTypes"]);
        for (kind, rules) in [("Ingress", "ingress"), ("Egress", "egress")] {
            if !list(&policy["spec"][rules]).is_empty() && !types.contains(&json!(kind)) {
                found.push(format!("{}: {rules} without its type", name(policy)));
            }
        }
        let rules = list(&policy["spec"]["egress"]).iter().flat_map(|rule| list(&rule["to"]));
        let mut excepted: BTreeMap<bool, BTreeSet<&str>> = BTreeMap::new();
        for block in rules.map(|peer| &peer["ipBlock"]).filter(|block| block.is_object()) {
            let cidr = text(&block["cidr"]);
            if ["0.0.0.0/0", "::/0"].contains(&cidr) {
                excepted.entry(cidr.contains(':')).or_default().extend(list(&block["except"]).iter().map(text));
            }
        }
        for range in PRIVATE {
            if let Some(excepted) = excepted.get(&range.contains(':'))
                && !excepted.contains(range)
            {
                found.push(format!("{}: {range} is part of the internet", name(policy)));
            }
        }
    }
    found
}

#[test]
fn every_edge_is_listed_and_no_other_is_there() {
    for build in BUILDS {
        assert_eq!(strangers(build, built(build)), Vec::<String>::new());
    }
}

#[test]
fn what_may_go_out_may_come_in() {
    for build in BUILDS {
        assert_eq!(half(&edges(built(build))), Vec::<String>::new(), "{build}");
    }
    let mut edges = edges(built("production"));
    edges.remove("postgres <- migrate 5432/TCP");
    assert_eq!(half(&edges), ["migrate -> postgres 5432/TCP without postgres <- migrate 5432/TCP"]);
}

#[test]
fn nothing_goes_by_default_and_the_internet_is_nothing_of_ours() {
    for build in BUILDS {
        assert_eq!(faults(built(build)), Vec::<String>::new(), "{build}");
    }
}

#[test]
fn policies_select_pods_that_there_are() {
    for build in BUILDS {
        let pods = || [build, "loadtest", "worker"].into_iter().flat_map(|build| templates(built(build)));
        let edges = allowed(build);
        for called in OURS.into_iter().filter(|called| edges.iter().any(|edge| edge.split(' ').next() == Some(called)))
        {
            let (wanted, _) = NAMES.iter().find(|(_, name)| *name == called).unwrap();
            let is_there = |template: &Value| {
                let has = labels(&template["metadata"]["labels"]);
                wanted.split(',').all(|label| has.iter().any(|has| has == label))
            };
            assert!(pods().any(|(_, template, _)| is_there(template)), "{build}: no pod is {called}");
        }
    }
}

/// Whoever runs what a model wrote, and whoever archives the database; the service calls nobody outside.
#[test]
fn only_workers_and_the_archiver_reach_the_internet() {
    const LABEL: &str = "dgm.acgs/egress";
    for build in BUILDS.into_iter().chain(["loadtest", "worker"]) {
        let manifests = built(build);
        let pods = templates(manifests).filter(|(_, template, _)| template["metadata"]["labels"].get(LABEL).is_some());
        let outgoing: Vec<String> = pods.map(|(place, ..)| place).collect();
        let expected: &[&str] = if build == "worker" { &["Deployment dgm-worker"] } else { &[] };
        assert_eq!(outgoing, expected, "{build}");
        for cluster in of_kind(manifests, "Cluster") {
            assert_eq!(cluster["spec"]["inheritedMetadata"]["labels"][LABEL], "internet");
        }
    }
}

/// A policy, changed.
fn broken(policy: &str, change: impl Fn(&mut Value)) -> Manifests {
    let mut manifests = built("production").clone();
    change(manifests.iter_mut().find(|one| one["kind"] == "NetworkPolicy" && name(one) == policy).unwrap());
    manifests
}

#[test]
fn an_edge_more_or_less_is_found() {
    let anybody = broken("dgm-service", |policy| policy["spec"]["ingress"][0]["from"] = json!([]));
    assert!(
        strangers("production", &anybody)
            .contains(&"production: nobody allowed service <- everything 8007/TCP".to_owned())
    );
    let any_port = broken("dgm-service", |policy| policy["spec"]["egress"][0]["ports"] = json!([]));
    assert!(
        strangers("production", &any_port)
            .contains(&"production: nobody allowed service -> postgres everything".to_owned())
    );
    let no_database = broken("dgm-service", |policy| drop(policy["spec"]["egress"].as_array_mut().unwrap().remove(0)));
    assert_eq!(strangers("production", &no_database), ["production: no policy allows service -> postgres 5432/TCP"]);
    let others = broken("dgm-worker", |policy| {
        policy["spec"]["egress"][0]["to"] = json!([{"podSelector": {"matchLabels": {"app": "x"}}}]);
    });
    assert!(
        strangers("production", &others).contains(&"production: nobody allowed worker -> app=x 8007/TCP".to_owned())
    );
    let open = broken("default-deny", |policy| policy["spec"]["ingress"] = json!([{}]));
    assert!(
        strangers("production", &open).contains(&"production: nobody allowed all <- everything everything".to_owned())
    );
    assert_eq!(faults(&open), ["nothing denies by default"]);
    let ingress_only = broken("default-deny", |policy| policy["spec"]["policyTypes"] = json!(["Ingress"]));
    assert_eq!(faults(&ingress_only), ["nothing denies by default"]);
    let untyped = broken("dgm-worker", |policy| policy["spec"]["policyTypes"] = json!(["Ingress"]));
    assert_eq!(faults(&untyped), ["dgm-worker: egress without its type"]);
    for (block, ranges) in [(0, &PRIVATE[..11]), (1, &PRIVATE[11..])] {
        for range in ranges {
            let leaky = broken("internet", |policy| {
                let except = policy["spec"]["egress"][0]["to"][block]["ipBlock"]["except"].as_array_mut().unwrap();
                except.retain(|one| one != range);
            });
            assert_eq!(faults(&leaky), [format!("internet: {range} is part of the internet")]);
        }
    }
}
