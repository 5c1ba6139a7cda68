//! Requests that are not what they seem: smuggled, split, and paths that climb.

use crate::harness::TestApp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Sends bytes, and returns all that the server says until it ends the connection or falls silent.
pub(super) async fn exchange(app: &TestApp, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(read @ 1..)) = timeout(Duration::from_millis(500), stream.read(&mut bytes)).await {
        answer.extend(&bytes[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn request_smuggling_is_refused() {
    let app = TestApp::start().await;
    let hidden = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (what, headers, body) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 38", hidden.to_owned()),
        ("a list of lengths", "Content-Length: 0, 38", hidden.to_owned()),
        ("a length with a sign", "Content-Length: +5", hidden.to_owned()),
        ("a length below nothing", "Content-Length: -1", hidden.to_owned()),
        ("a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked", format!("0\r\n\r\n{hidden}")),
        ("chunks that are not last", "Transfer-Encoding: chunked, identity", format!("0\r\n\r\n{hidden}")),
        ("chunks with a tail", "Transfer-Encoding: xchunked", format!("0\r\n\r\n{hidden}")),
        ("a name with a space", "Content-Length : 38", hidden.to_owned()),
        ("a folded header", "X-A: b\r\n Content-Length: 38", hidden.to_owned()),
    ] {
        let request = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}");
        let answer = exchange(&app, request.as_bytes()).await;
        assert_eq!(statuses(&answer).len(), 1, "{what}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert!(!answer.contains("\"status\":\"ok\""), "{what}: {answer}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn client_input_never_becomes_a_response_header() {
    let app = TestApp::start().await;
    for request in [
        "GET /%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /ws/chat?token=%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat.v2, x\nX-Evil: yes\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n\r\n",
    ] {
        let answer = exchange(&app, request.as_bytes()).await;
        let (head, _) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.starts_with("HTTP/1.1 "), "{request}: {answer}");
        let head = head.to_lowercase();
        assert!(!head.contains("\r\nx-evil") && !head.contains("evil.example"), "{request}: {head}");
    }
    let (user, name) = (app.user().await, "Ada\r\nX-Evil: yes");
    let body = json!({"email": "eve@example.org", "password": "correct horse battery", "name": name});
    assert_eq!(app.post("/api/v1/auth/register", None, &body).await.1["code"], "INVALID_FIELD");
    drop(user);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn path_traversal_and_aliases_are_refused() {
    let app = TestApp::start().await;
    for path in [
        "/../Cargo.toml",
        "/api/docs/../../data/jwt_secret",
        "/api/docs/..%2f..%2fdata/jwt_secret",
        "/api/docs/%2e%2e/%2e%2e/data/switchboard.db",
        "/api/docs/....//....//etc/passwd",
        "/api/docs//etc/passwd",
        "/api/v1/conversations/..%2fconnections",
        "/api/v1//connections",
        "/API/V1/CONNECTIONS",
        "/api/v1/connections/",
        "/api/v1/connections%00",
        "/api/v1/connections;a=b",
        "/data/switchboard.db",
        "/.git/config",
    ] {
        let answer =
            exchange(&app, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
                .await;
        let status = statuses(&answer).first().copied().unwrap_or_default().to_owned();
        assert!(["400", "401", "404", "405"].contains(&status.as_str()), "{path}: {answer}");
        for secret in ["SQLite format", "[package]", "root:", "black-box tests"] {
            assert!(!answer.contains(secret), "{path}: {answer}");
        }
    }
    assert_eq!(app.get("/health/ready", None).await.0, 200);
}

/// The last response in `answer`: its head and its body.
fn last_error(answer: &str) -> (&str, Value) {
    let last = answer.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("no response in {answer:?}"));
    let (head, body) = answer[last..].split_once("\r\n\r\n").unwrap();
    (head, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn what_is_no_request_is_refused_with_an_error_body() {
    let app = TestApp::with(|config| config.server.request_head_timeout_ms = 200).await;
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n", "a".repeat(1024 * 1024));
    for (what, request, responses, status, code) in [
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".as_slice(), 1, 400, "INVALID_FIELD"),
        ("a line of text", b"hello there\r\n\r\n", 1, 400, "INVALID_FIELD"),
        ("text after a request", format!("{health}hello there\r\n\r\n").as_bytes(), 2, 400, "INVALID_FIELD"),
        // The client still sends when the server has read enough: a reset would take the response from it.
        ("large headers", large.as_bytes(), 1, 431, "MESSAGE_TOO_LONG"),
        ("half a head", b"GET / HTTP/1.1\r\nHost: loc", 1, 408, "REQUEST_TIMEOUT"),
    ] {
        let answer = exchange(&app, request).await;
        assert_eq!(statuses(&answer).len(), responses, "{what}: {answer}");
        let (head, body) = last_error(&answer);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(head.contains("\r\nconnection: close"), "{what}: {answer}");
        assert_eq!(body["code"], code, "{what}");
        assert!(body["error"].is_string() && body["correlation_id"].is_string(), "{what}: {body}");
    }
}
