//! `[session]`: WebSocket connections and their messages.

use super::{
    declare::settings,
    setting::{DAY_S, HOUR_S, MIB},
};

settings! {
    /// WebSocket connections and their messages.
    SessionConfig [session] {
        /// Time in which a new WebSocket must authenticate.
        auth_deadline_s: u64 = 30, in 1..=HOUR_S;
        /// Interval between WebSocket pings.
        heartbeat_interval_s: u64 = 20, in 1..=HOUR_S;
        /// Time without any frame, not even a pong, after which a WebSocket is closed with 4408; must exceed
        /// `heartbeat_interval_s`.
        heartbeat_timeout_s: u64 = 60, in 1..=DAY_S;
        /// Largest message that a client may send, with all its fragments or as the body of a request.
        max_message_bytes: usize = 128 * 1024, in 256..=16 * MIB;
        /// Longest text of a message. `max_message_bytes` must allow 12 bytes per character and 8192 for the rest.
        max_message_chars: usize = 8_000, in 1..=16 * MIB;
        /// Turns of one WebSocket that may run or start at once; at most `workflow.max_running_turns`.
        max_running_turns: usize = 16, in 1..=10_000;
        /// Time after which a WebSocket whose client reads nothing, although data waits for it, is dropped.
        write_stall_timeout_s: u64 = 20, in 1..=HOUR_S;
        /// In `chat.v2`, tokens after the first that come within this time share a frame; 0 gives each its own.
        coalesce_ms: u64 = 0, in 0..=10_000;
    }
}
