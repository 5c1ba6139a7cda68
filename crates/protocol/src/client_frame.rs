//! What clients say: one JSON object a text frame, told apart by `type`.

use super::{ApiError, ConversationId, ErrorCode, TurnId, fields_of, mend_surrogates, not_json};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

/// A frame of a client. Unknown fields are ignored, an unknown `type` is an error.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    Auth(AuthFrame),
    Message(MessageFrame),
    Resume(ResumeFrame),
    Cancel(CancelFrame),
    Ping(PingFrame),
}

/// Proves who is talking, or renews the proof.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct AuthFrame {
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
    /// The conversation to continue; absent for a new one.
    pub conversation_id: Option<ConversationId>,
    /// The client's own name for the person it asks for.
    pub customer_id: Option<String>,
    /// The same id again never starts a second turn.
    pub client_message_id: Option<String>,
    pub attachments: Vec<IgnoredValue>,
    pub metadata: Option<Map<String, Value>>,
}

/// Subscribes to a conversation: replays what was missed of a turn, then goes on live.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ResumeFields")]
pub struct ResumeFrame {
    pub conversation_id: ConversationId,
    /// The conversation's latest turn without.
    pub turn_id: Option<TurnId>,
    /// The last token that arrived; -1 for none.
    pub last_seq: i64,
}

/// The fields of a [`MessageFrame`] on the wire, where its conversation has two names.
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

/// The fields of a [`ResumeFrame`] on the wire.
#[derive(Deserialize)]
struct ResumeFields {
    session_id: Option<ConversationId>,
    conversation_id: Option<ConversationId>,
    turn_id: Option<TurnId>,
    last_seq: Option<i64>,
}

impl TryFrom<MessageFields> for MessageFrame {
    type Error = &'static str;

    fn try_from(fields: MessageFields) -> Result<Self, Self::Error> {
        Ok(Self {
            message: fields.message,
            conversation_id: one_conversation(fields.session_id, fields.conversation_id)?,
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
        let conversation_id = one_conversation(fields.session_id, fields.conversation_id)?;
        Ok(Self {
            conversation_id: conversation_id.ok_or("`conversation_id` (`session_id` in `chat.v1`) is missing")?,
            turn_id: fields.turn_id,
            last_seq: fields.last_seq.unwrap_or(-1),
        })
    }
}

/// The conversation that a frame names under either name, or under both.
fn one_conversation(
    session_id: Option<ConversationId>,
    conversation_id: Option<ConversationId>,
) -> Result<Option<ConversationId>, &'static str> {
    match (session_id, conversation_id) {
        (Some(one), Some(other)) if one != other => {
            Err("`conversation_id` must be the same as `session_id`, or be left out")
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// Stops a turn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CancelFrame {
    pub turn_id: TurnId,
}

/// Asks for a `pong`: for clients that cannot send WebSocket pings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PingFrame {
    #[serde(default)]
    pub id: Option<Value>,
}

/// Something whose content does not matter, only that it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IgnoredValue;

impl<'de> Deserialize<'de> for IgnoredValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// `INVALID_JSON` with line and column, `INVALID_FIELD` with the field's path, or `UNKNOWN_TYPE`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let (frame_type, value) = parse_type(text)?;
        match frame_type.as_str() {
            "auth" => fields_of(value).map(Self::Auth),
            "message" => fields_of(value).map(Self::Message),
            "resume" => fields_of(value).map(Self::Resume),
            "cancel" => fields_of(value).map(Self::Cancel),
            "ping" => fields_of(value).map(Self::Ping),
            other => Err(unknown_type(other)),
        }
    }
}

/// The type of a frame, and all of it.
///
/// # Errors
/// `INVALID_JSON` with line and column, or `INVALID_FIELD`.
pub fn parse_type(text: &str) -> Result<(String, Value), ApiError> {
    let value: Value =
        serde_json::from_slice(&mend_surrogates(text.as_bytes())).map_err(|error| not_json("The frame", &error))?;
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

/// A frame whose type is none of those that are known here.
pub fn unknown_type(name: &str) -> ApiError {
    let mut shown: String = name.chars().take(40).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    ApiError::new(ErrorCode::UnknownType, format!("`type` {shown:?} is not in this protocol"))
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
    fn a_message_needs_only_its_text() {
        let frame = ClientFrame::parse(r#"{"type":"message","message":"Hi","color":"red"}"#).unwrap();
        let wanted = MessageFrame { message: "Hi".to_owned(), ..MessageFrame::default() };
        assert_eq!(frame, ClientFrame::Message(wanted));
    }

    #[test]
    fn resume_starts_before_the_first_token() {
        let text = r#"{"type":"resume","session_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        let ClientFrame::Resume(resume) = ClientFrame::parse(text).unwrap() else { panic!("not a resume") };
        assert_eq!((resume.turn_id, resume.last_seq), (None, -1));
    }

    #[test]
    fn errors_name_the_place() {
        let early = "The frame is not valid JSON: it ends too early, at line 1, column 1.";
        assert_eq!(error_of("{"), (ErrorCode::InvalidJson, early.to_owned()));
        assert_eq!(error_of("[]").0, ErrorCode::InvalidJson);
        assert_eq!(error_of("{}"), (ErrorCode::InvalidField, "`type` is missing".to_owned()));
        assert_eq!(error_of(r#"{"type":"shout"}"#).0, ErrorCode::UnknownType);
        let field = |text| match error_of(text) {
            (ErrorCode::InvalidField, message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(r#"{"type":"message"}"#), "`message` is missing");
        assert_eq!(field(r#"{"type":"message","message":"x","session_id":7}"#), "`session_id` must be a UUID");
        assert_eq!(field(r#"{"type":"message","message":"x","metadata":[]}"#), "`metadata` must be an object");
        assert_eq!(field(r#"{"type":"resume","session_id":"nope"}"#), "`session_id` must be a UUID");
        assert_eq!(field(r#"{"type":"resume","conversation_id":"nope"}"#), "`conversation_id` must be a UUID");
        assert_eq!(field(r#"{"type":"resume"}"#), "`conversation_id` (`session_id` in `chat.v1`) is missing");
    }

    #[test]
    fn a_text_that_was_cut_inside_a_character_is_taken() {
        let frame =
            ClientFrame::parse(r#"{"type":"message","message":"Look \ud83d","metadata":{"\ude00":"\ud83d\ude00"}}"#);
        let ClientFrame::Message(message) = frame.unwrap() else { panic!("not a message") };
        assert_eq!(message.message, "Look \u{fffd}");
        assert_eq!(message.metadata.unwrap()["\u{fffd}"], "\u{1f600}");
    }

    #[test]
    fn null_is_as_good_as_absent_for_every_field_that_may_be() {
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
    fn a_conversation_may_be_named_either_way() {
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
            assert!(message.starts_with("`conversation_id` must be the same as `session_id`"), "{message}");
        }
    }

    #[test]
    fn errors_are_short_whatever_the_frame_holds() {
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
    fn tokens_stay_out_of_debug_output() {
        let frame = ClientFrame::parse(r#"{"type":"auth","token":"s3cret"}"#).unwrap();
        assert!(!format!("{frame:?}").contains("s3cret"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_stack_overflow() {
        assert_eq!(error_of(&"[".repeat(100_000)).0, ErrorCode::InvalidJson);
    }

    /// A value of JSON, up to a few levels deep.
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
        fn no_text_makes_it_panic(text in ".*") {
            let _ = ClientFrame::parse(&text);
        }

        #[test]
        fn a_frame_is_read_or_refused_in_few_words(frame in frame()) {
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

        /// What a network leaves of a frame.
        #[test]
        fn a_frame_that_is_cut_is_no_json(frame in frame(), share in 0.0..1.0) {
            let text = frame.to_string();
            let at = text.floor_char_boundary((text.len() as f64 * share) as usize);
            prop_assert_eq!(ClientFrame::parse(&text[..at]).unwrap_err().code, ErrorCode::InvalidJson);
        }
    }
}
