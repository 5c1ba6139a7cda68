//! The names of fields, which differ between the dialects.

use crate::harness::TestApp;
use serde_json::{Value, json};

const V1: [&str; 4] = ["starting", "agent_routing", "rag_retrieval", "generating"];
const V2: [&str; 4] = ["starting", "routing", "retrieval", "generating"];

/// Whether a frame has the older and the newer name of a field, each with the same value.
fn has(frame: &Value, older: &str, newer: &str) -> (bool, bool) {
    let (one, other) = (frame.get(older), frame.get(newer));
    assert!(one.is_none() || other.is_none() || one == other, "{frame}");
    (one.is_some(), other.is_some())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn frames_use_only_the_names_of_their_dialect() {
    let app = TestApp::scripted(3, 1).await;
    let user = app.user().await;
    for (dialect, steps, names) in [("chat.v1", V1, (true, false)), ("chat.v2", V2, (false, true))] {
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let turn = socket.ask("What is the engine power?").await;
        assert_eq!(turn.steps, steps, "{dialect}");
        for frame in turn.progress.iter().chain(&turn.tokens).chain([&turn.terminal]) {
            assert_eq!(has(frame, "session_id", "conversation_id"), names, "{dialect}: {frame}");
        }
        assert_eq!(has(&turn.progress[2], "agent", "specialist"), names, "{dialect}");
        assert_eq!(has(&turn.terminal["metadata"], "agent", "specialist"), names, "{dialect}");

        // The conversation goes by either name in what a client sends.
        for name in ["session_id", "conversation_id"] {
            socket.send(json!({"type": "resume", name: turn.conversation_id})).await;
            let resumed = socket.expect("resumed").await;
            assert_eq!(has(&resumed, "session_id", "conversation_id"), names, "{dialect}: {resumed}");
            socket.rest_of_turn(Vec::new()).await;
            socket.send(json!({"type": "message", "message": "", name: turn.conversation_id})).await;
            let error = socket.expect_error("EMPTY_MESSAGE").await;
            assert_eq!(has(&error, "session_id", "conversation_id"), names, "{dialect}: {error}");
        }
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn rest_bodies_have_the_names_of_both_dialects() {
    let app = TestApp::scripted(3, 1).await;
    let user = app.user().await;
    let both = (true, true);
    let (_, answer) = app.post("/api/v1/chat", Some(&user), &json!({"message": "What is the engine power?"})).await;
    assert_eq!(has(&answer, "session_id", "conversation_id"), both, "{answer}");
    assert_eq!(has(&answer["metadata"], "agent", "specialist"), both, "{answer}");
    let (_, page) = app.get("/api/v1/conversations", Some(&user)).await;
    assert_eq!(has(&page["conversations"][0], "session_id", "conversation_id"), both, "{page}");
    assert_eq!(page["conversations"][0]["conversation_id"], answer["conversation_id"]);
    let history = app.history(&user, answer["conversation_id"].as_str().unwrap()).await;
    assert_eq!(has(&history[1]["metadata"], "agent", "specialist"), both, "{history:?}");
    for name in ["session_id", "conversation_id"] {
        let question = json!({"message": "And the torque?", name: answer["conversation_id"]});
        let (status, next) = app.post("/api/v1/chat", Some(&user), &question).await;
        assert_eq!((status, &next["conversation_id"]), (200, &answer["conversation_id"]), "{next}");
    }
}
