//! The modules of a crate, found by following its `mod` declarations from the root file. Code under `#[cfg(test)]` is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use syn::{Attribute, Item, ItemMod, Meta, UseTree, Visibility, spanned::Spanned};

/// A path by its segments, such as `["switchboard", "auth", "Tokens"]`.
pub type Segments = Vec<String>;

/// A module, whether it has a file of its own or is inline.
pub struct Module {
    /// Absolute path, which begins with the name of the crate.
    pub path: Segments,
    /// The file that holds it, relative to the root of the project.
    pub file: String,
    /// Names of the items that are defined here.
    pub defined: BTreeSet<String>,
    /// Names of child modules.
    pub children: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Everything but `use` declarations and child modules.
    pub code: Vec<Item>,
}

/// One name that a `use` declaration brings into a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// As written, without the leading `::`; ends before the `*` of a glob.
    pub target: Segments,
    /// The path began with `::`.
    pub is_external: bool,
    /// The name in this module; `None` for a glob and for `as _`.
    pub name: Option<String>,
    pub is_glob: bool,
    /// Visible outside of the module: a re-export.
    pub is_reexport: bool,
    pub line: usize,
}

/// Reads the crate whose root file is `root_file`, relative to `folder`.
pub fn read(folder: &Path, crate_name: &str, root_file: &str) -> BTreeMap<Segments, Module> {
    let mut modules = BTreeMap::new();
    read_file(folder, Path::new(root_file), true, vec![crate_name.to_owned()], &mut modules);
    modules
}

fn read_file(folder: &Path, file: &Path, owns_folder: bool, path: Segments, modules: &mut BTreeMap<Segments, Module>) {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let children = if owns_folder { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    let mut files = Vec::new();
    add_module(path, file.to_str().unwrap(), parsed.items, modules, &mut files);
    for child in files {
        let name = child.last().unwrap();
        let (flat, nested) = (children.join(format!("{name}.rs")), children.join(name).join("mod.rs"));
        if folder.join(&flat).exists() {
            read_file(folder, &flat, false, child, modules);
        } else {
            read_file(folder, &nested, true, child, modules);
        }
    }
}

/// Adds a module and its inline children; those with files of their own are appended to `files`.
pub fn add_module(
    path: Segments,
    file: &str,
    items: Vec<Item>,
    modules: &mut BTreeMap<Segments, Module>,
    files: &mut Vec<Segments>,
) {
    let mut module = Module {
        path: path.clone(),
        file: file.to_owned(),
        defined: BTreeSet::new(),
        children: BTreeSet::new(),
        imports: Vec::new(),
        code: Vec::new(),
    };
    for item in items.into_iter().filter(|item| !is_for_tests(attributes(item))) {
        match item {
            Item::Use(item) => {
                let is_reexport = !matches!(item.vis, Visibility::Inherited);
                let line = item.span().start().line;
                let written = Import {
                    target: Vec::new(),
                    is_external: item.leading_colon.is_some(),
                    name: None,
                    is_glob: false,
                    is_reexport,
                    line,
                };
                flatten(&item.tree, &written, &mut module.imports);
            }
            Item::Mod(ItemMod { ident, content, .. }) => {
                let child = [path.as_slice(), &[ident.to_string()]].concat();
                module.children.insert(ident.to_string());
                match content {
                    Some((_, items)) => add_module(child, file, items, modules, files),
                    None => files.push(child),
                }
            }
            item => {
                module.defined.extend(name_of(&item));
                module.code.push(item);
            }
        }
    }
    modules.insert(path, module);
}

/// Splits a `use` tree into its names.
pub fn flatten(tree: &UseTree, written: &Import, imports: &mut Vec<Import>) {
    let with = |segment: String| {
        let mut import = written.clone();
        import.target.push(segment);
        import
    };
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(path.ident.to_string()), imports),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, written, imports)),
        UseTree::Glob(_) => imports.push(Import { is_glob: true, ..written.clone() }),
        // `use a::{self}` names `a` itself.
        UseTree::Name(name) if name.ident == "self" && !written.target.is_empty() => {
            imports.push(Import { name: written.target.last().cloned(), ..written.clone() });
        }
        UseTree::Name(name) => {
            imports.push(Import { name: Some(name.ident.to_string()), ..with(name.ident.to_string()) });
        }
        UseTree::Rename(rename) => {
            let name = (rename.rename != "_").then(|| rename.rename.to_string());
            let import = if rename.ident == "self" { written.clone() } else { with(rename.ident.to_string()) };
            imports.push(Import { name, ..import });
        }
    }
}

/// Whether an item is compiled for tests only.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
