//! Connections as operators see them: numbers and names, never the content of messages.

use super::{ConnectionKind, ConnectionStats, row::ConnectionRow};
use crate::{
    auth::Identity,
    domain::{ConnectionId, ConversationId, DisplayName, Email, TurnId, UnixMillis, UserId},
    limits::STALLED_AFTER,
    turn::SubscribedTurn,
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};
use switchboard_protocol::{Dialect, Step};

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Not authenticated.
    Unauthenticated,
    /// Authenticated, without a running turn.
    Idle,
    /// Subscribed to a running turn.
    Streaming,
    /// It has a backlog to write, because the client reads slowly. Queries may call it `behind`.
    #[serde(alias = "behind")]
    Lagging,
    /// The client has read nothing of its backlog for some seconds.
    Stalled,
}

impl ConnectionState {
    pub const ALL: &[Self] = &[Self::Unauthenticated, Self::Idle, Self::Streaming, Self::Lagging, Self::Stalled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Idle => "idle",
            Self::Streaming => "streaming",
            Self::Lagging => "lagging",
            Self::Stalled => "stalled",
        }
    }
}

/// An open connection as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ConnectionView {
    /// The connection's id.
    pub id: ConnectionId,
    /// The user that has authenticated on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<ConnectedUser>,
    pub address: String,
    pub user_agent: String,
    pub opened_at_ms: UnixMillis,
    pub kind: ConnectionKind,
    /// Absent for operators' connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    pub state: ConnectionState,
    pub last_received_at_ms: UnixMillis,
    pub last_sent_at_ms: UnixMillis,
    pub frames_received: u64,
    /// Bytes of payloads, like all byte counts here.
    pub bytes_received: u64,
    pub frames_sent: u64,
    pub bytes_sent: u64,
    pub tokens_sent: u64,
    /// The conversations that the connection is subscribed to.
    pub conversations: Vec<ConversationId>,
    /// The running turns that the connection is subscribed to.
    pub turns: Vec<TurnView>,
    /// Size of the backlog, which stays in the turn logs, in bytes of text.
    pub bytes_waiting: u64,
    /// Round-trip time of the last ping in milliseconds; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<f64>,
    /// Number of frames that a limit refused.
    pub violations: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ConnectedUser {
    pub id: UserId,
    #[schema(value_type = String)]
    pub email: Email,
    #[schema(value_type = String)]
    pub name: DisplayName,
}

/// A running turn as operators see it, without its text. A seq is -1 before the first token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TurnView {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// An older name of `conversation_id`, until 1.0.
    pub session_id: ConversationId,
    pub step: Option<Step>,
    /// Seq of the last token that the model has generated.
    pub head_seq: i64,
    /// Seq of the last token that was sent on this connection.
    pub written_seq: i64,
    /// Seq of the last token that is known to have arrived: a ping that was sent after it was answered.
    pub acknowledged_seq: i64,
    /// Number of tokens that were not sent on this connection yet.
    pub lag: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ConnectionsPage {
    pub connections: Vec<ConnectionView>,
    /// Number of connections that match the query, on all pages.
    pub total: usize,
    /// Number of matching connections before this page.
    pub offset: usize,
}

impl ConnectionRow<'_> {
    pub fn state(&self, now: Instant) -> ConnectionState {
        let stats = self.stats;
        if stats.is_lagging() {
            match self.stall.lagging_for(now) {
                Some(lasts) if lasts >= STALLED_AFTER => ConnectionState::Stalled,
                _ => ConnectionState::Lagging,
            }
        } else if stats.user().is_none() {
            ConnectionState::Unauthenticated
        } else if stats.has_turns() || stats.kind == ConnectionKind::Stream {
            ConnectionState::Streaming
        } else {
            ConnectionState::Idle
        }
    }

    pub fn view(&self, now: Instant) -> ConnectionView {
        let stats = self.stats;
        let (received, sent) = (stats.received(), stats.sent());
        ConnectionView {
            id: stats.connection_id,
            user: stats.identity().map(|identity| ConnectedUser::of(&identity)),
            address: stats.address.clone(),
            user_agent: stats.user_agent.clone(),
            opened_at_ms: stats.opened_at,
            kind: stats.kind,
            dialect: stats.dialect,
            state: self.state(now),
            last_received_at_ms: received.last_at,
            last_sent_at_ms: sent.last_at,
            frames_received: received.frames,
            bytes_received: received.bytes,
            frames_sent: sent.frames,
            bytes_sent: sent.bytes,
            tokens_sent: stats.tokens_sent(),
            conversations: self.subscriptions.iter().copied().collect(),
            turns: stats.turns().iter().map(TurnView::of).collect(),
            bytes_waiting: stats.bytes_waiting(),
            ping_ms: ping_ms(stats),
            violations: stats.violations(),
        }
    }
}

fn ping_ms(stats: &ConnectionStats) -> Option<f64> {
    stats.round_trip().map(|took| took.as_micros() as f64 / 1_000.0)
}

impl ConnectedUser {
    fn of(identity: &Arc<Identity>) -> Self {
        Self { id: identity.user_id, email: identity.email.clone(), name: identity.name.clone() }
    }
}

impl TurnView {
    fn of(SubscribedTurn { turn, subscriber }: &SubscribedTurn) -> Self {
        // The subscriber is read before the log, which only grows: the lag is never negative.
        let (acknowledged, written) = (subscriber.unacknowledged_seq(), subscriber.next_seq());
        let (step, head) = turn.position();
        let last = |next_seq: u32| i64::from(next_seq) - 1;
        Self {
            turn_id: turn.subject.turn_id,
            conversation_id: turn.subject.conversation_id,
            session_id: turn.subject.conversation_id,
            step,
            head_seq: last(head),
            written_seq: last(written),
            acknowledged_seq: last(acknowledged),
            lag: i64::from(head) - i64::from(written.min(head)),
        }
    }
}
