//! Licences and crates of the dependencies, against `deny.toml`. cargo-deny checks more, and needs to be installed; this needs
//! only Cargo, which fetches what other systems than this one would build with.

use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    process::Command,
};

/// The tables of `deny.toml` that matter here.
fn rules() -> (BTreeSet<String>, Vec<String>) {
    let text = include_str!("../deny.toml");
    let rules: toml::Table = text.parse().unwrap();
    let texts = |list: &toml::Value, key: Option<&str>| -> Vec<String> {
        let text = |entry: &toml::Value| key.map_or(entry, |key| &entry[key]).as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(text).collect()
    };
    let allowed = texts(&rules["licenses"]["allow"], None).into_iter().collect();
    (allowed, texts(&rules["bans"]["deny"], Some("crate")))
}

/// The packages that are part of the program, or build it.
fn shipped() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let by_id = |list: &Value| -> HashMap<String, Value> {
        list.as_array().unwrap().iter().map(|entry| (entry["id"].as_str().unwrap().to_owned(), entry.clone())).collect()
    };
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let root = metadata["resolve"]["root"].as_str().unwrap().to_owned();
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(id) = waiting.pop() {
        if seen.insert(id.clone()) {
            let dependencies = nodes[&id]["deps"].as_array().unwrap().iter().filter(|dependency| {
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
            });
            waiting.extend(dependencies.map(|dependency| dependency["pkg"].as_str().unwrap().to_owned()));
        }
    }
    seen.remove(&root);
    seen.into_iter().map(|id| packages[&id].clone()).collect()
}

/// Whether an SPDX expression can be fulfilled with what is allowed: `A OR B` by one of them, `A AND B` by both.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Before SPDX, a stroke meant OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (value, rest) = any_of(&words, allowed);
    assert!(rest.is_empty(), "not understood: {expression}");
    value
}

fn any_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = all_of(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (next, behind) = all_of(more, allowed);
        (value, rest) = (value | next, behind);
    }
    (value, rest)
}

fn all_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut value, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (next, behind) = one(more, allowed);
        (value, rest) = (value & next, behind);
    }
    (value, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => match any_of(inner, allowed) {
            (value, [")", rest @ ..]) => (value, rest),
            (_, rest) => panic!("no closing parenthesis before {rest:?}"),
        },
        [licence, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{licence} WITH {exception}")), rest),
        [licence, rest @ ..] => (allowed.contains(*licence), rest),
        [] => (false, &[]),
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for expression in
        ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND (GPL-3.0 OR ISC)", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(is_allowed(expression, &allowed), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0", "", "MIT AND"] {
        assert!(!is_allowed(expression, &allowed), "{expression}");
    }
}

#[test]
fn dependencies_have_allowed_licences() {
    let (allowed, _) = rules();
    assert!(!allowed.iter().any(|licence| licence.contains("GPL")), "stronger than the MPL");
    let shipped = shipped();
    assert!(shipped.len() > 100, "{} packages are too few to be all", shipped.len());
    let refused: Vec<_> = shipped
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or_default(), &allowed))
        .map(|package| format!("{} has {}", package["id"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "deny.toml does not allow these:\n{}", refused.join("\n"));
}

#[test]
fn banned_dependencies_are_absent() {
    let (_, banned) = rules();
    let is_banned = |package: &Value| {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        banned.iter().any(|ban| match ban.split_once("@<") {
            Some((banned, below)) => banned == name && is_older(version, below),
            None => ban == name,
        })
    };
    let there: Vec<_> = shipped().into_iter().filter(is_banned).map(|package| package["id"].clone()).collect();
    assert!(there.is_empty(), "{there:?}");
    assert!(is_older("0.3.27", "0.4") && !is_older("0.4.0", "0.4") && !is_older("1.0.0", "0.4"));
}

fn is_older(version: &str, than: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    parts(version) < parts(than)
}
