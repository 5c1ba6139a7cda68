//! `switchboard eval`: the command as a shell sees it, its measures against another implementation, and the floors of quality.

mod command;
mod feedback;
mod floors;
mod reference;

use assert_cmd::Command;
use std::path::{Path, PathBuf};

/// `switchboard eval` in a folder of its own, in an environment without any setting.
fn eval(folder: &Path) -> Command {
    let mut command = switchboard(folder);
    command.arg("eval");
    command
}

/// The program in a folder of its own, in an environment without any setting.
fn switchboard(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(folder).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD__") {
            command.env_remove(name);
        }
    }
    command
}

/// A folder of the fixtures.
fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// The files of questions in a folder, sorted by name.
fn questions(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect();
    files.sort();
    assert!(!files.is_empty(), "no questions in {}", folder.display());
    files
}
