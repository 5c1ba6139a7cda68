//! Responses to requests that never reach the application: malformed ones, those with a head that is too large or late, and those
//! on a connection over the limit of its address.
//!
//! The first three are made by actix-http, without a body and without saying that the connection ends, and it then closes the
//! connection at once. If something is still unread, closing sends RST, and the client may lose the response. No hook of
//! actix-http can change that, so [`Accepted`](super::accepted::Accepted) looks for them in what is written, and replaces them.

use crate::{
    limits::{DISCONNECT_TIMEOUT, REFUSED_REQUEST_LOG_INTERVAL},
    logging::LogInterval,
    metrics::{Metrics, Surface},
};
use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_http::{StatusCode, error::DispatchError};
use actix_web::{
    rt::{
        net::TcpStream,
        time::{Sleep, sleep},
    },
    web::{Buf, Bytes},
};
use serde_json::json;
use socket2::SockRef;
use std::{
    future::Future,
    io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};
use switchboard_protocol::ErrorCode;
use uuid::Uuid;

/// Maximum length of a response that actix-http makes, in bytes: its status line, length, connection and date.
const MAX_BYTES: usize = 192;
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

/// Reason for refusing what a connection sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    HeadTooLarge,
    HeadTimeout,
    TooManyConnections,
}

impl Refusal {
    /// The refusals that actix-http makes.
    const BY_ACTIX: [Self; 3] = [Self::Malformed, Self::HeadTooLarge, Self::HeadTimeout];

    pub fn code(self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::InvalidField,
            Self::HeadTooLarge => ErrorCode::MessageTooLong,
            Self::HeadTimeout => ErrorCode::RequestTimeout,
            Self::TooManyConnections => ErrorCode::TooManyConnections,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "This is not a valid HTTP request. If it was sent with https: this port speaks plain HTTP."
            }
            Self::HeadTooLarge => {
                "The request line and the headers are too large together. Send fewer or shorter headers."
            }
            Self::HeadTimeout => "The head of the request did not arrive in time.",
            Self::TooManyConnections => {
                "There are too many connections from your address. Close some, or try again later."
            }
        }
    }

    /// Returns the whole response, head and body.
    pub fn response(self) -> Bytes {
        let (status, code) = (self.status(), self.code());
        let mut body = json!({
            "error": self.message(), "code": code, "retryable": code.is_retryable(), "correlation_id": Uuid::now_v7(),
        });
        let mut retry_after = "";
        if self == Self::TooManyConnections {
            body["retry_after_ms"] = json!(1_000);
            retry_after = "retry-after: 1\r\n";
        }
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {} {}\r\nconnection: close\r\n{retry_after}cache-control: no-store\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            body.len()
        );
        Bytes::from(head + &body)
    }

    /// Finds a response of actix-http at the end of `written`; returns where it begins, and the refusal.
    fn find(written: &[u8]) -> Option<(usize, Self)> {
        if !written.ends_with(b"\r\n\r\n") {
            return None;
        }
        let from = written.len().saturating_sub(MAX_BYTES);
        let last = &written[from..];
        let start = last.windows(STATUS_LINE.len()).rposition(|bytes| bytes == STATUS_LINE)?;
        let mut lines = std::str::from_utf8(&last[start..]).ok()?.split("\r\n");
        let status = lines.next()?.get(STATUS_LINE.len()..)?.split(' ').next()?;
        // The application's responses have other headers, too.
        let is_actix = lines.next() == Some("content-length: 0")
            && lines.all(|line| line.is_empty() || line.starts_with("date: ") || line.starts_with("connection: "));
        let refusal = Self::BY_ACTIX.into_iter().find(|refusal| refusal.status().as_str() == status)?;
        is_actix.then_some((from + start, refusal))
    }
}

/// Counts refusals, and logs them at a bounded rate, because any client can cause them.
pub(super) struct RefusalCount {
    metrics: Arc<Metrics>,
    logged: LogInterval,
}

impl RefusalCount {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, logged: LogInterval::new(REFUSED_REQUEST_LOG_INTERVAL) }
    }

    fn record(&self, refusal: Refusal) {
        self.metrics.errors.increment(Surface::Http, refusal.code());
        if refusal == Refusal::HeadTimeout {
            return;
        }
        if let Some(suppressed) = self.logged.due(Instant::now()) {
            log::warn!(
                suppressed, code = refusal.code().as_str();
                "refused what is not an HTTP request; if a proxy in front of the server sends it, let it use plain HTTP/1.1"
            );
        }
    }
}

/// Logs an error that ended a connection, unless a client can cause it: by leaving, by being slow, or by what it sends, which a
/// [`RefusalCount`] has recorded.
pub(super) fn log_end(error: &DispatchError) {
    match error {
        DispatchError::Io(_)
        | DispatchError::Parse(_)
        | DispatchError::SlowRequestTimeout
        | DispatchError::DisconnectTimeout => {}
        error => log::error!("a connection ended with an error: {error}"),
    }
}

/// The write of a replaced response, and the lingering close after it.
pub(super) struct Refusing {
    unsent: Bytes,
    /// Number of bytes written by actix-http that this replaces.
    replaced: usize,
    deadline: Pin<Box<Sleep>>,
    is_shut: bool,
}

impl Refusing {
    /// Starts the replacement if `written` ends in a response that actix-http has made.
    pub fn begin(written: &[u8], count: &RefusalCount) -> Option<Box<Self>> {
        let (start, refusal) = Refusal::find(written)?;
        count.record(refusal);
        let unsent = [&written[..start], &refusal.response()].concat().into();
        let deadline = Box::pin(sleep(DISCONNECT_TIMEOUT));
        Some(Box::new(Self { unsent, replaced: written.len(), deadline, is_shut: false }))
    }

    /// Sends the response, then reads and discards until the client closes or the deadline has passed. Returns the number of bytes
    /// that it replaces.
    pub fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(self.replaced));
        }
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        if !self.is_shut {
            SockRef::from(&*stream).shutdown(Shutdown::Write)?;
            self.is_shut = true;
        }
        let mut discarded = [0; 2_048];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            // Fails when the client has reset the connection.
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(self.replaced));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const ACTIX: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: Fri, 27 Nov 2026 09:00:00 GMT\r\n\r\n";

    #[test]
    fn responses_of_actix_are_found_at_the_end() {
        assert_eq!(Refusal::find(ACTIX.as_bytes()), Some((0, Refusal::Malformed)));
        let pipelined = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{ACTIX}");
        assert_eq!(Refusal::find(pipelined.as_bytes()), Some((pipelined.len() - ACTIX.len(), Refusal::Malformed)));
        let closing =
            ACTIX.replace("date", "connection: close\r\ndate").replace("400 Bad Request", "408 Request Timeout");
        assert_eq!(Refusal::find(closing.as_bytes()), Some((0, Refusal::HeadTimeout)));
        let large = ACTIX.replace("400 Bad Request", "431 Request Header Fields Too Large");
        assert_eq!(Refusal::find(large.as_bytes()), Some((0, Refusal::HeadTooLarge)));
        for other in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
            &ACTIX.replace("400 Bad Request", "404 Not Found"),
            &ACTIX.replace("content-length: 0", "content-length: 9"),
            &ACTIX.replace("date", "cache-control: no-store\r\ndate"),
            &format!("{ACTIX}more"),
            &ACTIX.replacen("\r\n\r\n", "\r\n", 1),
        ] {
            assert_eq!(Refusal::find(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn every_refusal_has_an_error_body_of_its_length() {
        for refusal in [Refusal::BY_ACTIX.as_slice(), &[Refusal::TooManyConnections]].concat() {
            let response = refusal.response();
            let text = std::str::from_utf8(&response).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["code"], refusal.code().as_str());
            assert!(body["error"].is_string() && body["correlation_id"].is_string(), "{body}");
            assert_eq!(body["retryable"].as_bool(), Some(refusal.code().is_retryable()));
        }
    }
}
