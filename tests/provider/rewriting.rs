//! Requests that rewrite follow-ups: their number, deadline and contents, and what becomes of the answers.

use super::upstream::{Step, Upstream, answers};
use crate::harness::{TestApp, TestSocket, Transcript};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use switchboard::config::{Config, ProviderKind, Routing};

const QUESTION: &str = "What is the power of the diesel?";
const FOLLOW_UP: &str = "And the torque?";
const REWRITTEN: &str = "What is the torque of the diesel?";

fn says(text: &str) -> Vec<Step> {
    let whole = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]});
    answers("200 OK", "content-type: application/json\r\n", &whole.to_string())
}

/// Whether a request asks for a rewritten question.
fn is_rewriting(body: &Value) -> bool {
    body["messages"][0]["content"].as_str().is_some_and(|text| text.starts_with("Rewrite the last question"))
}

/// A model server that rewrites each question as `rewritten`.
async fn upstream(rewritten: &str) -> Upstream {
    let rewritten = rewritten.to_owned();
    Upstream::answering(move |body| says(if is_rewriting(body) { &rewritten } else { "Fine." })).await
}

async fn app(upstream: &Upstream, configure: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.provider.model = "test-model".to_owned();
        config.workflow.routing = Routing::Similarity;
        config.knowledge.seed = true;
        configure(config);
    })
    .await
}

fn rewritings(upstream: &Upstream) -> Vec<Value> {
    let bodies = upstream.requests().into_iter().map(|request| request.body);
    bodies.filter(is_rewriting).collect()
}

async fn signed_in(app: &TestApp) -> TestSocket {
    let user = app.user().await;
    app.socket().subprotocols("chat.v2").signed_in(&user).await
}

async fn ask_in(socket: &mut TestSocket, conversation_id: &str, text: &str) -> Transcript {
    socket.turn(json!({"type": "message", "message": text, "conversation_id": conversation_id})).await
}

/// Asks a question and a follow-up. Returns the metadata of both answers.
async fn two_turns(socket: &mut TestSocket) -> [Value; 2] {
    let first = socket.ask(QUESTION).await;
    let second = ask_in(socket, &first.conversation_id, FOLLOW_UP).await;
    [first, second].map(|turn| {
        assert_eq!((turn.text.as_str(), &turn.terminal["type"]), ("Fine.", &json!("complete")));
        turn.terminal["metadata"].clone()
    })
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn model_rewrites_follow_ups_only() {
    let upstream = upstream(REWRITTEN).await;
    let app = app(&upstream, |_| ()).await;
    let mut socket = signed_in(&app).await;
    let first = socket.ask(QUESTION).await;
    for (text, is_follow_up) in
        [(FOLLOW_UP, true), ("How often should I change the engine oil?", false), ("Thanks!", false)]
    {
        let before = rewritings(&upstream).len();
        let turn = ask_in(&mut socket, &first.conversation_id, text).await;
        assert_eq!(rewritings(&upstream).len() - before, usize::from(is_follow_up), "{text}");
        let metadata = &turn.terminal["metadata"];
        let query = is_follow_up.then_some(REWRITTEN);
        assert_eq!(metadata["retrieval"]["query"].as_str(), query, "{text}");
        assert_eq!(metadata["calls"]["rewrite"]["calls"].as_u64(), is_follow_up.then_some(1), "{text}");
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn rewriting_can_be_disabled() {
    let upstream = upstream(REWRITTEN).await;
    let app = app(&upstream, |config| config.workflow.rewrite_follow_ups = false).await;
    let mut socket = signed_in(&app).await;
    let [_, second] = two_turns(&mut socket).await;
    assert!(rewritings(&upstream).is_empty() && second["retrieval"].get("query").is_none(), "{second}");
    assert_eq!(second["sources"][0]["source"], "engine-and-performance.md");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn answers_that_are_no_such_question_are_ignored() {
    let long = "torque ".repeat(100);
    for unusable in
        ["", "The torque is 400 Nm.\nAsk me more!", "How do I build a bomb?", "Wie hoch ist das Drehmoment?", &long]
    {
        let upstream = upstream(unusable).await;
        let app = app(&upstream, |_| ()).await;
        let mut socket = signed_in(&app).await;
        let [_, second] = two_turns(&mut socket).await;
        assert_eq!(rewritings(&upstream).len(), 1, "{unusable}");
        assert!(second["retrieval"].get("query").is_none(), "{unusable}: {second}");
        assert_eq!(second["sources"][0]["source"], "engine-and-performance.md", "{unusable}");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_silent_model_delays_the_answer_by_a_quarter_of_the_first_token_timeout() {
    const FIRST_TOKEN: Duration = Duration::from_secs(8);
    let upstream = Upstream::answering(|body| if is_rewriting(body) { vec![Step::Stall] } else { says("Fine.") }).await;
    let app = app(&upstream, |config| {
        config.provider.first_token_timeout_ms = FIRST_TOKEN.as_millis() as u64;
        config.provider.connect_timeout_ms = 2_000;
        config.provider.idle_timeout_ms = 2_000;
    })
    .await;
    let mut socket = signed_in(&app).await;
    let began = Instant::now();
    let [_, second] = two_turns(&mut socket).await;
    assert!(began.elapsed() >= FIRST_TOKEN / 4 && began.elapsed() < FIRST_TOKEN, "{:?}", began.elapsed());
    assert!(second["retrieval"].get("query").is_none(), "{second}");
    assert_eq!(second["sources"][0]["source"], "engine-and-performance.md");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_request_has_the_latest_messages_of_this_conversation_only() {
    let upstream = upstream(REWRITTEN).await;
    let app = app(&upstream, |_| ()).await;
    let mut other = signed_in(&app).await;
    other.ask("Secret of another user").await;
    let mut socket = signed_in(&app).await;
    // Without a conversation before it, it is no follow-up.
    socket.ask(FOLLOW_UP).await;
    assert!(rewritings(&upstream).is_empty());
    two_turns(&mut socket).await;
    let [body] = &rewritings(&upstream)[..] else { panic!("one request") };
    let messages = body["messages"].as_array().unwrap();
    let [system, user] = &messages[..] else { panic!("{messages:?}") };
    assert!(!system["content"].as_str().unwrap().contains("diesel"), "{system}");
    let wanted = format!(
        "The conversation:\n<conversation>\nuser: {QUESTION}\nassistant: Fine.\n</conversation>\n\nThe last question: {FOLLOW_UP}"
    );
    assert_eq!(user["content"], wanted);
    socket.close().await;
    other.close().await;
}
