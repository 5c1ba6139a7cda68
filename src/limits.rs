//! Bounds that are not worth a setting. The unit is part of each name, unless the type is a `Duration`; the assertions at the
//! end relate bounds that depend on each other.

use std::time::Duration;

// Authentication.

/// Failed attempts to authenticate on one WebSocket; the last one closes it.
pub const MAX_AUTH_FAILURES: u32 = 5;
/// Longest time before the end of a token at which the client is notified, in seconds.
pub const AUTH_EXPIRING_NOTICE_S: u64 = 60;
/// Part of a token's lifetime that is left at the notice, at most: one in this many. With a fixed notice, a client would renew
/// a short-lived token as soon as it gets one.
pub const AUTH_EXPIRING_LIFETIME_DIVISOR: u32 = 4;
/// Time that an idle connection stays open after the end of its token.
pub const AUTH_GRACE: Duration = Duration::from_secs(30);
/// Time by which the clock may be set back after a token was issued before the token is refused, in seconds.
pub const TOKEN_CLOCK_LEEWAY_S: i64 = 60;
/// Longest lifetime of an access token (`auth.access_token_ttl_s`), in seconds.
pub const MAX_ACCESS_TOKEN_LIFE_S: i64 = 24 * 3_600;
/// Time for which a used refresh token still returns the tokens that it was exchanged for, in milliseconds.
pub const REFRESH_GRACE_MS: i64 = 10_000;
/// Lifetime of a link to a document, in seconds.
pub const DOCUMENT_LINK_LIFE_S: i64 = 7 * 24 * 3_600;
/// Running time for which a revocation is kept, in milliseconds: longer than any token that it applies to can live.
pub const REVOCATION_LIFE_MS: i64 = (MAX_ACCESS_TOKEN_LIFE_S + 3_600) * 1_000;
/// Interval at which the running time is stored; a crash loses less than that.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(300);
/// Interval at which the server reads the revocations of other processes.
pub const REVOCATIONS_INTERVAL: Duration = Duration::from_secs(2);

// Messages and requests.

/// Longest `client_message_id` and `customer_id`, in characters.
pub const MAX_CLIENT_ID_CHARS: usize = 200;
/// Most bytes that one character may take as JSON: two escapes such as `\ud83d\ude00`.
pub const MAX_JSON_BYTES_PER_CHAR: usize = 12;
/// JSON of a message besides its text, such as the client's ids and metadata, in bytes.
pub const MESSAGE_OVERHEAD_BYTES: usize = 8 * 1024;
/// Largest JSON body of a request that holds no message, in bytes.
pub const MAX_JSON_BODY_BYTES: usize = 64 * 1024;
/// Largest `id` of a `ping` that the `pong` repeats, in bytes of JSON.
pub const MAX_PING_ID_BYTES: usize = 256;
/// Time for which a `client_message_id` is known at least, in milliseconds.
pub const CLIENT_MESSAGE_ID_LIFE_MS: i64 = 24 * 3_600 * 1_000;
/// Longest title that is cut from a question or written by a model, in characters.
pub const MAX_TITLE_CHARS: usize = 60;
/// Longest title that a user gives a conversation, in characters.
pub const MAX_USER_TITLE_CHARS: usize = 100;
/// Reasons of one feedback.
pub const MAX_FEEDBACK_REASONS: usize = 10;
/// Longest reason of a feedback, in characters.
pub const MAX_FEEDBACK_REASON_CHARS: usize = 64;
/// Longest comment of a feedback, in characters.
pub const MAX_FEEDBACK_COMMENT_CHARS: usize = 1_000;
/// Earlier messages of users that an exported evaluation case has.
pub const MAX_EXPORTED_HISTORY: i64 = 8;
/// Period whose requests a user or an address may send at once: a page sends many when it opens, and then few for a while.
pub const REQUEST_BURST: Duration = Duration::from_secs(2);
/// Longest stored `User-Agent`, in characters.
pub const MAX_USER_AGENT_CHARS: usize = 200;
/// Interval between log lines about requests that are refused for one reason, such as an unknown host.
pub const REFUSED_REQUEST_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Entries of one page of a list.
pub const MAX_PAGE_ENTRIES: i64 = 200;
/// Text of one page of a list, in bytes of JSON; a single entry may be larger. The page stays in memory until the client has
/// read it, which may take long.
pub const MAX_PAGE_BYTES: usize = 256 * 1024;

// The task model.

/// Tasks that wait for the task model; further ones are dropped.
pub const QUEUED_TASKS: usize = 64;
/// Requests to the task model at once.
pub const RUNNING_TASKS: usize = 4;
/// Time for one task.
pub const TASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Part of a question and of its answer that the task model receives, in characters each.
pub const MAX_TASK_INPUT_CHARS: usize = 2_000;
/// Messages that are added to a summary at once.
pub const MAX_SUMMARIZED_MESSAGES: i64 = 200;
/// Longest summary of a conversation, in characters.
pub const MAX_SUMMARY_CHARS: usize = 1_500;
/// Longest answer of the task model that is read, in bytes.
pub const MAX_TASK_ANSWER_BYTES: usize = 4 * 1024;

// Connections.

/// Conversations that one connection is subscribed to at once; a further one replaces the least recently used.
pub const MAX_SUBSCRIBED_CONVERSATIONS: usize = 64;
/// Events that a client may have missed; with more, `resume` continues near the head instead of replaying all of them.
pub const MAX_REPLAYED_EVENTS: i64 = 1_000;
/// Events before the head with which a client starts that has missed too many.
pub const SNAPSHOT_EVENTS: i64 = 200;
/// Events that a connection reads from the store at once, and keeps while its client does not read.
pub const EVENTS_PER_READ: usize = 64;
/// Events that the bus keeps for one subscription; a subscriber that exceeds it reads the store.
pub const MAX_UNREAD_EVENTS: usize = 64;
/// Ephemeral signals that the bus keeps for one subscription; further ones are dropped.
pub const MAX_UNREAD_SIGNALS: usize = 64;
/// Turns after the resumed one that `resume` replays; if there are more, the client is told to read the history.
pub const MAX_REPLAYED_TURNS: usize = 16;
/// Turns that one connection remembers as shown, so that none is announced to it twice.
pub const MAX_REMEMBERED_TURNS: usize = 32;
/// Announced turns of other connections that wait until this one may be shown them; a further one replaces the oldest.
pub const MAX_WAITING_TURNS_PER_CONNECTION: usize = 64;
/// Turn events queued for a session actor or an HTTP response; a subscription that exceeds it reads from the turn log.
pub const TURN_QUEUE_EVENTS: usize = 16;
/// Credit of a connection each time it asks for more, in bytes; a single frame may be larger. Entries that exceed the credit
/// stay in the turn log until the connection asks again.
pub const CONNECTION_CREDIT_BYTES: usize = 64 * 1024;
/// Unsent bytes that the kernel buffers for a connection.
pub const TCP_NOT_SENT_BYTES: u32 = 16 * 1024;
/// Size of one read from an upgraded connection, in bytes.
pub const SOCKET_READ_BYTES: usize = 8 * 1024;
/// Reads and messages of one WebSocket that are handled in a row; then other tasks of the thread run.
pub const SOCKET_STEPS_PER_POLL: usize = 16;
/// Time that a peer gets to close a connection that this side has closed.
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time without a read by the peer, while data waits for it, after which a connection counts as stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Longest text of a close frame, in bytes (RFC 6455, section 5.5).
pub const MAX_CLOSE_TEXT_BYTES: usize = 123;
/// Delay of a timer that indicates that the process was paused.
pub const PAUSED_AFTER: Duration = Duration::from_secs(1);
/// Time after a pause in which sessions read the data that arrived meanwhile, before they check their deadlines.
pub const CATCH_UP_TIME: Duration = Duration::from_millis(500);

// TCP connections and open files.

/// Connections that the kernel queues before they are accepted.
pub const LISTEN_BACKLOG_CONNECTIONS: i32 = 2_048;
/// Connections beyond `server.max_connections` reserved for health checks and operators.
pub const RESERVED_CONNECTIONS: usize = 64;
/// Fewest client connections that the server starts with, unless `server.max_connections` is lower.
pub const MIN_CLIENT_CONNECTIONS: usize = 16;
/// TCP connections of an address for each one allowed by `limits.connections_per_address`: requests and idle connections need
/// some besides WebSockets and streams.
pub const TCP_CONNECTIONS_PER_CONNECTION: usize = 2;
/// Lower bound of that limit: a browser alone opens several connections.
pub const MIN_TCP_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Open files that the server needs for itself: its log, listeners, the database writer, helpers.
pub const OPEN_FILES_BASE: usize = 48;
/// Open files of each worker thread.
pub const OPEN_FILES_PER_WORKER: usize = 6;
/// Open files of each database reader: the file, its write-ahead log, and their shared memory.
pub const OPEN_FILES_PER_READER: usize = 4;

// Turns and checkpoints.

/// Finished turns kept in memory; older ones are read from the store.
pub const MAX_RETAINED_TURNS: usize = 10_000;
/// Earlier messages of a conversation that a turn considers, before it applies its token budget.
pub const MAX_HISTORY_MESSAGES: i64 = 40;
/// Reasoning of one turn that is shown or kept, in bytes; the rest is dropped.
pub const MAX_REASONING_BYTES: usize = 1024 * 1024;
/// Interval of checkpoints of running turns, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS: u64 = 400;
/// Tokens of one turn not yet on disk that trigger a checkpoint early.
pub const CHECKPOINT_TOKENS: u32 = 64;
/// Turns in one checkpoint; other changes to the store run between two.
pub const CHECKPOINT_BATCH_TURNS: usize = 2_048;
/// Text in one checkpoint, in bytes, unless a single turn has more.
pub const CHECKPOINT_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Text of finished answers that the store has not accepted yet, in bytes.
pub const MAX_UNSTORED_BYTES: usize = 64 * 1024 * 1024;
/// Interval between attempts to store what the store did not accept, in milliseconds.
pub const UNSTORED_RETRY_INTERVAL_MS: u64 = 500;
/// Days for which the consumption of a user is kept.
pub const USAGE_LIFE_DAYS: i64 = 31;
/// Interval between purges of expired data in the store.
pub const PURGE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time for which a start waits for the search index; the rest is built while the server runs.
pub const INDEX_WAIT_AT_START: Duration = Duration::from_secs(2);
/// Interval at which the server looks for documents that another process has changed.
pub const INDEX_SYNC_INTERVAL: Duration = Duration::from_secs(1);

// Retry hints to clients.

/// Delay before a client retries when there is no permit for its turn, in milliseconds.
pub const OVERLOADED_RETRY_MS: u64 = 1_000;
/// Delay before a client retries when the server drains, in milliseconds.
pub const DRAIN_RETRY_MS: u64 = 5_000;
/// Delay before a client retries when the store accepts no changes, in milliseconds.
pub const STORE_RETRY_MS: u64 = 2_000;
/// Shortest delay before a client reconnects after `going_away`, in milliseconds.
pub const RECONNECT_AFTER_MIN_MS: u64 = 500;
/// Range over which these delays are spread, in milliseconds.
pub const RECONNECT_SPREAD_MS: u64 = 4_500;

// Drain.

/// Interval at which a draining server checks its connections.
pub const DRAIN_TICK: Duration = Duration::from_millis(100);
/// Connections that are closed per tick, unless there are so many that it takes more.
pub const DRAIN_BATCH_CONNECTIONS: usize = 50;
/// Time for storing interrupted turns and sending the last frames.
pub const DRAIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the last bytes to reach the network.
pub const DRAIN_FLUSH: Duration = Duration::from_millis(100);

// Operators.

/// Audit entries queued for each listener; a further one replaces the oldest.
pub const AUDIT_QUEUE_ENTRIES: usize = 64;
/// Longest text that connections can be searched for, in characters.
pub const MAX_QUERY_CHARS: usize = 200;
/// Longest text of a notice or a reason, in characters.
pub const MAX_OPERATOR_TEXT_CHARS: usize = 1_000;
/// Users listed in the statistics, those with the most connections first.
pub const MAX_USERS_IN_STATS: usize = 100;
/// Authenticated operator connections of the whole server.
pub const MAX_OPS_CONNECTIONS: usize = 32;
/// Largest frame from an operator's page, in bytes; the token is the largest content.
pub const MAX_OPS_FRAME_BYTES: usize = 16 * 1024;
/// Samples in the history of the operators' charts, one per second.
pub const OPS_HISTORY_SAMPLES: usize = 15 * 60;
/// Frames of a watched connection whose shapes are queued for its watchers; a further one replaces the oldest.
pub const MAX_WATCHED_FRAMES: usize = 200;

// Log.

/// Log lines queued for writing; a line that does not fit is dropped and counted.
pub const LOG_QUEUE_LINES: usize = 16 * 1024;
/// Size of these lines together, in bytes.
pub const LOG_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Time for which the end of the process waits for the last log lines to be written.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval at which the log's writer retries a full non-blocking pipe.
pub const LOG_RETRY_INTERVAL: Duration = Duration::from_millis(10);

const _: () =
    assert!(AUTH_EXPIRING_NOTICE_S >= AUTH_GRACE.as_secs(), "the notice precedes the end by at least the grace period");
const _: () = assert!(
    REVOCATION_LIFE_MS / 1_000 > MAX_ACCESS_TOKEN_LIFE_S + TOKEN_CLOCK_LEEWAY_S + 2 * CLOCK_INTERVAL.as_secs() as i64,
    "a revocation is kept for longer than the tokens live"
);
const _: () = assert!(
    MESSAGE_OVERHEAD_BYTES > 2 * MAX_CLIENT_ID_CHARS * MAX_JSON_BYTES_PER_CHAR,
    "both ids of a client fit besides the longest text"
);
const _: () = assert!(SNAPSHOT_EVENTS < MAX_REPLAYED_EVENTS, "a snapshot is shorter than a replay");
const _: () = assert!(MAX_REMEMBERED_TURNS > MAX_REPLAYED_TURNS, "a connection remembers all turns of one replay");
const _: () = assert!(RESERVED_CONNECTIONS > MAX_OPS_CONNECTIONS, "operators leave connections for health checks");
const _: () = assert!(
    MIN_TCP_CONNECTIONS_PER_ADDRESS >= TCP_CONNECTIONS_PER_CONNECTION,
    "the lower bound allows at least one WebSocket or stream"
);
const _: () =
    assert!(TCP_NOT_SENT_BYTES as usize <= CONNECTION_CREDIT_BYTES, "the kernel buffers less than one credit");
const _: () = assert!(CHECKPOINT_INTERVAL_MS < 500, "a token is on its way to disk within half a second");
const _: () = assert!(MAX_UNSTORED_BYTES >= CHECKPOINT_BATCH_BYTES, "unstored answers hold at least one checkpoint");
const _: () = assert!(UNSTORED_RETRY_INTERVAL_MS < STORE_RETRY_MS, "the store is retried before clients come back");
const _: () = assert!(
    (DRAIN_CLOSE_TIMEOUT.as_millis() as u64) <= DRAIN_RETRY_MS,
    "a drained server has closed its connections when clients retry"
);
const _: () = assert!(DRAIN_TICK.as_millis() < DRAIN_CLOSE_TIMEOUT.as_millis(), "a drain checks more than once");
const _: () = assert!(LOG_RETRY_INTERVAL.as_millis() < LOG_FLUSH_TIMEOUT.as_millis(), "a flush retries a full pipe");
