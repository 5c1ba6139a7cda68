//! `[database]`: the SQLite database.

use super::declare::settings;

settings! {
    /// The SQLite database.
    DatabaseConfig [database] {
        /// `sqlite://path`, relative to the working directory, or `sqlite:///path`, absolute; without parameters (`?…`).
        /// `serve` and `migrate` create a missing file; its folder must exist, except for that of the default path. Other
        /// commands create nothing. One server at a time uses a database: it holds a lock on a file of the same name with
        /// `.lock` appended.
        url: String = "sqlite://data/switchboard.db".to_owned();
        /// Connections for reading.
        readers: u32 = 4, in 1..=256;
        /// Time that a statement waits for a lock held by another process; 0 does not wait.
        busy_timeout_ms: u32 = 5_000, in 0..=600_000;
        /// Time for which entries of the operators' audit are kept; 0 keeps them forever.
        audit_retention_days: u32 = 400, in 0..=36_500;
    }
    internal {
        /// The file, variable or flag that set `url`, for error messages; absent when no loader did.
        url_origin: Option<String>
    }
}
