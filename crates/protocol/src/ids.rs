//! Typed ids. The server makes them as UUIDv7, whose neighbours are near each other in an index. Nothing is put in order by
//! them: after a restart, with a clock that was set back, new ones may sort before old ones.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in order than all that this process made before it.
            #[expect(clippy::new_without_default, reason = "a default id would suggest that all defaults are equal")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A person with an account.
    UserId
    /// A durable thread of messages. On the wire it is called `session_id`, a name that clients already use.
    ConversationId
    /// One user message and the streamed answer to it.
    TurnId
    /// One stored message: a question, or an answer.
    MessageId
    /// One WebSocket, served by one session actor.
    ConnectionId
    /// One document of the knowledge base.
    DocumentId
    /// One action of an operator.
    AuditId
}
