//! The files of `src/` as a tree of modules, and the resolution of a path to the place where its name is defined.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use syn::visit::{self, Visit};

use super::references::{Leaf, Reference, leaves, references};

/// One source file.
pub(super) struct File {
    /// Relative to `src/`.
    pub(super) name: String,
    /// `store::archive` for both `store/archive.rs` and `store/archive/mod.rs`; empty for `lib.rs`.
    pub(super) module: String,
    pub(super) lines: usize,
    pub(super) syntax: syn::File,
}

/// What a module declares.
#[derive(Default)]
struct Module {
    file: usize,
    items: HashSet<String>,
    /// Local names of imports, as written.
    imports: HashMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// The parsed sources.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    modules: HashMap<String, Module>,
}

/// Names that were resolved on the way to a definition. A name that comes up again imports itself.
type Followed = Vec<(String, String)>;

/// The name that binaries, which are crates of their own, use for the library.
const LIBRARY: &str = "dgm_service";

impl Tree {
    /// Parses all of `folder`.
    pub(super) fn read(folder: &Path) -> Self {
        let mut found = Vec::new();
        collect(folder, folder, &mut found);
        found.sort();
        Self::parse(found.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// Parses files, given as pairs of name and text.
    pub(super) fn parse<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files: Vec<File> = sources
            .into_iter()
            .map(|(name, text)| File {
                name: name.to_owned(),
                module: module_of_file(name),
                lines: text.lines().count(),
                syntax: syn::parse_file(text).unwrap_or_else(|error| panic!("src/{name}: {error}")),
            })
            .collect();
        for (name, module) in files.iter().flat_map(redirected).collect::<Vec<_>>() {
            files.iter_mut().filter(|file| file.name == name).for_each(|file| file.module.clone_from(&module));
        }
        let mut modules = HashMap::new();
        for (index, file) in files.iter().enumerate() {
            let mut declared = Declared { file: index, module: file.module.clone(), modules: &mut modules };
            declared.enter();
            declared.visit_file(&file.syntax);
        }
        Self { files, modules }
    }

    /// Every reference of every file, resolved.
    pub(super) fn references(&self) -> Vec<Reference> {
        (0..self.files.len()).flat_map(|file| references(self, file)).collect()
    }

    /// The module that holds `path`: the longest prefix that is a module.
    pub(super) fn owner<'a>(&self, path: &'a str) -> &'a str {
        let mut owner = path;
        while !self.modules.contains_key(owner) && !owner.is_empty() {
            owner = parent(owner);
        }
        owner
    }

    /// The item that `path` is or is part of: `store::archive::Sort` for its variant or its function.
    pub(super) fn item(&self, path: String) -> String {
        if path.starts_with("::") {
            return path;
        }
        let owner = self.owner(&path).len();
        let end = path[owner..].trim_start_matches("::").find("::");
        let skipped = if owner == 0 { 0 } else { 2 };
        match end {
            Some(end) => path[..owner + skipped + end].to_owned(),
            None => path,
        }
    }

    /// Whether `path` is a module or an item that a module declares.
    pub(super) fn exists(&self, path: &str) -> bool {
        let name = path.rsplit("::").next().unwrap_or_default();
        self.is_module(path) || self.modules.get(parent(path)).is_some_and(|module| module.items.contains(name))
    }

    pub(super) fn is_module(&self, path: &str) -> bool {
        self.modules.contains_key(path)
    }

    /// The file that defines `path`, `None` for a library's.
    pub(super) fn file_of(&self, path: &str) -> Option<&File> {
        let module = (!path.starts_with("::")).then(|| self.modules.get(self.owner(path)))??;
        Some(&self.files[module.file])
    }

    /// The place where `path`, written in `module`, is defined: `store::archive::Filter`, or `::sqlx::Row` for a library's.
    /// Re-exports are followed: a name that the parent re-exports belongs to the module that defines it.
    pub(super) fn resolve(&self, module: &str, path: &[String]) -> String {
        self.follow(module, path, &mut Vec::new())
    }

    fn follow(&self, module: &str, path: &[String], followed: &mut Followed) -> String {
        let mut rest = path;
        let mut at = match path.first().map(String::as_str) {
            Some("crate") => if within(module, "main") { "main" } else { "" }.to_owned(),
            Some(LIBRARY) => String::new(),
            Some("self") => module.to_owned(),
            Some("super") => parent(module).to_owned(),
            Some(name) => match self.named(module, name, followed) {
                Some(found) => found,
                None => return format!("::{}", path.join("::")),
            },
            None => return module.to_owned(),
        };
        rest = &rest[1..];
        while let Some((name, after)) = rest.split_first() {
            let next = match name.as_str() {
                "super" => Some(parent(&at).to_owned()),
                _ if !at.is_empty() && !self.is_module(&at) => None,
                name => self.named(&at, name, followed),
            };
            match next {
                Some(next) => (at, rest) = (next, after),
                None => return join(&at, &rest.join("::")),
            }
        }
        at
    }

    /// What `name` means in `module`; `None` if it is neither declared nor imported there.
    fn named(&self, module: &str, name: &str, followed: &mut Followed) -> Option<String> {
        let inner = join(module, name);
        if self.is_module(&inner) {
            return Some(inner);
        }
        let declared = self.modules.get(module)?;
        if declared.items.contains(name) {
            return Some(inner);
        }
        if let Some(import) = declared.imports.get(name) {
            let visit = (module.to_owned(), name.to_owned());
            if followed.contains(&visit) {
                return None;
            }
            followed.push(visit);
            return Some(self.follow(module, import, followed));
        }
        self.through_globs(module, name, followed)
    }

    fn through_globs(&self, module: &str, name: &str, followed: &mut Followed) -> Option<String> {
        let visit = (module.to_owned(), format!("*{name}"));
        if followed.contains(&visit) {
            return None;
        }
        followed.push(visit);
        let globs = &self.modules.get(module)?.globs;
        globs.iter().find_map(|glob| {
            let target = self.follow(module, glob, followed);
            self.named(&target, name, followed)
        })
    }

    /// The meaning of a name that `module` gets from an import of `*`.
    pub(super) fn glob_name(&self, module: &str, name: &str) -> Option<String> {
        let declared = self.modules.get(module)?;
        let explicit = declared.items.contains(name) || declared.imports.contains_key(name);
        if explicit { None } else { self.through_globs(module, name, &mut Vec::new()) }
    }
}

/// Whether `path` is `prefix` or below it.
pub(super) fn within(path: &str, prefix: &str) -> bool {
    prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once("::").map_or("", |(parent, _)| parent)
}

pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}::{name}") }
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn module_of_file(name: &str) -> String {
    let path = name.trim_end_matches(".rs");
    let path = if path == "lib" { "" } else { path.strip_suffix("/mod").unwrap_or(path) };
    path.replace('/', "::")
}

/// Files that `#[path]` moves elsewhere in the tree, with their modules.
fn redirected(file: &File) -> Vec<(String, String)> {
    let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let declared = file.syntax.items.iter().filter_map(|item| match item {
        syn::Item::Mod(item) => Some(item),
        _ => None,
    });
    let redirect = |item: &syn::ItemMod| {
        let syn::Meta::NameValue(value) = &item.attrs.iter().find(|a| a.path().is_ident("path"))?.meta else {
            return None;
        };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) = &value.value else { return None };
        Some((format!("{folder}/{}", path.value()), join(&file.module, &item.ident.to_string())))
    };
    declared.filter_map(redirect).collect()
}

/// Collects what each module declares.
struct Declared<'a> {
    file: usize,
    module: String,
    modules: &'a mut HashMap<String, Module>,
}

impl Declared<'_> {
    fn enter(&mut self) -> &mut Module {
        self.modules.entry(self.module.clone()).or_insert_with(|| Module { file: self.file, ..Module::default() })
    }
}

impl<'ast> Visit<'ast> for Declared<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.as_ref(),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            let name = name.to_string();
            self.enter().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            let inner = join(&self.module, &item.ident.to_string());
            let outer = std::mem::replace(&mut self.module, inner);
            self.enter();
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for Leaf { path, name, .. } in leaves(&item.tree) {
            match name {
                Some(name) => drop(self.enter().imports.insert(name, path)),
                None => self.enter().globs.push(path),
            }
        }
    }
}
