//! Bounds on the turns that run at once.

use crate::harness::{TestApp, Transcript};
use serde_json::{Value, json};

fn message(text: &str) -> Value {
    json!({"type": "message", "message": text, "client_message_id": text})
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn running_turns_of_a_connection_are_limited() {
    let app = TestApp::with(|config| {
        config.session.max_running_turns = 2;
        config.provider.scripted.interval_ms = 10;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    for text in ["One", "Two", "Three"] {
        socket.send(message(text)).await;
    }
    let mut frames = socket.frames_of_turns(3).await;
    let refused = frames.iter().position(|frame| frame["code"] == "OVERLOADED").unwrap();
    let refusal = frames.remove(refused);
    assert_eq!((&refusal["client_message_id"], &refusal["retryable"]), (&json!("Three"), &json!(true)));
    assert!(refusal["retry_after_ms"].as_u64().unwrap() > 0 && refusal.get("turn_id").is_none(), "{refusal}");
    let ends: Vec<_> = frames.iter().filter(|frame| frame["type"] == "complete").collect();
    assert_eq!(ends.len(), 2);
    for end in ends {
        assert_eq!(Transcript::of_turn(&frames, &end["turn_id"]).tokens.len(), 20);
    }
    // There is room again, also for another socket all the time.
    assert_eq!(socket.turn(message("Three")).await.terminal["finish_reason"], "stop");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn running_turns_of_the_server_are_limited() {
    let app = TestApp::with(|config| {
        config.session.max_running_turns = 1;
        config.workflow.max_running_turns = 1;
        config.workflow.admission_wait_ms = 0;
        config.provider.scripted.interval_ms = 10;
    })
    .await;
    let (user, other) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut second = app.socket().signed_in(&other).await;
    let first = socket.start(message("One")).await;
    second.send(message("Two")).await;
    let refusal = second.expect_error("OVERLOADED").await;
    assert_eq!((&refusal["client_message_id"], &refusal["retryable"]), (&json!("Two"), &json!(true)));
    assert!(refusal["retry_after_ms"].as_u64().unwrap() > 0, "{refusal}");
    assert_eq!(socket.rest_of_turn(vec![first]).await.terminal["finish_reason"], "stop");
    // The same message is a turn now.
    assert_eq!(second.turn(message("Two")).await.terminal["finish_reason"], "stop");
    socket.close().await;
    second.close().await;
}
