//! A request that asks for an upgrade, byte by byte.

use crate::harness::TestApp;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const UPGRADE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Everything the server sends until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    read.expect("the connection stays open").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything the server sends, up to `end`.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(Duration::from_secs(20), read).await.expect("not said");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn upgrade_request_to_an_ordinary_route_gets_a_full_response() {
    let app = TestApp::start().await;
    for (path, status, end) in [("/api/v1/nothing", "404", "}"), ("/health", "200", "}")] {
        let mut stream = connect(&app).await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{UPGRADE}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(head.contains("connection: close") && !head.contains("connection: upgrade"), "{head}");
        assert!(body.ends_with(end), "{body}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn refused_upgrade_returns_the_reason() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    let request = format!("GET /ws/chat HTTP/1.1\r\nSec-WebSocket-Protocol: chat.v9\r\n{UPGRADE}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("UNKNOWN_SUBPROTOCOL"), "{answer}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn handshake_with_a_body_is_refused() {
    let app = TestApp::start().await;
    for path in ["/ws/chat", "/ws/ops"] {
        let mut stream = connect(&app).await;
        let request = format!("GET {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{UPGRADE}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 422 ") && answer.contains("Transfer-Encoding"), "{answer}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pipelined_upgrade_follows_earlier_requests_and_precedes_its_frames() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    let mut bytes =
        format!("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ws/chat HTTP/1.1\r\n{UPGRADE}").into_bytes();
    // A masked frame of text, with a mask that changes nothing.
    let frame = br#"{"type":"ping","id":7}"#;
    bytes.extend([0x81, 0x80 | u8::try_from(frame.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(frame);
    stream.write_all(&bytes).await.unwrap();
    let first = until(&mut stream, "}").await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let second = until(&mut stream, "\r\n\r\n").await;
    assert!(second.starts_with("HTTP/1.1 101 "), "{second}");
    let pong = until(&mut stream, "}").await;
    assert!(pong.contains(r#""type":"pong""#) && pong.contains(r#""id":7"#), "{pong}");
    drop(stream);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn peer_that_keeps_sending_still_receives_the_close_reason() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    stream.write_all(format!("GET /ws/chat HTTP/1.1\r\n{UPGRADE}").as_bytes()).await.unwrap();
    until(&mut stream, "\r\n\r\n").await;
    // A frame without a mask ends the connection with 1002; then more than the buffers of a kernel hold.
    let mut bytes = vec![0x81, 2, b'{', b'}'];
    bytes.resize(16 << 20, b'x');
    stream.write_all(&bytes).await.expect("the connection is reset");
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await.expect("it stays open").unwrap();
    let close = said.windows(4).find(|bytes| bytes[0] == 0x88).expect("no close frame");
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 1002);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn error_for_an_incomplete_handshake_names_the_missing_header() {
    let app = TestApp::start().await;
    for path in ["/ws/chat", "/ws/ops"] {
        for (headers, missing) in [
            ("", "`Upgrade: websocket` and `Connection: Upgrade` are missing"),
            ("Connection: Upgrade\r\n", "`Upgrade: websocket` is missing"),
            ("Upgrade: websocket\r\n", "`Connection: Upgrade` is missing"),
            ("Connection: Upgrade\r\nUpgrade: h2c\r\n", "`Upgrade: websocket` is missing"),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "`Sec-WebSocket-Version` must be 13"),
        ] {
            for version in ["1.0", "1.1"] {
                let mut stream = connect(&app).await;
                let request = format!("GET {path} HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let answer = until(&mut stream, "}").await;
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                let head = head.to_lowercase();
                assert!(head.lines().next().unwrap().contains(" 426 "), "{headers:?}: {head}");
                // The connection ends with the response, and the client must know it.
                assert!(version == "1.0" || head.contains("connection: close, upgrade"), "{headers:?}: {head}");
                assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-version: 13"), "{head}");
                assert!(body.contains("UPGRADE_REQUIRED") && body.contains(missing), "{headers:?}: {body}");
            }
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn handshake_headers_may_span_several_lines() {
    let app = TestApp::start().await;
    for (offer, chosen) in [
        ("Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: chat.v2\r\n", Some("chat.v2")),
        ("Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: bearer.x.y.z\r\n", Some("chat.v1")),
        ("", None),
    ] {
        let mut stream = connect(&app).await;
        let request = format!(
            "GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nConnection: upgrade\r\nUpgrade: other\r\n\
             Upgrade: WebSocket\r\n{offer}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        let echoed: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("sec-websocket-protocol: ")).collect();
        assert_eq!(echoed, chosen.into_iter().collect::<Vec<_>>());
    }
}
