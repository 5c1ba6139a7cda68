//! Programs that tests need beside Rust: `.ci/install-test-tools.sh` and `.ci/install-model.sh` install them.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Declares that the calling test needs a program that is not part of every Linux.
///
/// # Panics
/// In the quick lane, which has to run without it.
pub fn needs_installed(program: &str) {
    let lane = env::var("SWITCHBOARD_TEST_LANE").unwrap_or_default();
    assert_ne!(lane, "quick", "this test needs {program}: list it under `external` in .ci/test.sh");
}

/// A file below the repository that one of the scripts installs.
///
/// # Panics
/// When it is not installed, and in the quick lane.
pub fn installed(path: impl AsRef<Path>) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    needs_installed(&path.display().to_string());
    assert!(path.exists(), "{} is not installed: run `make tools`", path.display());
    path
}
