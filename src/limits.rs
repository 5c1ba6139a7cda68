//! Bounds that are not worth a setting, with their units.

use std::time::Duration;

/// Failed tries to authenticate on one socket; the last one closes it.
pub const MAX_AUTH_FAILURES: u32 = 5;
/// The longest time before a token's end at which the client is told, in seconds.
pub const AUTH_EXPIRING_NOTICE_S: u64 = 60;
/// A client is told of a token's end when no more than this part of the token's life is left: with a fixed notice, a client would
/// renew a short-lived token as soon as it gets one.
pub const AUTH_EXPIRING_LIFE_PART: u32 = 4;
/// How long after its token's end an idle session stays open, in seconds.
pub const AUTH_GRACE_S: u64 = 30;
/// The longest `client_message_id` and `customer_id`, in characters.
pub const MAX_CLIENT_ID_CHARS: usize = 200;
/// Most bytes that one character may take as JSON: two escapes such as `\ud83d\ude00`.
pub const MAX_JSON_BYTES_PER_CHAR: usize = 12;
/// Bytes of JSON that a message may need in addition to its text: ids of the client, and some metadata.
pub const MESSAGE_OVERHEAD_BYTES: usize = 8 * 1024;
/// The largest JSON body of a request that holds no message, in bytes.
pub const MAX_JSON_BODY_BYTES: usize = 64 * 1024;
/// The `id` of a `ping` is sent back: the longest that is, in bytes of JSON.
pub const MAX_PING_ID_BYTES: usize = 256;
/// Seconds by which the clock may be set back after a token was issued before the token is refused.
pub const TOKEN_CLOCK_LEEWAY_S: i64 = 60;
/// The longest that an access token may live (`auth.access_token_ttl_s`), in seconds.
pub const MAX_ACCESS_TOKEN_LIFE_S: i64 = 24 * 3_600;
/// Milliseconds for which a used refresh token still returns the tokens that it was exchanged for.
pub const REFRESH_GRACE_MS: i64 = 10_000;
/// Milliseconds of running time for which a revocation is kept: longer than any token that it applies to can live.
pub const REVOCATION_LIFE_MS: i64 = (MAX_ACCESS_TOKEN_LIFE_S + 3_600) * 1_000;
/// Interval at which the running time is stored; a crash loses less than that.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(300);
/// How often the server looks what other processes have revoked.
pub const REVOCATIONS_INTERVAL: Duration = Duration::from_secs(2);
/// Conversations to which one connection is subscribed at once; the least recently used one makes room.
pub const MAX_SUBSCRIBED_CONVERSATIONS: usize = 64;
/// Turns after the resumed one that `resume` replays, too; with more, the client is told to read the history.
pub const MAX_REPLAYED_TURNS: usize = 16;
/// Turns that one connection remembers having been shown, so that none is announced to it twice.
pub const MAX_REMEMBERED_TURNS: usize = 32;
/// Turns of other connections that wait until this one may be shown them; the oldest makes room.
pub const MAX_WAITING_TURNS_PER_CONNECTION: usize = 64;
/// Events that wait for a session or an HTTP answer; what has no room is read from the turn's log.
pub const TURN_EVENTS_WAITING: usize = 16;
/// What a session hands over when its connection asks for more, in bytes; one frame may be larger. What has no room is read
/// from the turns' logs when the connection asks again.
pub const CONNECTION_CREDIT_BYTES: usize = 64 * 1024;
/// What a connection's kernel buffer may hold that was not sent yet, in bytes.
pub const TCP_NOT_SENT_BYTES: u32 = 16 * 1024;
/// What is read at once of an upgraded connection, in bytes.
pub const SOCKET_READ_BYTES: usize = 8 * 1024;
/// How long a peer may take to end a connection that this side has ended.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that the kernel takes before they are accepted.
pub const LISTEN_BACKLOG: i32 = 2_048;
/// Finished turns that are kept in memory; an older one is read from the store.
pub const MAX_RETAINED_TURNS: usize = 10_000;
/// Earlier messages of a conversation that a turn looks at, before the budget of tokens.
pub const MAX_HISTORY_MESSAGES: i64 = 40;
/// How long a client waits before it tries again when there is no free place for a turn, in milliseconds.
pub const OVERLOADED_RETRY_MS: u64 = 1_000;
/// How long a client waits before it tries again when the server is going away, in milliseconds.
pub const DRAIN_RETRY_MS: u64 = 5_000;
/// How often a server that empties looks what has become of its sessions.
pub const DRAIN_TICK: Duration = Duration::from_millis(100);
/// Sessions that are told to go in one of these, if there are not very many.
pub const DRAIN_BATCH: usize = 50;
/// How long interrupted turns may take to be stored, and sessions to take their last frames.
pub const DRAIN_LAST_CALL: Duration = Duration::from_secs(5);
/// How long what was handed over last may take to reach the network.
pub const DRAIN_FLUSH: Duration = Duration::from_millis(100);
/// When clients come back that were told to go: the earliest, in milliseconds.
pub const RECONNECT_AFTER_MIN_MS: u64 = 500;
/// And how far apart they are spread, in milliseconds.
pub const RECONNECT_SPREAD_MS: u64 = 4_500;
/// How long a client waits before it tries again when the store cannot take anything, in milliseconds.
pub const STORE_RETRY_MS: u64 = 2_000;
/// Between two looks at the running turns for what is not on disk yet, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS: u64 = 400;
/// Tokens of one turn that are not on disk yet and do not wait for the next look.
pub const CHECKPOINT_TOKENS: u32 = 64;
/// Turns in one change of the store that keeps checkpoints; other changes go in between.
pub const CHECKPOINT_BATCH: usize = 2_048;
/// The text of turns in one such change, in bytes, as far as single turns allow.
pub const CHECKPOINT_BYTES: usize = 4 * 1024 * 1024;
/// Answers that have ended and wait for a store that cannot take them, in bytes of text.
pub const MAX_UNSTORED_BYTES: usize = 64 * 1024 * 1024;
/// Between two tries to store what the store could not take, in milliseconds.
pub const STORE_AGAIN_INTERVAL_MS: u64 = 500;
/// How long a `client_message_id` is known at least, in milliseconds.
pub const CLIENT_MESSAGE_ID_LIFE_MS: i64 = 24 * 3_600 * 1_000;
/// Between two purges of what is too old to be kept in the store.
pub const PURGE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time for which the start of the server waits for the search index to be brought to the current version; the rest is done
/// while it serves.
pub const INDEX_UPDATE_AT_START: Duration = Duration::from_secs(2);
/// Between two tries to go on with it when the store is unavailable.
pub const INDEX_UPDATE_AGAIN: Duration = Duration::from_secs(2);
/// Entries of one page of a list.
pub const MAX_PAGE: i64 = 200;
/// The texts of one page of a list, in bytes as JSON; a single entry may be larger. A client that reads slowly, or not at
/// all, holds the page in memory.
pub const MAX_PAGE_BYTES: usize = 256 * 1024;
/// The longest text that connections are searched for, in characters.
pub const MAX_QUERY_CHARS: usize = 200;
/// A connection counts as stalled when its peer has read nothing of what waits for so long.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Entries of the audit that wait for one who listens; the oldest make room.
pub const AUDIT_NEWS_WAITING: usize = 64;
/// The longest text that an operator gives a notice or a reason, in characters.
pub const MAX_OPERATOR_TEXT_CHARS: usize = 1_000;
/// The longest text of a close frame, in bytes (RFC 6455, 5.5).
pub const MAX_CLOSE_TEXT_BYTES: usize = 123;
/// Users that the statistics name, those with the most sessions first.
pub const MAX_USERS_IN_STATS: usize = 100;
/// Operators' sockets that are signed in at once, in the whole server.
pub const MAX_OPS_SOCKETS: usize = 32;
/// The largest frame of an operator's page; the token is the largest thing in one.
pub const MAX_OPS_FRAME_BYTES: usize = 16 * 1024;
/// Samples that the operators' charts go back: one each second.
pub const OPS_HISTORY_SAMPLES: usize = 15 * 60;
/// Shapes of frames of one connection that wait for those who watch it; the oldest make room.
pub const MAX_WATCHED_FRAMES: usize = 200;
/// Log lines that wait to be written; a line that does not fit is dropped and counted.
pub const LOG_QUEUE_LINES: usize = 16 * 1024;
/// The bytes of these lines together.
pub const LOG_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Time for which the end of the process waits for the last log lines to be written.
pub const LOG_FLUSH_PATIENCE: Duration = Duration::from_millis(500);
/// Interval at which the log's writer retries a pipe that is full and non-blocking.
pub const LOG_RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Between two log lines about requests that are refused because of their host.
pub const REFUSED_HOST_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Open files that the server needs for itself: its log, listeners, the writer of the database, helpers.
pub const OPEN_FILES_BASE: usize = 48;
/// Open files of each worker thread.
pub const OPEN_FILES_PER_WORKER: usize = 6;
/// Open files of each reader of the database: the file, its log, and their shared memory.
pub const OPEN_FILES_PER_READER: usize = 4;
/// Connections over `server.max_connections` that are kept for health checks and operators. More than there may be operators'
/// sockets.
pub const RESERVE_CONNECTIONS: usize = 64;
/// The fewest connections of clients, as far as `server.max_connections` allows, with which the server starts.
pub const MIN_CLIENT_CONNECTIONS: usize = 16;
/// TCP connections that an address may have for each that `limits.connections_per_address` lets it have: requests and idle
/// connections come on top of sockets and streams.
pub const TCP_CONNECTIONS_PER_SOCKET: usize = 2;
/// The least such limit: a browser alone opens several connections.
pub const MIN_TCP_CONNECTIONS_PER_ADDRESS: usize = 64;
/// A timer that rings so late rings after a pause of the process.
pub const PAUSED_AFTER: Duration = Duration::from_secs(1);
/// Time after a pause in which sessions read what arrived meanwhile, before they check their deadlines.
pub const CATCH_UP_TIME: Duration = Duration::from_millis(500);
/// The seconds whose requests a user or an address may send at once: a page that opens sends many, and then none for long.
pub const REQUEST_BURST: Duration = Duration::from_secs(2);
/// What is kept of a client's `User-Agent`, in characters.
pub const MAX_USER_AGENT_CHARS: usize = 200;

const _: () = assert!(AUTH_EXPIRING_NOTICE_S >= AUTH_GRACE_S, "the notice comes well before the end");
const _: () = assert!(MAX_REMEMBERED_TURNS > MAX_REPLAYED_TURNS, "all turns of one replay are remembered");
const _: () = assert!(RESERVE_CONNECTIONS > MAX_OPS_SOCKETS, "health checks get through beside operators");
const _: () = assert!(
    MESSAGE_OVERHEAD_BYTES > 2 * MAX_CLIENT_ID_CHARS * MAX_JSON_BYTES_PER_CHAR,
    "both ids of a client fit beside a text of the greatest length"
);
const _: () = assert!(CHECKPOINT_INTERVAL_MS < 500, "a token is on its way to the disk within half a second");
const _: () = assert!(
    REVOCATION_LIFE_MS / 1_000 > MAX_ACCESS_TOKEN_LIFE_S + TOKEN_CLOCK_LEEWAY_S + 2 * CLOCK_INTERVAL.as_secs() as i64,
    "a revocation is kept for longer than the tokens live"
);
