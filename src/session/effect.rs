//! What the decisions of a session come to: frames to send, and requests to others.

use super::{heartbeat::PING_BYTES, pending_resumes::ResumeTicket};
use crate::{
    auth::Identity,
    domain::{ConversationId, TurnId, UserId},
    limiter::Limit,
    limits::MAX_PING_ID_BYTES,
    turn::{Outgoing, SubscribedTurn, TurnLog},
    workflow::{Question, is_client_id},
};
use std::{cell::Cell, sync::Arc, time::Duration};
use switchboard_protocol::{
    ApiError, ClientFrame, CloseReason, ErrorCode, ErrorFrame, ErrorSubject, FieldNames, MessageFrame, PingFrame, Pong,
    ResumeFrame, ServerFrame,
};

/// What the actor has to do.
pub enum Effect {
    Send(Outgoing),
    /// A WebSocket ping with this payload.
    Ping([u8; PING_BYTES]),
    /// A ping was answered after this time.
    RoundTrip(Duration),
    Close(CloseReason),
    /// A limit said no.
    Hit(Limit),
    /// The client was told of an error.
    Failed(ErrorCode),
    /// The user is known from now on.
    Identified(Arc<Identity>),
    /// A try to authenticate failed.
    NotIdentified(ErrorCode),
    /// In a box: it is large and rare, and every frame is moved in the room of the largest effect.
    Start(Box<NewTurn>),
    Resume {
        ticket: ResumeTicket,
        user_id: UserId,
        resume: ResumeFrame,
    },
    Cancel {
        user_id: UserId,
        turn_id: TurnId,
    },
    /// A turn is followed from now on.
    Subscribed(SubscribedTurn),
    /// It ended, or is not followed any more.
    Unsubscribed(Arc<TurnLog>),
    /// The session wants the turns that other sessions of this user start there, too.
    SubscribeToConversation(ConversationId),
}

thread_local! {
    /// One list for all sessions of the thread: of its own each would have room for a kilobyte that it seldom needs.
    static LIST: Cell<Vec<Effect>> = const { Cell::new(Vec::new()) };
}

/// Where to collect effects, with the room that earlier ones took; [`give_back`] takes it back.
pub(super) fn empty_list() -> Vec<Effect> {
    LIST.take()
}

pub(super) fn give_back(list: Vec<Effect>) {
    debug_assert!(list.is_empty(), "effects are carried out once");
    LIST.set(list);
}

/// A question that passed all that can be checked here, and the log that its answer will fill.
pub struct NewTurn {
    pub turn: Arc<TurnLog>,
    pub question: Question,
}

pub(super) fn on_ping(ping: PingFrame, names: FieldNames, effects: &mut Vec<Effect>) {
    let too_long = ping.id.as_ref().is_some_and(|id| id.to_string().len() > MAX_PING_ID_BYTES);
    if too_long {
        let error = ApiError::invalid_field("id", format_args!("must be at most {MAX_PING_ID_BYTES} bytes of JSON"));
        send_error(&error, &ErrorSubject::default(), names, effects);
    } else {
        effects.push(send(ServerFrame::Pong(Pong { id: ping.id })));
    }
}

pub(super) fn subject_of_frame(frame: &ClientFrame) -> ErrorSubject {
    match frame {
        ClientFrame::Message(message) => subject_of_message(message),
        ClientFrame::Resume(resume) => subject_of(resume),
        ClientFrame::Cancel(cancel) => ErrorSubject { turn_id: Some(cancel.turn_id), ..ErrorSubject::default() },
        ClientFrame::Auth(_) | ClientFrame::Ping(_) => ErrorSubject::default(),
    }
}

pub(super) fn subject_of_message(message: &MessageFrame) -> ErrorSubject {
    ErrorSubject {
        turn_id: None,
        conversation_id: message.conversation_id,
        client_message_id: message.client_message_id.clone().filter(|id| is_client_id(id)),
    }
}

pub(super) fn subject_of(resume: &ResumeFrame) -> ErrorSubject {
    ErrorSubject { turn_id: resume.turn_id, conversation_id: Some(resume.conversation_id), client_message_id: None }
}

pub(super) fn send_error(error: &ApiError, about: &ErrorSubject, names: FieldNames, effects: &mut Vec<Effect>) {
    effects.extend([send(ServerFrame::Error(ErrorFrame::new(error, about, names))), Effect::Failed(error.code)]);
}

pub(super) fn send(frame: ServerFrame<'_>) -> Effect {
    Effect::Send(Outgoing::from(frame))
}
