//! Records the Git commit that a release is built from, for `switchboard --version`.
//!
//! Builds for development record none: a build script that runs again rebuilds the whole package, which each commit would
//! then do. A packager who builds outside of a Git checkout can set `SWITCHBOARD_COMMIT`, such as `abcdef123456 2026-11-26`.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SWITCHBOARD_COMMIT");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = env::var("SWITCHBOARD_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| if is_release { commit() } else { None });
    let version = env::var("CARGO_PKG_VERSION").expect("Cargo sets the version");
    match &commit {
        Some(commit) => println!("cargo::rustc-env=SWITCHBOARD_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=SWITCHBOARD_VERSION={version}"),
    }
    let hash = commit.as_deref().and_then(|commit| commit.split_whitespace().next()).unwrap_or_default();
    println!("cargo::rustc-env=SWITCHBOARD_COMMIT_HASH={hash}");
}

/// The commit that is checked out, and its date. `None` without Git, and when this folder is not the top of a checkout, such
/// as an archive that was unpacked within another repository.
fn commit() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    // Cargo runs build scripts in the folder of the package.
    if Path::new(&top).canonicalize().ok()? != env::current_dir().ok()?.canonicalize().ok()? {
        return None;
    }
    // Git appends to this log whenever another commit is checked out. Worktrees have one each, so Git names the path.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["-c", "log.showSignature=false", "show", "--no-patch", "--abbrev=12", "--format=%h %cs", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
