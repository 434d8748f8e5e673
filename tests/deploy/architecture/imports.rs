//! Who may name what: layers, modules of a layer, homes of libraries, re-exports.

use std::collections::HashSet;

use super::references::{Kind, Reference, layer};
use super::rules::{ANYTHING, Group, Home, Layer};
use super::tree::{Tree, within};

/// Collects violations; repeats in one file count once.
pub(super) struct Violations<'a> {
    tree: &'a Tree,
    seen: HashSet<(usize, String)>,
    found: Vec<String>,
}

impl<'a> Violations<'a> {
    pub(super) fn of(tree: &'a Tree) -> Self {
        Self { tree, seen: HashSet::new(), found: Vec::new() }
    }

    pub(super) fn add(&mut self, file: usize, line: usize, what: impl Into<String>) {
        let what = what.into();
        if self.seen.insert((file, what.clone())) {
            self.found.push(format!("src/{}:{line}: {what}", self.tree.files[file].name));
        }
    }

    pub(super) fn done(self) -> Vec<String> {
        self.found
    }
}

fn permits(allowed: &[&str], target: &str) -> bool {
    allowed.iter().any(|entry| *entry == ANYTHING || within(target, entry))
}

/// Whether a reference is allowed. A module of which only a part is allowed may be imported; the paths that go through the
/// import are references of their own.
fn permits_reference(tree: &Tree, allowed: &[&str], Reference { target, glob, .. }: &Reference) -> bool {
    let prefix = !glob && tree.is_module(target) && allowed.iter().any(|entry| within(entry, target));
    prefix || permits(allowed, target)
}

/// Layers name only the layers below them.
pub(super) fn layers(tree: &Tree, references: &[Reference], rules: &[Layer]) -> Vec<String> {
    let mut violations = Violations::of(tree);
    for reference in references {
        let Reference { file, line, module, target, .. } = reference;
        let (from, to) = (layer(module), layer(target));
        if target.starts_with("::") || to.is_empty() || from == to || from.is_empty() {
            continue;
        }
        match rules.iter().find(|(name, _)| *name == from) {
            Some((_, allowed)) if permits_reference(tree, allowed, reference) => {}
            Some((_, allowed)) => {
                violations.add(*file, *line, format!("{from} must not use {target} (allowed: {})", allowed.join(", ")));
            }
            None => violations.add(*file, *line, format!("the layer {from} is not in LAYERS")),
        }
    }
    violations.done()
}

/// Libraries are named in their homes only.
pub(super) fn homes(tree: &Tree, references: &[Reference], rules: &[Home]) -> Vec<String> {
    let mut violations = Violations::of(tree);
    for Reference { file, line, module, target, .. } in references {
        let Some(library) = target.strip_prefix("::").map(layer) else { continue };
        let homes = rules.iter().filter(|(libraries, _)| libraries.contains(&library));
        for (_, homes) in homes.filter(|(_, homes)| !permits(homes, module)) {
            let from = layer(module);
            violations.add(*file, *line, format!("{from} must not use {library} (its home: {})", homes.join(", ")));
        }
    }
    violations.done()
}

/// The module of a group that `path` belongs to: `store::archive` for `store::archive::read::Seen`, and the group itself
/// for what its `mod.rs` defines.
pub(super) fn member(tree: &Tree, path: &str, groups: &[&str]) -> String {
    let owner = tree.file_of(path).map_or(path, |file| &file.module);
    let group = groups.iter().filter(|group| within(owner, group)).max_by_key(|group| group.len());
    match group {
        Some(group) => match owner[group.len()..].trim_start_matches("::").split("::").next() {
            Some(name) if !name.is_empty() => format!("{group}::{name}"),
            _ => (*group).to_owned(),
        },
        None => layer(owner).to_owned(),
    }
}

/// Modules of one layer name only what their row in the table of the layer allows.
pub(super) fn modules(tree: &Tree, references: &[Reference], rules: &[Group]) -> Vec<String> {
    let mut violations = Violations::of(tree);
    let names: Vec<&str> = rules.iter().map(|group| group.parent).collect();
    for reference in references {
        let Reference { file, line, module, target, .. } = reference;
        let from = member(tree, module, &names);
        let Some(group) = rules.iter().filter(|g| within(&from, g.parent)).max_by_key(|g| g.parent.len()) else {
            continue;
        };
        let watched = group.watched.iter().any(|watched| within(target, watched));
        if !watched || member(tree, target, &names) == from {
            continue;
        }
        let name = from[group.parent.len()..].trim_start_matches("::");
        let name = if name.is_empty() { "mod" } else { name };
        match group.modules.iter().find(|(module, _)| *module == name) {
            Some((_, allowed)) if permits_reference(tree, allowed, reference) => {}
            Some((_, allowed)) => {
                let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
                violations.add(*file, *line, format!("{from} must not use {target} (allowed: {allowed})"));
            }
            None => {
                violations.add(*file, *line, format!("{from} uses {target} and has no row in the table of modules"));
            }
        }
    }
    violations.done()
}

/// Names are re-exported within their layer only.
pub(super) fn re_exports(tree: &Tree, references: &[Reference]) -> Vec<String> {
    let mut violations = Violations::of(tree);
    for Reference { file, line, module, target, kind, .. } in references {
        if let Kind::ReExport(reach) = kind {
            let (own, other) = (layer(module), layer(target));
            let narrow = within(reach, module);
            if !narrow && !target.starts_with("::") && !other.is_empty() && own != other {
                violations.add(*file, *line, format!("{own} must not re-export {target}, which belongs to {other}"));
            }
        }
    }
    violations.done()
}

/// Paths in the rules that are not in the tree: a rule about a name that is gone can never fail.
pub(super) fn stale<'a>(tree: &Tree, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let gone = paths.into_iter().filter(|path| *path != ANYTHING && !tree.exists(path));
    gone.map(|path| format!("rules.rs names {path}, which does not exist")).collect()
}
