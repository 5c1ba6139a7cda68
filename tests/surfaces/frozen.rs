//! The frames of `chat.v1` and `chat.v2` and their fields, which published clients read.
//!
//! Both dialects are frozen: new frame types and fields are added to these tables, and nothing is ever removed or renamed.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Frames = &'static [(&'static str, &'static [&'static str])];

/// Frames that are the same in both dialects.
const BOTH: Frames = &[
    ("auth_error", &["message", "code"]),
    ("auth_expiring", &["expires_in"]),
    ("auth_success", &["message", "user.id", "user.email", "user.name", "expires_at"]),
    ("going_away", &["reconnect_after_ms"]),
    ("notice", &["message", "level"]),
    ("pong", &["id"]),
];

const CHAT_V1: Frames = &[
    (
        "progress",
        &[
            "step",
            "message",
            "session_id",
            "turn_id",
            "agent",
            "confidence",
            "sources",
            "client_message_id",
            "question",
        ],
    ),
    ("token", &["token", "partial_response", "turn_id", "session_id", "seq", "first_seq"]),
    (
        "complete",
        &[
            "response",
            "session_id",
            "turn_id",
            "message_id",
            "seq",
            "finish_reason",
            "sha256",
            "metadata.agent",
            "metadata.confidence",
            "metadata.fallback",
            "metadata.sources",
            "metadata.citations",
            "metadata.model",
            "metadata.usage.prompt_tokens",
            "metadata.usage.completion_tokens",
            "metadata.latency_ms.routing",
            "metadata.latency_ms.retrieval",
            "metadata.latency_ms.first_token",
            "metadata.latency_ms.total",
            "metadata.retrieval.basis",
            "metadata.retrieval.methods.words",
        ],
    ),
    ("resumed", &["session_id", "turn_id", "from_seq", "state", "client_message_id"]),
    ("error", &["error", "code", "retryable", "turn_id", "session_id", "client_message_id"]),
];

const CHAT_V2: Frames = &[
    (
        "progress",
        &[
            "step",
            "message",
            "conversation_id",
            "turn_id",
            "turn",
            "index",
            "specialist",
            "confidence",
            "sources",
            "client_message_id",
            "question",
        ],
    ),
    ("token", &["token", "turn", "seq", "first_seq"]),
    ("reasoning", &["turn", "index", "delta"]),
    ("part", &["turn", "index", "kind", "url", "title"]),
    (
        "complete",
        &[
            "response",
            "conversation_id",
            "turn_id",
            "turn",
            "index",
            "message_id",
            "seq",
            "finish_reason",
            "sha256",
            "metadata.specialist",
            "metadata.confidence",
            "metadata.fallback",
            "metadata.sources",
            "metadata.citations",
            "metadata.model",
            "metadata.usage.prompt_tokens",
            "metadata.usage.completion_tokens",
            "metadata.latency_ms.routing",
            "metadata.latency_ms.retrieval",
            "metadata.latency_ms.first_token",
            "metadata.latency_ms.total",
            "metadata.retrieval.basis",
            "metadata.retrieval.methods.words",
        ],
    ),
    (
        "resumed",
        &[
            "conversation_id",
            "turn_id",
            "turn",
            "index",
            "from_seq",
            "state",
            "client_message_id",
            "from_position",
            "head",
            "snapshot",
        ],
    ),
    (
        "event",
        &[
            "conversation_id",
            "position",
            "kind",
            "at",
            "actor.kind",
            "actor.user_id",
            "message_id",
            "turn_id",
            "text",
            "client_message_id",
            "finish_reason",
            "code",
        ],
    ),
    ("error", &["error", "code", "retryable", "turn_id", "turn", "index", "conversation_id", "client_message_id"]),
    ("heartbeat", &["turns.turn_id", "turns.turn", "turns.conversation_id", "turns.seq"]),
];

/// Checks that the frames received in a recording have every field of their dialect.
pub fn check(dialect: &str, recording: &str) {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let frames = recording.lines().filter_map(|line| line.strip_prefix("< ")).filter(|json| json.starts_with('{'));
    for frame in frames.map(|json| serde_json::from_str::<Value>(json).unwrap()) {
        add_paths(seen.entry(frame["type"].as_str().unwrap().to_owned()).or_default(), "", &frame);
    }
    let own = if dialect == "chat.v1" { CHAT_V1 } else { CHAT_V2 };
    for (frame, fields) in BOTH.iter().chain(own) {
        let has = seen.get(*frame).unwrap_or_else(|| panic!("{dialect} is frozen and has lost the frame `{frame}`"));
        let lost: Vec<_> = fields.iter().filter(|field| !has.contains(**field)).collect();
        assert!(
            lost.is_empty(),
            "{dialect} is frozen: fields may be added, never removed or renamed; `{frame}` lacks {lost:?}"
        );
    }
}

/// Adds the paths of all fields; elements of a list share theirs.
fn add_paths(paths: &mut BTreeSet<String>, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                add_paths(paths, &path, value);
                paths.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| add_paths(paths, path, value)),
        _ => {}
    }
}
