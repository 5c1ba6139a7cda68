//! Turns at once, of one user and in all.

use super::hits;
use crate::harness::{TestApp, Transcript};
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turns_wait_for_a_permit_in_order() {
    let app = TestApp::with(|config| {
        config.session.max_running_turns = 2;
        config.workflow.max_running_turns = 2;
        config.workflow.admission_wait_ms = 20_000;
        config.provider.scripted.interval_ms = 2;
    })
    .await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let user = app.user().await;
        sockets.push(app.socket().signed_in(&user).await);
    }
    for socket in &mut sockets {
        socket.send(json!({"type": "message", "message": "Hello?"})).await;
    }
    for mut socket in sockets {
        let turn: Transcript = socket.rest_of_turn(Vec::new()).await;
        assert_eq!(turn.terminal["type"], "complete", "{}", turn.terminal);
        socket.close().await;
    }
    assert_eq!(hits(&app, "turns").await, 0);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn exempt_addresses_have_no_limit_on_turns_per_user() {
    for is_exempt in [true, false] {
        let app = TestApp::with(|config| {
            config.workflow.max_running_turns_per_user = 1;
            config.provider.scripted.tokens = 10_000;
            config.provider.scripted.interval_ms = 10;
            if is_exempt {
                config.limits.exempt_addresses = vec!["127.0.0.1".to_owned()];
            }
        })
        .await;
        let user = app.user().await;
        let mut socket = app.socket().signed_in(&user).await;
        let first = socket.start(json!({"type": "message", "message": "A long one"})).await;
        let short = json!({"message": "Hi", "metadata": {"script": {"tokens": 1}}});
        let (status, answer) = app.post("/api/v1/chat", Some(&user), &short).await;
        assert_eq!(status, if is_exempt { 200 } else { 503 }, "{answer}");
        assert_eq!(hits(&app, "turns_per_user").await, u64::from(!is_exempt));
        socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
        socket.rest_of_turn(vec![first]).await;
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_that_waits_too_long_is_refused_and_holds_no_permit() {
    let app = TestApp::with(|config| {
        config.session.max_running_turns = 1;
        config.workflow.max_running_turns = 1;
        config.workflow.admission_wait_ms = 50;
        config.provider.scripted.tokens = 10_000;
        config.provider.scripted.interval_ms = 10;
    })
    .await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut busy = app.socket().signed_in(&ada).await;
    let first = busy.start(json!({"type": "message", "message": "A long one"})).await;
    let mut late = app.socket().signed_in(&eve).await;
    for _ in 0..2 {
        late.send(json!({"type": "message", "message": "Me too", "client_message_id": "m1"})).await;
        let refusal = late.expect_error("OVERLOADED").await;
        assert_eq!((&refusal["client_message_id"], &refusal["retry_after_ms"]), (&json!("m1"), &json!(1_000)));
    }
    assert_eq!(hits(&app, "turns").await, 2);
    busy.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    busy.rest_of_turn(vec![first]).await;
    let script = json!({"script": {"tokens": 3}});
    let again = json!({"type": "message", "message": "Me too", "client_message_id": "m1", "metadata": script});
    assert_eq!(late.turn(again).await.tokens.len(), 3);
    busy.close().await;
    late.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn one_user_cannot_take_all_permits() {
    let app = TestApp::with(|config| {
        config.workflow.max_running_turns_per_user = 2;
        config.provider.scripted.interval_ms = 20;
    })
    .await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut tabs = Vec::new();
    for _ in 0..2 {
        let mut tab = app.socket().signed_in(&ada).await;
        let first = tab.start(json!({"type": "message", "message": "Hello?"})).await;
        tabs.push((tab, first));
    }
    // On whatever way it comes.
    let (status, refusal) = app.post("/api/v1/chat", Some(&ada), &json!({"message": "One more"})).await;
    assert_eq!((status, &refusal["code"]), (503, &json!("OVERLOADED")));
    assert_eq!(app.post("/api/v1/chat", Some(&eve), &json!({"message": "Hello?"})).await.0, 200);
    assert_eq!(hits(&app, "turns_per_user").await, 1);
    for (mut tab, first) in tabs {
        tab.rest_of_turn(vec![first]).await;
        tab.close().await;
    }
}
