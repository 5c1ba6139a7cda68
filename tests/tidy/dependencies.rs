//! Dependencies between modules: each path that a module names, resolved through imports, globs and re-exports to the module or
//! crate that defines it.

use super::{
    crate_modules::{Import, Module, Segments},
    named_paths::{NamedPath, of_items},
};
use std::collections::{BTreeMap, BTreeSet};

/// The longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 16;

/// A use of one path by one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The file that names the path, and the line.
    pub file: String,
    pub line: usize,
    /// The module that names it.
    pub by: Segments,
    /// The module of the workspace that the path names as it is written, before re-exports are followed.
    pub named_in: Option<Segments>,
    /// Absolute path of the item, past all re-exports.
    pub target: Segments,
    /// The module of the workspace that defines it; `None` for another crate.
    pub defined_in: Option<Segments>,
}

/// The modules of all crates of the workspace.
pub struct Workspace {
    modules: BTreeMap<Segments, Module>,
    /// Names of crates that paths may begin with.
    external: BTreeSet<String>,
}

/// The item that a path leads to.
struct Resolved {
    named_in: Option<Segments>,
    /// The module that defines it; `None` for an item of another crate.
    module: Option<Segments>,
    item: Segments,
}

impl Resolved {
    fn own(module: &Module, item: Segments) -> Self {
        Self { named_in: Some(module.path.clone()), module: Some(module.path.clone()), item }
    }

    fn external(item: Segments) -> Self {
        Self { named_in: None, module: None, item }
    }

    /// The item as a re-export of `module`.
    fn through(self, module: &Module) -> Self {
        Self { named_in: Some(module.path.clone()), ..self }
    }
}

impl Workspace {
    pub fn new(modules: BTreeMap<Segments, Module>, external: impl IntoIterator<Item = String>) -> Self {
        let external = external.into_iter().chain(["std", "core", "alloc"].map(str::to_owned)).collect();
        Self { modules, external }
    }

    /// Everything that the modules name, except their own items, and except what a module re-exports of its descendants: that
    /// is its interface, and no use of them.
    pub fn dependencies(&self) -> BTreeSet<Dependency> {
        let mut found = BTreeSet::new();
        for module in self.modules.values() {
            let code = of_items(&module.code);
            for import in module.imports.iter().chain(&code.local_imports) {
                let path =
                    NamedPath { segments: import.target.clone(), is_external: import.is_external, line: import.line };
                let Some(resolved) = self.resolve_in(module, &path, import.is_glob, 0) else { continue };
                let is_interface = import.is_reexport
                    && resolved.module.as_ref().is_some_and(|target| target.starts_with(&module.path));
                if !is_interface {
                    found.extend(dependency(module, import.line, resolved));
                }
            }
            for path in &code.paths {
                let local = code.local_imports.iter().find(|import| import.name.as_ref() == path.segments.first());
                let resolved = match local {
                    Some(import) => self.resolve_import(module, import, &path.segments[1..], 0),
                    None => self.resolve_in(module, path, false, 0),
                };
                found.extend(resolved.and_then(|resolved| dependency(module, path.line, resolved)));
            }
        }
        found
    }

    fn resolve_import(&self, module: &Module, import: &Import, rest: &[String], depth: usize) -> Option<Resolved> {
        let segments = [import.target.as_slice(), rest].concat();
        let path = NamedPath { segments, is_external: import.is_external, line: import.line };
        self.resolve_in(module, &path, true, depth + 1)
    }

    /// Resolves a path as `module` writes it. `may_be_module`: a path of one segment may name a child module; in code it is a
    /// local variable more often.
    fn resolve_in(&self, module: &Module, path: &NamedPath, may_be_module: bool, depth: usize) -> Option<Resolved> {
        let (first, rest) = path.segments.split_first()?;
        if depth > MAX_REEXPORTS {
            return None;
        }
        if path.is_external {
            return Some(Resolved::external(path.segments.clone()));
        }
        match first.as_str() {
            "crate" => return self.resolve_absolute(&[&module.path[..1], rest].concat(), depth),
            "self" => return self.resolve_absolute(&[&module.path, rest].concat(), depth),
            "super" => {
                let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
                let ancestor = &module.path[..module.path.len().checked_sub(ups)?];
                return self.resolve_absolute(&[ancestor, &path.segments[ups..]].concat(), depth);
            }
            _ => {}
        }
        if module.defined.contains(first) {
            return Some(Resolved::own(module, [&module.path, &path.segments[..]].concat()));
        }
        if module.children.contains(first) && (may_be_module || !rest.is_empty()) {
            return self.resolve_absolute(&[&module.path, &path.segments[..]].concat(), depth);
        }
        // `use log::…` beside an own `mod log` is another matter; an import of its own name is one of a crate.
        if let Some(import) = module.imports.iter().find(|import| import.name.as_ref() == Some(first))
            && import.target.first() != Some(first)
        {
            return self.resolve_import(module, import, rest, depth);
        }
        if let Some(import) = module.imports.iter().find(|import| import.name.as_ref() == Some(first)) {
            return self.resolve_crate(&[import.target.as_slice(), rest].concat(), depth);
        }
        if let Some(found) = self.resolve_through_globs(module, &path.segments, depth) {
            return Some(found);
        }
        if rest.is_empty() && !may_be_module {
            return None;
        }
        self.resolve_crate(&path.segments, depth)
    }

    /// Resolves a path that begins with the name of a crate.
    fn resolve_crate(&self, segments: &[String], depth: usize) -> Option<Resolved> {
        let first = segments.first()?;
        if self.modules.contains_key(&segments[..1]) {
            self.resolve_absolute(segments, depth)
        } else {
            self.external.contains(first).then(|| Resolved::external(segments.to_vec()))
        }
    }

    fn resolve_through_globs(&self, module: &Module, segments: &[String], depth: usize) -> Option<Resolved> {
        let first = segments.first()?;
        module.imports.iter().filter(|import| import.is_glob).find_map(|import| {
            let target = self.modules.get(&self.resolve_import(module, import, &[], depth)?.module?)?;
            let is_named = target.path != module.path
                && (target.defined.contains(first)
                    || target.children.contains(first) && segments.len() > 1
                    || target.imports.iter().any(|import| import.is_glob || import.name.as_ref() == Some(first)));
            if !is_named {
                return None;
            }
            let path = NamedPath { segments: segments.to_vec(), is_external: false, line: 0 };
            self.resolve_in(target, &path, false, depth + 1)
        })
    }

    /// Resolves a path that begins with the name of a crate of the workspace.
    fn resolve_absolute(&self, path: &[String], depth: usize) -> Option<Resolved> {
        let length = (1..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, rest) = (&self.modules[&path[..length]], &path[length..]);
        let here = || Some(Resolved::own(module, path.to_vec()));
        let Some(name) = rest.first() else { return here() };
        if module.defined.contains(name) || depth > MAX_REEXPORTS {
            return here();
        }
        if let Some(import) = module.imports.iter().find(|import| import.name.as_ref() == Some(name)) {
            return Some(self.resolve_import(module, import, &rest[1..], depth)?.through(module));
        }
        self.resolve_through_globs(module, rest, depth + 1).map(|resolved| resolved.through(module)).or_else(here)
    }
}

fn dependency(module: &Module, line: usize, resolved: Resolved) -> Option<Dependency> {
    let Resolved { named_in, module: defined_in, item } = resolved;
    (defined_in.as_ref() != Some(&module.path)).then(|| Dependency {
        file: module.file.clone(),
        line,
        by: module.path.clone(),
        named_in,
        target: item,
        defined_in,
    })
}

/// The circles of a graph: its strongly connected components of more than one node, each in the order of the nodes.
pub fn circles(edges: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let nodes: BTreeSet<&str> = edges.iter().flat_map(|(from, to)| [from.as_str(), to.as_str()]).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = nodes.iter().map(|node| (*node, reachable(node, edges))).collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for node in &nodes {
        let circle: Vec<String> = reached[node]
            .iter()
            .filter(|other| reached[*other].contains(node))
            .map(|other| (*other).to_owned())
            .collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// The nodes that edges lead to from `start`, directly or not.
fn reachable<'a>(start: &str, edges: &'a BTreeSet<(String, String)>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(node) = waiting.pop() {
        for (_, to) in edges.iter().filter(|(from, _)| from == node) {
            if found.insert(to.as_str()) {
                waiting.push(to);
            }
        }
    }
    found
}
