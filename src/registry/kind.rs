//! The kinds of connections.

use serde::{Deserialize, Serialize};

/// Declares the kinds, one line each: documentation, variant and name.
macro_rules! connection_kinds {
    ($(#[doc = $doc:literal] $Kind:ident = $name:literal,)*) => {
        /// Kind of a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ConnectionKind {
            $(#[doc = $doc] $Kind,)*
        }

        impl ConnectionKind {
            /// All kinds, in the order in which they are listed.
            pub const ALL: &[Self] = &[$(Self::$Kind),*];

            /// Returns the name of the kind, as in REST responses and labels of metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Kind => $name,)*
                }
            }
        }

        /// The kinds of connections that a query selects.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum KindFilter {
            $(#[doc = $doc] $Kind,)*
            All,
        }

        impl KindFilter {
            /// Whether the query selects connections of this kind.
            pub fn includes(self, kind: ConnectionKind) -> bool {
                match self {
                    $(Self::$Kind => kind == ConnectionKind::$Kind,)*
                    Self::All => true,
                }
            }
        }
    };
}

connection_kinds! {
    /// A WebSocket at `/ws/chat`.
    Chat = "chat",
    /// An operator's WebSocket at `/ws/ops`.
    Operator = "operator",
    /// An answer of `POST /api/v1/chat` that is under way.
    Stream = "stream",
}

impl Default for KindFilter {
    /// Chat connections, the only kind of earlier versions.
    fn default() -> Self {
        Self::Chat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in ConnectionKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            let filter: KindFilter = serde_json::from_value(kind.as_str().into()).unwrap();
            let included = ConnectionKind::ALL.iter().filter(|other| filter.includes(**other));
            assert_eq!(included.collect::<Vec<_>>(), [kind]);
        }
    }
}
