//! The end of a token's time, while its socket is open.

use crate::harness::{TestApp, TestUser, eventually, holds, token};
use serde_json::json;

/// A token that ends in a second and is most of its life old, so that its end is announced at once.
fn ending_token(user: &TestUser) -> String {
    token::access_token(user, 1, |claims| claims["iat"] = json!(token::unix_now() - 300))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_outlives_the_token_but_a_new_one_requires_a_valid_token() {
    let app = TestApp::scripted(40, 50).await;
    let user = app.user().await;
    let mut socket = app.socket().connect().await;
    socket.send(json!({"type": "auth", "token": ending_token(&user)})).await;
    let success = socket.expect("auth_success").await;
    let notice = socket.expect("auth_expiring").await;
    assert!((0..=1).contains(&notice["expires_in"].as_i64().unwrap()), "{notice}");

    let turn = socket.ask("A long story").await;
    assert_eq!(turn.terminal["finish_reason"], "stop");
    assert_eq!(turn.tokens.len(), 40);
    assert!(token::unix_now() >= success["expires_at"].as_i64().unwrap(), "the turn was to last longer than the token");

    let (conversation_id, turn_id) = (&turn.conversation_id, &turn.turn_id);
    for frame in [
        json!({"type": "message", "message": "Another one", "session_id": conversation_id}),
        json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id}),
        json!({"type": "cancel", "turn_id": turn_id}),
    ] {
        socket.send(frame).await;
        let error = socket.expect_error("AUTH_EXPIRED").await;
        assert_eq!(error["retryable"], true);
    }

    // Within the grace, a new token makes everything as it was.
    socket.sign_in(&user).await;
    let turn = socket
        .turn(json!({"type": "message", "message": "Another one", "session_id": conversation_id,
        "metadata": {"script": {"tokens": 2}}}))
        .await;
    assert_eq!(&turn.conversation_id, conversation_id);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connection_with_an_expired_token_receives_no_further_turns() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut expiring = app.socket().connect().await;
    expiring.send(json!({"type": "auth", "token": ending_token(&user)})).await;
    let expires_at = expiring.expect("auth_success").await["expires_at"].as_i64().unwrap();
    expiring.expect("auth_expiring").await;
    let first = expiring.ask("Begin").await;
    let mut fresh = app.socket().signed_in(&user).await;
    eventually(async || holds(token::unix_now() >= expires_at, "the token is valid")).await;
    fresh.turn(json!({"type": "message", "message": "Go on", "session_id": first.conversation_id})).await;
    expiring.expect_nothing().await;
    expiring.close().await;
    fresh.close().await;
}
