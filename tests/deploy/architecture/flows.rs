//! A request's way through the files, as data that is checked against the code.

use std::collections::HashSet;

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::tree::Tree;

/// How the flow comes to a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The function before calls this one.
    Call,
    /// The function before leaves work to a task that runs this one: a channel lies between.
    Handover,
    /// This one is a closure's body or a method of a trait, which the layer below calls: its file may have been there before.
    Callback,
}

/// Function and file of one step.
pub(super) struct Step {
    pub(super) by: By,
    /// Relative to `src/`.
    pub(super) file: &'static str,
    pub(super) function: &'static str,
}

pub(super) const fn step(by: By, file: &'static str, function: &'static str) -> Step {
    Step { by, file, function }
}

/// A request, and the steps that answer it.
pub(super) type Flow = (&'static str, &'static [Step]);

/// Each step exists and is called by the one before; no file and no function's name is there twice.
pub(super) fn broken(tree: &Tree, flows: &[Flow]) -> Vec<String> {
    let mut faults = Vec::new();
    for (flow, steps) in flows {
        let (mut files, mut names) = (HashSet::new(), HashSet::new());
        let mut callbacks = 0;
        let mut caller: Option<(&Step, HashSet<String>)> = None;
        for step in *steps {
            let Step { by, file, function } = step;
            callbacks += usize::from(*by == By::Callback);
            if !files.insert(file) && *by != By::Callback {
                faults.push(format!("{flow}: src/{file} appears twice"));
            }
            if !names.insert(function) {
                faults.push(format!("{flow}: two functions have the name {function}"));
            }
            let body = names_in(tree, file, function);
            match (&body, &caller) {
                (None, _) => faults.push(format!("{flow}: src/{file} has no function {function}")),
                (_, Some((last, inside))) if *by == By::Call && !inside.contains(*function) => {
                    let from = format!("{} (src/{})", last.function, last.file);
                    faults.push(format!("{flow}: {from} does not call {function} (src/{file})"));
                }
                _ => {}
            }
            caller = Some((step, body.unwrap_or_default()));
        }
        if callbacks > 1 {
            faults.push(format!("{flow}: {callbacks} callbacks (one is the load of a cache)"));
        }
    }
    faults
}

/// Each flow as a list of files.
pub(super) fn print(flows: &[Flow]) {
    for (flow, steps) in flows {
        eprintln!("{flow}");
        for Step { file, function, .. } in *steps {
            eprintln!("    src/{file} {function}");
        }
    }
}

/// The names in the body of a function; `None` when the file has no such function.
fn names_in(tree: &Tree, file: &str, function: &str) -> Option<HashSet<String>> {
    let file = tree.files.iter().find(|source| source.name == file)?;
    let mut finder = Finder { function, inside: false, names: None };
    finder.visit_file(&file.syntax);
    finder.names
}

struct Finder<'a> {
    function: &'a str,
    inside: bool,
    names: Option<HashSet<String>>,
}

impl Finder<'_> {
    fn body(&mut self, name: &syn::Ident, block: &syn::Block) {
        let outer = self.inside;
        if name == self.function {
            self.inside = true;
            self.names.get_or_insert_default();
        }
        visit::visit_block(self, block);
        self.inside = outer;
    }

    fn tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => self.visit_ident(&ident),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig.ident, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig.ident, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig.ident, block);
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(mac.tokens.clone());
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        if self.inside {
            self.names.get_or_insert_default().insert(ident.to_string());
        }
    }
}
