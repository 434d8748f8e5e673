//! The flows of requests through the files, as data that is checked against the code.

use std::collections::HashSet;

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

use super::tree::Tree;

/// How a flow gets to a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The body of an earlier step calls it.
    Call,
    /// A task runs it, which receives the work from an earlier step.
    Handover,
    /// The load of a cache: a closure in the function of an earlier step, so the flow returns to that file.
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

/// Each step exists and is called by an earlier one. The flow enters no file twice, and no two steps have the same name.
pub(super) fn broken(tree: &Tree, flows: &[Flow]) -> Vec<String> {
    let mut faults = Vec::new();
    for (flow, steps) in flows {
        let (mut entered, mut functions, mut called) = (Vec::new(), HashSet::new(), HashSet::new());
        for Step { by, file, function } in *steps {
            let callback = *by == By::Callback;
            if !callback && entered.last() != Some(file) && entered.contains(file) {
                faults.push(format!("{flow}: it enters src/{file} twice"));
            }
            if !callback && !functions.insert(function) {
                faults.push(format!("{flow}: two functions have the name {function}"));
            }
            if *by == By::Call && !entered.is_empty() && !called.contains(*function) {
                faults.push(format!("{flow}: no step before {function} (src/{file}) calls it"));
            }
            match names_in(tree, file, function) {
                Some(names) => called.extend(names),
                None => faults.push(format!("{flow}: src/{file} has no function {function}")),
            }
            entered.push(*file);
        }
        if steps.iter().filter(|step| step.by == By::Callback).count() > 1 {
            faults.push(format!("{flow}: more than one callback"));
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
