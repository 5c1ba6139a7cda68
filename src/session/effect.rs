//! Effects of a session's decisions: frames to send, requests to other actors, and events to count.

use super::{heartbeat::PING_BYTES, pending_resumes::ResumeTicket};
use crate::{
    auth::Identity,
    bus::BusSubscription,
    connection::GuardEffect,
    domain::{ConversationId, TurnId, UserId},
    limiter::Limit,
    turn::{Outgoing, SubscribedTurn, TurnLog},
    workflow::Question,
};
use std::{cell::Cell, sync::Arc, time::Duration};
use switchboard_protocol::{
    ApiError, CloseReason, ErrorCode, ErrorFrame, ErrorSubject, FieldNames, ResumeFrame, ServerFrame,
};

/// An action for the session actor.
pub enum Effect {
    Send(Outgoing),
    /// A WebSocket ping with this payload.
    Ping([u8; PING_BYTES]),
    /// Record the round-trip time of a ping.
    RoundTrip(Duration),
    Close(CloseReason),
    /// Count that a limit refused something.
    LimitHit(Limit),
    /// Count an error frame.
    ErrorSent(ErrorCode),
    /// Register the user of the connection.
    Authenticated(Arc<Identity>),
    /// Count a failed authentication.
    AuthFailed(ErrorCode),
    /// Boxed because it is large and rare: the largest variant determines the size of every effect.
    Start(Box<NewTurn>),
    Resume {
        ticket: ResumeTicket,
        user_id: UserId,
        resume: ResumeFrame,
    },
    /// Keep this subscription on the bus, in place of an earlier one to the same conversation.
    KeepEvents(BusSubscription),
    UnsubscribeFromEvents(ConversationId),
    /// Read the next events after a position from the store.
    ReadEvents {
        user_id: UserId,
        conversation: ConversationId,
        after: i64,
    },
    Cancel {
        user_id: UserId,
        turn_id: TurnId,
    },
    /// Add a subscription to the connection's statistics.
    Subscribed(SubscribedTurn),
    /// Remove a subscription from the connection's statistics.
    Unsubscribed(Arc<TurnLog>),
}

impl GuardEffect for Effect {
    fn limit_hit(limit: Limit) -> Self {
        Self::LimitHit(limit)
    }

    fn close(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

thread_local! {
    /// One list for all sessions of a thread. A list per session would keep about a kilobyte that is rarely used.
    static LIST: Cell<Vec<Effect>> = const { Cell::new(Vec::new()) };
}

/// Takes the thread's list, with its capacity. Return it with [`give_back`].
pub(super) fn empty_list() -> Vec<Effect> {
    LIST.take()
}

pub(super) fn give_back(list: Vec<Effect>) {
    debug_assert!(list.is_empty(), "every effect was performed");
    LIST.set(list);
}

/// A validated question and the empty log for its answer.
pub struct NewTurn {
    pub turn: Arc<TurnLog>,
    pub question: Question,
}

pub(super) fn send_error(error: &ApiError, about: &ErrorSubject, names: FieldNames, effects: &mut Vec<Effect>) {
    effects.extend([send(ServerFrame::Error(ErrorFrame::new(error, about, names))), Effect::ErrorSent(error.code)]);
}

pub(super) fn send(frame: ServerFrame<'_>) -> Effect {
    Effect::Send(Outgoing { frame: frame.encode(), tokens: 0 })
}
