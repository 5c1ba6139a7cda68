//! `[metrics]`: access to `/metrics`.

use super::{declare::settings, redacted};
use secrecy::SecretString;

settings! {
    /// Access to `/metrics`. Operators always have it, with their access tokens. `docs/OPERATIONS.md` lists the metrics.
    MetricsConfig [metrics] {
        /// Networks that need no token. The client's address behind a proxy counts only with `server.trusted_proxies`.
        allowed_addresses: Vec<String> = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()];
        /// Token that grants access as `Authorization: Bearer`: at least 16 random characters of printable ASCII; set it with
        /// `SWITCHBOARD__METRICS__TOKEN` rather than in a file. Absent: there is no such token.
        #[serde(serialize_with = "redacted")]
        token: Option<SecretString>, example "\"…\"";
    }
}
