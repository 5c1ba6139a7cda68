//! Conversation events, in `chat.v2` and over REST.

use crate::domain::{Event, Fact, TurnOutcome};
use bytestring::ByteString;
use switchboard_protocol::{ActorView, EventFrame, ResumedEvents, ServerFrame};

/// Returns an event as clients receive it.
pub fn event_view(event: &Event) -> EventFrame<'_> {
    let mut frame = EventFrame {
        conversation_id: event.conversation_id,
        position: event.position,
        kind: event.fact.kind_name(),
        at: event.at.0,
        actor: ActorView { kind: event.actor.kind.as_str(), user_id: event.actor.user_id },
        message_id: None,
        text: None,
        turn_id: None,
        client_message_id: None,
        finish_reason: None,
        code: None,
    };
    match &event.fact {
        Fact::Message { message_id, text, turn_id, client_message_id } => {
            frame.message_id = Some(*message_id);
            frame.text = Some(text);
            frame.turn_id = *turn_id;
            frame.client_message_id = client_message_id.as_deref();
        }
        Fact::TurnStarted { turn_id, message_id } => {
            frame.turn_id = Some(*turn_id);
            frame.message_id = Some(*message_id);
        }
        Fact::TurnEnded { turn_id, message_id, outcome } => {
            frame.turn_id = Some(*turn_id);
            frame.message_id = *message_id;
            match outcome {
                TurnOutcome::Finished(reason) => frame.finish_reason = Some(*reason),
                TurnOutcome::Failed(code) => frame.code = Some(code),
            }
        }
        Fact::Other { .. } => {}
    }
    frame
}

/// Encodes an event as a frame.
pub fn event(event: &Event) -> ByteString {
    ServerFrame::Event(event_view(event)).encode()
}

/// Encodes the answer to a `resume` with `last_position`.
pub fn resumed_events(resumed: ResumedEvents) -> ByteString {
    ServerFrame::ResumedEvents(resumed).encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConversationId, EventActor, FinishReason, MessageId, TurnId, UnixMillis, UserId};
    use serde_json::{Value, json};

    #[test]
    fn each_kind_has_its_fields_and_an_unknown_one_its_kind() {
        let (conversation_id, user, message_id, turn_id) =
            (ConversationId::new(), UserId::new(), MessageId::new(), TurnId::new());
        let frame = |actor, fact| {
            let frame = event(&Event { conversation_id, position: 7, at: UnixMillis(5), actor, fact });
            let mut frame: Value = serde_json::from_str(&frame).unwrap();
            let fields = frame.as_object_mut().unwrap();
            assert_eq!(fields.remove("type"), Some(json!("event")));
            assert_eq!(fields.remove("conversation_id"), Some(json!(conversation_id)));
            assert_eq!((fields.remove("position"), fields.remove("at")), (Some(json!(7)), Some(json!(5))));
            frame
        };
        let text = Fact::Message {
            message_id,
            text: "Hi".to_owned(),
            turn_id: Some(turn_id),
            client_message_id: Some("m-1".to_owned()),
        };
        let expected = json!({
            "kind": "message", "actor": {"kind": "user", "user_id": user}, "message_id": message_id, "text": "Hi",
            "turn_id": turn_id, "client_message_id": "m-1",
        });
        assert_eq!(frame(EventActor::user(user), text), expected);
        let assistant = json!({"kind": "assistant"});
        let started = Fact::TurnStarted { turn_id, message_id };
        let expected =
            json!({"kind": "turn_started", "actor": assistant, "turn_id": turn_id, "message_id": message_id});
        assert_eq!(frame(EventActor::ASSISTANT, started), expected);
        let ended = |outcome| Fact::TurnEnded { turn_id, message_id: Some(message_id), outcome };
        let mut expected = json!({
            "kind": "turn_ended", "actor": assistant, "turn_id": turn_id, "message_id": message_id,
            "finish_reason": "stop",
        });
        assert_eq!(frame(EventActor::ASSISTANT, ended(TurnOutcome::Finished(FinishReason::Stop))), expected);
        expected.as_object_mut().unwrap().remove("finish_reason");
        expected["code"] = json!("TURN_STALLED");
        assert_eq!(frame(EventActor::ASSISTANT, ended(TurnOutcome::Failed("TURN_STALLED".to_owned()))), expected);
        let unknown = frame(EventActor::ASSISTANT, Fact::Other { kind: "poll_opened".to_owned() });
        assert_eq!(unknown, json!({"kind": "poll_opened", "actor": assistant}));
    }
}
