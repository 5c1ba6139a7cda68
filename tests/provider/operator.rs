//! Messages to users and the operator when the model server fails for good, and how a conversation goes on afterwards.

use super::upstream::{Step, Upstream, answers};
use crate::harness::{Program, TestApp};
use serde_json::{Value, json};
use switchboard::config::ProviderKind;

/// An app whose model is `upstream`.
async fn app(upstream: &Upstream) -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.provider.model = "test-model".to_owned();
    })
    .await
}

fn chosen() -> Vec<Step> {
    answers("200 OK", "", &json!({"choices": [{"message": {"content": "{\"label\":\"specs\"}"}}]}).to_string())
}

fn says(text: &str) -> Vec<Step> {
    let whole = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]});
    answers("200 OK", "content-type: application/json\r\n", &whole.to_string())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_permanent_failure_is_not_retryable() {
    for (status, body, code) in [
        ("401 Unauthorized", json!({"error": {"message": "sk-secret is wrong"}}), "UPSTREAM_REFUSED"),
        ("402 Payment Required", json!({"error": {"message": "Insufficient Balance"}}), "UPSTREAM_REFUSED"),
        ("404 Not Found", json!({"error": {"code": "model_not_found"}}), "UPSTREAM_REFUSED"),
        ("400 Bad Request", json!({"error": {"code": "context_length_exceeded"}}), "CONTEXT_TOO_LONG"),
    ] {
        let upstream = Upstream::answering(move |_| answers(status, "", &body.to_string())).await;
        let app = app(&upstream).await;
        let user = app.user().await;
        let mut socket = app.socket().signed_in(&user).await;
        let end = socket.ask("Hello?").await.terminal;
        assert_eq!((&end["code"], &end["retryable"]), (&json!(code), &json!(false)), "{status}: {end}");
        let text = end.to_string();
        assert!(!text.contains("sk-secret") && !text.contains("provider."), "{text}");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_failed_answer_does_not_spoil_the_conversation() {
    let strict = |body: &Value| {
        let Some(messages) = body["messages"].as_array().filter(|_| body["stream"] == true) else { return chosen() };
        let asked = messages.last().unwrap()["content"].as_str().unwrap();
        let turns: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
        let alternate = turns[1..].iter().enumerate().all(|(index, role)| *role == ["user", "assistant"][index % 2]);
        let blank = messages.iter().any(|message| message["content"].as_str().unwrap().trim().is_empty());
        match asked {
            _ if blank || !alternate => answers("422 Unprocessable Entity", "", "{}"),
            "First?" => answers("400 Bad Request", "", "{}"),
            asked if asked.ends_with("Empty?") => says(""),
            _ => says("Fine."),
        }
    };
    let upstream = Upstream::answering(strict).await;
    let app = app(&upstream).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.ask("First?").await;
    assert_eq!(first.terminal["type"], "error");
    let mut next = async |question: &str| {
        socket.turn(json!({"type": "message", "session_id": first.conversation_id, "message": question})).await
    };
    assert_eq!(next("Empty?").await.terminal["type"], "complete");
    for _ in 0..2 {
        let turn = next("And now?").await;
        assert_eq!((turn.text.as_str(), &turn.terminal["type"]), ("Fine.", &json!("complete")), "{:?}", turn.terminal);
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_operator_is_told_once_what_to_do() {
    let upstream = Upstream::answering(|body| {
        // The check at start has no body; this server does not have the list.
        if body.is_null() {
            answers("404 Not Found", "", "")
        } else {
            answers("401 Unauthorized", "", "{\"error\":\"no\"}")
        }
    })
    .await;
    let program = Program::start(&[
        ("provider.kind", "openai"),
        ("provider.base_url", &upstream.base_url()),
        ("provider.api_key", "sk-wrong"),
        ("log.level", "info"),
    ]);
    let user = program.user().await;
    let mut socket = program.socket().signed_in(&user).await;
    for _ in 0..3 {
        assert_eq!(socket.ask("Hello?").await.terminal["code"], "UPSTREAM_REFUSED");
    }
    socket.close().await;
    // Log lines are written by a thread of their own, in order.
    program.log_when(|log| log.contains("connection closed")).await;
    let log = program.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("provider.api_key")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("status 401") && !log.contains("sk-wrong"), "{log}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_model_server_that_is_not_there_is_reported_at_start() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = Program::start(&[("provider.kind", "openai"), ("provider.base_url", &format!("http://{unused}/v1"))]);
    program.log_when(|log| log.contains("the model server is unreachable")).await;
    let ready = reqwest::get(format!("{}/health/ready", program.url)).await.unwrap();
    assert_eq!(ready.status(), 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_wrong_url_of_the_model_server_is_reported_at_start() {
    let upstream = Upstream::answering(|_| answers("404 Not Found", "", "not found")).await;
    let program = Program::start(&[("provider.kind", "openai"), ("provider.base_url", &upstream.base_url())]);
    let log = program.log_when(|log| log.contains("no OpenAI-compatible API")).await;
    assert!(log.contains("provider.base_url") && log.contains("/chat/completions"), "{log}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn citations_of_the_model_are_parts_of_the_answer() {
    let cited = json!({"choices": [{"message": {
        "content": "Fine.", "reasoning_content": "Hm.",
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com/", "title": "Engines"}}],
    }, "finish_reason": "stop"}]});
    let upstream =
        Upstream::answering(move |_| answers("200 OK", "content-type: application/json\r\n", &cited.to_string())).await;
    let app = app(&upstream).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let turn = socket.ask("Hello?").await;
    assert_eq!((turn.text.as_str(), turn.steps.last().unwrap().as_str()), ("Fine.", "thinking"));
    let part = &turn.parts[0];
    assert_eq!((&part["kind"], &part["url"]), (&json!("url_citation"), &json!("https://example.com/")));
    assert_eq!((&part["title"], turn.parts.len()), (&json!("Engines"), 1));
    socket.close().await;
}
