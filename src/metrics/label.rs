//! Labels of series. The values of a label are the variants of a type, so that clients cannot create series.

use crate::domain::{FinishReason, ModelTask, ProviderErrorKind};
use switchboard_protocol::{CloseReason, Dialect, ErrorCode};

/// A label with a fixed set of values.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    /// Index of the value in [`Label::ALL`].
    fn index(self) -> usize;

    /// Name of the value in the exposition.
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
    /// Method of authentication.
    AuthWay {
        /// Token or ticket, in a frame or in the upgrade request.
        Socket = "socket",
        /// E-mail and password.
        Login = "login",
        /// Registration of an account.
        Register = "register",
        /// Refresh token.
        Refresh = "refresh",
    }

    /// Outcome of an attempt to authenticate.
    AuthResult {
        Success = "success",
        InvalidCredentials = "invalid_credentials",
        InvalidToken = "invalid_token",
        ExpiredToken = "expired_token",
        /// Too many attempts, or too many connections.
        Limited = "limited",
        /// The server is busy, or the store is unavailable.
        Overloaded = "overloaded",
        /// An existing account, a weak password or similar.
        Refused = "refused",
    }

    /// Way in which a client closed its connection.
    ClientClose {
        Normal = "1000",
        GoingAway = "1001",
        /// A close frame without a code.
        NoCode = "1005",
        /// Another close code.
        Other = "other",
        /// The connection ended without a close frame.
        Lost = "1006",
    }

    /// Channel on which an error was reported.
    Surface {
        /// An `error` or `auth_error` frame that is not the end of a turn.
        Socket = "socket",
        /// Body of an HTTP response.
        Http = "http",
        /// End of a turn, counted once for all subscribers.
        Turn = "turn",
    }

    /// Step of a turn.
    TurnStep {
        /// From the question to its permit and to the disk.
        Admit = "admit",
        Classify = "classify",
        Retrieve = "retrieve",
        Generate = "generate",
        Record = "record",
    }

    /// Purpose of a request to the models of a search.
    SearchTask {
        /// The vector of a question.
        Question = "question",
        /// The vectors of passages.
        Passages = "passages",
        /// The vectors of the built-in questions that similarities are calibrated with.
        Probes = "probes",
        /// The order of passages.
        Rerank = "rerank",
    }

    /// Outcome of such a request.
    SearchOutcome {
        Ok = "ok",
        Failed = "failed",
        /// It was not sent, since the server had failed before.
        Skipped = "skipped",
    }

    /// Kind of tokens of a request to a model. No token is of two kinds.
    TokenKind {
        /// Part of the prompt that the model server had not cached.
        Prompt = "prompt",
        CachedPrompt = "cached_prompt",
        /// The answer, with its reasoning.
        Completion = "completion",
    }

    /// Outcome of a request to resume.
    Resumption {
        /// The turn is running.
        Live = "live",
        /// The turn had ended and was replayed.
        Replayed = "replayed",
        /// The conversation has no turn to replay; the connection was subscribed to it.
        Idle = "idle",
        /// The events of a conversation follow the position that the client named.
        Events = "events",
        /// The client missed too many events and starts near the latest one.
        Snapshot = "snapshot",
        /// The turn is unknown or too old.
        Unavailable = "unavailable",
        /// The user has no access, or the store is unavailable.
        Refused = "refused",
    }

    /// Operation of the store.
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
    /// Maps the code of the client's close frame.
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
    ModelTask, ModelTask::as_str;
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
    fn values_have_distinct_indices_and_names() {
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
        check::<TokenKind>();
        check::<TurnStep>();
    }
}
