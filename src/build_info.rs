//! The version and commit of this build, as `build.rs` recorded them.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, followed by the commit and its date where they are known: `0.1.0 (abcdef123456 2026-11-26)`.
pub const FULL_VERSION: &str = env!("SWITCHBOARD_VERSION");

/// The abbreviated hash of the commit; empty when it is not known.
pub const COMMIT: &str = env!("SWITCHBOARD_COMMIT_HASH");
