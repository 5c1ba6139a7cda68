//! Summaries of conversations whose messages no longer fit into the history of a turn.

use super::{openai::says, upstream::Upstream};
use crate::harness::{TestApp, TestUser, eventually, holds};
use serde_json::{Value, json};
use switchboard::config::{ProviderConfig, ProviderKind};

fn content(body: &Value) -> String {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
}

async fn ask(app: &TestApp, user: &TestUser, question: &str, conversation_id: &Value) -> Value {
    let body = json!({"message": question, "conversation_id": conversation_id});
    let (status, answer) = app.post("/api/v1/chat", Some(user), &body).await;
    assert_eq!((status, &answer["response"]), (200, &json!("Every 15,000 km.")), "{answer}");
    answer["conversation_id"].clone()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_summary_stands_for_messages_that_do_not_fit() {
    let upstream = Upstream::answering(|body| match body["model"] == "tasks" {
        true if content(body).contains("summarise") => says("They spoke about oil and a caravan."),
        true => says("Oil"),
        false => says("Every 15,000 km."),
    })
    .await;
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        let tasks = ProviderConfig { model: "tasks".to_owned(), ..config.provider.clone() };
        config.providers.insert("small".to_owned(), tasks);
        config.workflow.task_provider = Some("small".to_owned());
        config.workflow.context_token_budget = 60;
    })
    .await;
    let user = app.user().await;
    let summaries = || {
        let asked = upstream.requests().into_iter().map(|request| request.body);
        asked.filter(|body| body["model"] == "tasks" && content(body).contains("summarise")).collect::<Vec<_>>()
    };
    let long = |n: usize| format!("Question {n}: how often do I change the oil of the diesel when I tow a caravan?");
    let mut id = ask(&app, &user, &long(0), &Value::Null).await;
    id = ask(&app, &user, &long(1), &id).await;
    assert!(summaries().is_empty(), "everything fits");
    for n in 2..5 {
        id = ask(&app, &user, &long(n), &id).await;
    }
    eventually(async || holds(!summaries().is_empty(), "no summary")).await;
    assert!(content(&summaries()[0]).contains("Question 0"));
    // The next questions come with the summary, as a message and not as an instruction.
    let has_summary = |body: &Value| content(body).contains("They spoke about oil and a caravan.");
    eventually(async || {
        ask(&app, &user, "And now?", &id).await;
        let asked = upstream.requests().into_iter().map(|request| request.body);
        let mut asked = asked.filter(|body| body["model"] != "tasks" && content(body).contains("And now?"));
        holds(
            asked.any(|body| has_summary(&body) && body["messages"][0]["role"] == "system"),
            "no summary in a question",
        )
    })
    .await;
    for request in upstream.requests() {
        let instructions = &request.body["messages"][0];
        assert!(!instructions["content"].as_str().unwrap_or_default().contains("They spoke"), "{instructions}");
    }
}
