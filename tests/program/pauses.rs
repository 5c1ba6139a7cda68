//! A process that is stopped for a while and goes on, as by SIGSTOP and SIGCONT.

use super::{NO_SEED, Program, SCRIPTED};
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
async fn after_a_pause_peers_are_heard_before_they_are_timed_out() {
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
async fn who_does_not_answer_after_a_pause_is_timed_out() {
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
    let began = std::time::Instant::now();
    while program.get("/api/v1/connections", &operator).await.1["total"] != 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "a peer that is gone stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(gone);
}
