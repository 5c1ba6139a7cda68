//! Limits of request bodies.

use crate::{config::Config, limits::MAX_JSON_BODY_BYTES};
use std::time::Duration;

/// Limits of a JSON body.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimit {
    pub max_bytes: usize,
    /// Limit for bodies with a user's message.
    pub max_message_bytes: usize,
    /// Maximum nesting depth.
    pub max_depth: usize,
    /// Time allowed to receive the body.
    pub timeout: Duration,
}

impl JsonLimit {
    pub fn new(config: &Config) -> Self {
        Self {
            max_message_bytes: config.session.max_message_bytes,
            // A server that accepts only short messages accepts no long bodies either.
            max_bytes: config.session.max_message_bytes.min(MAX_JSON_BODY_BYTES),
            max_depth: config.limits.json_depth,
            timeout: Duration::from_millis(config.server.request_body_timeout_ms),
        }
    }
}
