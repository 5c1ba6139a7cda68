//! A store that cannot write: what goes on, what is said, and that it heals without a restart.

use crate::{
    harness::{TestApp, TestSocket, Transcript, eventually, holds},
    program::{NO_SEED, Program, SCRIPTED},
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::Command;

const BUSY_TIMEOUT_MS: u32 = 300;
/// Time limit for a request that waits for a lock; most of it is for a busy machine.
const BOUND: Duration = Duration::from_secs(4);

/// Sends a question that streams for about a second, and waits for its first token.
async fn begin(socket: &mut TestSocket) -> Vec<Value> {
    let script = json!({"tokens": 50, "interval_ms": 20});
    socket.send(json!({"type": "message", "message": "Why?", "metadata": {"script": script}})).await;
    let mut frames = vec![socket.next().await];
    while frames.last().unwrap()["type"] != "token" {
        frames.push(socket.next().await);
    }
    frames
}

async fn to_the_end(socket: &mut TestSocket, mut frames: Vec<Value>) -> Transcript {
    loop {
        let frame = socket.next().await;
        let is_terminal = frame["type"] == "complete" || frame["type"] == "error";
        frames.push(frame);
        if is_terminal {
            return Transcript::check(frames);
        }
    }
}

async fn status_of(url: &str) -> u16 {
    reqwest::get(format!("{url}/health/ready")).await.unwrap().status().as_u16()
}

async fn becomes_ready(url: &str) {
    eventually(async || holds(status_of(url).await == 200, "it does not heal")).await;
}

/// A question, asked again until it is taken.
async fn answered_at_last(socket: &mut TestSocket, question: Value) -> Transcript {
    eventually(async || {
        let answer = socket.turn(question.clone()).await;
        if answer.terminal["type"] == "complete" {
            return Ok(answer);
        }
        assert_eq!(answer.terminal["code"], "OVERLOADED", "{:?}", answer.terminal);
        Err("it does not heal")
    })
    .await
}

fn assert_refused(frame: &Value, took: Duration) {
    assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!("OVERLOADED")), "{frame}");
    assert_eq!(frame["retryable"], true);
    assert!(frame["retry_after_ms"].is_u64() && frame["correlation_id"].is_string(), "{frame}");
    assert!(took < BOUND, "the refusal took {took:?}");
}

/// Messages of the conversation, by role.
fn contents(history: &Value) -> Vec<(&str, &str)> {
    let messages = history["messages"].as_array().unwrap_or_else(|| panic!("{history}"));
    messages.iter().map(|message| (message["role"].as_str().unwrap(), message["content"].as_str().unwrap())).collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn streams_continue_while_another_process_locks_the_database() {
    let app = TestApp::with(|config| config.database.busy_timeout_ms = BUSY_TIMEOUT_MS).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let frames = begin(&mut socket).await;

    let mut other =
        SqliteConnection::establish(app.folder.path().join("data/switchboard.db").to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let turn = to_the_end(&mut socket, frames).await;
    assert_eq!((&turn.terminal["type"], turn.tokens.len()), (&json!("complete"), 50));
    assert_eq!(turn.terminal["metadata"]["stored"], false);
    let asked = Instant::now();
    socket.send(json!({"type": "message", "message": "And then?", "session_id": turn.conversation_id})).await;
    assert_refused(&socket.next().await, asked.elapsed());
    let asked = Instant::now();
    assert_eq!(status_of(&app.url).await, 503);
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    let (status, _) = app.get("/api/v1/conversations", Some(&user)).await;
    assert_eq!(status, 200, "reading goes on");

    other.batch_execute("COMMIT").unwrap();
    becomes_ready(&app.url).await;
    let question = json!({"type": "message", "message": "And then?", "session_id": turn.conversation_id});
    let next = answered_at_last(&mut socket, question).await;
    assert!(next.terminal["metadata"].get("stored").is_none(), "{:?}", next.terminal);
    let path = format!("/api/v1/conversations/{}/messages", turn.conversation_id);
    let (_, history) = app.get(&path, Some(&user)).await;
    let expected = [("user", "Why?"), ("assistant", &*turn.text), ("user", "And then?"), ("assistant", &*next.text)];
    assert_eq!(contents(&history), expected);
    assert!(history["messages"][1]["metadata"].get("stored").is_none(), "{history}");
    socket.close().await;
}

#[tokio::test]
async fn streams_continue_on_a_full_disk_and_are_stored_later() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve_with_limited_files(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let frames = begin(&mut socket).await;

    // From here on no file can be written, as on a full disk, and with other words of the system.
    limit_files(&program, "0").await;
    let turn = to_the_end(&mut socket, frames).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["metadata"]["stored"]), (&json!("complete"), &json!(false)));
    let asked = Instant::now();
    socket.send(json!({"type": "message", "message": "And then?"})).await;
    assert_refused(&socket.next().await, asked.elapsed());
    assert_eq!(status_of(&program.url).await, 503);
    let login = json!({"email": "ada@example.org", "password": crate::harness::PASSWORD});
    let (status, body) = program.post("/api/v1/auth/login", None, &login).await;
    assert_eq!((status, &body["code"]), (503, &json!("OVERLOADED")));

    limit_files(&program, "unlimited").await;
    becomes_ready(&program.url).await;
    answered_at_last(&mut socket, json!({"type": "message", "message": "And then?"})).await;
    // It is on disk: a kill takes nothing of it.
    program.child.kill().await.unwrap();
    let program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let (_, history) = program.get(&format!("/api/v1/conversations/{}/messages", turn.conversation_id), &user).await;
    assert_eq!(contents(&history), [("user", "Why?"), ("assistant", &*turn.text)]);
}

/// Size limit for the files that the program writes, in bytes.
async fn limit_files(program: &Program, bytes: &str) {
    let pid = program.child.id().expect("it runs").to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status().await;
    assert!(limited.unwrap().success());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn moved_database_file_loses_nothing_once_it_is_back() {
    let app = TestApp::with(|config| config.database.busy_timeout_ms = BUSY_TIMEOUT_MS).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let frames = begin(&mut socket).await;

    let (data, away) = (app.folder.path().join("data"), app.folder.path().join("away"));
    std::fs::rename(&data, &away).unwrap();
    let turn = to_the_end(&mut socket, frames).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["metadata"]["stored"]), (&json!("complete"), &json!(false)));
    let asked = Instant::now();
    socket.send(json!({"type": "message", "message": "And then?"})).await;
    assert_refused(&socket.next().await, asked.elapsed());
    assert_eq!(status_of(&app.url).await, 503);
    assert!(!data.exists(), "an empty database was made in its place");

    std::fs::rename(&away, &data).unwrap();
    becomes_ready(&app.url).await;
    answered_at_last(&mut socket, json!({"type": "message", "message": "And then?"})).await;
    let path = format!("/api/v1/conversations/{}/messages", turn.conversation_id);
    let (_, history) = app.get(&path, Some(&user)).await;
    assert_eq!(contents(&history), [("user", "Why?"), ("assistant", &*turn.text)]);
    socket.close().await;
}
