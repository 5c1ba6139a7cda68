//! House rules for scripts and pages; linters (`make lint`) check the rest.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The longest file of JavaScript or Python in `templates` and `clients`.
const MAX_LINES: usize = 400;
/// Files of others, and files that another linter reads.
const IGNORED: [&str; 3] = ["vendor", "node_modules", "__pycache__"];

/// The files below `folder`, as their path from the top and their text.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if IGNORED.iter().any(|ignored| path.ends_with(ignored)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

#[test]
fn scripts_are_short_and_say_what_they_are() {
    let scripts: Vec<_> = ["templates", "clients"]
        .into_iter()
        .flat_map(files)
        .filter(|(path, _)| has_extension(path, &["js", "mjs", "py"]))
        .collect();
    assert!(scripts.len() > 30, "{} scripts", scripts.len());
    for (path, text) in scripts {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines: split it by its nouns", path.display());
        assert!(
            text.starts_with("// ") || text.starts_with("\"\"\""),
            "{} does not begin with what it is",
            path.display()
        );
    }
}

#[test]
fn pages_have_no_inline_scripts() {
    let pages: Vec<_> = ["templates", "crates/load/templates"]
        .into_iter()
        .flat_map(files)
        .filter(|(path, _)| has_extension(path, &["html"]))
        .collect();
    assert!(pages.len() >= 3, "{} pages", pages.len());
    for (path, text) in pages {
        for tag in text.split("<script").skip(1).filter_map(|rest| rest.split('>').next()) {
            assert!(tag.contains(" src=\"/static/"), "{}: <script{tag}>", path.display());
        }
    }
}

/// Reconnecting is written once: see `clients/javascript/connection.mjs`.
#[test]
fn only_one_module_opens_websockets() {
    for (path, text) in ["templates", "clients/javascript"].into_iter().flat_map(files) {
        if has_extension(&path, &["js", "mjs"]) && !path.ends_with("connection.mjs") {
            assert!(!text.contains("new WebSocket("), "{} opens a WebSocket of its own", path.display());
        }
    }
}
