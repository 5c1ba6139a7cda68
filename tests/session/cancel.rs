//! Stopping a turn.

use crate::harness::TestApp;
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn cancelled_turn_stops_and_keeps_its_partial_answer() {
    let app = TestApp::scripted(10_000, 5).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let frames = socket.read_tokens(first.clone(), 3).await;
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    let turn = socket.rest_of_turn(frames).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["finish_reason"]), (&json!("complete"), &json!("cancelled")));
    assert!((3..1_000).contains(&turn.tokens.len()), "{} tokens", turn.tokens.len());
    let history = app.history(&user, &turn.conversation_id).await;
    assert_eq!((&history[1]["content"], &history[1]["finish_reason"]), (&json!(turn.text), &json!("cancelled")));
    // Once more: it has ended, and stays as it is.
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    socket.expect_nothing().await;
    // The conversation is free again.
    let again = json!({"type": "message", "message": "Go on", "session_id": turn.conversation_id,
        "metadata": {"script": {"tokens": 1}}});
    assert_eq!(socket.turn(again).await.terminal["finish_reason"], "stop");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_is_cancelled_from_another_connection_of_its_user() {
    let app = TestApp::scripted(10_000, 5).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let mut other = app.socket().signed_in(&user).await;
    other.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    other.expect_nothing().await;
    assert_eq!(socket.rest_of_turn(vec![first]).await.terminal["finish_reason"], "cancelled");
    socket.close().await;
    other.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_of_another_user_cannot_be_cancelled() {
    let app = TestApp::scripted(40, 10).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let mut other = app.socket().signed_in(&stranger).await;
    other.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    assert_eq!(other.expect_error("FORBIDDEN").await["turn_id"], first["turn_id"]);
    let unknown = json!(uuid::Uuid::now_v7());
    other.send(json!({"type": "cancel", "turn_id": unknown})).await;
    assert_eq!(other.expect_error("RESUME_UNAVAILABLE").await["turn_id"], unknown);
    let turn = socket.rest_of_turn(vec![first]).await;
    assert_eq!((&turn.terminal["finish_reason"], turn.tokens.len()), (&json!("stop"), 40));
    socket.close().await;
    other.close().await;
}
