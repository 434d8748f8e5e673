//! Every path that a file names: in imports, in code, in attributes and in the tokens of macros.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::rules::COMPOSED;
use super::tree::{Tree, join};

/// Where a path is written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// In code.
    Code,
    /// In a private import.
    Import,
    /// In an import or a type alias that is visible in the given module and below it.
    ReExport(String),
}

/// A path that a file names.
pub(super) struct Reference {
    /// Index into the files of the tree.
    pub(super) file: usize,
    pub(super) line: usize,
    /// The module that names it: the file's, or an inline `mod` in the file.
    pub(super) module: String,
    /// The item, where it is defined: see [`Tree::resolve`].
    pub(super) target: String,
    pub(super) kind: Kind,
    /// An import of everything in `target`.
    pub(super) glob: bool,
}

/// One name that a `use` brings in.
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    /// The local name; `None` for `*`.
    pub(super) name: Option<String>,
    pub(super) line: usize,
}

/// The names of a `use`, one by one.
pub(super) fn leaves(tree: &syn::UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    flatten(tree, &mut Vec::new(), &mut found);
    found
}

fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, found: &mut Vec<Leaf>) {
    let leaf = |ident: &syn::Ident, name: &syn::Ident, prefix: &[String]| {
        let mut path = prefix.to_vec();
        if ident != "self" || path.is_empty() {
            path.push(text(ident));
        }
        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { text(name) };
        Leaf { path, name: Some(name), line: ident.span().start().line }
    };
    match tree {
        syn::UseTree::Path(tree) => {
            prefix.push(text(&tree.ident));
            flatten(&tree.tree, prefix, found);
            prefix.pop();
        }
        syn::UseTree::Name(tree) => found.push(leaf(&tree.ident, &tree.ident, prefix)),
        syn::UseTree::Rename(tree) => found.push(leaf(&tree.ident, &tree.rename, prefix)),
        syn::UseTree::Glob(tree) => {
            found.push(Leaf { path: prefix.clone(), name: None, line: tree.star_token.span.start().line });
        }
        syn::UseTree::Group(tree) => tree.items.iter().for_each(|tree| flatten(tree, prefix, found)),
    }
}

fn text(ident: &syn::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

/// The segments of a path, without generic arguments.
pub(super) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| text(&segment.ident)).collect()
}

/// The module in which an item of this visibility is visible; `None` for a private item.
pub(super) fn reach(tree: &Tree, module: &str, visibility: &syn::Visibility) -> Option<String> {
    match visibility {
        syn::Visibility::Public(_) => Some(String::new()),
        syn::Visibility::Restricted(restricted) => {
            let path = segments(&restricted.path);
            (path != ["self"]).then(|| tree.resolve(module, &path))
        }
        syn::Visibility::Inherited => None,
    }
}

/// The paths that a file names.
pub(super) fn references(tree: &Tree, file: usize) -> Vec<Reference> {
    let mut finder = Finder { tree, file, module: tree.files[file].module.clone(), found: Vec::new() };
    finder.visit_file(&tree.files[file].syntax);
    finder.found
}

struct Finder<'a> {
    tree: &'a Tree,
    file: usize,
    module: String,
    found: Vec<Reference>,
}

impl Finder<'_> {
    fn add(&mut self, line: usize, target: String, kind: Kind, glob: bool) {
        let (file, module, target) = (self.file, self.module.clone(), self.tree.item(target));
        self.found.push(Reference { file, line, module, target, kind, glob });
    }

    fn code(&mut self, path: &[String], line: usize) {
        match path {
            // An imported name is a reference at its import; a name that is neither imported nor declared is built in.
            [name] => {
                if let Some(target) = self.tree.glob_name(&self.module, name) {
                    self.add(line, target, Kind::Code, false);
                }
            }
            path => self.add(line, self.tree.resolve(&self.module, path), Kind::Code, false),
        }
    }

    /// `services.archive`: a module that is used through the struct that composes its group.
    fn member(&mut self, composed: &syn::Ident, name: &syn::Ident) {
        if let Some((_, group)) = COMPOSED.iter().find(|(field, _)| composed == field) {
            let target = join(group, &text(name));
            if self.tree.is_module(&target) {
                self.add(name.span().start().line, target, Kind::Code, false);
            }
        }
    }

    /// Paths in the tokens of a macro, which are not parsed. `prefix` is the path before the braces of a `use`.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream(), prefix),
                TokenTree::Ident(ident) => {
                    let mut path = prefix.to_vec();
                    path.push(text(&ident));
                    loop {
                        let mut ahead = tokens.clone();
                        if !(colon(ahead.next(), Spacing::Joint) && colon(ahead.next(), Spacing::Alone)) {
                            break;
                        }
                        match ahead.next() {
                            Some(TokenTree::Ident(next)) => path.push(text(&next)),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.tokens(group.stream(), &path);
                            }
                            _ => break,
                        }
                        tokens = ahead;
                    }
                    let mut ahead = tokens.clone();
                    if let (Some(TokenTree::Punct(dot)), Some(TokenTree::Ident(name))) = (ahead.next(), ahead.next())
                        && dot.as_char() == '.'
                    {
                        self.member(&ident, &name);
                    }
                    if path.len() > 1 {
                        self.code(&path, ident.span().start().line);
                    }
                }
                _ => {}
            }
        }
    }
}

fn colon(token: Option<TokenTree>, spacing: Spacing) -> bool {
    // The second colon is joint, too, if punctuation follows it.
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':' && (p.spacing() == spacing || spacing == Spacing::Alone))
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outer = self.module.clone();
        if item.content.is_some() {
            self.module = join(&outer, &item.ident.to_string());
        }
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let kind = reach(self.tree, &self.module, &item.vis).map_or(Kind::Import, Kind::ReExport);
        for leaf in leaves(&item.tree) {
            let target = self.tree.resolve(&self.module, &leaf.path);
            self.add(leaf.line, target, kind.clone(), leaf.name.is_none());
        }
    }

    /// `pub type A = other::B` re-exports a name as `pub use` does.
    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        if let (Some(reach), syn::Type::Path(ty)) = (reach(self.tree, &self.module, &item.vis), &*item.ty) {
            let target = self.tree.resolve(&self.module, &segments(&ty.path));
            self.add(item.ident.span().start().line, target, Kind::ReExport(reach), false);
        }
        visit::visit_item_type(self, item);
    }

    /// A visibility is not a dependency on the module that it names.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            self.code(&segments(path), first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        let composed = match &*field.base {
            syn::Expr::Field(syn::ExprField { member: syn::Member::Named(name), .. }) => Some(name),
            syn::Expr::Path(path) => path.path.get_ident(),
            _ => None,
        };
        if let (Some(composed), syn::Member::Named(name)) = (composed, &field.member) {
            self.member(composed, name);
        }
        visit::visit_expr_field(self, field);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        visit::visit_macro(self, mac);
        self.tokens(mac.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        visit::visit_attribute(self, attribute);
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), &[]);
            for (path, line) in quoted_paths(list.tokens.clone()) {
                self.code(&path, line);
            }
        }
    }
}

/// Paths in strings, as in `#[serde(with = "crate::a::b")]`.
fn quoted_paths(tokens: TokenStream) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => found.extend(quoted_paths(group.stream())),
            TokenTree::Literal(literal) => {
                let written = literal.to_string();
                let inner = written.trim_matches('"');
                if let (true, Ok(path)) = (inner.contains("::"), syn::parse_str::<syn::Path>(inner)) {
                    found.push((segments(&path), literal.span().start().line));
                }
            }
            _ => {}
        }
    }
    found
}

/// The layer of a path in this crate: its first segment.
pub(super) fn layer(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}
