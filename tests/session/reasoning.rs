//! Reasoning of a model: a step, frames if the settings say so, and never part of the answer.

use crate::{
    harness::{TestApp, Transcript},
    provider::upstream::{Upstream, answers},
};
use serde_json::{Value, json};
use switchboard::config::{ProviderKind, Reasoning};

fn question() -> Value {
    json!({"type": "message", "message": "Why?", "metadata": {"script": {"reasoning_tokens": 3, "tokens": 5, "interval_ms": 1}}})
}

async fn app(reasoning: Reasoning, keep_reasoning: bool) -> TestApp {
    TestApp::with(|config| {
        (config.workflow.reasoning, config.workflow.keep_reasoning) = (reasoning, keep_reasoning);
        // Every resume reads the store.
        config.workflow.turn_retention_s = 0;
    })
    .await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn hidden_reasoning_is_only_a_step() {
    let app = app(Reasoning::Hidden, false).await;
    let user = app.user().await;
    for dialect in ["chat.v1", "chat.v2"] {
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let turn = socket.turn(question()).await;
        assert_eq!((turn.steps.last().unwrap().as_str(), turn.reasoning.as_str()), ("thinking", ""));
        assert_eq!(turn.text, "w0000 w0001 w0002 w0003 w0004 ");
        let history = app.history(&user, &turn.conversation_id).await;
        assert!(history[1].get("reasoning").is_none(), "{history:?}");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn shown_reasoning_has_frames_of_its_own() {
    let app = app(Reasoning::Shown, true).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let turn = socket.turn(question()).await;
    assert_eq!((turn.reasoning.as_str(), turn.tokens.len()), ("w0000 w0001 w0002 ", 5));
    assert_eq!(turn.terminal["response"], turn.text);
    assert_eq!(app.history(&user, &turn.conversation_id).await[1]["reasoning"], turn.reasoning);

    // The dialect of older clients has no frame for it.
    let mut older = app.socket().signed_in(&user).await;
    assert_eq!(older.turn(question()).await.reasoning, "");
    older.close().await;

    let events = app.events(&user, &json!({"message": "Why?", "metadata": question()["metadata"]}), None).await;
    let events = Transcript::check(events.unwrap().rest().await.into_iter().map(|event| event.frame).collect());
    assert_eq!(events.reasoning, turn.reasoning);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn parts_of_an_answer_are_in_the_history() {
    let cited = json!({"choices": [{"message": {
        "content": "Fine.",
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com/", "title": "Engines"}}],
    }, "finish_reason": "stop"}]});
    let body = cited.to_string();
    let upstream = Upstream::answering(move |_| answers("200 OK", "content-type: application/json\r\n", &body)).await;
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.provider.model = "test-model".to_owned();
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let turn = socket.ask("Hello?").await;
    let history = app.history(&user, &turn.conversation_id).await;
    let part = json!({"kind": "url_citation", "url": "https://example.com/", "title": "Engines"});
    assert_eq!((&history[1]["parts"], history[0].get("parts")), (&json!([part]), None));
    let mut live = turn.parts[0].clone();
    for name in ["type", "turn", "turn_id", "conversation_id", "index"] {
        live.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(live, part, "the same as in its frame");
    socket.close().await;
}

/// The entries that the store does not keep leave gaps, so that those that it keeps have the indices that clients know.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn indices_stay_the_same_in_a_replay_from_the_store() {
    let app = app(Reasoning::Shown, false).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let turn = socket.turn(question()).await;
    // Starting, routing, retrieval, generating, thinking, three pieces of reasoning, five tokens.
    assert_eq!(turn.terminal["index"], 13);
    let resume = |last_seq: i64, last_index: Option<u64>| {
        let mut frame = json!({"type": "resume", "conversation_id": turn.conversation_id, "turn_id": turn.turn_id});
        frame["last_seq"] = json!(last_seq);
        frame["last_index"] = json!(last_index);
        frame
    };
    for (last_seq, last_index, from_index, progress) in
        [(-1, None, 0, 1), (-1, Some(2), 3, 0), (1, None, 10, 0), (4, Some(7), 13, 0), (4, Some(13), 13, 0)]
    {
        socket.send(resume(last_seq, last_index)).await;
        let resumed = socket.expect("resumed").await;
        assert_eq!((&resumed["index"], &resumed["from_seq"]), (&json!(from_index), &json!(last_seq + 1)), "{last_seq}");
        let replay = socket.frames_of_turns(1).await;
        assert_eq!(replay.iter().filter(|frame| frame["type"] == "progress").count(), progress);
        assert_eq!(replay.last().unwrap()["index"], 13);
    }
    for invalid in [-2, 0xFFFF_FFFF_i64] {
        let mut frame = resume(-1, None);
        frame["last_index"] = json!(invalid);
        socket.send(frame).await;
        let error = socket.expect_error("INVALID_FIELD").await;
        assert!(error["error"].as_str().unwrap().contains("`last_index`"), "{error}");
    }
    socket.close().await;
}
