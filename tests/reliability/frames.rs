//! Frames that only `chat.v2` gets: heartbeats, and tokens that share a frame.

use crate::harness::{TestApp, conversation_of, is_terminal};
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn heartbeats_tell_how_far_the_running_turns_have_come() {
    for (dialect, has_heartbeats) in [("chat.v2", true), ("chat.v1", false)] {
        let app = TestApp::with(|config| {
            config.session.heartbeat_interval_s = 1;
            (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (25, 100);
        })
        .await;
        let user = app.user().await;
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
        let (mut last_seq, mut heartbeats) = (-1, 0);
        loop {
            let frame = socket.next().await;
            match frame["type"].as_str().unwrap() {
                "token" => last_seq = frame["seq"].as_i64().unwrap(),
                "heartbeat" => {
                    heartbeats += 1;
                    let head = json!({"turn_id": first["turn_id"], "turn": 1, "conversation_id": conversation_of(&first), "seq": last_seq});
                    assert_eq!(frame["turns"], json!([head]), "nothing is ahead of what was sent");
                }
                _ if is_terminal(&frame) => break,
                _ => {}
            }
        }
        assert_eq!(heartbeats > 0, has_heartbeats, "{dialect}");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tokens_after_the_first_share_frames() {
    let app = TestApp::with(|config| {
        config.session.coalesce_ms = 100;
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100, 10);
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let turn = socket.ask("Hi").await;
    assert_eq!(turn.text.len(), 600);
    assert_eq!(turn.tokens[0]["seq"], 0);
    assert!(turn.tokens[0].get("first_seq").is_none(), "the first token waits for no other");
    assert!(turn.tokens.len() <= 25, "{} frames for a second of tokens", turn.tokens.len());
    assert!(turn.tokens.len() >= 5, "{} frames for a second of tokens", turn.tokens.len());
    socket.close().await;
    // The classic dialect has a frame for each token.
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(socket.ask("Hi").await.tokens.len(), 100);
    socket.close().await;
}
