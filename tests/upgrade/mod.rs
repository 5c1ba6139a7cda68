//! Databases written by earlier versions migrate without loss: this version reports what that version reported.
//!
//! `make_fixture.py` wrote `written_by_0_1_0.db` with the program of that version, killed while a turn was running.

use crate::{
    harness::{TestUser, token::refresh_token},
    program::{Program, SCRIPTED},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade")
}

/// A working folder whose default database is a copy of the fixture.
fn folder_with_the_fixture() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::copy(fixture().join("written_by_0_1_0.db"), folder.path().join("data/switchboard.db")).unwrap();
    folder
}

/// Asserts that everything in `expected` is in `actual`; fields that a later version added may be there too.
fn assert_kept(path: &str, expected: &Value, actual: &Value) {
    match (expected, actual) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, value) in fields {
                assert_kept(&format!("{path}.{name}"), value, &actual[name]);
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            assert_eq!(expected.len(), actual.len(), "{path}");
            for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                assert_kept(&format!("{path}[{n}]"), expected, actual);
            }
        }
        _ => assert_eq!(expected, actual, "{path}"),
    }
}

/// Replaces the fields that are decided when a turn that a crash left running is ended, which happens at each start.
fn forget_the_moment_of_recovery(conversations: &mut Value, running_turn: &Value) {
    for conversation in conversations["conversations"].as_array_mut().unwrap() {
        let mut recovered = false;
        for message in conversation["messages"]["messages"].as_array_mut().unwrap() {
            if message["turn_id"] == *running_turn && message["role"] == "assistant" {
                message["message_id"] = json!("");
                message["created_at_ms"] = json!(0);
                recovered = true;
            }
        }
        if recovered {
            conversation["updated_at_ms"] = json!(0);
        }
    }
}

/// Replaces the fields of the built-in documents that change when they get the keywords of this version.
fn forget_the_keywords(documents: &mut Value) {
    for document in documents["documents"].as_array_mut().unwrap() {
        if document["source"] != "garden.md" && document["source"] != "bridge.txt" {
            document["bytes"] = json!(0);
            document["updated_at_ms"] = json!(0);
        }
    }
}

async fn conversations(program: &Program, user: &TestUser) -> Value {
    let (_, mut found) = program.get("/api/v1/conversations?limit=100", user).await;
    for conversation in found["conversations"].as_array_mut().unwrap() {
        let id = conversation["session_id"].as_str().unwrap();
        let (status, messages) = program.get(&format!("/api/v1/conversations/{id}/messages?limit=200"), user).await;
        assert_eq!(status, 200, "{messages}");
        conversation["messages"] = messages;
    }
    found
}

/// Asserts that each conversation has the events of its messages and turns; returns all of them.
async fn events_of(program: &Program, user: &TestUser, conversations: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for conversation in conversations["conversations"].as_array().unwrap() {
        let id = conversation["session_id"].as_str().unwrap();
        let (status, page) = program.get(&format!("/api/v1/conversations/{id}/events?limit=200"), user).await;
        assert_eq!((status, page.get("next")), (200, None), "{page}");
        let events = page["events"].as_array().unwrap();
        let positions: Vec<_> = events.iter().map(|event| event["position"].as_u64().unwrap()).collect();
        assert_eq!(positions, (1..).take(events.len()).collect::<Vec<_>>());
        let of_kind = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
        let texts: Vec<_> = of_kind("message").into_iter().map(|event| &event["text"]).collect();
        let messages = conversation["messages"]["messages"].as_array().unwrap();
        let said: Vec<_> = messages.iter().map(|message| &message["content"]).filter(|text| **text != "").collect();
        assert_eq!(texts, said);
        let turns = |kind| of_kind(kind).into_iter().map(|event| event["turn_id"].clone()).collect::<Vec<_>>();
        assert_eq!(turns("turn_started"), turns("turn_ended"));
        all.extend(events.iter().cloned());
    }
    all
}

#[tokio::test]
async fn a_database_of_0_1_0_migrates_without_loss() {
    let folder = folder_with_the_fixture();
    let said: Value = serde_json::from_slice(&fs::read(fixture().join("written_by_0_1_0.json")).unwrap()).unwrap();
    let secret = said["jwt_secret"].as_str().unwrap();
    let settings =
        [SCRIPTED, ("SWITCHBOARD__AUTH__JWT_SECRET", secret), ("SWITCHBOARD__DATABASE__AUDIT_RETENTION_DAYS", "0")];

    let mut events: Vec<Vec<Value>> = Vec::new();
    // The second start finds what the first one migrated.
    for start in 1..=2 {
        events.push(Vec::new());
        let mut program = Program::serve(folder.path(), &settings).await;
        for (email, account) in said["accounts"].as_object().unwrap() {
            let user = program.sign_in("login", email).await;
            let (_, me) = program.get("/api/v1/auth/me", &user).await;
            assert_kept("me", &account["me"], &me);
            let (mut expected, mut actual) = (account["conversations"].clone(), conversations(&program, &user).await);
            events.last_mut().unwrap().extend(events_of(&program, &user, &actual).await);
            for side in [&mut expected, &mut actual] {
                forget_the_moment_of_recovery(side, &said["running_turn"]);
            }
            assert_kept(email, &expected, &actual);
        }
        let locked = json!({"email": "locked@example.org", "password": crate::harness::PASSWORD});
        let (_, refused) = program.post("/api/v1/auth/login", None, &locked).await;
        assert_eq!(refused["code"], said["locked"]);

        let operator = program.sign_in("login", "operator@example.org").await;
        let (_, mut documents) = program.get("/api/v1/documents", &operator).await;
        let mut expected = said["documents"].clone();
        for side in [&mut expected, &mut documents] {
            forget_the_keywords(side);
        }
        assert_kept("documents", &expected, &documents);
        let (_, audit) = program.get("/api/v1/audit?limit=100", &operator).await;
        assert_kept("audit", &said["audit"], &audit);
        for (query, source) in
            [("forty tonnes", "bridge.txt"), ("roses", "garden.md"), ("engine power", "engine-and-performance.md")]
        {
            let (_, found) = program.post("/api/v1/documents/search", Some(&operator), &json!({"query": query})).await;
            assert_eq!(found["passages"][0]["source"], source, "{query}: {found}");
        }
        if start == 1 {
            let old = refresh_token(&said["refresh_claims"], secret);
            let (status, pair) = program.post("/api/v1/auth/refresh", None, &json!({"refresh_token": old})).await;
            assert_eq!(status, 200, "an open sign-in goes on: {pair}");
        }
        program.child.kill().await.unwrap();
    }
    assert!(!events[0].is_empty());
    assert_eq!(events[0], events[1]);
    let backup = fs::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name());
    let backups = backup.filter(|name| name.to_str().unwrap().starts_with("switchboard.db.before-"));
    assert_eq!(backups.count(), 1, "the first start made a backup");
}

#[tokio::test]
async fn a_conversation_of_0_1_0_goes_on() {
    let folder = folder_with_the_fixture();
    let program = Program::serve(folder.path(), &[SCRIPTED]).await;
    let user = program.sign_in("login", "ada@example.org").await;
    let before = conversations(&program, &user).await;
    let conversation = &before["conversations"][0];
    let question = json!({"message": "And now?", "session_id": conversation["session_id"]});
    let (status, answer) = program.post("/api/v1/chat", Some(&user), &question).await;
    assert_eq!((status, &answer["session_id"]), (200, &conversation["session_id"]), "{answer}");

    let after = conversations(&program, &user).await;
    let (before, after) = (&conversation["messages"]["messages"], &after["conversations"][0]["messages"]["messages"]);
    let (before, after) = (before.as_array().unwrap(), after.as_array().unwrap());
    assert_eq!(before[..], after[..before.len()]);
    assert_eq!(after[before.len()]["content"], "And now?");
    assert_eq!(after[before.len() + 1]["content"], answer["response"]);
    assert_eq!(after.len(), before.len() + 2);
}
