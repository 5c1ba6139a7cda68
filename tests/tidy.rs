//! The house rules, as far as a test can hold them.

mod boundaries;
mod crate_modules;
mod dependencies;
mod import_tests;
mod named_paths;
mod user_ids;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of code is one thing; one that is longer than this is probably two. Tests at its end do not count.
const MAX_LINES: usize = 420;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this ending, as its path from the top and its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no .{ending} below {folder}");
    found
}

/// Tests have a folder of their own, or stand beside the code in a file of their own.
fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.ends_with("tests.rs")
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    for (name, text) in files("src", "rs").into_iter().chain(files("crates", "rs")).chain(files("tests", "rs")) {
        assert!(text.starts_with("//!"), "{name} does not begin with what it is");
        let lines = text.split("#[cfg(test)]\n").next().unwrap().lines().count();
        assert!(is_test(&name) || lines <= MAX_LINES, "{name} has {lines} lines: is it one thing?");
        let stem = Path::new(&name).file_stem().unwrap();
        assert!(
            !["utils", "util", "helpers", "common", "misc"].iter().any(|vague| stem == *vague),
            "{name}: a vague name"
        );
    }
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 60, "main.rs does more than start");
}

#[test]
fn links_between_the_docs_lead_somewhere() {
    let mut pages = files("docs", "md");
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        pages.push((name.to_owned(), fs::read_to_string(root().join(name)).unwrap()));
    }
    for (name, text) in pages {
        let folder = PathBuf::from(&name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            if !file.is_empty() && !file.contains("://") {
                assert!(root().join(&folder).join(file).exists(), "{name} links to {file}, which is not there");
            }
        }
    }
}

#[test]
fn the_makefile_has_what_the_readme_promises() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for target in
        readme.split("make ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '-').next())
    {
        let is_command = ["run", "run-llm", "test", "check", "bench", "bench-quick"].contains(&target);
        assert!(!is_command || makefile.contains(&format!("\n{target}:")), "there is no `make {target}`");
    }
}
