//! WebSocket subprotocols and their negotiation.

use serde::{Deserialize, Serialize};

/// Declares the dialects, one line each: documentation, variant and subprotocol.
macro_rules! dialects {
    ($(#[doc = $doc:literal] $Dialect:ident = $subprotocol:literal,)*) => {
        /// Dialect of the frames on a connection, chosen by its subprotocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        pub enum Dialect {
            $(#[doc = $doc] #[serde(rename = $subprotocol)] $Dialect,)*
        }

        impl Dialect {
            /// All dialects.
            pub const ALL: &[Self] = &[$(Self::$Dialect),*];

            /// Returns the dialect's name in `Sec-WebSocket-Protocol`.
            pub const fn subprotocol(self) -> &'static str {
                match self {
                    $(Self::$Dialect => $subprotocol,)*
                }
            }
        }
    };
}

dialects! {
    /// `token` frames carry `partial_response`, the answer so far.
    V1 = "chat.v1",
    /// `token` frames carry only new text; adjacent tokens may share a frame.
    V2 = "chat.v2",
}

impl Default for Dialect {
    /// The dialect of a connection without a subprotocol.
    fn default() -> Self {
        Self::V1
    }
}

/// Parsed `Sec-WebSocket-Protocol` headers of an upgrade request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Dialect of the connection; `chat.v1` if the request offers none.
    pub dialect: Dialect,
    /// Subprotocol to return in the response; `None` if the request offers none.
    pub echo: Option<&'static str>,
    /// Token from a `bearer.<jwt>` entry. Browsers cannot set headers on a WebSocket, and a token in the URL ends up in logs.
    pub token: Option<String>,
}

impl Offer {
    /// Parses the header's values and selects the first supported dialect, in the client's order of preference.
    ///
    /// Returns `None` if the request offers subprotocols or a token, but no supported dialect.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut offer = Self::default();
        let mut has_subprotocols = false;
        for entry in values.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|s| !s.is_empty()) {
            if let Some(token) = entry.strip_prefix("bearer.") {
                offer.token.get_or_insert_with(|| token.to_owned());
                continue;
            }
            has_subprotocols = true;
            if offer.echo.is_none()
                && let Some(dialect) = Dialect::ALL.iter().copied().find(|d| d.subprotocol() == entry)
            {
                offer.dialect = dialect;
                offer.echo = Some(dialect.subprotocol());
            }
        }
        // A browser closes a WebSocket if the response selects none of the offered subprotocols. A token on its own cannot be
        // selected, because that would return it in the response.
        let is_acceptable = offer.echo.is_some() || (!has_subprotocols && offer.token.is_none());
        is_acceptable.then_some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_v1_is_the_default() {
        assert_eq!(Offer::parse([]), Some(Offer::default()));
    }

    #[test]
    fn selects_the_first_supported_dialect() {
        let offer = Offer::parse(["soap, chat.v2", "chat.v1"]).unwrap();
        assert_eq!((offer.dialect, offer.echo), (Dialect::V2, Some("chat.v2")));
    }

    #[test]
    fn reads_a_token_beside_a_dialect() {
        let offer = Offer::parse(["chat.v1, bearer.a.b-c_d.e"]).unwrap();
        assert_eq!((offer.echo, offer.token.as_deref()), (Some("chat.v1"), Some("a.b-c_d.e")));
    }

    #[test]
    fn rejects_offers_without_a_supported_dialect() {
        assert_eq!(Offer::parse(["soap"]), None);
        assert_eq!(Offer::parse(["bearer.a.b.c"]), None);
    }
}
