//! Bytes that a token takes on a WebSocket.

use crate::harness::{RawSocket, TestApp, first};
use serde_json::{Value, json};

const TOKENS: u32 = 1_000;
const TOKEN_BYTES: u32 = 10;
/// Maximum bytes of a token on average, with the header of its frame.
const MAX_BYTES: usize = 85;
/// Tokens that are measured: those with a `seq` of three digits.
const MEASURED: std::ops::RangeInclusive<i64> = 100..=999;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_token_of_ten_bytes_takes_at_most_85_on_the_wire() {
    let app = TestApp::with(|config| {
        config.session.coalesce_ms = 0;
        let scripted = &mut config.provider.scripted;
        (scripted.tokens, scripted.token_bytes, scripted.interval_ms) = (TOKENS, TOKEN_BYTES, 1);
    })
    .await;
    let user = app.user().await;
    let mut socket = RawSocket::speaking(&app.url, "chat.v2").await;
    send(&mut socket, &json!({"type": "auth", "token": user.access_token})).await;
    send(&mut socket, &json!({"type": "message", "message": "Hi"})).await;
    let (mut next_seq, mut bytes, mut tokens, mut alone) = (0, 0, 0, 0);
    loop {
        let frame = socket.next().await;
        if frame.first != first::TEXT {
            continue;
        }
        let json: Value = serde_json::from_slice(&frame.payload).unwrap();
        match json["type"].as_str().unwrap() {
            "token" => {
                let seq = json["seq"].as_i64().unwrap();
                let from = json["first_seq"].as_i64().unwrap_or(seq);
                assert_eq!(from, next_seq, "{json}");
                next_seq = seq + 1;
                let text = json["token"].as_str().unwrap();
                assert_eq!(i64::try_from(text.len()).unwrap(), (next_seq - from) * i64::from(TOKEN_BYTES), "{json}");
                if !MEASURED.contains(&from) {
                    continue;
                }
                (bytes, tokens) = (bytes + frame.wire_bytes(), tokens + (next_seq - from));
                // On a busy machine tokens may share a frame, which takes fewer bytes for each.
                if from == seq {
                    alone += 1;
                    assert!(frame.wire_bytes() <= MAX_BYTES, "{} bytes: {json}", frame.wire_bytes());
                }
            }
            "complete" => break,
            "error" => panic!("{json}"),
            _ => {}
        }
    }
    assert_eq!(next_seq, i64::from(TOKENS));
    assert!(alone > 0, "no token had a frame of its own");
    let tokens = usize::try_from(tokens).unwrap();
    assert!(bytes <= MAX_BYTES * tokens, "{bytes} bytes for {tokens} tokens");
    drop(socket);
}

async fn send(socket: &mut RawSocket, frame: &Value) {
    socket.send(first::TEXT, frame.to_string().as_bytes()).await;
}
