//! Content of the log.

use super::{NO_SEED, Program, SCRIPTED, exchange};
use crate::harness::PASSWORD;
use serde_json::{Value, json};
use tempfile::TempDir;

const EMAIL: &str = "very.private@example.org";
const MESSAGE: &str = "zebrafish pendulum";
const API_KEY: &str = "sk-upstream-secret";

/// A whole session on a server that logs all it can; the log, and the ids that must be in it.
async fn log(format: &str) -> (String, [String; 3]) {
    let folder = TempDir::new().unwrap();
    // Nobody listens at port 9: the model fails, and that is logged too.
    let settings = [
        ("SWITCHBOARD__LOG__FORMAT", format),
        ("SWITCHBOARD__LOG__LEVEL", "trace"),
        ("SWITCHBOARD__KNOWLEDGE__SEED", "false"),
        ("SWITCHBOARD__PROVIDER__KIND", "openai"),
        ("SWITCHBOARD__PROVIDER__BASE_URL", "http://127.0.0.1:9/v1"),
        ("SWITCHBOARD__PROVIDER__API_KEY", API_KEY),
    ];
    let mut program = Program::serve(folder.path(), &settings).await;
    let registered = program.sign_in("register", EMAIL).await;
    let user = program.sign_in("login", EMAIL).await;
    let mut socket = program.socket().query(&format!("token={}", user.access_token)).connect().await;
    socket.expect("auth_success").await;
    let turn = socket.ask(MESSAGE).await;
    assert_eq!(turn.terminal["type"], "error");
    socket.send(json!({"type": "auth", "token": "not.a.token"})).await;
    socket.expect("auth_error").await;
    socket.close().await;
    let (status, _) = program.post("/api/v1/chat", Some(&user), &json!({"message": MESSAGE})).await;
    assert_eq!(status, 502);
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    for secret in [
        EMAIL,
        PASSWORD,
        MESSAGE,
        API_KEY,
        &user.access_token,
        &user.refresh_token,
        &registered.access_token,
        &registered.refresh_token,
        "not.a.token",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret:?} is in the log");
    }
    (log, [turn.turn_id, turn.conversation_id, user.id])
}

#[tokio::test]
async fn a_log_for_people_holds_ids_and_no_secrets() {
    let (log, [turn_id, conversation_id, user_id]) = log("human").await;
    for field in
        [format!("turn_id={turn_id}"), format!("conversation_id={conversation_id}"), format!("user_id={user_id}")]
    {
        assert!(log.contains(&field), "{field} is not in\n{log}");
    }
}

#[tokio::test]
async fn a_log_for_machines_holds_ids_and_no_secrets() {
    let (log, [turn_id, conversation_id, _]) = log("json").await;
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let find = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message && line["level"] == "info");
        found.unwrap_or_else(|| panic!("{message:?} is not in\n{log}"))
    };
    for message in ["turn started", "turn ended"] {
        let line = find(message);
        assert_eq!((&line["turn_id"], &line["conversation_id"]), (&json!(turn_id), &json!(conversation_id)), "{line}");
    }
    let opened = find("connection opened");
    let id = &opened["connection_id"];
    assert!(id.is_string(), "{opened}");
    for message in ["connection authenticated", "connection closed"] {
        assert_eq!(&find(message)["connection_id"], id);
    }
}

#[tokio::test]
async fn clients_cannot_fill_the_log_with_garbage() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    for _ in 0..50 {
        let answer = exchange(&program, "\u{16}\u{3}\u{1} no request\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let metrics = exchange(&program, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let counted = metrics.lines().find(|line| {
        line.starts_with("switchboard_errors_total{") && line.contains("\"http\"") && line.contains("INVALID_FIELD")
    });
    assert!(counted.is_some_and(|line| line.ends_with(" 50")), "{counted:?}");
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    // One in ten seconds, however long this took.
    let lines = log.lines().filter(|line| line.contains("not an HTTP request")).count();
    assert!((1..10).contains(&lines), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("actix_http"), "{log}");
}
