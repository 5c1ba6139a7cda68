//! Following one connection: what kind its frames are and how large, never what they say.

use super::{next_of, ops};
use crate::harness::{TestApp, TestSocket};
use serde_json::{Value, json};

const SECRET: &str = "the walrus sings at midnight";

/// The shapes that come until there is one of this type, and all that was told on the way.
async fn shapes_until(socket: &mut TestSocket, frame_type: &str) -> (Vec<Value>, String) {
    let (mut shapes, mut told) = (Vec::new(), String::new());
    loop {
        let frame = socket.next().await;
        told.push_str(&frame.to_string());
        if frame["type"] == "frames" {
            shapes.extend(frame["frames"].as_array().unwrap().clone());
            if shapes.iter().any(|shape: &Value| shape["type"] == frame_type) {
                return (shapes, told);
            }
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn watch_reports_frame_shapes_without_texts() {
    let app = TestApp::scripted(30, 10).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let id = list["connections"][0]["id"].clone();
    let (mut first, mut second) = (ops(&app, &operator).await, ops(&app, &operator).await);
    for socket in [&mut first, &mut second] {
        socket.send(json!({"type": "watch", "connection_id": id})).await;
        let found = next_of(socket, "connection").await;
        assert_eq!((&found["connection_id"], &found["connection"]["id"]), (&id, &id), "{found}");
    }
    let frame = json!({"type": "message", "message": SECRET, "metadata": {"note": SECRET}});
    let bytes = frame.to_string().len();
    let answer = chat.turn(frame).await;
    chat.send(json!({"type": SECRET})).await;
    for socket in [&mut first, &mut second] {
        let (mut shapes, mut told) = shapes_until(socket, "complete").await;
        if !shapes.iter().any(|shape| shape["type"] == "unknown") {
            let (more, also) = shapes_until(socket, "unknown").await;
            shapes.extend(more);
            told.push_str(&also);
        }
        assert_eq!(
            (&shapes[0]["direction"], &shapes[0]["type"], &shapes[0]["bytes"]),
            (&json!("in"), &json!("message"), &json!(bytes))
        );
        let tokens: Vec<_> = shapes.iter().filter(|shape| shape["type"] == "token").collect();
        assert_eq!(tokens.len(), answer.tokens.len());
        assert_eq!(tokens.last().unwrap()["seq"], answer.tokens.last().unwrap()["seq"]);
        assert!(tokens.iter().all(|shape| shape["direction"] == "out" && shape["at_ms"].is_i64()));
        assert!(!told.contains("walrus"), "{told}");
        let first_token = answer.tokens[0]["token"].as_str().unwrap();
        assert!(first_token.len() > 2 && !told.contains(first_token), "{first_token:?} was told");
    }
    // One leaves, the other one goes on.
    first.close().await;
    chat.ask("Hi").await;
    shapes_until(&mut second, "complete").await;
    chat.close().await;
    while next_of(&mut second, "connection").await["connection"] != Value::Null {}
    drop(second);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn dropped_frame_shapes_are_counted() {
    let app = TestApp::scripted(3_000, 0).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let mut socket = ops(&app, &operator).await;
    socket.send(json!({"type": "watch", "connection_id": list["connections"][0]["id"]})).await;
    next_of(&mut socket, "connection").await;
    for id in 0..3_000 {
        chat.send(json!({"type": "ping", "id": id})).await;
    }
    for _ in 0..3_000 {
        chat.expect("pong").await;
    }
    let (mut shown, mut left_out) = (0, 0);
    while shown + left_out < 6_000 {
        let frame = next_of(&mut socket, "frames").await;
        let shapes = frame["frames"].as_array().unwrap().len();
        assert!(shapes <= switchboard::limits::MAX_WATCHED_FRAMES, "{shapes} at once");
        shown += shapes as u64;
        left_out += frame["left_out"].as_u64().unwrap();
    }
    assert_eq!(shown + left_out, 6_000);
    assert!(left_out > 0, "{shown} were shown");
    drop((chat, socket));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn watch_of_an_unknown_connection_returns_null() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut socket = ops(&app, &operator).await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    socket.send(json!({"type": "watch", "connection_id": id})).await;
    let frame = next_of(&mut socket, "connection").await;
    assert_eq!((&frame["connection_id"], &frame["connection"]), (&json!(id), &Value::Null));
    socket.send(json!({"type": "watch", "connection_id": "x"})).await;
    let error = loop {
        let frame = socket.next().await;
        if frame["type"] == "error" {
            break frame;
        }
    };
    assert_eq!(error["code"], "INVALID_FIELD");
    assert!(error["error"].as_str().unwrap().contains("connection_id"), "{error}");
    drop(socket);
}
