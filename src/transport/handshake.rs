//! The server side of the opening handshake (RFC 6455, section 4.2).
//!
//! It replaces that of actix-http, which reads only the first line of a repeated header, and whose errors do not name a missing
//! one. Usually a proxy has dropped it.

use actix_http::ws::hash_key;
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode, Version,
        header::{
            CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
        },
    },
};
use switchboard_protocol::{ApiError, ErrorCode};

/// Length of `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 24;
/// Protocol versions with the frame format of 13, the only published one.
const VERSIONS: [&str; 3] = ["13", "8", "7"];

/// Checks that a request is a WebSocket handshake.
///
/// # Errors
/// `UPGRADE_REQUIRED`, naming the missing headers, or `INVALID_FIELD`.
pub fn check(request: &HttpRequest) -> Result<(), ApiError> {
    key(request).map(|_| ())
}

/// Builds the response that accepts a handshake, with the chosen subprotocol, if any.
///
/// # Errors
/// As [`check`].
pub fn accept(request: &HttpRequest, subprotocol: Option<&str>) -> Result<HttpResponseBuilder, ApiError> {
    let accepted = hash_key(key(request)?);
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    response.upgrade("websocket").insert_header((SEC_WEBSOCKET_ACCEPT, accepted.as_slice()));
    if let Some(subprotocol) = subprotocol {
        response.insert_header((SEC_WEBSOCKET_PROTOCOL, subprotocol));
    }
    Ok(response)
}

fn key(request: &HttpRequest) -> Result<&[u8], ApiError> {
    let headers = request.headers();
    check_upgrade(headers)?;
    // actix-http would treat the connection as the body, with the frames of both sides in its chunks.
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(ApiError::invalid_field("Transfer-Encoding", "must be absent: a WebSocket handshake has no body"));
    }
    if headers.get_all(CONTENT_LENGTH).any(|length| length.as_bytes() != b"0") {
        return Err(ApiError::invalid_field("Content-Length", "must be absent: a WebSocket handshake has no body"));
    }
    if !lines(headers, &SEC_WEBSOCKET_VERSION).any(|version| VERSIONS.contains(&version)) {
        let reason = "The header `Sec-WebSocket-Version` must be 13.";
        return Err(ApiError::new(ErrorCode::UpgradeRequired, reason));
    }
    if request.version() != Version::HTTP_11 {
        let reason = "A WebSocket handshake must be HTTP/1.1, also from a proxy in front of the server.";
        return Err(ApiError::new(ErrorCode::UpgradeRequired, reason));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY);
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => Ok(key.as_bytes()),
        (Some(_), None) => Err(ApiError::invalid_field("Sec-WebSocket-Key", "must be 16 bytes in Base64")),
        _ => Err(ApiError::invalid_field("Sec-WebSocket-Key", "must be in a WebSocket handshake exactly once")),
    }
}

/// Whether a key is the Base64 form of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == KEY_BYTES && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_digit))
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    // actix-http upgrades a connection only for a line with `websocket` as its only value.
    let upgrades = lines(headers, &UPGRADE).any(|line| line.eq_ignore_ascii_case("websocket"));
    let connection = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let missing = match (upgrades, connection) {
        (true, true) => return Ok(()),
        (false, true) => "`Upgrade: websocket` is",
        (true, false) => "`Connection: Upgrade` is",
        (false, false) => "`Upgrade: websocket` and `Connection: Upgrade` are",
    };
    Err(ApiError::new(
        ErrorCode::UpgradeRequired,
        format!(
            "This address takes only WebSocket handshakes, and {missing} missing. Open it as a WebSocket; a proxy in front \
             of the server must speak HTTP/1.1 to it and pass on the headers `Upgrade` and `Connection`."
        ),
    ))
}

/// Iterates over the lines of a header that may be repeated.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).filter_map(|line| line.to_str().ok()).map(str::trim)
}

/// Iterates over the entries of a list header, on one line or several.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    lines(headers, name).flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    const WHOLE: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn request(headers: &[(&'static str, &'static str)]) -> HttpRequest {
        headers.iter().fold(TestRequest::get(), |request, header| request.append_header(*header)).to_http_request()
    }

    #[test]
    fn response_contains_the_accept_hash_and_the_subprotocol() {
        // The key of RFC 6455, 1.3.
        let response = accept(&request(&WHOLE), Some("chat.v2")).unwrap().finish();
        let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(header(SEC_WEBSOCKET_ACCEPT), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((header(UPGRADE), header(SEC_WEBSOCKET_PROTOCOL)), ("websocket", "chat.v2"));
        assert!(!accept(&request(&WHOLE), None).unwrap().finish().headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn headers_are_accepted_on_several_lines_and_in_any_case() {
        for more in [
            [("connection", "keep-alive"), ("connection", "UPGRADE")],
            [("upgrade", "h2c"), ("connection", "keep-alive, Upgrade")],
            [("upgrade", "WebSocket"), ("connection", "Upgrade")],
            [("sec-websocket-version", "12"), ("connection", "Upgrade")],
        ] {
            let headers: Vec<_> =
                more.into_iter().chain(WHOLE.into_iter().filter(|(name, _)| *name != "connection")).collect();
            assert!(check(&request(&headers)).is_ok(), "{headers:?}");
        }
    }

    #[test]
    fn error_names_the_missing_headers() {
        for (changed, value, code, named) in [
            ("upgrade", None, ErrorCode::UpgradeRequired, "`Upgrade: websocket` is missing"),
            ("upgrade", Some("h2c"), ErrorCode::UpgradeRequired, "`Upgrade: websocket` is missing"),
            ("upgrade", Some("h2c, websocket"), ErrorCode::UpgradeRequired, "`Upgrade: websocket` is missing"),
            ("connection", None, ErrorCode::UpgradeRequired, "`Connection: Upgrade` is missing"),
            ("connection", Some("keep-alive"), ErrorCode::UpgradeRequired, "`Connection: Upgrade` is missing"),
            ("sec-websocket-version", None, ErrorCode::UpgradeRequired, "`Sec-WebSocket-Version` must be 13"),
            ("sec-websocket-version", Some("14"), ErrorCode::UpgradeRequired, "`Sec-WebSocket-Version` must be 13"),
            ("sec-websocket-key", None, ErrorCode::InvalidField, "`Sec-WebSocket-Key`"),
            ("sec-websocket-key", Some(""), ErrorCode::InvalidField, "`Sec-WebSocket-Key`"),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j"), ErrorCode::InvalidField, "16 bytes in Base64"),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZSEh"), ErrorCode::InvalidField, "16 bytes in Base64"),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j!Q=="), ErrorCode::InvalidField, "16 bytes in Base64"),
            ("content-length", Some("5"), ErrorCode::InvalidField, "`Content-Length`"),
        ] {
            let mut headers: Vec<_> = WHOLE.into_iter().filter(|(name, _)| *name != changed).collect();
            headers.extend(value.map(|value| (changed, value)));
            let error = check(&request(&headers)).unwrap_err();
            assert_eq!(error.code, code, "{headers:?}");
            assert!(error.message.contains(named), "{headers:?}: {}", error.message);
        }
        let http_1_0 = TestRequest::get().version(Version::HTTP_10);
        let http_1_0 = WHOLE.iter().fold(http_1_0, |request, header| request.append_header(*header)).to_http_request();
        assert_eq!(check(&http_1_0).unwrap_err().code, ErrorCode::UpgradeRequired);
        let neither = check(&request(&[])).unwrap_err().message;
        assert!(neither.contains("`Upgrade: websocket` and `Connection: Upgrade` are missing"), "{neither}");
        let twice: Vec<_> = WHOLE.into_iter().chain([("sec-websocket-key", "eHh4eHh4eHh4eHh4eHh4eA==")]).collect();
        assert_eq!(check(&request(&twice)).unwrap_err().code, ErrorCode::InvalidField);
    }
}
