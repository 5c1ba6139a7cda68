//! `POST /api/v1/chat` as an event stream.

use crate::harness::{Event, TestApp, Transcript};
use serde_json::{Value, json};

fn question() -> Value {
    json!({"message": "What is the engine power?"})
}

fn transcript(events: Vec<Event>) -> Transcript {
    Transcript::check(events.into_iter().map(|event| event.frame).collect())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn event_stream_has_an_id_for_each_event() {
    let app = TestApp::scripted(20, 1).await;
    let user = app.user().await;
    let events = app.events(&user, &question(), None).await.unwrap().rest().await;
    let (mut last_seq, mut next_index) = (-1, 0);
    for event in &events {
        let seq = event.frame["seq"].as_i64();
        next_index += event.frame["first_seq"].as_i64().map_or(1, |first| seq.unwrap() - first + 1);
        last_seq = seq.unwrap_or(last_seq);
        let index = next_index - 1;
        assert_eq!(event.id, format!("{}:{last_seq}:{index}", event.frame["turn_id"].as_str().unwrap()));
        assert_eq!(event.frame.get("index").is_none(), event.frame["type"] == "token", "{}", event.frame);
        assert!(event.frame.get("index").is_none_or(|value| *value == index), "{}", event.frame);
        assert!(event.frame.get("turn").is_none(), "{}", event.frame);
        assert!(event.frame.get("partial_response").is_none(), "{}", event.frame);
        assert!(event.frame["session_id"].is_string(), "{}", event.frame);
        assert_eq!(event.frame["session_id"], event.frame["conversation_id"], "{}", event.frame);
    }
    let turn = transcript(events);
    assert_eq!(turn.steps, ["starting", "routing", "retrieval", "generating"]);
    let specialist = &turn.terminal["metadata"];
    assert_eq!((&specialist["agent"], &specialist["specialist"]), (&json!("specs"), &json!("specs")));
    assert_eq!((&turn.terminal["type"], &turn.terminal["seq"]), (&json!("complete"), &json!(19)));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn repeatedly_cut_stream_delivers_each_token_once() {
    let app = TestApp::scripted(60, 2).await;
    let user = app.user().await;
    let mut stream = app.events(&user, &question(), None).await.unwrap();
    let mut events = Vec::new();
    let mut cuts = 0;
    while let Some(event) = stream.next().await {
        let id = event.id.clone();
        let is_token = event.frame["type"] == "token";
        events.push(event);
        if is_token && events.len() % 7 == 0 {
            cuts += 1;
            drop(stream);
            stream = app.events(&user, &json!("the body is ignored"), Some(&id)).await.unwrap();
        }
    }
    assert!(cuts > 0);
    let turn = transcript(events);
    assert_eq!(turn.text.len(), 60 * 6);
    assert_eq!(turn.terminal["finish_reason"], "stop");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stream_cut_before_the_first_token_resumes() {
    let app = TestApp::scripted(5, 20).await;
    let user = app.user().await;
    let mut stream = app.events(&user, &question(), None).await.unwrap();
    let first = stream.next().await.unwrap();
    assert!(first.frame["type"] == "progress" && first.id.ends_with(":-1:0"), "{first:?}");
    drop(stream);
    let turn = transcript(app.events(&user, &question(), Some(&first.id)).await.unwrap().rest().await);
    assert_eq!(turn.turn_id, first.frame["turn_id"]);
    assert_eq!((turn.tokens.is_empty(), turn.text.len()), (false, 30));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_no_longer_in_memory_is_replayed_from_the_store() {
    let app = TestApp::with(|config| {
        config.workflow.turn_retention_s = 0;
        config.provider.scripted.interval_ms = 1;
    })
    .await;
    let user = app.user().await;
    let events = app.events(&user, &question(), None).await.unwrap().rest().await;
    let middle = &events[events.len() / 2];
    let seq = middle.frame["seq"].as_u64().unwrap();
    let replayed = app.events(&user, &question(), Some(&middle.id)).await.unwrap().rest().await;
    let mut text = String::new();
    let mut next = seq + 1;
    for event in &replayed[..replayed.len() - 1] {
        assert_eq!(event.frame["first_seq"].as_u64().or(event.frame["seq"].as_u64()).unwrap(), next);
        next = event.frame["seq"].as_u64().unwrap() + 1;
        text += event.frame["token"].as_str().unwrap();
    }
    let (first_end, second_end) = (&events.last().unwrap().frame, &replayed.last().unwrap().frame);
    assert_eq!(first_end, second_end);
    assert!(first_end["response"].as_str().unwrap().ends_with(&text) && !text.is_empty());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_the_owner_can_continue_a_stream() {
    let app = TestApp::start().await;
    let (user, other) = (app.user().await, app.user().await);
    let id = app.events(&user, &question(), None).await.unwrap().rest().await.pop().unwrap().id;
    let refusal = |user, id: &str| {
        let (app, id) = (&app, id.to_owned());
        async move {
            let (status, body) = app.events(user, &question(), Some(&id)).await.err().expect("it was taken");
            (status, body["code"].as_str().unwrap().to_owned())
        }
    };
    assert_eq!(refusal(&other, &id).await, (403, "FORBIDDEN".to_owned()));
    let turn_id = id.split(':').next().unwrap();
    for garbage in [
        "",
        ":",
        "7",
        turn_id,
        &format!("{turn_id}:"),
        &format!("{turn_id}:x"),
        &format!("{turn_id}:-2"),
        &format!("{turn_id}:9223372036854775807"),
        &format!("{turn_id}:4294967295"),
        "x:1",
    ] {
        assert_eq!(refusal(&user, garbage).await, (422, "INVALID_FIELD".to_owned()), "{garbage:?}");
    }
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057:1";
    assert_eq!(refusal(&user, unknown).await, (410, "RESUME_UNAVAILABLE".to_owned()));
    // A token that was never sent: only the end is left.
    let beyond = app.events(&user, &question(), Some(&format!("{turn_id}:4000000000"))).await.unwrap().rest().await;
    assert_eq!(beyond.iter().map(|event| &event.frame["type"]).collect::<Vec<_>>(), ["complete"]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn failed_turn_ends_the_stream_with_its_error() {
    let app = TestApp::with(|config| config.provider.scripted.fail_after = Some(3)).await;
    let user = app.user().await;
    let turn = transcript(app.events(&user, &question(), None).await.unwrap().rest().await);
    assert_eq!((turn.text.len(), &turn.terminal["code"]), (18, &json!("TURN_INTERRUPTED")));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_continues_after_its_client_disconnects() {
    let app = TestApp::scripted(30, 3).await;
    let user = app.user().await;
    let mut stream = app.events(&user, &question(), None).await.unwrap();
    let first = stream.next().await.unwrap();
    drop(stream);
    let conversation_id = first.frame["session_id"].as_str().unwrap().to_owned();
    app.idle().await;
    let (_, page) = app.get(&format!("/api/v1/conversations/{conversation_id}/messages"), Some(&user)).await;
    let answer = &page["messages"][1];
    assert_eq!((&answer["role"], &answer["finish_reason"]), (&json!("assistant"), &json!("stop")));
    assert_eq!(answer["content"].as_str().unwrap().len(), 30 * 6);
}
