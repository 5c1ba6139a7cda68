//! Stop and restart of the program, and starts that are refused.

use super::{NO_SEED, Program, SCRIPTED, command, refused};
use crate::harness::conversation_of;
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[tokio::test]
async fn stopping_server_closes_connections_and_exits_with_0() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let asked = Instant::now();
    program.terminate().await;
    assert_eq!(socket.expect_close().await, 1001);
    drop(socket);
    assert_eq!(program.exit_code().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

#[tokio::test]
async fn restart_keeps_history_and_ends_interrupted_turns() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let slow = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 100_000}}});
    socket.send(slow).await;
    let mut frame = socket.next().await;
    while frame["type"] != "token" {
        frame = socket.next().await;
    }
    program.child.kill().await.unwrap();
    drop(socket);

    let program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    // The token of before: the signing secret was kept.
    let mut socket = program.socket().signed_in(&user).await;
    let resume = json!({"type": "resume", "session_id": conversation_of(&frame), "turn_id": frame["turn_id"]});
    socket.send(resume).await;
    assert_eq!(socket.expect("resumed").await["state"], "interrupted");
    // Replayed from its start, it begins with its question.
    assert_eq!(socket.expect("progress").await["question"], "Hi");
    // What was on disk of the answer comes first, if anything was.
    let mut error = socket.next().await;
    while error["type"] != "error" {
        error = socket.next().await;
    }
    assert_eq!((&error["code"], &error["turn_id"]), (&json!("TURN_INTERRUPTED"), &frame["turn_id"]));
    assert_eq!(error["retryable"], true);
    let again = json!({"type": "message", "message": "Again", "session_id": conversation_of(&frame)});
    assert_eq!(socket.turn(again).await.terminal["type"], "complete");
    assert_eq!(program.sign_in("login", "ada@example.org").await.id, user.id);
}

#[tokio::test]
async fn a_database_has_one_server_and_a_second_one_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let slow = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 100_000}}});
    let first = socket.start(slow).await;

    let (code, text) = refused(folder.path(), &["serve", "--port", "0"], &[SCRIPTED, NO_SEED]).await;
    assert_eq!(code, Some(1), "{text}");
    let message = text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{text}"));
    for words in ["data/switchboard.db.lock", "another server", "Stop it first", "`database.url`"] {
        assert!(message.contains(words), "{words} is not in {message}");
    }
    // By another name it is the same database.
    let database = folder.path().join("data/switchboard.db");
    std::os::unix::fs::symlink(&database, folder.path().join("link.db")).unwrap();
    let by_name = async |name: &str| {
        let url = format!("sqlite://{name}");
        refused(folder.path(), &["serve", "--port", "0", "--database-url", &url], &[SCRIPTED, NO_SEED]).await
    };
    let (code, text) = by_name("link.db").await;
    assert!(code == Some(1) && text.contains("another server"), "{code:?} {text}");
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    std::fs::hard_link(&database, folder.path().join("elsewhere/hard.db")).unwrap();
    let (code, text) = by_name("elsewhere/hard.db").await;
    assert!(code == Some(1) && text.contains("hard links") && text.contains("elsewhere/hard.db"), "{code:?} {text}");
    std::fs::remove_file(folder.path().join("elsewhere/hard.db")).unwrap();
    // The turn of the first goes on, and so do the commands that work beside it.
    let mut late = program.socket().signed_in(&user).await;
    late.send(json!({"type": "resume", "session_id": conversation_of(&first), "turn_id": first["turn_id"]})).await;
    assert_eq!(late.expect("resumed").await["state"], "streaming");
    for arguments in [&["user", "list"][..], &["user", "set-role", &user.email, "agent"], &["migrate"]] {
        let output = command(folder.path(), arguments, &[]).output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    // One that is killed leaves its file, and no lock.
    program.child.kill().await.unwrap();
    drop((socket, late));
    assert!(folder.path().join("data/switchboard.db.lock").exists());
    Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
}

#[tokio::test]
async fn failed_start_is_explained_in_one_message() {
    let folder = TempDir::new().unwrap();
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = occupied.local_addr().unwrap().port().to_string();
    let (code, text) = refused(folder.path(), &["serve", "--port", &port], &[NO_SEED]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.lines().any(|line| line.starts_with("error: ") && line.contains(&port)), "{text}");

    let agents = ("SWITCHBOARD__WORKFLOW__AGENTS_FILE", "no-such-agents.toml");
    let (code, text) = refused(folder.path(), &["serve", "--port", "0"], &[NO_SEED, agents]).await;
    assert!(code == Some(1) || code == Some(2), "{code:?} {text}");
    assert!(text.contains("no-such-agents.toml"), "{text}");

    std::fs::write(folder.path().join("broken.db"), "this is no database, however long one reads".repeat(100)).unwrap();
    let (code, text) =
        refused(folder.path(), &["serve", "--port", "0", "--database-url", "sqlite://broken.db"], &[NO_SEED]).await;
    assert_eq!(code, Some(1), "{text}");
    let path = folder.path().join("broken.db");
    let message = text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{text}"));
    for words in [path.to_str().unwrap(), "is not an SQLite database", "restore a backup"] {
        assert!(message.contains(words), "{words} is not in {message}");
    }
}

#[tokio::test]
async fn informational_signals_do_not_stop_the_server() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let slow = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 40, "interval_ms": 10}}});
    let first = socket.start(slow).await;
    for name in ["HUP", "USR1", "USR2", "XFSZ"] {
        program.signal(name).await;
    }
    let turn = socket.rest_of_turn(vec![first]).await;
    assert_eq!(turn.terminal["finish_reason"], "stop");
    // Also while it empties: what it was asked before goes on.
    let long = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 60, "interval_ms": 10}}});
    let first = socket.start(long).await;
    program.terminate().await;
    for name in ["HUP", "USR1", "USR2"] {
        program.signal(name).await;
    }
    assert_eq!(socket.rest_of_turn(vec![first]).await.terminal["finish_reason"], "stop");
    assert_eq!(socket.expect_close().await, 1001);
    drop(socket);
    assert_eq!(program.exit_code().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    for name in
        ["received SIGHUP; settings are not reloaded", "received SIGUSR1", "received SIGUSR2", "received SIGXFSZ"]
    {
        assert!(log.contains(name), "{name} is not in\n{log}");
    }
}

#[tokio::test]
async fn a_hangup_while_it_starts_does_not_end_it() {
    let folder = TempDir::new().unwrap();
    // Loading the documents of the knowledge base makes the start long enough to be hit.
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut child = command(folder.path(), &["serve", "--port", "0"], &[SCRIPTED]).stderr(log).spawn().unwrap();
    let pid = child.id().unwrap();
    let started = Instant::now();
    // From the moment on that it catches signals; before that, it is not even this program.
    while !catches_hangup(pid) {
        assert!(started.elapsed() < Duration::from_secs(20), "it catches no SIGHUP");
    }
    let kill = async |name: &str| {
        let sent = tokio::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await;
        assert!(sent.unwrap().success());
    };
    for _ in 0..20 {
        kill("HUP").await;
    }
    let mut line = String::new();
    let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line).await.unwrap();
    assert!(line.contains("http://"), "it does not say where it is: {line:?}");
    kill("TERM").await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

/// Whether the process has a handler for SIGHUP, which is signal 1.
fn catches_hangup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 == 1
}
