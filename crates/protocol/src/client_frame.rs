//! Frames that clients send: one JSON object per text frame, identified by `type`.

use super::{
    ApiError, ConversationId, ErrorCode, TurnId, invalid_json, parse_fields, replace_lone_surrogates,
    type_first::{FrameSet, parse_type_first},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use serde_json::{Map, Value};

/// Declares the frames of clients, one line each: documentation, `type`, variant and struct of the fields.
macro_rules! client_frames {
    ($(#[doc = $doc:literal] $frame_type:literal => $Variant:ident($Fields:ty),)*) => {
        /// Frame from a client. Unknown fields are ignored; an unknown `type` is an error.
        #[derive(Clone, Debug, PartialEq)]
        pub enum ClientFrame {
            $(#[doc = $doc] $Variant($Fields),)*
        }

        impl ClientFrame {
            /// All types, as in `type`.
            const TYPES: &[&str] = &[$($frame_type),*];

            /// Parses a frame of any form. The only parser that names errors.
            fn parse_value(text: &str) -> Result<Self, ApiError> {
                let (frame_type, value) = parse_type(text)?;
                match frame_type.as_str() {
                    $($frame_type => parse_fields(value).map(Self::$Variant),)*
                    other => Err(unknown_type(other, Self::TYPES)),
                }
            }
        }

        impl FrameSet for ClientFrame {
            fn deserialize<'de, D: Deserializer<'de>>(frame_type: &str, members: D) -> Result<Self, D::Error> {
                match frame_type {
                    $($frame_type => Deserialize::deserialize(members).map(Self::$Variant),)*
                    _ => Err(D::Error::custom("unknown type")),
                }
            }
        }
    };
}

client_frames! {
    /// Authenticates the connection.
    "auth" => Auth(AuthFrame),
    /// Starts a turn.
    "message" => Message(MessageFrame),
    /// Subscribes to a conversation.
    "resume" => Resume(ResumeFrame),
    /// Stops a turn.
    "cancel" => Cancel(CancelFrame),
    /// Requests a `pong`.
    "ping" => Ping(PingFrame),
}

/// Authenticates the connection, or renews its token.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct AuthFrame {
    /// Access token (JWT).
    pub token: String,
}

impl std::fmt::Debug for AuthFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthFrame { token: [redacted] }")
    }
}

/// Starts a turn.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "MessageFields")]
pub struct MessageFrame {
    pub message: String,
    /// Conversation to continue; absent for a new one.
    pub conversation_id: Option<ConversationId>,
    /// Client's own id of the person that it asks for.
    pub customer_id: Option<String>,
    /// Idempotency key: a repeated message with the same id starts no second turn.
    pub client_message_id: Option<String>,
    pub attachments: Vec<IgnoredValue>,
    pub metadata: Option<Map<String, Value>>,
}

/// Subscribes to a conversation: replays the missed part of a turn, then delivers live frames.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ResumeFields")]
pub struct ResumeFrame {
    pub conversation_id: ConversationId,
    /// Turn to replay; if absent, the conversation's latest turn.
    pub turn_id: Option<TurnId>,
    /// `seq` of the last token that the client received; -1 for none.
    pub last_seq: i64,
    /// `index` of the last frame other than `token` that the client received.
    pub last_index: Option<i64>,
    /// `position` of the last event that the client received; 0 for none. Asks for the conversation's events and all of its
    /// turns, instead of one turn.
    pub last_position: Option<i64>,
}

/// Wire form of a [`MessageFrame`], in which the conversation has two names.
#[derive(Deserialize)]
struct MessageFields {
    message: String,
    session_id: Option<ConversationId>,
    conversation_id: Option<ConversationId>,
    customer_id: Option<String>,
    client_message_id: Option<String>,
    attachments: Option<Vec<IgnoredValue>>,
    metadata: Option<Map<String, Value>>,
}

/// Wire form of a [`ResumeFrame`], in which the conversation has two names.
#[derive(Deserialize)]
struct ResumeFields {
    session_id: Option<ConversationId>,
    conversation_id: Option<ConversationId>,
    turn_id: Option<TurnId>,
    last_seq: Option<i64>,
    last_index: Option<i64>,
    last_position: Option<i64>,
}

impl TryFrom<MessageFields> for MessageFrame {
    type Error = &'static str;

    fn try_from(fields: MessageFields) -> Result<Self, Self::Error> {
        Ok(Self {
            message: fields.message,
            conversation_id: merge_conversation_ids(fields.session_id, fields.conversation_id)?,
            customer_id: fields.customer_id,
            client_message_id: fields.client_message_id,
            attachments: fields.attachments.unwrap_or_default(),
            metadata: fields.metadata,
        })
    }
}

impl TryFrom<ResumeFields> for ResumeFrame {
    type Error = &'static str;

    fn try_from(fields: ResumeFields) -> Result<Self, Self::Error> {
        let conversation_id = merge_conversation_ids(fields.session_id, fields.conversation_id)?;
        let names_turn = fields.turn_id.is_some() || fields.last_seq.is_some() || fields.last_index.is_some();
        if fields.last_position.is_some() && names_turn {
            return Err("`last_position` cannot be combined with `turn_id`, `last_seq` or `last_index`");
        }
        Ok(Self {
            conversation_id: conversation_id.ok_or("`conversation_id` (`session_id` in `chat.v1`) is missing")?,
            turn_id: fields.turn_id,
            last_seq: fields.last_seq.unwrap_or(-1),
            last_index: fields.last_index,
            last_position: fields.last_position,
        })
    }
}

/// Returns the conversation that a frame names as `session_id`, `conversation_id` or both.
fn merge_conversation_ids(
    session_id: Option<ConversationId>,
    conversation_id: Option<ConversationId>,
) -> Result<Option<ConversationId>, &'static str> {
    match (session_id, conversation_id) {
        (Some(one), Some(other)) if one != other => Err("`conversation_id` must equal `session_id` or be omitted"),
        (one, other) => Ok(one.or(other)),
    }
}

/// Stops a turn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CancelFrame {
    pub turn_id: TurnId,
}

/// Requests a `pong`; for clients that cannot send WebSocket pings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PingFrame {
    /// Any value; returned in the `pong`.
    #[serde(default)]
    pub id: Option<Value>,
}

/// JSON value whose content is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IgnoredValue;

impl<'de> Deserialize<'de> for IgnoredValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl ClientFrame {
    /// Parses a text frame.
    ///
    /// # Errors
    /// `INVALID_JSON` with line and column, `INVALID_FIELD` with the field's path, or `UNKNOWN_TYPE`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        // Clients usually send `type` first. Everything else, and every error, is left to a parser of the whole value.
        parse_type_first(text).map_or_else(|| Self::parse_value(text), Ok)
    }
}

/// Parses a text frame as JSON; returns its type and the whole object.
///
/// # Errors
/// `INVALID_JSON` with line and column, or `INVALID_FIELD`.
pub fn parse_type(text: &str) -> Result<(String, Value), ApiError> {
    let value: Value = serde_json::from_slice(&replace_lone_surrogates(text.as_bytes()))
        .map_err(|error| invalid_json("The frame", &error))?;
    let Value::Object(fields) = &value else {
        return Err(ApiError::new(ErrorCode::InvalidJson, "The frame must be one JSON object."));
    };
    let frame_type = match fields.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(other) if !other.is_null() => return Err(ApiError::invalid_field("type", "must be a string")),
        _ => return Err(ApiError::invalid_field("type", "is missing")),
    };
    Ok((frame_type, value))
}

/// Creates an `UNKNOWN_TYPE` error. `known` are the types that a client may send.
pub fn unknown_type(name: &str, known: &[&str]) -> ApiError {
    let mut shown: String = name.chars().take(40).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    let known = known.join(", ");
    ApiError::new(ErrorCode::UnknownType, format!("`type` {shown:?} is not in this protocol; expected one of {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn error_of(text: &str) -> (ErrorCode, String) {
        let error = ClientFrame::parse(text).unwrap_err();
        (error.code, error.message.into_owned())
    }

    #[test]
    fn only_message_is_required() {
        let frame = ClientFrame::parse(r#"{"type":"message","message":"Hi","color":"red"}"#).unwrap();
        let wanted = MessageFrame { message: "Hi".to_owned(), ..MessageFrame::default() };
        assert_eq!(frame, ClientFrame::Message(wanted));
    }

    #[test]
    fn resume_starts_at_the_first_token_by_default() {
        let text = r#"{"type":"resume","session_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let ClientFrame::Resume(resume) = ClientFrame::parse(text).unwrap() else { panic!("not a resume") };
        assert_eq!((resume.turn_id, resume.last_seq), (None, -1));
    }

    #[test]
    fn errors_name_the_position_or_field() {
        let early = "The frame is not valid JSON: unexpected end at line 1, column 1.";
        assert_eq!(error_of("{"), (ErrorCode::InvalidJson, early.to_owned()));
        assert_eq!(error_of("[]").0, ErrorCode::InvalidJson);
        assert_eq!(error_of("{}"), (ErrorCode::InvalidField, "`type` is missing".to_owned()));
        assert_eq!(error_of(r#"{"type":"shout"}"#).0, ErrorCode::UnknownType);
        let field = |text: &str| match error_of(text) {
            (ErrorCode::InvalidField, message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(r#"{"type":"message"}"#), "`message` is missing");
        assert_eq!(field(r#"{"type":"message","message":"x","session_id":7}"#), "`session_id` must be a UUID");
        assert_eq!(field(r#"{"type":"message","message":"x","metadata":[]}"#), "`metadata` must be an object");
        assert_eq!(field(r#"{"type":"resume","session_id":"nope"}"#), "`session_id` must be a UUID");
        assert_eq!(field(r#"{"type":"resume","conversation_id":"nope"}"#), "`conversation_id` must be a UUID");
        for other in [r#""turn_id":"01890a5d-ac96-774b-bcce-b302099a8057""#, r#""last_seq":-1"#, r#""last_index":3"#] {
            let id = "01890a5d-ac96-774b-bcce-b302099a8057";
            let text = format!(r#"{{"type":"resume","conversation_id":"{id}","last_position":0,{other}}}"#);
            assert!(field(&text).contains("cannot be combined"), "{text}");
        }
        assert_eq!(field(r#"{"type":"resume"}"#), "`conversation_id` (`session_id` in `chat.v1`) is missing");
    }

    #[test]
    fn type_is_found_wherever_it_is() {
        for text in [
            r#"{"type":"ping","id":7}"#,
            r#" { "t\u0079pe" : "p\u0069ng", "id" : 7 } "#,
            r#"{"id":7,"type":"ping"}"#,
            r#"{"type":"auth","id":7,"type":"ping"}"#,
            r#"{"type":"ping","id":6,"id":7}"#,
        ] {
            let ping = ClientFrame::Ping(PingFrame { id: Some(7.into()) });
            assert_eq!(ClientFrame::parse(text).unwrap(), ping, "{text}");
        }
        assert_eq!(error_of(r#"{"type":"ping","id":7} 7"#).0, ErrorCode::InvalidJson);
    }

    #[test]
    fn one_pass_differs_only_in_numbers_out_of_range_that_are_ignored() {
        let parse = |member: &str, value: &str| {
            let text = format!(r#"{{"type":"message","message":"Hi","{member}":{value}}}"#);
            (parse_type_first::<ClientFrame>(&text), ClientFrame::parse_value(&text).ok())
        };
        for value in [
            "1e308",
            "-0",
            "0.5e-400",
            "18446744073709551616",
            "01",
            "1.",
            "+1",
            "NaN",
            "\"\\ud83d\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "nul",
            "[1,]",
            r#"{"a":1,"a":2}"#,
            r#"{"a"}"#,
            "{1:2}",
            "",
            "/**/1",
        ] {
            let (one_pass, whole) = parse("other", value);
            assert_eq!(one_pass, whole, "{value}");
        }
        for value in ["1e999", "-1e999", "[1e999]", r#"{"a":[1e999]}"#] {
            let (one_pass, whole) = parse("other", value);
            assert!(one_pass.is_some() && whole.is_none(), "{value}");
            assert_eq!(parse("metadata", &format!(r#"{{"a":{value}}}"#)), (None, None), "{value}");
        }
    }

    #[test]
    fn accepts_lone_surrogates() {
        let frame =
            ClientFrame::parse(r#"{"type":"message","message":"Look \ud83d","metadata":{"\ude00":"\ud83d\ude00"}}"#);
        let ClientFrame::Message(message) = frame.unwrap() else { panic!("not a message") };
        assert_eq!(message.message, "Look \u{fffd}");
        assert_eq!(message.metadata.unwrap()["\u{fffd}"], "\u{1f600}");
    }

    #[test]
    fn null_means_absent_for_every_optional_field() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        for (frame, optional) in [
            (
                json!({"type": "message", "message": "Hi"}),
                &["session_id", "conversation_id", "customer_id", "client_message_id", "attachments", "metadata"][..],
            ),
            (json!({"type": "resume", "session_id": id}), &["conversation_id", "turn_id", "last_seq"]),
            (json!({"type": "ping"}), &["id"]),
        ] {
            let absent = ClientFrame::parse(&frame.to_string()).unwrap();
            let with = |names: &[&str]| {
                let mut frame = frame.clone();
                names.iter().for_each(|name| frame[name] = Value::Null);
                ClientFrame::parse(&frame.to_string()).unwrap()
            };
            optional.iter().for_each(|name| assert_eq!(with(&[name]), absent, "{name}"));
            assert_eq!(with(optional), absent);
        }
        assert_eq!(error_of(r#"{"type":"message","message":null}"#).1, "`message` is missing");
        assert_eq!(error_of(r#"{"type":null}"#).1, "`type` is missing");
    }

    #[test]
    fn accepts_both_names_of_a_conversation() {
        let id: ConversationId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let other = ConversationId::new();
        for names in [
            json!({"session_id": id}),
            json!({"conversation_id": id}),
            json!({"session_id": id, "conversation_id": id}),
        ] {
            let mut frame = names.as_object().unwrap().clone();
            frame.extend([("type".to_owned(), "resume".into()), ("message".to_owned(), "Hi".into())]);
            let text = |kind: &str| {
                json!({"type": kind}).as_object().unwrap().iter().fold(frame.clone(), |mut frame, (name, value)| {
                    frame.insert(name.clone(), value.clone());
                    frame
                })
            };
            let parsed = |kind| ClientFrame::parse(&Value::from(text(kind)).to_string()).unwrap();
            assert!(matches!(parsed("resume"), ClientFrame::Resume(resume) if resume.conversation_id == id), "{names}");
            assert!(
                matches!(parsed("message"), ClientFrame::Message(message) if message.conversation_id == Some(id)),
                "{names}"
            );
        }
        for kind in ["message", "resume"] {
            let frame = json!({"type": kind, "message": "Hi", "session_id": id, "conversation_id": other});
            let (code, message) = error_of(&frame.to_string());
            assert_eq!(code, ErrorCode::InvalidField);
            assert!(message.starts_with("`conversation_id` must equal `session_id`"), "{message}");
        }
    }

    #[test]
    fn errors_are_short_for_long_frames() {
        let long = "ä".repeat(5_000);
        for text in [
            format!(r#"{{"type":"message","message":"x","attachments":"{long}"}}"#),
            format!(r#"{{"type":"message","message":"x","session_id":"{long}"}}"#),
            format!(r#"{{"type":"{long}"}}"#),
        ] {
            let (_, message) = error_of(&text);
            assert!(message.len() < 1_000, "{message}");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let frame = ClientFrame::parse(r#"{"type":"auth","token":"s3cret"}"#).unwrap();
        assert!(!format!("{frame:?}").contains("s3cret"));
    }

    #[test]
    fn deep_nesting_is_an_error_instead_of_a_stack_overflow() {
        assert_eq!(error_of(&"[".repeat(100_000)).0, ErrorCode::InvalidJson);
    }

    /// Generates JSON values, up to three levels deep.
    fn json() -> impl Strategy<Value = Value> {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            Just(Value::from("x".repeat(3_000))),
            Just(Value::from(id)),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,20}", inner), 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    fn frame() -> impl Strategy<Value = Value> {
        let types = ["auth", "message", "resume", "cancel", "ping", "typing", "", "Auth"];
        let fields = [
            "token",
            "message",
            "session_id",
            "conversation_id",
            "customer_id",
            "client_message_id",
            "attachments",
            "metadata",
            "turn_id",
            "last_seq",
            "id",
            "other",
        ];
        let fields = prop::collection::vec((prop::sample::select(fields.to_vec()), json()), 0..8);
        (prop::sample::select(types.to_vec()), fields).prop_map(|(frame_type, fields)| {
            let named = [("type", Value::from(frame_type))].into_iter().chain(fields);
            named.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
        })
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = ClientFrame::parse(&text);
        }

        #[test]
        fn parses_a_frame_or_returns_a_short_error(frame in frame()) {
            match ClientFrame::parse(&frame.to_string()) {
                Ok(ClientFrame::Message(message)) => prop_assert_eq!(&frame["message"], &Value::from(message.message)),
                Ok(ClientFrame::Resume(resume)) => {
                    prop_assert_eq!(frame["last_seq"].as_i64().unwrap_or(-1), resume.last_seq);
                }
                Ok(_) => {}
                Err(error) => {
                    prop_assert!(matches!(error.code, ErrorCode::InvalidField | ErrorCode::UnknownType));
                    prop_assert!(error.message.len() <= 1_000, "{}", error.message);
                }
            }
        }

        /// The one-pass parser accepts no other frames than the parser of the whole value, and reads the same from them.
        #[test]
        fn one_pass_reads_what_the_whole_value_says(frame in frame(), repeated in any::<bool>()) {
            let (mut members, frame_type) = (frame.as_object().unwrap().clone(), frame["type"].clone());
            members.remove("type");
            let members = Value::from(members).to_string();
            let end = if repeated { ",\"type\":\"ping\"}" } else { "}" };
            let comma = if members == "{}" { "" } else { "," };
            let text = format!("{{\"type\":{frame_type}{comma}{}{end}", &members[1..members.len() - 1]);
            let whole = ClientFrame::parse_value(&text).ok();
            match parse_type_first::<ClientFrame>(&text) {
                Some(frame) => prop_assert_eq!(Some(frame), whole),
                None => prop_assert!(whole.is_none() || repeated, "{}", text),
            }
        }

        #[test]
        fn a_truncated_frame_is_invalid_json(frame in frame(), share in 0.0..1.0) {
            let text = frame.to_string();
            let at = text.floor_char_boundary((text.len() as f64 * share) as usize);
            prop_assert_eq!(ClientFrame::parse(&text[..at]).unwrap_err().code, ErrorCode::InvalidJson);
        }
    }
}
