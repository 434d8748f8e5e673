//! Proof that each rule can fail: small sources that violate it.

use super::cycles::Graph;
use super::flows::{By, Flow, Step, broken, step};
use super::rules::{ANYTHING, Group};
use super::tree::Tree;
use super::{clocks, imports, long_files, methods, wire};

const GROUPS: &[Group] = &[
    Group {
        parent: "store",
        watched: &["store"],
        modules: &[("mod", &[ANYTHING]), ("archive", &[]), ("identity", &[]), ("queue", &["store::archive"])],
    },
    Group {
        parent: "service",
        watched: &["service", "store"],
        modules: &[("identity", &["service::error", "store::identity"])],
    },
];
const NAMES: &[&str] = &["store", "service"];
const STORE: &[(&str, &str)] = &[
    ("lib.rs", "pub mod store; pub mod service;"),
    ("store/mod.rs", "pub mod archive; pub mod identity; pub mod queue; pub use queue::Queue; pub struct Stores;"),
    ("store/archive.rs", "pub struct Archive;"),
    ("store/identity.rs", "pub struct Identity;"),
    ("store/queue/mod.rs", "mod claim; pub struct Queue; pub use claim::Claim;"),
    ("store/queue/claim.rs", "use crate::store::archive::Archive; pub struct Claim(Archive, super::Queue);"),
    ("service/mod.rs", "pub mod error; pub mod identity;"),
    ("service/error.rs", "pub struct Error;"),
];

/// [`STORE`] with the files given, which replace those of the same name.
fn tree(files: &[(&'static str, &'static str)]) -> Tree {
    let kept = STORE.iter().filter(|(name, _)| !files.iter().any(|(other, _)| name == other));
    Tree::parse(kept.chain(files).copied())
}

fn modules(files: &[(&'static str, &'static str)]) -> Vec<String> {
    let tree = tree(files);
    imports::modules(&tree, &tree.references(), GROUPS)
}

fn layers(text: &'static str) -> Vec<String> {
    let tree =
        Tree::parse([("domain/entry.rs", "pub struct Entry;"), ("cache.rs", text), ("store.rs", "pub fn f() {}")]);
    imports::layers(&tree, &tree.references(), &[("cache", &["domain"]), ("domain", &[]), ("store", &[])])
}

#[test]
fn a_forbidden_layer_is_found_in_every_form_of_a_path() {
    let fault = |line| vec![format!("src/cache.rs:{line}: cache must not use store::f (allowed: domain)")];
    for (line, text) in [
        (1, "use crate::store::f;"),
        (1, "use crate::{domain::entry::Entry, store::f as g};"),
        (2, "fn g() {\n crate::store::f() }"),
        (2, "use crate::domain::entry::Entry;\nfn g() { super::store::f() }"),
        (3, "mod inner {\n fn g() {\n super::super::store::f() } }"),
        (2, "fn g() {\n println!(\"{}\", crate::store::f()); }"),
        (1, "macro_rules! g { () => { $crate::store::f() } }"),
        (2, "fn g() { m! {\n use crate::store::{f}; } }"),
        (1, "#[serde(with = \"crate::store::f\")] struct S;"),
        (1, "impl S { fn g(self) where S: Into<crate::store::f> {} }"),
    ] {
        let found = layers(text);
        let first: Vec<_> = found.iter().filter(|fault| fault.contains("store::f")).cloned().collect();
        assert_eq!(first, fault(line), "{text}: {found:?}");
    }
    assert_eq!(layers("use crate::store;\nfn g() { store::f() }").len(), 2);
    assert_eq!(
        layers("use crate::domain::*; /// [`crate::store::f`]\nfn f(e: entry::Entry) { \"crate::store::f\"; }"),
        [""; 0]
    );
}

#[test]
fn a_layer_without_a_row_is_a_violation() {
    let tree = Tree::parse([("odd.rs", "use crate::cache::X;"), ("cache.rs", "pub struct X;")]);
    assert_eq!(imports::layers(&tree, &tree.references(), &[]), ["src/odd.rs:1: the layer odd is not in LAYERS"]);
}

#[test]
fn a_rule_about_a_name_that_is_gone_is_found() {
    let paths = ["store", "store::queue::Queue", "store::Stores", "store::gone", "store::queue::Gone"];
    let gone = |path| format!("rules.rs names {path}, which does not exist");
    assert_eq!(imports::stale(&tree(&[]), paths), [gone("store::gone"), gone("store::queue::Gone")]);
}

#[test]
fn a_library_outside_its_home_is_found() {
    let homes: &[super::rules::Home] = &[(&["sqlx"], &["store"])];
    for text in ["use sqlx::Row;", "fn f(_: &sqlx::PgPool) {}", "fn f() { m!(sqlx::query) }", "use sqlx as db;"] {
        let tree = Tree::parse([("http/v1.rs", text), ("store.rs", text)]);
        let found = imports::homes(&tree, &tree.references(), homes);
        assert_eq!(found, ["src/http/v1.rs:1: http must not use sqlx (its home: store)"], "{text}");
    }
    // A re-exported name still belongs to the library.
    let tree = Tree::parse([("store.rs", "pub use sqlx::Error as E;"), ("http.rs", "use crate::store::E;")]);
    assert_eq!(imports::homes(&tree, &tree.references(), homes).len(), 1);
    let tree = Tree::parse([("http.rs", "mod sqlx { pub struct Row; } use sqlx::Row;")]);
    assert_eq!(imports::homes(&tree, &tree.references(), homes), [""; 0]);
}

#[test]
fn a_module_may_name_only_the_modules_of_its_row() {
    assert_eq!(modules(&[]), [""; 0]);
    for text in [
        "use super::queue::Queue;",
        "use super::Queue;",
        "use crate::store;\nfn f(_: store::Queue) {}",
        "use super::*;\nfn f(_: Queue) {}",
        "fn f(_: super::queue::Queue) {}",
    ] {
        let found = modules(&[("store/identity.rs", text)]);
        let fault = "store::identity must not use store::queue::Queue (allowed: nothing)";
        assert!(found.iter().any(|found| found.ends_with(fault)), "{text}: {found:?}");
    }
    let composed = modules(&[("store/identity.rs", "use super::Stores;")]);
    assert_eq!(composed, ["src/store/identity.rs:1: store::identity must not use store::Stores (allowed: nothing)"]);
    let unlisted = modules(&[("store/extra.rs", "use super::archive::Archive;")]);
    let fault = "store::extra uses store::archive::Archive and has no row in the table of modules";
    assert_eq!(unlisted, [format!("src/store/extra.rs:1: {fault}")]);
}

#[test]
fn a_use_case_may_name_only_its_own_stores() {
    let good =
        "use super::error::Error; use crate::store::{self, identity::Identity}; fn f(_: store::identity::Identity) {}";
    assert_eq!(modules(&[("service/identity.rs", good)]), [""; 0]);
    let composed = modules(&[("service/identity.rs", "fn f(s: &S) {\n s.stores.queue.claim(); m!(stores.queue) }")]);
    let fault = "service::identity must not use store::queue (allowed: service::error, store::identity)";
    assert_eq!(composed, [format!("src/service/identity.rs:2: {fault}")]);
    let found = modules(&[("service/identity.rs", "use crate::store::queue::Claim;")]);
    let fault = "service::identity must not use store::queue::claim::Claim (allowed: service::error, store::identity)";
    assert_eq!(found, [format!("src/service/identity.rs:1: {fault}")]);
}

#[test]
fn a_re_export_from_another_layer_is_found() {
    for text in [
        "pub use crate::store::Stores;",
        "pub(crate) use crate::store::Stores as S;",
        "pub(super) use crate::store::{Stores};",
        "pub type S = crate::store::Stores;",
        "use crate::store; pub use store::Stores;",
    ] {
        let tree = tree(&[("service/identity.rs", text)]);
        let found = imports::re_exports(&tree, &tree.references());
        let fault = "src/service/identity.rs:1: service must not re-export store::Stores, which belongs to store";
        assert_eq!(found, [fault], "{text}");
    }
    let own = "use crate::store::Stores; pub use super::error::Error; pub type R<T> = Result<T, Stores>;";
    let tree = tree(&[("service/identity.rs", own)]);
    assert_eq!(imports::re_exports(&tree, &tree.references()), [""; 0]);
}

#[test]
fn a_cycle_is_reported_as_a_list_of_files() {
    let cycles = |files| {
        let tree = tree(files);
        Graph::new(&tree, &tree.references(), NAMES).cycles()
    };
    assert_eq!(cycles(&[]), [""; 0]);
    let through = cycles(&[
        ("store/archive.rs", "pub struct Archive;\nfn f(_: super::identity::Identity) {}"),
        ("store/identity.rs", "use super::queue::Queue; pub struct Identity;"),
    ]);
    assert_eq!(
        through,
        ["cycle store::archive -> store::identity -> store::queue -> store::archive:\
        \n    src/store/archive.rs:2 -> src/store/identity.rs\
        \n    src/store/identity.rs:1 -> src/store/queue/mod.rs\
        \n    src/store/queue/claim.rs:1 -> src/store/archive.rs"]
    );
    let upward = cycles(&[("store/queue/mod.rs", "use super::Stores; pub struct Queue;")]);
    assert_eq!(upward.len(), 1, "{upward:?}");
}

#[test]
fn a_forbidden_module_is_found_through_other_modules() {
    let rules: &[(&str, &[&str])] = &[("service::identity", &["store::queue"])];
    let reached = |files| {
        let tree = tree(files);
        Graph::new(&tree, &tree.references(), NAMES).reached(rules, NAMES)
    };
    assert_eq!(reached(&[("service/identity.rs", "use crate::store::identity::Identity;")]), [""; 0]);
    assert_eq!(
        reached(&[("service/identity.rs", "use crate::store::Stores;")]),
        [""; 0],
        "through the struct that composes the group"
    );
    let found = reached(&[
        ("service/identity.rs", "use super::error::Error;"),
        ("service/error.rs", "\npub type Error = crate::store::identity::Identity;"),
        ("store/identity.rs", "pub struct Identity(super::Queue);"),
    ]);
    assert_eq!(
        found,
        ["service::identity must not reach store::queue:\
        \n    src/service/identity.rs:1 -> src/service/error.rs\
        \n    src/service/error.rs:2 -> src/store/identity.rs\
        \n    src/store/identity.rs:1 -> src/store/queue/mod.rs"]
    );
}

#[test]
fn a_wire_type_in_a_store_is_found() {
    let found = |text| wire::wire_types(&Tree::parse([("store/a.rs", text), ("domain/a.rs", text)]), &["domain"]);
    for text in [
        "use serde::Serialize; #[derive(Debug, Serialize)] pub struct A;",
        "#[derive(serde::Deserialize)] pub(crate) enum A {}",
        "use utoipa::ToSchema as S; #[derive(S)] pub(super) struct A;",
        "#[cfg_attr(test, derive(serde::Serialize))] pub struct A;",
        "struct A; impl serde::Serialize for A {}",
    ] {
        let found = found(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with("src/store/a.rs:1: A must not derive or implement "), "{found:?}");
    }
    assert_eq!(
        found("use serde::Deserialize; #[derive(Deserialize)] struct Row; #[derive(Debug)] pub struct A;"),
        [""; 0]
    );
}

#[test]
fn a_long_file_is_found() {
    let tree = Tree::parse([("a.rs", "\n\n\n"), ("b.rs", "\n\n\n\n")]);
    assert_eq!(long_files(&tree, 3), ["src/b.rs: 4 lines (limit 3)"]);
}

#[test]
fn methods_of_all_impls_traits_and_dereferenced_types_are_counted() {
    let tree = Tree::parse([
        (
            "store/a/mod.rs",
            "mod b; pub struct A(B); pub struct B; pub trait T { fn x(&self); fn y(&self) {} }
            impl A { pub fn a(&self) {} pub(crate) fn b(&self) {} pub(super) fn c(&self) {} fn d(&self) {} }
            impl T for A { fn x(&self) {} } impl Clone for A { fn clone(&self) -> A { A } }
            impl std::ops::Deref for A { type Target = std::sync::Arc<B>; }",
        ),
        (
            "store/a/b.rs",
            "use super::{A, B}; impl A { pub fn e(&self) {} pub(super) fn f(&self) {} }
            impl B { pub fn g(&self) {} } #[cfg(test)] mod tests { impl super::A { pub fn h(&self) {} } }",
        ),
    ]);
    let counted = methods::methods(&tree, &["store"], &["store"]);
    let of = |path: &str| {
        let methods = &counted[path];
        (methods.own, methods.traits, methods.dereferenced)
    };
    assert_eq!(of("store::a::A"), (4, 2, 1));
    assert_eq!(of("store::a::B"), (1, 0, 0));
    assert_eq!(methods::too_many(&counted, 7), [""; 0]);
    let fault = "store::a::A has 7 public methods: 4 own, 2 of traits, 1 dereferenced (limit 6)";
    assert_eq!(methods::too_many(&counted, 6), [fault]);
}

#[test]
fn a_flow_that_differs_from_the_code_is_found() {
    const POST: Step = step(By::Call, "http.rs", "post");
    const RECORD: Step = step(By::Call, "service.rs", "record");
    const ADD: Step = step(By::Call, "store.rs", "add");
    const LOAD: Step = step(By::Callback, "service.rs", "record");
    const GOOD: &[Flow] = &[("POST", &[POST, RECORD, ADD, step(By::Handover, "store.rs", "work"), LOAD])];
    const BAD: &[Flow] = &[
        ("A", &[POST, ADD]),
        ("B", &[POST, RECORD, ADD, step(By::Handover, "service.rs", "load")]),
        ("C", &[RECORD, step(By::Handover, "store.rs", "record")]),
        ("D", &[step(By::Call, "store.rs", "post")]),
        ("E", &[RECORD, LOAD, LOAD]),
    ];
    let tree = Tree::parse([
        ("http.rs", "async fn post(s: S) { m!(s.record(1)).await }"),
        ("service.rs", "impl S { fn record(&self) { self.store.add(|| self.load()) } fn load(&self) {} }"),
        ("store.rs", "impl W { fn add(&self) { self.queue.send(1) } fn record(&self) {} } fn work() {}"),
    ]);
    assert_eq!(broken(&tree, GOOD), [""; 0]);
    assert_eq!(
        broken(&tree, BAD),
        [
            "A: no step before add (src/store.rs) calls it",
            "B: it enters src/service.rs twice",
            "C: two functions have the name record",
            "D: src/store.rs has no function post",
            "E: more than one callback",
        ]
    );
}

#[test]
fn a_local_clock_is_found_unless_it_is_listed_and_a_stale_row_too() {
    let found = |text: &'static str, allowed: &[super::clocks::Allowed]| {
        let tree = Tree::parse([("service.rs", text), ("domain/clock.rs", "pub fn local() {}")]);
        clocks::local_clocks(&tree, &tree.references(), allowed)
    };
    for text in [
        "use chrono::Utc; fn f() { Utc::now(); }",
        "fn f() { chrono::Utc::now(); }",
        "use std::time::SystemTime as Time; fn f() { Time::now(); }",
        "fn f() { vec![chrono::Local::now()]; }",
        "use crate::domain::clock::local; fn f() { local(); }",
        "fn f() { crate::domain::clock::local(); }",
    ] {
        assert_eq!(found(text, &[]).len(), 1, "{text}");
        assert_eq!(found(text, &[("service", "reason")]), Vec::<String>::new(), "{text}");
    }
    assert_eq!(found("mod tests { fn f() { chrono::Utc::now(); } }", &[]), Vec::<String>::new());
    assert_eq!(found("fn f() {}", &[("service", "reason")]), ["service does not ask this machine's clock any more"]);
}
