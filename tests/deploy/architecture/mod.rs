//! Rules for the structure of `src/`, checked on the parsed sources. `rules.rs` has the rules as tables.

mod clocks;
mod cycles;
mod flows;
mod imports;
mod methods;
mod proofs;
mod references;
mod rules;
mod tree;
mod wire;

use std::path::Path;

use cycles::Graph;
use rules::{
    COUNTED_LAYERS, DIVIDED, FLOWS, GROUPS, HOMES, LAYERS, LOCAL_CLOCKS, MAX_LINES, MAX_METHODS, UNREACHABLE,
    WIRE_TYPES,
};
use tree::Tree;

fn long_files(tree: &Tree, limit: usize) -> Vec<String> {
    let long = tree.files.iter().filter(|file| file.lines > limit);
    long.map(|file| format!("src/{}: {} lines (limit {limit})", file.name, file.lines)).collect()
}

/// One test for all rules: parsing takes most of the time, and syntax trees cannot be shared between threads.
#[test]
fn the_source_tree_follows_the_rules() {
    let tree = Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(tree.files.len() > 100, "the walk found too little");
    let references = tree.references();
    let groups: Vec<&str> = GROUPS.iter().map(|group| group.parent).chain(DIVIDED.iter().copied()).collect();
    let graph = Graph::new(&tree, &references, &groups);
    let methods = methods::methods(&tree, COUNTED_LAYERS, &groups);
    methods::print(&methods);
    flows::print(FLOWS);

    let rules = [
        ("stale rules", imports::stale(&tree, rules::paths().iter().map(String::as_str))),
        ("layers", imports::layers(&tree, &references, LAYERS)),
        ("homes of libraries", imports::homes(&tree, &references, HOMES)),
        ("modules of a layer", imports::modules(&tree, &references, GROUPS)),
        ("re-exports", imports::re_exports(&tree, &references)),
        ("cycles", graph.cycles()),
        ("reach", graph.reached(UNREACHABLE, &groups)),
        ("wire types", wire::wire_types(&tree, WIRE_TYPES)),
        ("local clocks", clocks::local_clocks(&tree, &references, LOCAL_CLOCKS)),
        ("length", long_files(&tree, MAX_LINES)),
        ("methods", methods::too_many(&methods, MAX_METHODS)),
        ("flows", flows::broken(&tree, FLOWS)),
    ];
    let broken = rules.iter().filter(|(_, violations)| !violations.is_empty());
    let report: Vec<String> = broken
        .map(|(rule, found)| {
            format!(
                "{rule}: {}
  {}",
                found.len(),
                found.join("\n  ")
            )
        })
        .collect();
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}
