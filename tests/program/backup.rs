//! `switchboard backup` beside a server that writes, and a server that begins with the backup.

use super::{NO_SEED, Program, SCRIPTED, command};
use crate::harness::TestUser;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// The conversations of a user with their messages.
async fn everything(program: &Program, user: &TestUser) -> Vec<(Value, Value)> {
    let (status, list) = program.get("/api/v1/conversations?limit=200", user).await;
    assert_eq!(status, 200, "{list}");
    let mut conversations = Vec::new();
    for conversation in list["conversations"].as_array().unwrap() {
        let id = conversation["session_id"].as_str().unwrap();
        let (status, messages) = program.get(&format!("/api/v1/conversations/{id}/messages?limit=200"), user).await;
        assert_eq!(status, 200, "{messages}");
        conversations.push((conversation.clone(), messages["messages"].clone()));
    }
    conversations
}

/// The exit code and all output of `switchboard backup`.
async fn back_up(folder: &Path, target: &str) -> (Option<i32>, String) {
    let output = command(folder, &["backup", target], &[]).output().await.unwrap();
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (output.status.code(), texts.concat())
}

async fn ask(program: &Program, user: &TestUser, tokens: u32) {
    let script = json!({"tokens": tokens, "interval_ms": 0});
    let question = json!({"message": format!("Tell me {tokens}"), "metadata": {"script": script}});
    let (status, answer) = program.post("/api/v1/chat", Some(user), &question).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_backup_taken_under_load_brings_everything_back() {
    let (folder, restored) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let ada = program.sign_in("register", "ada@example.org").await;
    let bob = program.sign_in("register", "bob@example.org").await;
    for tokens in [1, 5, 300] {
        ask(&program, &ada, tokens).await;
    }
    let before = everything(&program, &ada).await;
    // An answer that runs, and others that are written all the time.
    let mut socket = program.socket().signed_in(&bob).await;
    let slow = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 100_000}}});
    let running = socket.start(slow).await;
    let load = async {
        for _ in 0..10 {
            join_all((1..=4).map(|tokens| ask(&program, &bob, tokens * 50))).await;
        }
    };
    let (taken, ()) = tokio::join!(back_up(folder.path(), "first.db"), load);
    assert_eq!(taken.0, Some(0), "{}", taken.1);
    assert!(taken.1.contains("first.db") && taken.1.contains("checked"), "{}", taken.1);
    let (code, text) = back_up(folder.path(), "first.db").await;
    assert!(code == Some(1) && text.contains("already exists"), "{code:?} {text}");

    // What the backup has no longer changes, whatever is said or deleted afterwards.
    ask(&program, &ada, 7).await;
    drop((socket, program));
    std::fs::create_dir(restored.path().join("data")).unwrap();
    std::fs::copy(folder.path().join("first.db"), restored.path().join("data/switchboard.db")).unwrap();
    std::fs::copy(folder.path().join("data/jwt_secret"), restored.path().join("data/jwt_secret")).unwrap();
    let program = Program::serve(restored.path(), &[SCRIPTED, NO_SEED]).await;
    assert_eq!(everything(&program, &ada).await, before);
    let bob = program.sign_in("login", "bob@example.org").await;
    let conversations = everything(&program, &bob).await;
    let (_, messages) = conversations
        .iter()
        .find(|(conversation, _)| conversation["session_id"] == running["session_id"])
        .expect("the conversation of the answer that ran");
    assert_eq!((&messages[0]["content"], &messages[1]["finish_reason"]), (&json!("Hi"), &json!("error")));
    // Every question has its one answer.
    for (conversation, messages) in &conversations {
        let roles: Vec<_> = messages.as_array().unwrap().iter().map(|message| &message["role"]).collect();
        assert_eq!(roles, [&json!("user"), &json!("assistant")], "{conversation}");
    }
    // It goes on where the other one was.
    ask(&program, &ada, 2).await;
    assert_eq!(everything(&program, &ada).await.len(), before.len() + 1);
}
