//! The dependency graph of the modules: cycles, and forbidden modules that are reached through others.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::imports::member;
use super::references::Reference;
use super::tree::{Tree, within};

/// Module, the modules that it names, and the first place where it names each.
pub(super) struct Graph(BTreeMap<String, BTreeMap<String, Witness>>);

struct Witness {
    place: String,
    target: String,
}

impl Graph {
    /// `groups` are the parents whose children are modules of their own; any other layer is one module.
    pub(super) fn new(tree: &Tree, references: &[Reference], groups: &[&str]) -> Self {
        let mut edges: BTreeMap<String, BTreeMap<String, Witness>> = BTreeMap::new();
        for reference in references {
            let Some(target) = tree.file_of(&reference.target) else { continue };
            let whole = !reference.glob && groups.contains(&reference.target.as_str());
            let (from, to) = (member(tree, &reference.module, groups), member(tree, &reference.target, groups));
            if from != to && !from.is_empty() && !to.is_empty() && !whole {
                let place = format!("src/{}:{}", tree.files[reference.file].name, reference.line);
                let witness = Witness { place, target: format!("src/{}", target.name) };
                edges.entry(from).or_default().entry(to).or_insert(witness);
            }
        }
        Self(edges)
    }

    /// The shortest cycle through each module that is on one, as a list of files.
    pub(super) fn cycles(&self) -> Vec<String> {
        let mut found: BTreeMap<Vec<&str>, String> = BTreeMap::new();
        for start in self.0.keys() {
            if let Some(path) = self.path(start, &[], |node| node == start) {
                let mut members: Vec<&str> = path.iter().map(|(from, _)| *from).collect();
                let modules = [&members[..], &[start]].concat().join(" -> ");
                members.sort_unstable();
                found.entry(members).or_insert_with(|| format!("cycle {modules}:{}", Self::files(&path)));
            }
        }
        found.into_values().collect()
    }

    /// Forbidden modules that a module reaches, directly or through others. A path through one of `composers`, which build
    /// all modules of a group, does not count.
    pub(super) fn reached(&self, rules: &[(&str, &[&str])], composers: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for (from, banned) in rules {
            for target in *banned {
                if let Some(path) = self.path(from, composers, |node| within(node, target)) {
                    found.push(format!("{from} must not reach {target}:{}", Self::files(&path)));
                }
            }
        }
        found
    }

    fn files(path: &[(&str, &Witness)]) -> String {
        let steps: Vec<_> = path.iter().map(|(_, step)| format!("\n    {} -> {}", step.place, step.target)).collect();
        steps.concat()
    }

    /// The shortest path from `start` to a module that is a `goal`, around those in `closed`.
    fn path<'a>(
        &'a self,
        start: &'a str,
        closed: &[&str],
        goal: impl Fn(&str) -> bool,
    ) -> Option<Vec<(&'a str, &'a Witness)>> {
        let mut came: HashMap<&str, &str> = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for (next, witness) in self.0.get(node).into_iter().flatten() {
                if goal(next) {
                    let mut path = vec![(node, witness)];
                    let mut at = node;
                    while at != start {
                        let before = came[at];
                        path.insert(0, (before, &self.0[before][at]));
                        at = before;
                    }
                    return Some(path);
                }
                if next != start && !closed.contains(&next.as_str()) && !came.contains_key(next.as_str()) {
                    came.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}
