//! Failure of a request: its kind, whether a retry is safe, and which parameters the server rejected.
//!
//! `diagnosis` determines the kind of a reported error. Its message is not copied into `detail`: servers echo prompts in it,
//! and user text must not be logged.

use super::{diagnosis::ErrorReport, parameters::Parameters, retry::Retry};
use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use reqwest::{StatusCode, header::HeaderMap, header::RETRY_AFTER};
use std::{
    error::Error,
    time::{Duration, SystemTime},
};

/// Failure with the possible reactions to it.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: ProviderError,
    /// Status of the response, if it is the reason for the failure.
    pub status: Option<StatusCode>,
    pub retry: Retry,
    /// Parameters that the server rejected. The request can be repeated at once without them.
    pub rejected: Parameters,
    /// Whether the server rejects them in every request, rather than only in this one.
    pub rejects_always: bool,
}

impl Failure {
    pub fn new(kind: Kind, detail: &str, retry: Retry) -> Self {
        let error = ProviderError::new(kind, detail);
        Self { error, status: None, retry, rejected: Parameters::EMPTY, rejects_always: false }
    }

    pub fn timeout(detail: &str) -> Self {
        Self::new(Kind::Timeout, detail, Retry::Never)
    }

    pub fn broken(detail: &str, retry: Retry) -> Self {
        Self::new(Kind::Broken, detail, retry)
    }

    /// Converts a connection error, before or during the response.
    pub fn from_transport(err: &reqwest::Error) -> Self {
        let (kind, retry) = if err.is_connect() {
            (Kind::Unavailable, Retry::AfterBackoff)
        } else if err.is_builder() {
            (Kind::Rejected, Retry::Never)
        } else {
            (Kind::Broken, Retry::AfterBackoff)
        };
        // Leaves out the outermost error: its text contains the URL, which may hold a password.
        let mut detail = "the connection failed".to_owned();
        let mut source = err.source();
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        Self::new(kind, &detail, retry)
    }

    /// Converts a response with a status other than 2xx.
    pub fn from_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let retry_after = retry_after(headers, SystemTime::now());
        let report = ErrorReport::new(Some(status.as_u16()), &String::from_utf8_lossy(body));
        let hint = match status.as_u16() {
            300..=399 => " (redirects are not followed; check provider.base_url)",
            _ => "",
        };
        let detail = format!("status {}{hint}{}", status.as_u16(), report.codes());
        let mut failure = Self::from_report(&report, &detail, retry_after.map_or(Retry::AfterBackoff, Retry::After));
        failure.status = Some(status);
        failure.error.retry_after_ms = retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        failure
    }

    /// Converts an error reported inside a response of status 200. `body`: JSON or plain text.
    pub fn within_answer(body: &str) -> Self {
        let report = ErrorReport::new(None, body);
        Self::from_report(&report, &format!("error event in the answer{}", report.codes()), Retry::AfterBackoff)
    }

    fn from_report(report: &ErrorReport, detail: &str, retry: Retry) -> Self {
        let (kind, retry) = report.diagnose(retry);
        let (rejected, rejects_always) = report.rejected(kind);
        Self { rejected, rejects_always, ..Self::new(kind, detail, retry) }
    }
}

/// Reads the delay that the server asks for: `retry-after-ms`, or `Retry-After` in seconds or as a date.
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
    fn statuses_map_to_kinds_and_retry_policies() {
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
    fn a_short_retry_after_is_obeyed_and_a_long_one_passed_on() {
        let short = status(429, &[("retry-after", "1")], "");
        assert_eq!(short.error.retry_after_ms, Some(1_000));
        let delay = short.retry.delay().unwrap();
        assert!(
            delay >= Duration::from_secs(1)
                && delay <= Duration::from_secs(1) + crate::provider::openai::retry::BACKOFF,
            "{delay:?}"
        );

        let long = status(429, &[("retry-after", "60")], "");
        assert_eq!((long.error.retry_after_ms, long.retry.delay()), (Some(60_000), None));
        assert_eq!(status(503, &[("retry-after", "60")], "").retry.delay(), None);
        assert_eq!(status(429, &[("retry-after-ms", "20"), ("retry-after", "9")], "").error.retry_after_ms, Some(20));

        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 11:00:00 GMT").unwrap();
        let headers = |date: &str| [(RETRY_AFTER, date.parse().unwrap())].into_iter().collect::<HeaderMap>();
        assert_eq!(retry_after(&headers("Mon, 23 Nov 2026 11:00:07 GMT"), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("Mon, 23 Nov 2026 10:00:00 GMT"), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("soon"), now), None);
    }

    #[test]
    fn detail_contains_codes_but_never_the_message() {
        let body = json!({"error": {"message": "you said: my secret", "type": "invalid_request_error",
            "code": "context_length_exceeded", "param": "a sentence is no code"}});
        let detail = status(400, &[], &body.to_string()).error.detail;
        assert_eq!(detail, "status 400, type invalid_request_error, code context_length_exceeded");
    }
}
