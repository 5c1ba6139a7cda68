//! A process that is stopped for a while and goes on, as by SIGSTOP and SIGCONT.

use super::{NO_SEED, Program, SCRIPTED};
use crate::{
    harness::{eventually, holds},
    provider::upstream::{Step, Upstream},
};
use serde_json::json;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than any deadline of [`SHORT`].
const PAUSE: Duration = Duration::from_secs(5);
const SHORT: [(&str, &str); 6] = [
    ("SWITCHBOARD__SESSION__HEARTBEAT_INTERVAL_S", "1"),
    ("SWITCHBOARD__SESSION__HEARTBEAT_TIMEOUT_S", "3"),
    ("SWITCHBOARD__SESSION__AUTH_DEADLINE_S", "3"),
    ("SWITCHBOARD__SESSION__WRITE_STALL_TIMEOUT_S", "3"),
    ("SWITCHBOARD__WORKFLOW__STALL_TIMEOUT_S", "3"),
    ("SWITCHBOARD__WORKFLOW__TURN_TIMEOUT_S", "4"),
];

#[tokio::test]
async fn paused_server_hears_peers_before_it_times_them_out() {
    let folder = TempDir::new().unwrap();
    let settings: Vec<_> = [SCRIPTED, NO_SEED].into_iter().chain(SHORT).collect();
    let mut program = Program::serve(folder.path(), &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut silent = program.socket().signed_in(&user).await;
    let mut busy = program.socket().signed_in(&user).await;
    let script = json!({"script": {"tokens": 3, "interval_ms": 700}});
    let first = busy.start(json!({"type": "message", "message": "Hi", "metadata": script})).await;
    let mut unknown = program.socket().connect().await;
    program.signal("STOP").await;
    unknown.send(json!({"type": "auth", "token": user.access_token})).await;
    // What is tested is that time passes.
    tokio::time::sleep(PAUSE).await;
    program.signal("CONT").await;

    unknown.expect("auth_success").await;
    let turn = busy.rest_of_turn(vec![first]).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["finish_reason"]), (&json!("complete"), &json!("stop")));
    assert_eq!(silent.ask("Are you there?").await.terminal["type"], "complete");
    for socket in [silent, busy, unknown] {
        socket.close().await;
    }
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn paused_server_reads_the_model_before_it_times_out() {
    let folder = TempDir::new().unwrap();
    let token = r#"{"choices":[{"delta":{"content":"Hello"}}]}"#;
    let end = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let body = format!("data: {token}\n\ndata: {end}\n\ndata: [DONE]\n\n");
    let upstream = Upstream::answering(move |_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        vec![Step::Raw(head), Step::Wait(Duration::from_secs(1)), Step::Chunk(body.clone().into_bytes()), Step::End]
    })
    .await;
    let url = upstream.base_url();
    let settings = [
        NO_SEED,
        ("SWITCHBOARD__PROVIDER__KIND", "openai"),
        ("SWITCHBOARD__PROVIDER__BASE_URL", &url),
        ("SWITCHBOARD__PROVIDER__CONNECT_TIMEOUT_MS", "4000"),
        ("SWITCHBOARD__PROVIDER__FIRST_TOKEN_TIMEOUT_MS", "4000"),
        ("SWITCHBOARD__PROVIDER__IDLE_TIMEOUT_MS", "4000"),
        ("SWITCHBOARD__PROVIDER__TOTAL_TIMEOUT_MS", "4000"),
    ];
    let program = Program::serve(folder.path(), &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let is_asked = || upstream.requests().iter().any(|request| request.body["stream"] == true);
    eventually(async || holds(is_asked(), "the model is not asked")).await;
    program.signal("STOP").await;
    tokio::time::sleep(PAUSE + Duration::from_secs(1)).await;
    program.signal("CONT").await;
    let turn = socket.rest_of_turn(vec![first]).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["response"]), (&json!("complete"), &json!("Hello")));
    socket.close().await;
}

#[tokio::test]
async fn silent_peer_is_timed_out_after_a_pause() {
    let folder = TempDir::new().unwrap();
    let settings: Vec<_> = [SCRIPTED, NO_SEED].into_iter().chain(SHORT).collect();
    let program = Program::serve(folder.path(), &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let operator = program.operator(folder.path(), "op@example.org").await;
    let gone = program.socket().signed_in(&user).await;
    program.signal("STOP").await;
    tokio::time::sleep(PAUSE).await;
    program.signal("CONT").await;
    // It reads no ping, and so answers none.
    eventually(async || {
        let (_, connections) = program.get("/api/v1/connections", &operator).await;
        holds(connections["total"] == 0, "a peer that is gone stays")
    })
    .await;
    drop(gone);
}
