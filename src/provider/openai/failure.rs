//! Whose fault a failure is, and whether a second try is safe.
//!
//! Decided by status, headers and machine-readable codes, never by the text of a message. That text does not go into
//! `detail` either: servers echo prompts in it, and what users write is not for the log.

use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use reqwest::{StatusCode, header::HeaderMap, header::RETRY_AFTER};
use serde_json::Value;
use std::{
    error::Error,
    time::{Duration, SystemTime},
};

/// Longer than this is not waited for; the client is told instead.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2);
/// The shortest back-off; jitter adds up to as much again.
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest code of an upstream that is taken over.
const MAX_CODE_BYTES: usize = 64;

/// A failure on its way out of this provider.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: ProviderError,
    pub retry: Retry,
}

/// Whether the same request may be sent again while nothing of an answer was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    AfterBackoff,
    /// The server said when.
    After(Duration),
}

impl Retry {
    /// How long to wait before the second try.
    pub fn wait(self) -> Option<Duration> {
        // Jitter only spreads the load; without randomness it is merely less spread.
        let jitter = |span: Duration| span.mul_f64(f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX));
        match self {
            Self::Never => None,
            Self::AfterBackoff => Some(BACKOFF + jitter(BACKOFF)),
            Self::After(wait) => (wait <= MAX_RETRY_WAIT).then(|| wait + jitter(BACKOFF)),
        }
    }
}

impl Failure {
    pub fn timeout(detail: &str) -> Self {
        Self { error: ProviderError::new(Kind::Timeout, detail), retry: Retry::Never }
    }

    pub fn broken(detail: &str, retry: Retry) -> Self {
        Self { error: ProviderError::new(Kind::Broken, detail), retry }
    }

    /// The connection failed, before the answer or within it.
    pub fn from_transport(err: &reqwest::Error) -> Self {
        let (kind, retry) = if err.is_connect() {
            (Kind::Unavailable, Retry::AfterBackoff)
        } else if err.is_builder() {
            (Kind::Rejected, Retry::Never)
        } else {
            (Kind::Broken, Retry::AfterBackoff)
        };
        // Not the error itself: its text has the URL, and a URL may hold a password.
        let mut detail = "the connection failed".to_owned();
        let mut source = err.source();
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        Self { error: ProviderError::new(kind, detail), retry }
    }

    /// An answer with a status other than 2xx.
    pub fn from_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let asked = retry_after(headers, SystemTime::now());
        let (kind, retry) = of_status(status, asked);
        let hint = match status.as_u16() {
            300..=399 => " (redirects are not followed; check provider.base_url)",
            401 | 403 => " (check provider.api_key)",
            404 => " (check provider.base_url and provider.model)",
            _ => "",
        };
        let codes = serde_json::from_slice::<Value>(body).map(|body| codes(&body["error"])).unwrap_or_default();
        let mut error = ProviderError::new(kind, format!("status {}{hint}{codes}", status.as_u16()));
        error.retry_after_ms = asked.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self { error, retry }
    }

    /// An `error` member inside the stream or in an answer of status 200.
    pub fn from_error_member(error: &Value) -> Self {
        let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let status = status.and_then(|code| StatusCode::from_u16(code).ok()).filter(|status| status.as_u16() >= 400);
        let (kind, retry) = match status {
            Some(status) => of_status(status, None),
            None => of_codes(error["code"].as_str(), error["type"].as_str()),
        };
        Self { error: ProviderError::new(kind, format!("an error within the answer{}", codes(error))), retry }
    }
}

fn of_status(status: StatusCode, asked: Option<Duration>) -> (Kind, Retry) {
    match status.as_u16() {
        // Who says "slow down" without saying how long is not asked again at once.
        429 => (Kind::RateLimited, asked.map_or(Retry::Never, Retry::After)),
        500 | 502..=504 => (Kind::Unavailable, asked.map_or(Retry::AfterBackoff, Retry::After)),
        501 | 505.. => (Kind::Unavailable, Retry::Never),
        408 => (Kind::Timeout, Retry::Never),
        _ => (Kind::Rejected, Retry::Never),
    }
}

fn of_codes(code: Option<&str>, kind: Option<&str>) -> (Kind, Retry) {
    let of = |code: &str| match code {
        "rate_limit_exceeded" | "rate_limit_error" => Some((Kind::RateLimited, Retry::Never)),
        "server_error" | "api_error" | "overloaded_error" | "unavailable_error" => {
            Some((Kind::Unavailable, Retry::AfterBackoff))
        }
        "invalid_request_error"
        | "authentication_error"
        | "permission_error"
        | "not_found_error"
        | "insufficient_quota" => Some((Kind::Rejected, Retry::Never)),
        _ => None,
    };
    code.and_then(of).or_else(|| kind.and_then(of)).unwrap_or((Kind::Broken, Retry::Never))
}

/// The codes of an error object, for the log.
fn codes(error: &Value) -> String {
    let mut text = String::new();
    for key in ["type", "code", "param"] {
        let value = match &error[key] {
            Value::String(value) => value.clone(),
            Value::Number(value) => value.to_string(),
            _ => continue,
        };
        // What looks like a sentence is a message, whatever it is called.
        let is_code = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if value.len() <= MAX_CODE_BYTES && value.chars().all(is_code) {
            text.push_str(&format!(", {key} {value}"));
        }
    }
    text
}

/// What the server asks us to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|value| value.parse().ok()) {
        return Some(Duration::from_millis(ms));
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(code: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Failure::from_status(StatusCode::from_u16(code).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn statuses_map_by_whose_fault_it_is() {
        for (code, kind, retry) in [
            (302, Kind::Rejected, Retry::Never),
            (400, Kind::Rejected, Retry::Never),
            (401, Kind::Rejected, Retry::Never),
            (404, Kind::Rejected, Retry::Never),
            (408, Kind::Timeout, Retry::Never),
            (429, Kind::RateLimited, Retry::Never),
            (500, Kind::Unavailable, Retry::AfterBackoff),
            (501, Kind::Unavailable, Retry::Never),
            (503, Kind::Unavailable, Retry::AfterBackoff),
            (504, Kind::Unavailable, Retry::AfterBackoff),
        ] {
            let failure = status(code, &[], "");
            assert_eq!((failure.error.kind, failure.retry), (kind, retry), "{code}");
        }
    }

    #[test]
    fn what_the_server_asks_us_to_wait_is_obeyed_when_it_is_short() {
        let short = status(429, &[("retry-after", "1")], "");
        assert_eq!(short.error.retry_after_ms, Some(1_000));
        let wait = short.retry.wait().unwrap();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(1) + BACKOFF, "{wait:?}");

        let long = status(429, &[("retry-after", "60")], "");
        assert_eq!((long.error.retry_after_ms, long.retry.wait()), (Some(60_000), None));
        assert_eq!(status(503, &[("retry-after", "60")], "").retry.wait(), None);
        assert_eq!(status(429, &[("retry-after-ms", "20"), ("retry-after", "9")], "").error.retry_after_ms, Some(20));

        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 11:00:00 GMT").unwrap();
        let headers = |date: &str| [(RETRY_AFTER, date.parse().unwrap())].into_iter().collect::<HeaderMap>();
        assert_eq!(retry_after(&headers("Mon, 23 Nov 2026 11:00:07 GMT"), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("Mon, 23 Nov 2026 10:00:00 GMT"), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("soon"), now), None);
    }

    #[test]
    fn detail_has_codes_but_never_the_message() {
        let body = json!({"error": {"message": "you said: my secret", "type": "invalid_request_error",
            "code": "context_length_exceeded", "param": "a sentence is no code"}});
        let detail = status(400, &[], &body.to_string()).error.detail;
        assert_eq!(detail, "status 400, type invalid_request_error, code context_length_exceeded");
    }

    #[test]
    fn errors_within_the_answer_map_by_code_then_by_type() {
        for (error, kind) in [
            (json!({"code": 429}), Kind::RateLimited),
            (json!({"code": 502, "message": "x"}), Kind::Unavailable),
            (json!({"code": 400, "type": "server_error"}), Kind::Rejected),
            (json!({"code": "rate_limit_exceeded"}), Kind::RateLimited),
            (json!({"code": null, "type": "server_error"}), Kind::Unavailable),
            (json!({"code": 7}), Kind::Broken),
            (json!("a text"), Kind::Broken),
        ] {
            assert_eq!(Failure::from_error_member(&error).error.kind, kind, "{error}");
        }
    }
}
