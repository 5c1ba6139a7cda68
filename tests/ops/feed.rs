//! Numbers and rows, at a bounded rate.

use super::{count, frames_of, next_of, ops, view};
use crate::harness::TestApp;
use serde_json::{Value, json};
use std::time::Duration;

fn ids(frame: &Value) -> Vec<&str> {
    frame["connections"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stats_arrive_once_a_second_after_the_history() {
    let app = TestApp::scripted(40, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = ops(&app, &operator).await;
    let mut chat = app.socket().signed_in(&user).await;
    chat.ask("Hi").await;
    let stats = loop {
        let stats = next_of(&mut socket, "stats").await;
        if stats["turns"] == 1 && stats["running_turns"] == 0 {
            break stats;
        }
    };
    assert_eq!((&stats["connections"], &stats["authenticated"], &stats["users"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(
        (&stats["tokens"], &stats["connections_v1"], &stats["connections_v2"]),
        (&json!(40), &json!(1), &json!(0))
    );
    let between: Vec<Value> = frames_of(&mut socket, 3.2).await;
    assert!((2..=4).contains(&between.len()) && count(&between, "stats") == between.len(), "{between:?}");

    let mut late = app.ops_socket().signed_in(&operator).await;
    let history = late.expect("history").await["samples"].clone();
    let at = history["at_ms"].as_array().unwrap();
    assert!(at.len() >= 5, "{history}");
    assert!(at.windows(2).all(|pair| pair[0].as_i64() < pair[1].as_i64()));
    for column in ["connections", "tokens_per_s", "first_token_p95_ms", "errors_per_s", "memory_bytes", "cpu"] {
        assert_eq!(history[column].as_array().map(Vec::len), Some(at.len()), "{column}");
    }
    let sum: f64 = history["tokens_per_s"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).sum();
    assert!((30.0..=50.0).contains(&sum), "40 tokens were said: {history}");
    let memory = history["memory_bytes"].as_array().unwrap().last().unwrap().as_u64().unwrap();
    assert!(memory > 1_000_000, "{memory}");
    chat.close().await;
    drop((socket, late));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stats_count_errors_by_code_and_refusals_by_limit() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = ops(&app, &operator).await;
    let before = next_of(&mut socket, "stats").await;
    assert_eq!((&before["errors_by_code"], &before["refused_by_limit"]), (&json!({}), &json!({})));
    let mut chat = app.socket().signed_in(&user).await;
    for _ in 0..2 {
        chat.send(json!({"type": "shout"})).await;
        chat.expect_error("UNKNOWN_TYPE").await;
    }
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    chat.send(deep).await;
    chat.expect_error("INVALID_JSON").await;
    let stats = loop {
        let stats = next_of(&mut socket, "stats").await;
        if stats["errors"] == 3 {
            break stats;
        }
    };
    assert_eq!(stats["errors_by_code"], json!({"UNKNOWN_TYPE": 2, "INVALID_JSON": 1}));
    assert_eq!((&stats["refused"], &stats["refused_by_limit"]), (&json!(1), &json!({"json_depth": 1})));
    chat.close().await;
    drop(socket);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn view_contains_the_requested_window_of_the_table() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chats = Vec::new();
    for _ in 0..30 {
        chats.push(app.socket().signed_in(&user).await);
    }
    let hostile = "\u{202e}<img src=x onerror=alert(1)>";
    let agent: String = hostile.chars().filter(char::is_ascii).collect();
    chats.push(app.socket().subprotocols("chat.v2").header("user-agent", &agent).connect().await);
    app.stats_when(&operator, |stats| stats["connections"] == 31).await;

    let mut socket = ops(&app, &operator).await;
    socket.send(view(1, 0, 200, &json!({}))).await;
    let all = next_of(&mut socket, "connections").await;
    assert_eq!((&all["id"], &all["total"], &all["offset"]), (&json!(1), &json!(31), &json!(0)));
    // Not always the first: others may have opened in the same millisecond.
    let is_there = all["connections"].as_array().unwrap().iter().any(|row| row["user_agent"] == agent);
    assert!(is_there && ids(&all).len() == 31, "{all}");
    socket.send(view(2, 10, 5, &json!({}))).await;
    let window = next_of(&mut socket, "connections").await;
    assert_eq!((&window["id"], &window["total"], &window["offset"]), (&json!(2), &json!(31), &json!(10)));
    assert_eq!(ids(&window), ids(&all)[10..15]);

    let rows = |id, more: Value| view(id, 0, 200, &more);
    for (id, more, total) in [
        (3, json!({"dialect": "chat.v2"}), 1),
        (4, json!({"state": "unauthenticated"}), 1),
        (5, json!({"state": "idle"}), 30),
        (6, json!({"q": user.email}), 30),
        (7, json!({"q": "ONERROR"}), 1),
        (8, json!({"q": "nobody has this"}), 0),
    ] {
        socket.send(rows(id, more.clone())).await;
        let frame = loop {
            let frame = next_of(&mut socket, "connections").await;
            if frame["id"] == id {
                break frame;
            }
        };
        assert_eq!(frame["total"], total, "{more}: {frame}");
    }
    // The last view goes on by itself.
    chats.truncate(10);
    socket.send(rows(9, json!({}))).await;
    while next_of(&mut socket, "connections").await["total"] != 10 {}
    drop((chats, socket));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn update_rate_is_bounded_whatever_the_client_requests() {
    let app = TestApp::scripted(400, 5).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = app.socket().signed_in(&user).await;
    chat.send(json!({"type": "message", "message": "Hi"})).await;
    let mut socket = ops(&app, &operator).await;
    socket.send(view(0, 0, 200, &json!({}))).await;
    let row = next_of(&mut socket, "connections").await["connections"][0].clone();
    socket.send(json!({"type": "watch", "connection_id": row["id"]})).await;
    let calm = frames_of(&mut socket, 3.0).await;
    assert!((2..=4).contains(&count(&calm, "stats")), "{calm:?}");
    assert!((2..=4).contains(&count(&calm, "connections")), "{calm:?}");
    assert!((2..=5).contains(&count(&calm, "connection")), "{calm:?}");
    assert!((4..=13).contains(&count(&calm, "frames")), "{}", count(&calm, "frames"));

    for id in 1..=200 {
        socket.send(view(id, 0, 200, &json!({}))).await;
    }
    let flooded = frames_of(&mut socket, 3.0).await;
    assert!(count(&flooded, "connections") <= 16, "{}", count(&flooded, "connections"));
    let last = flooded.iter().rev().find(|frame| frame["type"] == "connections").unwrap();
    assert_eq!(last["id"], 200, "the last one is answered");
    drop((socket, chat));
    app.turns().interrupt_all();
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn slow_reader_skips_samples_without_delaying_others() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chats = Vec::new();
    for _ in 0..100 {
        chats.push(app.socket().header("user-agent", &"x".repeat(200)).signed_in(&user).await);
    }
    let mut socket = app.ops_socket().receive_buffer(4_096).signed_in(&operator).await;
    socket.send(view(1, 0, 200, &json!({}))).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // What has waited, and what comes now.
    let frames = frames_of(&mut socket, 2.5).await;
    let times: Vec<i64> =
        frames.iter().filter(|frame| frame["type"] == "stats").map(|frame| frame["at_ms"].as_i64().unwrap()).collect();
    assert!(times.windows(2).any(|pair| pair[1] - pair[0] > 2_500), "nothing was skipped: {times:?}");
    assert!(count(&frames, "connections") <= 6, "{} tables waited", count(&frames, "connections"));
    drop((chats, socket));
}
