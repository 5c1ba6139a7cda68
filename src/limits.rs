//! Bounds that are not worth a setting, with their units.

/// Failed tries to authenticate on one socket; the last one closes it.
pub const MAX_AUTH_FAILURES: u32 = 5;
/// How long before a token's end the client is told, in seconds.
pub const AUTH_EXPIRING_NOTICE_S: i64 = 60;
/// How long after its token's end an idle session stays open, in seconds.
pub const AUTH_GRACE_S: u64 = 30;
/// The longest `client_message_id` and `customer_id`, in characters.
pub const MAX_CLIENT_ID_CHARS: usize = 200;
/// The `id` of a `ping` is sent back: the longest that is, in bytes of JSON.
pub const MAX_PING_ID_BYTES: usize = 256;
/// Conversations that one session follows at once; the one it followed first makes room.
pub const MAX_FOLLOWED_CONVERSATIONS: usize = 64;
/// Events that wait for a session or an HTTP answer; what has no room is read from the turn's log.
pub const TURN_EVENTS_WAITING: usize = 16;
/// Finished turns that are kept in memory; an older one is read from the store.
pub const MAX_RETAINED_TURNS: usize = 10_000;
/// Earlier messages of a conversation that a turn looks at, before the budget of tokens.
pub const MAX_HISTORY_MESSAGES: i64 = 40;
/// How long a client waits before it tries again when there is no free place for a turn, in milliseconds.
pub const OVERLOADED_RETRY_MS: u64 = 1_000;
/// How long a client waits before it tries again when the store cannot take anything, in milliseconds.
pub const STORE_RETRY_MS: u64 = 2_000;
/// Between two looks at the running turns for what is not on disk yet, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS: u64 = 400;
/// Tokens of one turn that are not on disk yet and do not wait for the next look.
pub const CHECKPOINT_TOKENS: u32 = 64;
/// Turns in one change of the store that keeps checkpoints; other changes go in between.
pub const CHECKPOINT_BATCH: usize = 2_048;
/// Answers that have ended and wait for a store that cannot take them, in bytes of text.
pub const MAX_UNSTORED_BYTES: usize = 64 * 1024 * 1024;
/// Between two tries to store what the store could not take, in milliseconds.
pub const STORE_AGAIN_INTERVAL_MS: u64 = 500;
/// How long a `client_message_id` is known at least, in milliseconds.
pub const CLIENT_MESSAGE_ID_LIFE_MS: i64 = 24 * 3_600 * 1_000;
/// Entries of one page of a list.
pub const MAX_PAGE: i64 = 200;
/// Users that the statistics name, those with the most sessions first.
pub const MAX_USERS_IN_STATS: usize = 100;
/// What is kept of a client's `User-Agent`, in characters.
pub const MAX_USER_AGENT_CHARS: usize = 200;

const _: () = assert!(AUTH_EXPIRING_NOTICE_S as u64 >= AUTH_GRACE_S, "the notice comes well before the end");
const _: () = assert!(CHECKPOINT_INTERVAL_MS < 500, "a token is on its way to the disk within half a second");
