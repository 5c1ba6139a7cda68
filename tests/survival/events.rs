//! Conversation events over `kill -9`: positions stay gapless, and each turn ends once.

use crate::{
    harness::TestSocket,
    program::{NO_SEED, Program, SCRIPTED},
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Adds the events that arrive until `until` holds of the last frame, or until the moment.
async fn read_events(
    socket: &mut TestSocket,
    events: &mut Vec<Value>,
    moment: Instant,
    until: impl Fn(&Value) -> bool,
) -> bool {
    while let Some(frame) = socket.next_before(moment).await {
        if frame["type"] == "event" {
            let expected = i64::try_from(events.len()).unwrap() + 1;
            assert_eq!(frame["position"], expected, "{frame}");
            events.push(frame.clone());
        }
        if until(&frame) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn events_are_gapless_over_kill_9() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut asking = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let id = asking.ask("Begin").await.conversation_id;
    drop(asking);
    let mut events = Vec::new();
    for kill_after_ms in [40, 300, 900] {
        let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
        let last_position = events.len();
        socket.send(json!({"type": "resume", "conversation_id": id, "last_position": last_position})).await;
        let script = json!({"tokens": 10_000, "interval_ms": 5});
        let question = json!({
            "type": "message", "message": "Go on", "conversation_id": id, "metadata": {"script": script},
        });
        socket.send(question).await;
        // The question is on disk.
        let is_started = |frame: &Value| frame["type"] == "progress";
        assert!(read_events(&mut socket, &mut events, Instant::now() + PATIENCE, is_started).await);
        let moment = Instant::now() + Duration::from_millis(kill_after_ms);
        read_events(&mut socket, &mut events, moment, |_| false).await;
        program.child.kill().await.unwrap();
        program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    }
    let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    socket.send(json!({"type": "resume", "conversation_id": id, "last_position": events.len()})).await;
    let head = socket.expect("resumed").await["head"].clone();
    let is_head = |frame: &Value| frame["position"] == head;
    assert!(read_events(&mut socket, &mut events, Instant::now() + PATIENCE, is_head).await);
    let of_kind = |kind: &str| -> Vec<Value> {
        events.iter().filter(|event| event["kind"] == kind).map(|event| event["turn_id"].clone()).collect()
    };
    assert_eq!((of_kind("turn_started"), of_kind("turn_started").len()), (of_kind("turn_ended"), 4));
    let codes: Vec<_> = events.iter().filter_map(|event| event.get("code")).collect();
    assert_eq!(codes, ["TURN_INTERRUPTED"; 3]);
    socket.close().await;
}

#[tokio::test]
async fn an_unknown_kind_keeps_its_position_and_is_logged_once() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut asking = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let id = asking.ask("Begin").await.conversation_id;
    asking.close().await;
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    // As a later version would leave it.
    let path = folder.path().join("data/switchboard.db");
    let mut database = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    for position in [5, 6] {
        let later = format!(
            "INSERT INTO conversation_events (conversation_id, position, kind, at_ms, actor_kind, payload) \
             VALUES ('{id}', {position}, 'call_started', 7, 'telephone', '{{\"number\": 1}}'); \
             UPDATE conversations SET head_position = {position} WHERE id = '{id}';"
        );
        database.batch_execute(&later).unwrap();
    }
    drop(database);
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("login", "ada@example.org").await;
    let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    for _ in 0..3 {
        socket.send(json!({"type": "resume", "conversation_id": id, "last_position": 3})).await;
        assert_eq!(socket.expect("resumed").await["head"], 6);
        assert_eq!(socket.next().await["kind"], "turn_ended");
        for position in [5, 6] {
            let unknown = json!({
                "type": "event", "conversation_id": id, "position": position, "kind": "call_started", "at": 7,
                "actor": {"kind": "telephone"},
            });
            assert_eq!(socket.next().await, unknown);
        }
    }
    // The next event follows it.
    socket.send(json!({"type": "message", "message": "Go on", "conversation_id": id})).await;
    let mut next = socket.next().await;
    while next["type"] != "event" {
        next = socket.next().await;
    }
    assert_eq!((&next["position"], &next["kind"]), (&json!(7), &json!("message")));
    while socket.next().await["kind"] != "turn_ended" {}
    socket.close().await;
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("call_started")).count(), 1, "{log}");
}
