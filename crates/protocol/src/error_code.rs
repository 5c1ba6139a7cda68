//! The table of error codes, shared by WebSocket frames, REST bodies and `docs/WEBSOCKET.md`.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $status:literal, $retryable:literal, $when:literal;)*) => {
        /// Stable code of an error, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $(#[doc = $when] #[serde(rename = $code)] $variant,)*
        }

        impl ErrorCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the code as sent on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Returns the HTTP status of a REST response with this code.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Whether repeating the unchanged request may succeed.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable),* }
            }

            /// Returns the condition under which the code is sent, for the documentation.
            pub const fn when(self) -> &'static str {
                match self { $(Self::$variant => $when),* }
            }
        }
    };
}

error_codes! {
    AuthRequired = "AUTH_REQUIRED", 401, false, "the request or frame needs authentication";
    AuthExpired = "AUTH_EXPIRED", 401, true, "the connection's token has expired; send `auth` with a new one and try again";
    InvalidToken = "INVALID_TOKEN", 401, false, "the token is malformed, not issued by this server, or of the wrong kind";
    ExpiredToken = "EXPIRED_TOKEN", 401, false, "the token has expired or was revoked";
    InvalidCredentials = "INVALID_CREDENTIALS", 401, false, "the e-mail address or the password is wrong";
    AccountLocked = "ACCOUNT_LOCKED", 403, false, "the credentials are right, but an operator has locked the account";
    Forbidden = "FORBIDDEN", 403, false, "the caller has no access to the conversation or turn, is not an operator, or sends from an origin that is not allowed";
    HostNotAllowed = "HOST_NOT_ALLOWED", 421, false, "`Host` is missing, malformed, or names a host that is not in `server.allowed_hosts`";
    EmptyMessage = "EMPTY_MESSAGE", 422, false, "the message contains only white space or invisible characters";
    MessageTooLong = "MESSAGE_TOO_LONG", 413, false, "a size limit is exceeded; the error names it";
    InvalidJson = "INVALID_JSON", 400, false, "the frame or body is not one JSON object; the error names the position";
    InvalidField = "INVALID_FIELD", 422, false, "a field is missing or invalid; the error names it";
    UnknownType = "UNKNOWN_TYPE", 400, false, "the frame's `type` is not part of the protocol";
    UnknownSubprotocol = "UNKNOWN_SUBPROTOCOL", 400, false, "the upgrade offers no supported subprotocol";
    UpgradeRequired = "UPGRADE_REQUIRED", 426, false, "a WebSocket route was requested without a WebSocket handshake; the error names the missing header";
    NotFound = "NOT_FOUND", 404, false, "the object does not exist or is not visible to the caller";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, false, "the route does not support this HTTP method";
    RequestTimeout = "REQUEST_TIMEOUT", 408, true, "the request took too long to arrive";
    EmailTaken = "EMAIL_TAKEN", 409, false, "an account with this e-mail address already exists";
    WeakPassword = "WEAK_PASSWORD", 422, false, "the password is too short, too long or too easy to guess; the error gives the reason";
    TurnInProgress = "TURN_IN_PROGRESS", 409, true, "a turn is still running in the conversation";
    ResumeUnavailable = "RESUME_UNAVAILABLE", 410, false, "the turn is unknown or too old to resume; the history has its answer";
    TurnInterrupted = "TURN_INTERRUPTED", 502, true, "the server or the model stopped before the answer was complete";
    RateLimited = "RATE_LIMITED", 429, true, "too many requests; try again after `retry_after_ms`";
    BudgetExceeded = "BUDGET_EXCEEDED", 429, true, "the user's daily budget of tokens or cost is used up; it is renewed at `resets_at_ms`, after `retry_after_ms`";
    TooManyConnections = "TOO_MANY_CONNECTIONS", 429, true, "the user or the address has too many connections";
    Overloaded = "OVERLOADED", 503, true, "the server is at a limit or draining, or its store is unavailable; try again after `retry_after_ms`";
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", 502, true, "the model's provider failed, is overloaded or is unreachable";
    UpstreamRefused = "UPSTREAM_REFUSED", 502, false, "the model's provider rejects this message, or all requests until an operator acts (key, credit, model)";
    ContextTooLong = "CONTEXT_TOO_LONG", 413, false, "the conversation and the message exceed the model's context";
    UpstreamTimeout = "UPSTREAM_TIMEOUT", 504, true, "the model's provider did not respond in time";
    ProcessingError = "PROCESSING_ERROR", 500, true, "any other failure; `correlation_id` identifies it in the server's log";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
