//! The subprotocols, and how one is chosen.

use serde::{Deserialize, Serialize};

/// How a session's frames look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub enum Dialect {
    /// Every `token` frame carries `partial_response`: the answer so far.
    #[default]
    #[serde(rename = "chat.v1")]
    V1,
    /// Without `partial_response`; adjacent tokens may share a frame.
    #[serde(rename = "chat.v2")]
    V2,
}

impl Dialect {
    pub const ALL: &[Self] = &[Self::V1, Self::V2];

    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::V1 => "chat.v1",
            Self::V2 => "chat.v2",
        }
    }
}

/// What the `Sec-WebSocket-Protocol` header of an upgrade asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub dialect: Dialect,
    /// The subprotocol to echo; none when none was offered.
    pub echo: Option<&'static str>,
    /// The token of a `bearer.<jwt>` entry: the way for browsers to keep it out of the URL.
    pub token: Option<String>,
}

impl Offer {
    /// Reads the header's values, in the order of the client's preference.
    ///
    /// `None` when subprotocols were offered, and none of them is ours.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut offer = Self::default();
        let mut named_any = false;
        for entry in values.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|s| !s.is_empty()) {
            if let Some(token) = entry.strip_prefix("bearer.") {
                offer.token.get_or_insert_with(|| token.to_owned());
                continue;
            }
            named_any = true;
            if offer.echo.is_none()
                && let Some(dialect) = [Dialect::V1, Dialect::V2].into_iter().find(|d| d.subprotocol() == entry)
            {
                offer.dialect = dialect;
                offer.echo = Some(dialect.subprotocol());
            }
        }
        // A browser fails a socket whose offer was not answered, so a lone token is not an offer we could take.
        let answerable = offer.echo.is_some() || (!named_any && offer.token.is_none());
        answerable.then_some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_offered_is_classic() {
        assert_eq!(Offer::parse([]), Some(Offer::default()));
    }

    #[test]
    fn the_first_known_offer_wins() {
        let offer = Offer::parse(["soap, chat.v2", "chat.v1"]).unwrap();
        assert_eq!((offer.dialect, offer.echo), (Dialect::V2, Some("chat.v2")));
    }

    #[test]
    fn a_token_travels_beside_a_dialect() {
        let offer = Offer::parse(["chat.v1, bearer.a.b-c_d.e"]).unwrap();
        assert_eq!((offer.echo, offer.token.as_deref()), (Some("chat.v1"), Some("a.b-c_d.e")));
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        assert_eq!(Offer::parse(["soap"]), None);
        assert_eq!(Offer::parse(["bearer.a.b.c"]), None);
    }
}
