//! Turns that would never end, and turns that nobody wants any more.

use crate::harness::{TestApp, conversation_of};
use serde_json::json;
use std::time::{Duration, Instant};
use switchboard::config::Abandoned;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn silent_model_ends_the_turn_and_keeps_its_text() {
    let app = TestApp::with(|config| {
        config.workflow.stall_timeout_s = 1;
        config.provider.scripted.interval_ms = 60_000;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let asked = Instant::now();
    let turn = socket.ask("Hi").await;
    assert_eq!((&turn.terminal["code"], &turn.terminal["retryable"]), (&json!("UPSTREAM_TIMEOUT"), &json!(true)));
    assert!((900..3_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    let history = app.history(&user, &turn.conversation_id).await;
    assert_eq!((&history[1]["content"], &history[1]["finish_reason"]), (&json!("w0000 "), &json!("error")));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn endless_model_answer_is_stopped() {
    let app = TestApp::with(|config| {
        (config.workflow.stall_timeout_s, config.workflow.turn_timeout_s) = (1, 2);
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100_000, 50);
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let asked = Instant::now();
    let turn = socket.ask("Hi").await;
    assert_eq!(turn.terminal["code"], "UPSTREAM_TIMEOUT");
    assert!((1_900..5_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert!(turn.tokens.len() > 10, "only {} tokens came", turn.tokens.len());
    assert_eq!(app.history(&user, &turn.conversation_id).await[1]["content"], turn.text);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn abandoned_turn_is_stopped_when_configured() {
    let app = TestApp::with(|config| {
        (config.workflow.abandoned, config.workflow.abandon_after_s) = (Abandoned::Stop, 1);
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100_000, 20);
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let mut other = app.socket().signed_in(&user).await;
    other.send(json!({"type": "resume", "session_id": conversation_of(&first)})).await;
    other.expect("resumed").await;
    drop(socket);
    // Somebody is still there, for longer than the limit.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let stats = app.stats_when(&operator, |stats| stats["connections"] == 1).await;
    assert_eq!(stats["running_turns"], 1);
    drop(other);
    app.stats_when(&operator, |stats| stats["running_turns"] == 0).await;
    let history = app.history(&user, conversation_of(&first).as_str().unwrap()).await;
    assert_eq!(history[1]["finish_reason"], "cancelled");
    assert!(history[1]["content"].as_str().unwrap().len() > 300, "what there was is kept");
}
