//! Typed ids. The server generates UUIDv7, which have good locality in an index. Ids are never used for ordering: if the clock is
//! set back before a restart, new ids sort before old ones.

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
            /// Generates an id that sorts after every id that this process has generated so far.
            #[expect(clippy::new_without_default, reason = "default values are expected to be equal, and ids are unique")]
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
    /// Id of an account.
    UserId
    /// Id of a conversation. `chat.v1` calls it `session_id`.
    ConversationId
    /// Id of a turn: one user message and the streamed answer to it.
    TurnId
    /// Id of a stored message.
    MessageId
    /// Id of a connection: a WebSocket or a streaming HTTP response.
    ConnectionId
    /// Id of a document in the knowledge base.
    DocumentId
    /// Id of an entry in the audit log.
    AuditId
}
