//! `docs/OPERATIONS.md` shows the frames of `/ws/ops` as they are.

use super::{next_of, ops, view};
use crate::{harness::TestApp, websocket_doc::fences};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use switchboard::{config::ScriptedConfig, ops::OpsClientFrame};

const DOC: &str = include_str!("../../docs/OPERATIONS.md");

/// The frames that are shown under a heading of the third level.
fn frames(heading: &str) -> Vec<Value> {
    let (_, rest) = DOC.split_once(&format!("\n### {heading}\n")).expect("the heading is there");
    let section = rest.split("\n## ").next().and_then(|rest| rest.split("\n### ").next()).unwrap();
    let json = fences(section).into_iter().filter(|fence| fence.language == "json");
    json.map(|fence| serde_json::from_str(fence.code).unwrap_or_else(|error| panic!("{error}: {}", fence.code)))
        .collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn type_of(frame: &Value) -> &str {
    frame["type"].as_str().unwrap()
}

#[test]
fn server_accepts_every_documented_client_frame() {
    let frames = frames("Client → `/ws/ops`");
    assert_eq!(frames.iter().map(type_of).collect::<Vec<_>>(), ["auth", "view", "watch"]);
    for frame in &frames {
        OpsClientFrame::parse(&frame.to_string()).unwrap_or_else(|error| panic!("{error}: {frame}"));
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_server_frame_is_documented_with_its_fields() {
    let app = TestApp::with(|config| {
        config.provider.scripted = ScriptedConfig { tokens: 20, interval_ms: 50, ..ScriptedConfig::default() };
        config.budgets.tokens_per_user_per_day = 1_000_000;
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = app.socket().signed_in(&user).await;
    let mut socket = app.ops_socket().signed_in(&operator).await;
    let mut idle = ops(&app, &operator).await;
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    socket.send(view(1, 0, 10, &json!({}))).await;
    socket.send(json!({"type": "watch", "connection_id": list["connections"][0]["id"]})).await;
    chat.send(json!({"type": "message", "message": "Hi"})).await;
    let (status, answer) = app.post("/api/v1/notices", Some(&operator), &json!({"message": "Hi"})).await;
    assert_eq!(status, 200, "{answer}");
    let shown = frames("`/ws/ops` → client");
    let mut real = BTreeMap::new();
    // The last frame comes last.
    while real.len() + 1 < shown.len() {
        let frame = socket.next().await;
        // The fullest: one with a token, and one after the budgets have been read.
        let is_full = match type_of(&frame) {
            "frames" => frame["frames"].as_array().unwrap().iter().any(|shape| shape["type"] == "token"),
            "stats" => frame.get("budget").is_some(),
            _ => true,
        };
        if is_full {
            real.insert(type_of(&frame).to_owned(), frame);
        }
    }
    // What an operator did comes to all of them.
    while type_of(&idle.next().await) != "audit" {}
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({})).await.0, 202);
    real.insert("going_away".to_owned(), next_of(&mut socket, "going_away").await);
    assert_eq!(shown.iter().map(type_of).collect::<BTreeSet<_>>(), real.keys().map(String::as_str).collect());
    for frame in &shown {
        let real = &real[type_of(frame)];
        assert_eq!(keys(frame), keys(real), "{frame}");
        match type_of(frame) {
            "history" => assert_eq!(keys(&frame["samples"]), keys(&real["samples"])),
            "frames" => {
                let is_token = |shape: &&Value| shape["type"] == "token";
                let token =
                    |frame: &'_ Value| frame["frames"].as_array().unwrap().iter().find(is_token).unwrap().clone();
                assert_eq!(keys(&token(frame)), keys(&token(real)));
            }
            _ => {}
        }
    }
    app.turns().interrupt_all();
    drop((chat, socket, idle));
}
