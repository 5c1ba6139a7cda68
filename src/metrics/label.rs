//! What a series is told apart by. A label's values are those of a type: however the server is used, there are no more.

use crate::{
    domain::{FinishReason, ProviderErrorKind},
    protocol::{CloseReason, Dialect, ErrorCode},
};

/// A label with a fixed set of values.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value in the exposition.
    fn value(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),* }
            }
        }
    )*};
}

labels! {
    /// How somebody proves who they are.
    AuthWay {
        /// A token or ticket, in a frame or in the upgrade.
        Socket = "socket",
        /// E-mail and password.
        Login = "login",
        /// A new account.
        Register = "register",
        /// A refresh token.
        Refresh = "refresh",
    }

    /// What came of it.
    AuthResult {
        Success = "success",
        InvalidCredentials = "invalid_credentials",
        InvalidToken = "invalid_token",
        ExpiredToken = "expired_token",
        /// Too many tries, or too many connections.
        Limited = "limited",
        /// Too busy, or the store cannot be asked.
        Overloaded = "overloaded",
        /// An account that is there, a weak password and the like.
        Refused = "refused",
    }

    /// How a peer ended its session.
    ClientClose {
        Normal = "1000",
        GoingAway = "1001",
        /// A close frame without a code.
        NoCode = "1005",
        /// Any other code.
        Other = "other",
        /// The connection ended without a close frame.
        Lost = "1006",
    }

    /// Where an error was answered.
    Surface {
        /// An `error` or `auth_error` frame that is not the end of a turn.
        Socket = "socket",
        /// The body of an HTTP answer.
        Http = "http",
        /// The end of a turn, once however many follow it.
        Turn = "turn",
    }

    /// The parts of a turn that take time.
    TurnStep {
        /// From the question to its place among the running turns, and to the disk.
        Admit = "admit",
        Classify = "classify",
        Retrieve = "retrieve",
        Generate = "generate",
        Record = "record",
    }

    /// What a model was asked for.
    ModelTask {
        Classify = "classify",
        Generate = "generate",
    }

    /// What became of a wish to resume.
    Resumption {
        /// The turn still ran.
        Live = "live",
        /// The turn had ended; it was sent again.
        Replayed = "replayed",
        /// The conversation has no turn to replay; it was only subscribed to.
        Idle = "idle",
        /// The turn is unknown or too old.
        Unavailable = "unavailable",
        /// Somebody else's, or the store cannot be asked.
        Refused = "refused",
    }

    /// What the store was asked for.
    StoreOperation {
        Read = "read",
        Write = "write",
    }
}

impl AuthResult {
    pub fn of(outcome: Result<(), ErrorCode>) -> Self {
        match outcome {
            Ok(()) => Self::Success,
            Err(ErrorCode::InvalidCredentials) => Self::InvalidCredentials,
            Err(ErrorCode::InvalidToken) => Self::InvalidToken,
            Err(ErrorCode::ExpiredToken) => Self::ExpiredToken,
            Err(ErrorCode::RateLimited | ErrorCode::TooManyConnections) => Self::Limited,
            Err(ErrorCode::Overloaded) => Self::Overloaded,
            Err(_) => Self::Refused,
        }
    }
}

impl ClientClose {
    /// Of the code in the peer's close frame.
    pub fn of(code: Option<u16>) -> Self {
        match code {
            None => Self::NoCode,
            Some(1000) => Self::Normal,
            Some(1001) => Self::GoingAway,
            Some(_) => Self::Other,
        }
    }
}

macro_rules! known_labels {
    ($($name:ident, $value:path;)*) => {$(
        impl Label for $name {
            const ALL: &'static [Self] = $name::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> &'static str {
                $value(self)
            }
        }
    )*};
}

known_labels! {
    CloseReason, CloseReason::as_str;
    Dialect, Dialect::subprotocol;
    ErrorCode, ErrorCode::as_str;
    ProviderErrorKind, ProviderErrorKind::as_str;
}

impl Label for FinishReason {
    const ALL: &'static [Self] = &FinishReason::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check<L: Label + std::fmt::Debug>() {
        let values: HashSet<_> = L::ALL.iter().map(|label| label.value()).collect();
        assert_eq!(values.len(), L::ALL.len(), "{values:?}");
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index, "{label:?}");
        }
    }

    #[test]
    fn each_value_has_a_place_and_a_name_of_its_own() {
        check::<AuthWay>();
        check::<AuthResult>();
        check::<CloseReason>();
        check::<Dialect>();
        check::<ErrorCode>();
        check::<FinishReason>();
        check::<ClientClose>();
        check::<ModelTask>();
        check::<ProviderErrorKind>();
        check::<Resumption>();
        check::<StoreOperation>();
        check::<Surface>();
        check::<TurnStep>();
    }
}
