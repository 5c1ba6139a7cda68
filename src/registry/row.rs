//! The data of a connection that queries read.

use super::{ConnectionStats, stall::Stall};
use crate::domain::ConversationId;
use std::collections::VecDeque;

/// One open connection.
#[derive(Clone, Copy)]
pub struct ConnectionRow<'a> {
    pub stats: &'a ConnectionStats,
    pub stall: &'a Stall,
    pub subscriptions: &'a VecDeque<ConversationId>,
}
