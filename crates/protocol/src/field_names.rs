//! Fields whose names differ between surfaces.

use super::Dialect;
use crate::ConversationId;

/// Set of names that a surface uses for a conversation's id, a specialist and the steps of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldNames {
    /// `session_id`, `agent`, `agent_routing`, `rag_retrieval`: `chat.v1`.
    #[default]
    V1,
    /// `conversation_id`, `specialist`, `routing`, `retrieval`: `chat.v2`.
    V2,
    /// Names of `chat.v2`, and also `session_id` and `agent`: `/api/v1/chat` and `/api/v1/conversations*`.
    Both,
}

/// Value of a field with an old and a new name; `None` for a name that the surface does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<T> {
    pub v1: Option<T>,
    pub v2: Option<T>,
}

impl FieldNames {
    /// Returns the values of `session_id` (`v1`) and `conversation_id` (`v2`).
    pub const fn conversation(self, id: ConversationId) -> Named<ConversationId> {
        self.named(id)
    }

    /// Returns the values of `agent` (`v1`) and `specialist` (`v2`).
    pub const fn specialist(self, name: &str) -> Named<&str> {
        self.named(name)
    }

    const fn named<T: Copy>(self, value: T) -> Named<T> {
        match self {
            Self::V1 => Named { v1: Some(value), v2: None },
            Self::V2 => Named { v1: None, v2: Some(value) },
            Self::Both => Named { v1: Some(value), v2: Some(value) },
        }
    }
}

impl<T> Named<T> {
    /// No value under either name.
    pub const NONE: Self = Self { v1: None, v2: None };
}

impl From<Dialect> for FieldNames {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::V1 => Self::V1,
            Dialect::V2 => Self::V2,
        }
    }
}
