//! The number of methods of each type that other modules can call.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::imports::member;
use super::references::{layer, reach, segments};
use super::tree::{Tree, join, within};

/// The methods of one type.
#[derive(Default, Clone)]
pub(super) struct Methods {
    /// Inherent, visible outside its module.
    pub(super) own: usize,
    /// Of traits of this crate that it implements.
    pub(super) traits: usize,
    /// Of the type that it dereferences to.
    pub(super) dereferenced: usize,
}

impl Methods {
    pub(super) fn total(&self) -> usize {
        self.own + self.traits + self.dereferenced
    }
}

/// Every struct and enum of `layers`, by its path. `groups` as in [`member`].
pub(super) fn methods(tree: &Tree, layers: &[&str], groups: &[&str]) -> BTreeMap<String, Methods> {
    let mut counter = Counter { tree, groups, module: String::new(), found: Found::default() };
    for file in &tree.files {
        counter.module.clone_from(&file.module);
        counter.visit_file(&file.syntax);
    }
    let found = counter.found;
    let of = |path: &String| {
        let mut methods = found.own(path);
        let mut seen = vec![path];
        let mut at = path;
        while let Some(target) = found.dereferences.get(at).filter(|target| !seen.contains(target)) {
            methods.dereferenced += found.own(target).total();
            seen.push(target);
            at = target;
        }
        (path.clone(), methods)
    };
    found.types.iter().filter(|path| layers.contains(&layer(path))).map(of).collect()
}

/// Types with more than `limit` methods.
pub(super) fn too_many(methods: &BTreeMap<String, Methods>, limit: usize) -> Vec<String> {
    let over = methods.iter().filter(|(_, methods)| methods.total() > limit);
    over.map(|(path, methods)| {
        let Methods { own, traits, dereferenced } = methods;
        let total = methods.total();
        format!("{path} has {total} public methods: {own} own, {traits} of traits, {dereferenced} dereferenced (limit {limit})")
    })
    .collect()
}

/// The types that have public methods, largest first.
pub(super) fn print(methods: &BTreeMap<String, Methods>) {
    let mut table: Vec<_> = methods.iter().filter(|(_, methods)| methods.total() > 0).collect();
    table.sort_by_key(|(path, methods)| (Reverse(methods.total()), *path));
    eprintln!("{:<50} {:>5} {:>6} {:>5} {:>5}", "public methods of", "own", "traits", "deref", "total");
    for (path, methods) in table {
        let Methods { own, traits, dereferenced } = methods;
        eprintln!("{path:<50} {own:>5} {traits:>6} {dereferenced:>5} {:>5}", methods.total());
    }
}

#[derive(Default)]
struct Found {
    types: Vec<String>,
    inherent: BTreeMap<String, usize>,
    /// Methods of each trait.
    traits: BTreeMap<String, usize>,
    /// Pairs of type and trait.
    implemented: Vec<(String, String)>,
    dereferences: BTreeMap<String, String>,
}

impl Found {
    fn own(&self, path: &str) -> Methods {
        let traits = self.implemented.iter().filter(|(ty, _)| ty == path || ty == BLANKET);
        let traits = traits.filter_map(|(_, name)| self.traits.get(name)).sum();
        Methods { own: self.inherent.get(path).copied().unwrap_or_default(), traits, dereferenced: 0 }
    }
}

/// `impl<T> Trait for T` counts for every type.
const BLANKET: &str = "*";

struct Counter<'a> {
    tree: &'a Tree,
    groups: &'a [&'a str],
    module: String,
    found: Found,
}

impl Counter<'_> {
    fn path_of(&self, ty: &syn::Type) -> Option<String> {
        let syn::Type::Path(ty) = ty else { return None };
        let last = ty.path.segments.last()?;
        if let (true, syn::PathArguments::AngleBracketed(inner)) =
            (["Arc", "Box", "Rc"].iter().any(|pointer| last.ident == pointer), &last.arguments)
        {
            return inner.args.iter().find_map(|argument| match argument {
                syn::GenericArgument::Type(ty) => self.path_of(ty),
                _ => None,
            });
        }
        Some(self.tree.resolve(&self.module, &segments(&ty.path)))
    }

    /// Whether an item of this visibility is visible outside its module, which is a child of a group.
    fn outside(&self, visibility: &syn::Visibility) -> bool {
        let own = member(self.tree, &self.module, self.groups);
        reach(self.tree, &self.module, visibility).is_some_and(|reach| !within(&reach, &own))
    }
}

fn test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|p| p.is_ident("test")))
}

impl<'ast> Visit<'ast> for Counter<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !test_only(&item.attrs) {
            let inner = join(&self.module, &item.ident.to_string());
            let outer = std::mem::replace(&mut self.module, inner);
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.found.types.push(join(&self.module, &item.ident.to_string()));
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.found.types.push(join(&self.module, &item.ident.to_string()));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let methods = item.items.iter().filter(|item| matches!(item, syn::TraitItem::Fn(_))).count();
        self.found.traits.insert(join(&self.module, &item.ident.to_string()), methods);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let Some(mut ty) = self.path_of(&item.self_ty) else { return };
        if item.generics.type_params().any(|parameter| ty.strip_prefix("::").is_some_and(|ty| parameter.ident == ty)) {
            BLANKET.clone_into(&mut ty);
        }
        let Some((path, _)) = &item.trait_ else {
            let public = item.items.iter().filter(|item| {
                matches!(item, syn::ImplItem::Fn(method) if !test_only(&method.attrs) && self.outside(&method.vis))
            });
            *self.found.inherent.entry(ty).or_default() += public.count();
            return;
        };
        if path.segments.last().is_some_and(|last| last.ident == "Deref") {
            for item in &item.items {
                if let syn::ImplItem::Type(target) = item
                    && let Some(target) = self.path_of(&target.ty)
                {
                    self.found.dereferences.insert(ty.clone(), target);
                }
            }
        }
        let name = self.tree.resolve(&self.module, &segments(path));
        self.found.implemented.push((ty, name));
    }
}
