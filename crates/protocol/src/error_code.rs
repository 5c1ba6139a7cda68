//! The one table of errors. WebSocket frames, REST bodies and `docs/WEBSOCKET.md` all read it.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $status:literal, $retryable:literal, $when:literal;)*) => {
        /// What went wrong, as clients match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $(#[doc = $when] #[serde(rename = $code)] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the docs.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The HTTP status of a REST answer that carries it.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Whether the same request may succeed later, unchanged.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable),* }
            }

            /// When it is sent, for the docs.
            pub const fn when(self) -> &'static str {
                match self { $(Self::$variant => $when),* }
            }
        }
    };
}

error_codes! {
    AuthRequired = "AUTH_REQUIRED", 401, false, "a message before authentication";
    AuthExpired = "AUTH_EXPIRED", 401, true, "the token's time is over; send `auth` with a new one, then try again";
    InvalidToken = "INVALID_TOKEN", 401, false, "the token is not one of ours, or not of this kind";
    ExpiredToken = "EXPIRED_TOKEN", 401, false, "the token was over before it was used to sign in";
    InvalidCredentials = "INVALID_CREDENTIALS", 401, false, "no account has this e-mail and this password";
    AccountLocked = "ACCOUNT_LOCKED", 403, false, "the e-mail and the password are right, and an operator has locked the account";
    Forbidden = "FORBIDDEN", 403, false, "not this user's conversation, or not an operator";
    HostNotAllowed = "HOST_NOT_ALLOWED", 421, false, "`Host` is missing, malformed, or names a host that is not in `server.allowed_hosts`";
    EmptyMessage = "EMPTY_MESSAGE", 422, false, "nothing but white space";
    MessageTooLong = "MESSAGE_TOO_LONG", 413, false, "over the limit of size; the error says which";
    InvalidJson = "INVALID_JSON", 400, false, "not one JSON object; the error says where";
    InvalidField = "INVALID_FIELD", 422, false, "a field is missing or wrong; the error names it";
    UnknownType = "UNKNOWN_TYPE", 400, false, "a frame whose `type` is not in this protocol";
    UnknownSubprotocol = "UNKNOWN_SUBPROTOCOL", 400, false, "none of the subprotocols that the upgrade offers is ours";
    UpgradeRequired = "UPGRADE_REQUIRED", 426, false, "an address for WebSockets, and no WebSocket handshake; the error names the header";
    NotFound = "NOT_FOUND", 404, false, "no such thing, or not for this user";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, false, "the address does not take this HTTP method";
    RequestTimeout = "REQUEST_TIMEOUT", 408, true, "the request did not come in time";
    EmailTaken = "EMAIL_TAKEN", 409, false, "an account has this e-mail already";
    WeakPassword = "WEAK_PASSWORD", 422, false, "too easy to guess; the error says why";
    TurnInProgress = "TURN_IN_PROGRESS", 409, true, "the conversation's turn is still running";
    ResumeUnavailable = "RESUME_UNAVAILABLE", 410, false, "the turn is unknown or too old; history has the answer";
    TurnInterrupted = "TURN_INTERRUPTED", 502, true, "the server or the model ended before the answer did";
    RateLimited = "RATE_LIMITED", 429, true, "too many requests; `retry_after_ms` says when to try again";
    TooManyConnections = "TOO_MANY_CONNECTIONS", 429, true, "of this user, or of this address";
    Overloaded = "OVERLOADED", 503, true, "no room for this work now, or the store cannot take it; `retry_after_ms` says when to try again";
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", 502, true, "the model's server broke, is overloaded or could not be reached";
    UpstreamRefused = "UPSTREAM_REFUSED", 502, false, "the model's server refuses the request until an operator acts (key, credit, model), or refuses this message";
    ContextTooLong = "CONTEXT_TOO_LONG", 413, false, "the conversation and the message do not fit into the model's context";
    UpstreamTimeout = "UPSTREAM_TIMEOUT", 504, true, "the model's server was silent for too long";
    ProcessingError = "PROCESSING_ERROR", 500, true, "anything else; `correlation_id` finds it in the server's log";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
