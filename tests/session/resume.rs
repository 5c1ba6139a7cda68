//! Going on with a turn: after a cut, after its end, from memory and from the store.

use crate::harness::{TestApp, TestSocket, Transcript, conversation_of};
use serde_json::{Value, json};

/// Resumes, and reads to the end of the turn: the `resumed` frame, and all behind it.
async fn resume(socket: &mut TestSocket, fields: Value) -> (Value, Vec<Value>) {
    let mut frame = json!({"type": "resume"});
    frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    socket.send(frame).await;
    let resumed = socket.expect("resumed").await;
    (resumed, socket.frames_of_turns(1).await)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn resume_continues_where_the_connection_broke() {
    let app = TestApp::scripted(60, 10).await;
    let user = app.user().await;
    for dialect in ["chat.v1", "chat.v2"] {
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
        let mut frames = socket.read_tokens(first, 5).await;
        let last = frames.last().unwrap().clone();
        drop(socket);

        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let (resumed, rest) = resume(
            &mut socket,
            json!({"session_id": conversation_of(&last), "turn_id": last["turn_id"], "last_seq": last["seq"]}),
        )
        .await;
        assert_eq!((&resumed["state"], &resumed["turn_id"]), (&json!("streaming"), &last["turn_id"]));
        assert_eq!(resumed["from_seq"], last["seq"].as_u64().unwrap() + 1);
        assert!(rest.iter().all(|frame| frame["type"] != "progress"), "the steps were seen before");
        frames.extend(rest);
        assert_eq!(Transcript::check(frames).terminal["finish_reason"], "stop");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn resume_without_a_turn_id_replays_the_latest_turn() {
    let app = TestApp::scripted(30, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let earlier =
        socket.turn(json!({"type": "message", "message": "One", "metadata": {"script": {"tokens": 1}}})).await;
    let first = socket.start(json!({"type": "message", "message": "Two", "session_id": earlier.conversation_id})).await;
    socket.read_tokens(first.clone(), 2).await;
    drop(socket);

    let mut socket = app.socket().signed_in(&user).await;
    let (resumed, frames) = resume(&mut socket, json!({"session_id": earlier.conversation_id})).await;
    assert_eq!((&resumed["turn_id"], &resumed["from_seq"]), (&first["turn_id"], &json!(0)));
    let turn = Transcript::check(frames);
    assert_eq!(turn.steps, ["starting", "agent_routing", "rag_retrieval", "generating"]);
    // And after its end just so.
    let (resumed, frames) = resume(&mut socket, json!({"session_id": earlier.conversation_id})).await;
    assert_eq!(resumed["state"], "complete");
    assert_eq!(Transcript::check(frames).terminal, turn.terminal);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_turn_that_ended_is_replayed_byte_for_byte_from_memory_and_from_the_store() {
    for retention_s in [300, 0] {
        let app = TestApp::with(|config| config.workflow.turn_retention_s = retention_s).await;
        let user = app.user().await;
        let operator = app.operator().await;
        let mut socket = app.socket().signed_in(&user).await;
        let turn = socket.ask("Hi").await;
        let stats = app.stats_when(&operator, |stats| stats["running_turns"] == 0).await;
        assert_eq!(stats["retained_turns"], u64::from(retention_s > 0));

        let place = json!({"session_id": turn.conversation_id, "turn_id": turn.turn_id});
        let (resumed, frames) = resume(&mut socket, place).await;
        assert_eq!((&resumed["state"], &resumed["from_seq"]), (&json!("complete"), &json!(0)));
        let replay = Transcript::check(frames);
        assert_eq!((replay.text, replay.terminal), (turn.text.clone(), turn.terminal.clone()));

        // From the middle, from the last token, and from beyond it.
        for (last_seq, from_seq) in [(7, 8), (19, 20), (20, 20), (0xFFFF_FFFE_i64, 20)] {
            let place = json!({"session_id": turn.conversation_id, "turn_id": turn.turn_id, "last_seq": last_seq});
            let (resumed, mut frames) = resume(&mut socket, place).await;
            assert_eq!(resumed["from_seq"], from_seq, "{resumed}");
            assert_eq!(frames.pop(), Some(turn.terminal.clone()));
            let rest: String = frames.iter().map(|frame| frame["token"].as_str().unwrap()).collect();
            assert_eq!(rest, turn.text[from_seq * 6..]);
        }
        socket.expect_nothing().await;
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_failed_turn_is_replayed_with_its_error() {
    for retention_s in [300, 0] {
        let app = TestApp::with(|config| config.workflow.turn_retention_s = retention_s).await;
        let user = app.user().await;
        let mut socket = app.socket().signed_in(&user).await;
        let frame = json!({"type": "message", "message": "Hi", "metadata": {"script": {"fail_after": 3}}});
        let turn = socket.turn(frame).await;
        let (resumed, frames) = resume(&mut socket, json!({"session_id": turn.conversation_id})).await;
        assert_eq!(resumed["state"], "interrupted");
        let replay = Transcript::check(frames);
        assert_eq!((replay.text, replay.terminal), (turn.text, turn.terminal));
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_continues_without_any_connection() {
    let app = TestApp::scripted(30, 5).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    drop(socket);
    app.stats_when(&operator, |stats| stats["connections"] == 0 && stats["running_turns"] == 0).await;
    let history = app.history(&user, conversation_of(&first).as_str().unwrap()).await;
    assert_eq!((&history[1]["finish_reason"], &history[1]["turn_id"]), (&json!("stop"), &first["turn_id"]));
    assert_eq!(history[1]["content"].as_str().unwrap().len(), 180);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_of_another_user_cannot_be_resumed() {
    let app = TestApp::scripted(40, 10).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let ended = socket.turn(json!({"type": "message", "message": "One", "metadata": {"script": {"tokens": 1}}})).await;
    let running = socket.start(json!({"type": "message", "message": "Two"})).await;
    let mut other = app.socket().signed_in(&stranger).await;
    let unknown = uuid::Uuid::now_v7();
    for (conversation_id, turn_id, code) in [
        (json!(ended.conversation_id), json!(ended.turn_id), "FORBIDDEN"),
        (json!(ended.conversation_id), Value::Null, "FORBIDDEN"),
        (conversation_of(&running).clone(), running["turn_id"].clone(), "FORBIDDEN"),
        (conversation_of(&running).clone(), Value::Null, "FORBIDDEN"),
        (json!(unknown), Value::Null, "RESUME_UNAVAILABLE"),
        (json!(unknown), json!(unknown), "RESUME_UNAVAILABLE"),
    ] {
        other.send(json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id})).await;
        let error = other.expect_error(code).await;
        assert_eq!(*conversation_of(&error), conversation_id);
    }
    other.expect_nothing().await;
    other.close().await;

    let turn = socket.rest_of_turn(vec![running]).await;
    for (conversation_id, turn_id) in [
        (json!(unknown), json!(ended.turn_id)),
        (json!(ended.conversation_id), json!(unknown)),
        // Its own, in another of its own conversations.
        (json!(turn.conversation_id), json!(ended.turn_id)),
    ] {
        socket.send(json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id})).await;
        socket.expect_error("RESUME_UNAVAILABLE").await;
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn resume_of_a_subscribed_turn_restarts_it() {
    let app = TestApp::scripted(30, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    socket.read_tokens(first.clone(), 3).await;
    socket.send(json!({"type": "resume", "session_id": conversation_of(&first)})).await;
    while socket.next().await["type"] != "resumed" {}
    let turn = socket.rest_of_turn(Vec::new()).await;
    assert_eq!((turn.steps.len(), turn.text.len()), (4, 180));
    socket.expect_nothing().await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn repeated_message_returns_the_first_turn() {
    let app = TestApp::scripted(30, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let message = json!({"type": "message", "message": "Hi", "client_message_id": "m1"});
    let first = socket.start(message.clone()).await;
    socket.read_tokens(first.clone(), 3).await;
    drop(socket);

    // While it runs.
    let mut socket = app.socket().signed_in(&user).await;
    socket.send(message.clone()).await;
    let resumed = socket.expect("resumed").await;
    assert_eq!((&resumed["turn_id"], &resumed["state"]), (&first["turn_id"], &json!("streaming")));
    let turn = socket.rest_of_turn(Vec::new()).await;
    assert_eq!(turn.steps.len(), 4);
    // After its end.
    socket.send(message.clone()).await;
    assert_eq!(socket.expect("resumed").await["state"], "complete");
    assert_eq!(socket.rest_of_turn(Vec::new()).await.terminal, turn.terminal);
    assert_eq!(app.history(&user, &turn.conversation_id).await.len(), 2);
    // The id is this user's own.
    let other = app.user().await;
    let mut others = app.socket().signed_in(&other).await;
    assert_ne!(others.start(message).await["turn_id"], json!(turn.turn_id));
    drop(others);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn repeated_message_of_a_running_turn_returns_that_turn() {
    let app = TestApp::scripted(30, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let earlier =
        socket.turn(json!({"type": "message", "message": "One", "metadata": {"script": {"tokens": 1}}})).await;
    let message =
        json!({"type": "message", "message": "Two", "session_id": earlier.conversation_id, "client_message_id": "m2"});
    let first = socket.start(message.clone()).await;
    drop(socket);
    let mut socket = app.socket().signed_in(&user).await;
    socket.send(message).await;
    assert_eq!(socket.expect("resumed").await["turn_id"], first["turn_id"]);
    assert_eq!(socket.rest_of_turn(Vec::new()).await.terminal["turn_id"], first["turn_id"]);
    socket.close().await;
}
