//! The paths that the code of a module names: in types, expressions, patterns, attributes and, as far as tokens tell, in macros.

use super::crate_modules::{Import, Segments, flatten, is_for_tests};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemUse, MetaList, Path, Visibility,
    spanned::Spanned,
    visit::{self, Visit},
};

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    pub segments: Segments,
    /// The path began with `::`.
    pub is_external: bool,
    pub line: usize,
}

/// Collects paths and the `use` declarations inside of functions.
#[derive(Default)]
pub struct NamedPaths {
    pub paths: Vec<NamedPath>,
    pub local_imports: Vec<Import>,
}

pub fn of_items(items: &[Item]) -> NamedPaths {
    let mut found = NamedPaths::default();
    items.iter().for_each(|item| found.visit_item(item));
    found
}

impl<'ast> Visit<'ast> for NamedPaths {
    fn visit_path(&mut self, path: &'ast Path) {
        self.paths.push(NamedPath {
            segments: path.segments.iter().map(|segment| segment.ident.to_string()).collect(),
            is_external: path.leading_colon.is_some(),
            line: path.span().start().line,
        });
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let written = Import {
            target: Vec::new(),
            is_external: item.leading_colon.is_some(),
            name: None,
            is_glob: false,
            is_reexport: false,
            line: item.span().start().line,
        };
        flatten(&item.tree, &written, &mut self.local_imports);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        visit::visit_macro(self, invocation);
        self.add_tokens(invocation.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        visit::visit_meta_list(self, list);
        self.add_tokens(list.tokens.clone());
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // Doc comments are prose.
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }

    /// `pub(super)` and `pub(in …)` name a module without depending on it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

impl NamedPaths {
    /// Finds `a::b`, `crate::a`, `$crate::a`, `::a::b` and `a::{b, c}` among the tokens of a macro, and paths in string literals
    /// of attributes such as `#[serde(with = "a::b")]`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Ident(_) => {
                    let is_external = is_colons(&trees, at.wrapping_sub(2))
                        && !matches!(trees.get(at.wrapping_sub(3)), Some(TokenTree::Ident(_)));
                    at = self.add_path(&trees, at, is_external);
                }
                TokenTree::Group(group) => {
                    self.add_tokens(group.stream());
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                    if let Some(path) = quoted.and_then(|text| syn::parse_str::<Path>(text).ok())
                        && path.segments.len() > 1
                    {
                        self.paths.push(NamedPath {
                            segments: path.segments.iter().map(|segment| segment.ident.to_string()).collect(),
                            is_external: path.leading_colon.is_some(),
                            line: literal.span().start().line,
                        });
                    }
                    at += 1;
                }
                TokenTree::Punct(_) => at += 1,
            }
        }
    }

    /// Adds the path that begins at `at`, and returns the index after it.
    fn add_path(&mut self, trees: &[TokenTree], mut at: usize, is_external: bool) -> usize {
        let line = trees[at].span().start().line;
        let mut segments = vec![trees[at].to_string()];
        at += 1;
        while is_colons(trees, at) {
            match trees.get(at + 2) {
                Some(TokenTree::Ident(ident)) => {
                    segments.push(ident.to_string());
                    at += 3;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let mut nested = NamedPaths::default();
                    nested.add_tokens(group.stream());
                    for path in nested.paths {
                        let segments = [segments.as_slice(), &path.segments].concat();
                        self.paths.push(NamedPath { segments, is_external, line: path.line });
                    }
                    at += 3;
                }
                _ => break,
            }
        }
        self.paths.push(NamedPath { segments, is_external, line });
        at
    }
}

fn is_colons(trees: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(trees.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(at) && is_colon(at.wrapping_add(1))
}
