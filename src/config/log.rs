//! `[log]`: the server's log on stderr.

use super::declare::{choices, settings};

settings! {
    /// The log, which is written to stderr.
    LogConfig [log] {
        /// Format of a log line.
        format: LogFormat = LogFormat::Human;
        /// Most verbose level to log: `error`, `warn`, `info`, `debug`, `trace` or `off`; also per module, as in
        /// `info,switchboard::workflow=debug`. The environment variable `RUST_LOG` overrides it.
        level: String = "info".to_owned(), live "Live: `PATCH /api/v1/settings` calls it `log_level`; applies at once.";
    }
}

choices! {
    /// Format of a log line.
    LogFormat {
        /// text for people
        Human = "human",
        /// one JSON object per line
        Json = "json",
    }
}
