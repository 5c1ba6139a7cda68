//! The import parser on every form of `use`.

use super::crate_modules::{Import, flatten};
use syn::{ItemUse, Visibility};

/// Target and name of each import, with `*` for a glob and `_` for none.
fn imports(source: &str) -> Vec<(String, String)> {
    let item: ItemUse = syn::parse_str(source).unwrap();
    let written = Import {
        target: Vec::new(),
        is_external: item.leading_colon.is_some(),
        name: None,
        is_glob: false,
        is_reexport: !matches!(item.vis, Visibility::Inherited),
        line: 1,
    };
    let mut found = Vec::new();
    flatten(&item.tree, &written, &mut found);
    let name = |import: &Import| match (&import.name, import.is_glob) {
        (Some(name), _) => name.clone(),
        (None, true) => "*".to_owned(),
        (None, false) => "_".to_owned(),
    };
    found.iter().map(|import| (import.target.join("::"), name(import))).collect()
}

#[test]
fn groups_renames_and_globs_are_flattened() {
    for (source, expected) in [
        ("use crate::auth::Tokens;", &[("crate::auth::Tokens", "Tokens")] as &[_]),
        ("use crate::{auth::Tokens as T, store};", &[("crate::auth::Tokens", "T"), ("crate::store", "store")]),
        (
            "pub use super::{a::{self, B, c::{D as _, *}}, e};",
            &[
                ("super::a", "a"),
                ("super::a::B", "B"),
                ("super::a::c::D", "_"),
                ("super::a::c", "*"),
                ("super::e", "e"),
            ],
        ),
        ("use ::diesel::{self as d};", &[("diesel", "d")]),
        ("use {std::fmt, serde::Serialize};", &[("std::fmt", "fmt"), ("serde::Serialize", "Serialize")]),
        ("use super::*;", &[("super", "*")]),
    ] {
        let expected: Vec<_> =
            expected.iter().map(|(target, name)| ((*target).to_owned(), (*name).to_owned())).collect();
        assert_eq!(imports(source), expected, "{source}");
    }
}
