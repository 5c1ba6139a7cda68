//! A failure on its way out of this provider: its kind, and whether a second try is safe.
//!
//! `diagnosis` finds out whose fault an error is that the server reports. Its text does not go into `detail`: servers echo prompts
//! in it, and what users write is not for the log.

use super::{diagnosis::Report, parameters::Parameters};
use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use reqwest::{StatusCode, header::HeaderMap, header::RETRY_AFTER};
use std::{
    error::Error,
    time::{Duration, SystemTime},
};

/// Longer than this is not waited for; the client is told instead.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2);
/// The shortest back-off; jitter adds up to as much again.
const BACKOFF: Duration = Duration::from_millis(200);

/// A failure, with what can be done about it.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: ProviderError,
    pub retry: Retry,
    /// The parameters that the server refused: without them, the request may be sent again at once.
    pub refused: Parameters,
    /// The server refuses them in every request, not only in this one.
    pub refuses_always: bool,
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
    pub fn new(kind: Kind, detail: &str, retry: Retry) -> Self {
        let error = ProviderError::new(kind, detail);
        Self { error, retry, refused: Parameters::NONE, refuses_always: false }
    }

    pub fn timeout(detail: &str) -> Self {
        Self::new(Kind::Timeout, detail, Retry::Never)
    }

    pub fn broken(detail: &str, retry: Retry) -> Self {
        Self::new(Kind::Broken, detail, retry)
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
        Self::new(kind, &detail, retry)
    }

    /// An answer with a status other than 2xx.
    pub fn from_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let asked = retry_after(headers, SystemTime::now());
        let report = Report::new(Some(status.as_u16()), &String::from_utf8_lossy(body));
        let hint = match status.as_u16() {
            300..=399 => " (redirects are not followed; check provider.base_url)",
            _ => "",
        };
        let detail = format!("status {}{hint}{}", status.as_u16(), report.codes());
        let mut failure = Self::from_report(&report, &detail, asked.map_or(Retry::AfterBackoff, Retry::After));
        failure.error.retry_after_ms = asked.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        failure
    }

    /// An error that is reported inside an answer of status 200. `reported`: JSON, or the text of the error.
    pub fn within_answer(reported: &str) -> Self {
        let report = Report::new(None, reported);
        Self::from_report(&report, &format!("an error within the answer{}", report.codes()), Retry::AfterBackoff)
    }

    fn from_report(report: &Report, detail: &str, retry: Retry) -> Self {
        let (kind, retry) = report.diagnose(retry);
        let (refused, refuses_always) = report.refused(kind);
        Self { refused, refuses_always, ..Self::new(kind, detail, retry) }
    }
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
            (401, Kind::Unauthorized, Retry::Never),
            (402, Kind::OutOfCredit, Retry::Never),
            (404, Kind::UnknownModel, Retry::Never),
            (408, Kind::Timeout, Retry::Never),
            (413, Kind::ContextTooLong, Retry::Never),
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
}
