//! Rate limits for the frames of one connection.

use super::hits;
use crate::harness::{RawSocket, TestApp, first};
use serde_json::{Value, json};

async fn app(burst: u32, violations: u32) -> TestApp {
    TestApp::with(|config| {
        config.limits.frames_per_s = 1;
        config.limits.frame_burst = burst;
        config.limits.violations_per_minute = violations;
    })
    .await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn excess_messages_are_refused_and_other_frames_are_not() {
    let app = app(2, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(socket.ask("One").await.terminal["type"], "complete");
    socket.send(json!({"type": "message", "message": "Two", "client_message_id": "m2"})).await;
    let refusal = socket.expect_error("RATE_LIMITED").await;
    assert_eq!((&refusal["client_message_id"], &refusal["retryable"]), (&json!("m2"), &json!(true)));
    let wait_ms = refusal["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_001).contains(&wait_ms), "{refusal}");
    // Who waits as told is served.
    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    let turn = socket.turn(json!({"type": "message", "message": "Two", "client_message_id": "m2"})).await;
    assert_eq!(turn.terminal["type"], "complete");
    socket.close().await;
    assert_eq!(hits(&app, "frames").await, 1);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn repeated_violations_close_the_connection_before_authentication() {
    let app = app(3, 5).await;
    let mut socket = app.socket().connect().await;
    for id in 0..10 {
        socket.send(json!({"type": "ping", "id": id})).await;
    }
    for id in 0..3 {
        assert_eq!(socket.expect("pong").await["id"], id);
    }
    for _ in 0..5 {
        socket.expect_error("RATE_LIMITED").await;
    }
    assert_eq!(socket.expect_close().await, 4429);
    assert_eq!((hits(&app, "frames").await, hits(&app, "violations").await), (5, 1));
}

async fn flooded(app: &TestApp, frame: u8, payload: &[u8]) -> u16 {
    let mut socket: RawSocket = app.raw_socket().await;
    for index in 0..40 {
        // The first fragment begins a message, the rest go on with it.
        let frame = if frame == first::TEXT_UNFINISHED && index > 0 { first::CONTINUED } else { frame };
        socket.send(frame, payload).await;
    }
    socket.expect_close().await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pings_pongs_and_fragments_count_like_any_frame() {
    let app = app(10, 10).await;
    for frame in [first::PING, first::PONG, first::TEXT_UNFINISHED] {
        assert_eq!(flooded(&app, frame, b"x").await, 4429, "{frame:#x}");
    }
    assert_eq!(hits(&app, "violations").await, 3);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn flood_of_one_connection_does_not_affect_others() {
    let app = app(20, 0).await;
    let user = app.user().await;
    let mut noisy = app.socket().connect().await;
    for _ in 0..500 {
        noisy.send(json!({"type": "ping"})).await;
    }
    let mut quiet = app.socket().signed_in(&user).await;
    assert_eq!(quiet.ask("Hello?").await.terminal["type"], "complete");
    quiet.close().await;
    // It is not closed, but hears how it is: with 0 there are no violations.
    for _ in 0..20 {
        noisy.expect("pong").await;
    }
    let frames: Vec<Value> = vec![noisy.next().await, noisy.next().await];
    assert!(frames.iter().any(|frame| frame["code"] == "RATE_LIMITED"), "{frames:?}");
    noisy.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sizes_and_depths_over_the_limit_are_counted() {
    let app = TestApp::with(|config| {
        config.session.max_message_bytes = 1_000;
        config.session.max_message_chars = 500;
        config.limits.json_depth = 5;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let nested =
        |depth: usize| format!("{{\"type\":\"ping\",\"id\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    socket.send_text(nested(5)).await;
    socket.expect("pong").await;
    socket.send_text(nested(6)).await;
    let refusal = socket.expect_error("INVALID_JSON").await;
    assert!(refusal["error"].as_str().unwrap().contains("more than 5 levels"), "{refusal}");
    socket.send(json!({"type": "message", "message": "x".repeat(501)})).await;
    socket.expect_error("MESSAGE_TOO_LONG").await;
    socket.send_text("x".repeat(1_001)).await;
    assert_eq!(socket.expect_close().await, 1009);

    let body = json!({"message": "Hi", "metadata": {"a": {"b": {"c": {"d": {}}}}}});
    let (status, answer) = app.post("/api/v1/chat", Some(&user), &body).await;
    assert_eq!((status, &answer["code"]), (400, &json!("INVALID_JSON")));
    let (status, _) = app.post("/api/v1/chat", Some(&user), &json!({"message": "x".repeat(1_000)})).await;
    assert_eq!(status, 413);
    assert_eq!((hits(&app, "json_depth").await, hits(&app, "message_size").await), (2, 3));
}
