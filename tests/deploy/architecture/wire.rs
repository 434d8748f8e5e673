//! Wire types are defined only in the layers that may define them.

use syn::visit::{self, Visit};

use super::imports::Violations;
use super::references::{layer, reach, segments};
use super::tree::{Tree, join, within};

/// The libraries whose derives and traits make a type a wire type.
const WIRE: &[&str] = &["serde", "utoipa"];

/// Public types outside `homes` with a derive or an impl of these libraries.
pub(super) fn wire_types(tree: &Tree, homes: &[&str]) -> Vec<String> {
    let mut violations = Violations::of(tree);
    for (file, source) in tree.files.iter().enumerate() {
        if source.module.is_empty() || homes.contains(&layer(&source.module)) {
            continue;
        }
        let mut finder = Finder { tree, module: source.module.clone(), found: Vec::new() };
        finder.visit_file(&source.syntax);
        for (line, name, derived) in finder.found {
            let homes = homes.join(", ");
            let layer = layer(&source.module);
            violations.add(
                file,
                line,
                format!("{name} must not derive or implement {derived} in {layer} (wire types: {homes})"),
            );
        }
    }
    violations.done()
}

struct Finder<'a> {
    tree: &'a Tree,
    module: String,
    found: Vec<(usize, String, String)>,
}

impl Finder<'_> {
    /// The name of a derive or trait if it belongs to one of these libraries.
    fn wire(&self, path: &syn::Path) -> Option<String> {
        let target = self.tree.resolve(&self.module, &segments(path));
        let target = target.strip_prefix("::")?;
        WIRE.contains(&layer(target)).then(|| target.to_owned())
    }

    fn item(&mut self, ident: &syn::Ident, visibility: &syn::Visibility, attributes: &[syn::Attribute]) {
        if reach(self.tree, &self.module, visibility).is_none_or(|reach| within(&reach, &self.module)) {
            return;
        }
        for derived in attributes.iter().flat_map(derives) {
            if let Some(wire) = self.wire(&derived) {
                self.found.push((ident.span().start().line, ident.to_string(), wire));
            }
        }
    }
}

/// The paths in a `#[derive(..)]`, and in one that is conditional.
fn derives(attribute: &syn::Attribute) -> Vec<syn::Path> {
    let paths = syn::punctuated::Punctuated::<syn::Path, syn::Token![,]>::parse_terminated;
    if attribute.path().is_ident("derive") {
        return attribute.parse_args_with(paths).into_iter().flatten().collect();
    }
    if !attribute.path().is_ident("cfg_attr") {
        return Vec::new();
    }
    let metas = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
    let metas = attribute.parse_args_with(metas).into_iter().flatten();
    let derives = metas.filter(|meta| meta.path().is_ident("derive"));
    let lists = derives.filter_map(|meta| meta.require_list().ok()?.parse_args_with(paths).ok());
    lists.flatten().collect()
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let inner = join(&self.module, &item.ident.to_string());
        let outer = std::mem::replace(&mut self.module, inner);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.item(&item.ident, &item.vis, &item.attrs);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.item(&item.ident, &item.vis, &item.attrs);
    }

    /// An impl by hand counts for private types, too.
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let wire = item.trait_.as_ref().and_then(|(path, _)| self.wire(path));
        if let (Some(wire), syn::Type::Path(ty)) = (wire, &*item.self_ty) {
            let name = segments(&ty.path).pop().unwrap_or_default();
            self.found.push((item.impl_token.span.start().line, name, wire));
        }
        visit::visit_item_impl(self, item);
    }
}
