//! The bench's own arithmetic, and that its servers are no part of the program. What it measures is for `make bench`.

use crate::harness::needs_installed;
use std::{fs, path::Path, process::Command};

fn benches() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

#[test]
fn reports_ratios_and_targets_come_out_right() {
    needs_installed("python3");
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "test_results"])
        .current_dir(benches())
        .output()
        .expect("python3 is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("\nOK"), "{text}");
    assert!(!text.contains("Ran 0 tests"), "{text}");
}

#[test]
fn benchmark_peers_are_not_dependencies() {
    let manifest: toml::Table = fs::read_to_string(benches().join("peers/Cargo.toml")).unwrap().parse().unwrap();
    assert!(manifest.contains_key("workspace"), "without a workspace of its own it would be built with the program");
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    for name in ["axum", "fastwebsockets"] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "the program depends on {name}, a peer");
    }
}

/// A bare loop with other parameters would be compared with something else.
#[test]
fn the_argon2_loop_has_the_servers_parameters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parameters = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let is_parameter = |line: &&str| {
            ["MEMORY_KIB", "PASSES", "LANES"].iter().any(|name| line.starts_with(&format!("const {name}:")))
        };
        text.lines().filter(is_parameter).map(str::to_owned).collect()
    };
    let ours = parameters("src/auth/argon2id.rs");
    assert_eq!(ours.len(), 3, "{ours:?}");
    assert_eq!(ours, parameters("benches/peers/src/bin/argon2_loop.rs"));
}
