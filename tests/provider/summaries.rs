//! Summaries of conversations whose messages no longer fit into the history of a turn.

use super::{
    openai::says,
    task_model::{self, ask, requests},
};
use crate::harness::{eventually, holds};
use serde_json::Value;

fn content(body: &Value) -> String {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_summary_stands_for_messages_that_do_not_fit() {
    let task = |body: &Value| match content(body).contains("summarise") {
        true => says("They spoke about oil and a caravan."),
        false => says("Oil"),
    };
    let (app, upstream) = task_model::app(task, |config| config.workflow.context_token_budget = 60).await;
    let user = app.user().await;
    let summaries = || {
        let asked = requests(&upstream).into_iter();
        asked.filter(|body| content(body).contains("summarise")).collect::<Vec<_>>()
    };
    let long = |n: usize| format!("Question {n}: how often do I change the oil of the diesel when I tow a caravan?");
    let mut id = ask(&app, &user, &long(0), None).await;
    id = ask(&app, &user, &long(1), Some(&id)).await;
    assert!(summaries().is_empty(), "everything fits");
    for n in 2..5 {
        id = ask(&app, &user, &long(n), Some(&id)).await;
    }
    eventually(async || holds(!summaries().is_empty(), "no summary")).await;
    assert!(content(&summaries()[0]).contains("Question 0"));
    // The next questions come with the summary, as a message and not as an instruction.
    let has_summary = |body: &Value| content(body).contains("They spoke about oil and a caravan.");
    eventually(async || {
        ask(&app, &user, "And now?", Some(&id)).await;
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
