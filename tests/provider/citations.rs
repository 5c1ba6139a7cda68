//! Citations in answers of a model server, as readers get them while they stream.

use super::{
    openai::{done, stop, stream_head, token},
    upstream::{Step, Upstream, answers},
};
use crate::harness::{TestApp, Transcript, is_terminal};
use serde_json::json;
use std::time::Duration;
use switchboard::config::ProviderKind;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_sources_that_exist_are_cited_and_a_pause_holds_nothing_back() {
    let upstream = Upstream::answering(|body| {
        if body["stream"] != true {
            return answers("400 Bad Request", "", "{}");
        }
        let mut steps = vec![stream_head()];
        steps.extend(["Öl: 5 l [1", "][9", "9] an", "d `a[99]` ["].map(token));
        // The model pauses inside of a citation.
        steps.extend([Step::Wait(Duration::from_secs(2)), token("2]."), stop(), done(), Step::End]);
        steps
    })
    .await;
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.knowledge.seed = true;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    socket.send(json!({"type": "message", "message": "I smell petrol. What is the engine power?"})).await;
    let (mut frames, mut text, mut has_open_bracket) = (Vec::new(), String::new(), false);
    while !frames.last().is_some_and(is_terminal) {
        let frame = socket.next().await;
        text += frame["token"].as_str().unwrap_or_default();
        has_open_bracket |= text.ends_with('[');
        frames.push(frame);
    }
    let turn = Transcript::check(frames);
    assert!(turn.text.ends_with("Öl: 5 l [1] and `a[99]` [2]."), "{}", turn.terminal);
    assert!(has_open_bracket, "the bracket was held during the pause");
    // The warning, which the server adds, is part of the text.
    let start = turn.text.find("Öl").filter(|start| *start > 0).expect("a safety warning");
    let units = turn.text[..start].encode_utf16().count();
    let wanted = json!([
        {"n": 1, "start": start + 9, "end": start + 12, "start_utf16": units + 8, "end_utf16": units + 11},
        {"n": 2, "start": start + 25, "end": start + 28, "start_utf16": units + 24, "end_utf16": units + 27},
    ]);
    assert_eq!(turn.terminal["metadata"]["citations"], wanted);
    socket.close().await;
}
