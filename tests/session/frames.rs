//! WebSocket itself (RFC 6455): fragments, sizes, and what breaks its rules.

use crate::harness::{RawSocket, TestApp, first};
use switchboard::config::SessionConfig;

/// A name, what is sent (the first byte and the payload of each frame), and the code that it is closed with.
type Wrong<'a> = (&'a str, &'a [(u8, &'a [u8])], u16);

const PING: &[u8] = br#"{"type":"ping","id":"as one"}"#;
const PONG: &[u8] = br#"{"type":"pong","id":"as one"}"#;

async fn app() -> TestApp {
    TestApp::with(|config| {
        config.session.max_message_bytes = 1_000;
        config.session.max_message_chars = 500;
    })
    .await
}

async fn expect_pong(socket: &mut RawSocket) {
    let frame = socket.next().await;
    assert_eq!((frame.first, &frame.payload[..]), (first::TEXT, PONG), "{}", String::from_utf8_lossy(&frame.payload));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn fragments_are_joined() {
    let app = app().await;
    let mut socket = app.raw_socket().await;
    for pieces in [1, 2, 5, PING.len()] {
        let mut left = PING.chunks(PING.len().div_ceil(pieces)).peekable();
        socket.send(first::TEXT_UNFINISHED, left.next().unwrap()).await;
        while let Some(piece) = left.next() {
            // Control frames may come between.
            socket.send(first::PING, b"between").await;
            assert_eq!(socket.next().await.payload, b"between");
            let first = if left.peek().is_none() { first::CONTINUED_LAST } else { first::CONTINUED };
            socket.send(first, piece).await;
        }
        if pieces == 1 {
            socket.send(first::CONTINUED_LAST, b"").await;
        }
        expect_pong(&mut socket).await;
    }
    drop(socket);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_message_may_be_as_long_as_the_limit() {
    let app = app().await;
    let mut socket = app.raw_socket().await;
    let whole = [PING, &b" ".repeat(1_000 - PING.len())].concat();
    socket.send(first::TEXT, &whole).await;
    expect_pong(&mut socket).await;
    socket.send(first::TEXT_UNFINISHED, &whole[..600]).await;
    socket.send(first::CONTINUED_LAST, &whole[600..]).await;
    expect_pong(&mut socket).await;
    drop(socket);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn protocol_violation_closes_with_its_code() {
    let app = app().await;
    let long = b" ".repeat(1_001);
    let frames: [Wrong<'_>; _] = [
        ("a frame too big", &[(first::TEXT, &long)], 1009),
        ("a fragment too big", &[(first::TEXT_UNFINISHED, &long)], 1009),
        (
            "fragments too big together",
            &[(first::TEXT_UNFINISHED, &long[..600]), (first::CONTINUED, &long[..401])],
            1009,
        ),
        ("binary", &[(first::BINARY, b"\x00")], 1003),
        ("binary in fragments", &[(first::BINARY_UNFINISHED, b"\x00")], 1003),
        ("not UTF-8", &[(first::TEXT, b"\xff\xfe")], 1007),
        ("not UTF-8 in the end", &[(first::TEXT_UNFINISHED, b"\xe2\x82"), (first::CONTINUED_LAST, b"")], 1007),
        ("a surrogate", &[(first::TEXT, b"\xed\xa0\x80")], 1007),
        ("a reserved bit", &[(first::TEXT_RESERVED_BIT, PING)], 1002),
        ("an unknown opcode", &[(first::UNKNOWN, PING)], 1002),
        ("an unknown control opcode", &[(first::UNKNOWN_CONTROL, b"")], 1002),
        ("a continuation of nothing", &[(first::CONTINUED, b"x")], 1002),
        ("a last continuation of nothing", &[(first::CONTINUED_LAST, b"x")], 1002),
        ("text amid fragments", &[(first::TEXT_UNFINISHED, b"x"), (first::TEXT, PING)], 1002),
        ("another start amid fragments", &[(first::TEXT_UNFINISHED, b"x"), (first::TEXT_UNFINISHED, b"x")], 1002),
        ("a fragmented ping", &[(first::PING_UNFINISHED, b"x")], 1002),
        ("a ping too long", &[(first::PING, &long[..126])], 1002),
        ("a close of one byte", &[(first::CLOSE, b"\x03")], 1002),
        ("a close code that nobody may send", &[(first::CLOSE, &1005_u16.to_be_bytes())], 1002),
        ("a close code that does not exist", &[(first::CLOSE, &999_u16.to_be_bytes())], 1002),
    ];
    for (what, frames, code) in frames {
        let mut socket = app.raw_socket().await;
        for (first, payload) in frames {
            socket.send(*first, payload).await;
        }
        assert_eq!(socket.expect_close().await, code, "{what}");
    }
    let mut socket = app.raw_socket().await;
    socket.send_unmasked(first::TEXT, PING).await;
    assert_eq!(socket.expect_close().await, 1002, "unmasked");
    // Its size is known before its bytes come.
    let mut socket = app.raw_socket().await;
    socket.announce(first::TEXT, 1 << 40).await;
    assert_eq!(socket.expect_close().await, 1009, "announced");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn close_frame_is_answered_with_its_code() {
    let app = app().await;
    for code in [1000, 1001, 3000, 4000, 4999] {
        let mut socket = app.raw_socket().await;
        socket.send(first::CLOSE, &[&u16::to_be_bytes(code)[..], b"bye"].concat()).await;
        assert_eq!(socket.expect_close().await, code);
    }
    let mut socket = app.raw_socket().await;
    socket.send(first::CLOSE, b"").await;
    assert_eq!(socket.expect_close().await, 1005);
    assert_eq!(app.socket().connect().await.close_with(1000).await, 1000);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn frames_after_a_close_frame_are_ignored() {
    let app = app().await;
    let mut socket = app.raw_socket().await;
    // In one segment, so that the server has both at once; masked with zeros.
    socket.send_bytes(&[first::CLOSE, 0x82, 0, 0, 0, 0, 3, 232, first::PING, 0x80, 0, 0, 0, 0]).await;
    assert_eq!(socket.expect_close().await, 1000);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn longest_text_fits_in_a_frame_however_it_is_escaped() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let max_chars = SessionConfig::default().max_message_chars;
    let escaped = r"\ud83d\ude00".repeat(max_chars);
    for emoji in [escaped.clone(), "\u{1f600}".repeat(max_chars)] {
        let mut socket = app.socket().signed_in(&user).await;
        socket.send_text(format!(r#"{{"type":"message","message":"{emoji}"}}"#)).await;
        let turn = socket.rest_of_turn(Vec::new()).await;
        assert_eq!(turn.progress[0]["question"].as_str().map(|text| text.chars().count()), Some(max_chars));
        // One more is refused by the number of characters, and the socket stays.
        socket.send_text(format!(r#"{{"type":"message","message":"{emoji}x","client_message_id":"m1"}}"#)).await;
        assert_eq!(socket.expect_error("MESSAGE_TOO_LONG").await["client_message_id"], "m1");
        socket.close().await;
    }
    let request = app.http.post(format!("{}/api/v1/chat", app.url)).bearer_auth(&user.access_token);
    let body = format!(r#"{{"message":"{escaped}"}}"#);
    let answer = request.header("Content-Type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn parse_errors_carry_the_client_message_id() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    for (text, code) in [
        (r#"{"type":"message","client_message_id":"m1","message":"cut"#, "INVALID_JSON"),
        (r#"{"type":"message","message":"\x","client_message_id":"m1"}"#, "INVALID_JSON"),
        (r#"{"type":"message","message":5,"client_message_id":"m1"}"#, "INVALID_FIELD"),
        (r#"{"type":"massage","message":"Hi","client_message_id":"m1"}"#, "UNKNOWN_TYPE"),
    ] {
        socket.send_text(text.to_owned()).await;
        assert_eq!(socket.expect_error(code).await["client_message_id"], "m1", "{text}");
    }
    let deep = format!(r#"{{"type":"message","client_message_id":"m1","metadata":{}"#, "[".repeat(100));
    socket.send_text(deep).await;
    assert_eq!(socket.expect_error("INVALID_JSON").await["client_message_id"], "m1");
    let long = format!(r#"{{"client_message_id":"{}"}}"#, "x".repeat(201));
    socket.send_text(long).await;
    assert_eq!(socket.expect_error("INVALID_FIELD").await.get("client_message_id"), None);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn text_with_an_unpaired_surrogate_is_answered() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    socket
        .send_text(r#"{"type":"message","message":"Look \ud83d","session_id":null,"attachments":null}"#.to_owned())
        .await;
    let turn = socket.rest_of_turn(Vec::new()).await;
    assert_eq!(turn.progress[0]["question"], "Look \u{fffd}");
    socket.close().await;
    let request = app.http.post(format!("{}/api/v1/chat", app.url)).bearer_auth(&user.access_token);
    let body = format!(r#"{{"message":"\ude00 there","session_id":"{}","metadata":null}}"#, turn.conversation_id);
    let answer = request.header("Content-Type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(app.history(&user, &turn.conversation_id).await[2]["content"], "\u{fffd} there");
}
