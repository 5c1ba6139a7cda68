//! `[auth]`: tokens and passwords.

use super::{declare::settings, redacted, setting::DAY_S};
use crate::limits::MAX_ACCESS_TOKEN_LIFE_S;
use secrecy::SecretString;

settings! {
    /// Tokens and passwords.
    AuthConfig [auth] {
        /// Key that signs the tokens: at least 32 random bytes. Required in production; set it with
        /// `SWITCHBOARD__AUTH__JWT_SECRET` rather than in a file. In development, the first start creates one in `data_dir`.
        #[serde(serialize_with = "redacted")]
        jwt_secret: Option<SecretString>, example "\"…\"";
        /// Issuer (`iss`) of the tokens.
        issuer: String = "switchboard".to_owned();
        /// Audience (`aud`) of the tokens.
        audience: String = "switchboard".to_owned();
        /// Lifetime of an access token. Clients are told to renew it 60 seconds before its end, or when a quarter of its
        /// lifetime is left, whichever is later.
        access_token_ttl_s: u64 = 900, in 1..=MAX_ACCESS_TOKEN_LIFE_S.unsigned_abs();
        /// Lifetime of a refresh token; must exceed that of an access token.
        refresh_token_ttl_s: u64 = 30 * DAY_S, in 1..=366 * DAY_S;
        /// Lifetime of a one-time WebSocket ticket.
        ws_ticket_ttl_s: u64 = 30, in 1..=600;
        /// Lowest zxcvbn score of a new password: 0 (anything of 8 characters), 1 (not among the most common), 2 (somewhat
        /// guessable), 3 (safe even if the hashes leak), 4 (very strong). `production.toml` sets 3.
        min_password_score: u8 = 1, in 0..=4;
        /// Password hashes computed at once, each with 19 MiB of memory; 0 computes one per core.
        hash_threads: usize = 0, in 0..=256;
        /// Password hashes that may wait for a permit; further requests are answered `OVERLOADED`.
        hash_queue: usize = 256, in 1..=65_536;
    }
}
