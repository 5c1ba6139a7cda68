//! A server with a task model, and what its requests cost.

use super::upstream::{Step, Upstream, answers};
use crate::{
    harness::{TestApp, TestUser, eventually, holds},
    provider::openai::{done, event, says, stop, stream_head, token},
};
use serde_json::{Value, json};
use std::io::Write as _;
use switchboard::{
    app::Application,
    config::{Config, ProviderConfig, ProviderKind},
};

const ANSWER: &str = "Every 15,000 km.";

/// A server whose task model answers requests like this, and whose other model always says [`ANSWER`].
pub async fn app(
    task: impl Fn(&Value) -> Vec<Step> + Send + Sync + 'static,
    change: impl FnOnce(&mut Config),
) -> (TestApp, Upstream) {
    let models = move |body: &Value| if body["model"] == "tasks" { task(body) } else { says(ANSWER) };
    app_of(models, change).await
}

async fn app_of(
    models: impl Fn(&Value) -> Vec<Step> + Send + Sync + 'static,
    change: impl FnOnce(&mut Config),
) -> (TestApp, Upstream) {
    let upstream = Upstream::answering(models).await;
    let app = TestApp::with(|config| {
        with_task_model(config, upstream.base_url());
        change(config);
    })
    .await;
    (app, upstream)
}

fn with_task_model(config: &mut Config, base_url: String) {
    config.provider.kind = ProviderKind::Openai;
    config.provider.base_url = base_url;
    let tasks = ProviderConfig { model: "tasks".to_owned(), ..config.provider.clone() };
    config.providers.insert("small".to_owned(), tasks);
    config.workflow.task_provider = Some("small".to_owned());
}

/// Asks in a conversation, or in a new one; returns its id.
pub async fn ask(app: &TestApp, user: &TestUser, question: &str, conversation_id: Option<&Value>) -> Value {
    let body = json!({"message": question, "conversation_id": conversation_id});
    let (status, answer) = app.post("/api/v1/chat", Some(user), &body).await;
    assert_eq!((status, &answer["response"]), (200, &json!(ANSWER)), "{answer}");
    answer["conversation_id"].clone()
}

/// Bodies of the requests to the task model.
pub fn requests(upstream: &Upstream) -> Vec<Value> {
    let bodies = upstream.requests().into_iter().map(|request| request.body);
    bodies.filter(|body| body["model"] == "tasks").collect()
}

/// Title of the latest conversation in a list.
pub fn title(list: &Value) -> &Value {
    &list["conversations"][0]["title"]
}

/// A stream that says `text` and reports this many tokens of the prompt, and 10 of the answer.
fn says_after(text: &str, prompt_tokens: u32) -> Vec<Step> {
    let usage = event(&json!({"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 10}}));
    vec![stream_head(), token(text), stop(), usage, done(), Step::End]
}

async fn used_today(app: &TestApp, operator: &TestUser, user: &TestUser) -> Value {
    let (status, page) = app.get(&format!("/api/v1/users?q={}", user.email), Some(operator)).await;
    assert_eq!(status, 200, "{page}");
    page["users"][0]["used_today"].clone()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn titles_are_charged_to_the_user_and_counted_by_task() {
    let mut prices = tempfile::NamedTempFile::new().unwrap();
    prices.write_all(b"[[price]]\nmodel = \"tasks\"\ninput = 1_000\noutput = 10_000\n").unwrap();
    let path = prices.path().to_owned();
    let (app, _upstream) = app(
        |_| says_after("Oil", 100),
        move |config| {
            config.budgets.cost_per_user_per_day = 1.0;
            config.budgets.prices_file = Some(path);
        },
    )
    .await;
    let (operator, user) = (app.operator().await, app.user().await);
    ask(&app, &user, "Oil?", None).await;
    // The answer's model has no price.
    eventually(async || {
        let used = used_today(&app, &operator, &user).await;
        holds(used["cost_trillionths"] == 200_000, used)
    })
    .await;
    let metrics = app.http.get(format!("{}/metrics", app.url)).send().await.unwrap().text().await.unwrap();
    for line in [
        "switchboard_model_tokens_total{task=\"title\",kind=\"prompt\"} 100",
        "switchboard_model_tokens_total{task=\"title\",kind=\"completion\"} 10",
        "switchboard_model_cost_trillionths_total{task=\"title\"} 200000",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_used_up_budget_gets_no_title() {
    let models = |body: &Value| match body.to_string() {
        body if body.contains("\"tasks\"") => says_after("Oil", 1),
        body if body.contains("Expensive") => says_after(ANSWER, 1_000_000),
        _ => says_after(ANSWER, 1),
    };
    let (app, upstream) = app_of(models, |config| config.budgets.tokens_per_user_per_day = 100_000).await;
    let (first, second) = (app.user().await, app.user().await);
    ask(&app, &first, "Expensive?", None).await;
    ask(&app, &second, "Cheap?", None).await;
    // Tasks begin in the order of their turns.
    app.get_when("/api/v1/conversations", &second, |list| title(list) == "Oil").await;
    assert_eq!(title(&app.get("/api/v1/conversations", Some(&first)).await.1), "Expensive?");
    assert_eq!(requests(&upstream).len(), 1);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_task_model_that_keeps_failing_is_left_alone() {
    let down = |_: &Value| answers("500 Internal Server Error", "", "down");
    let (app, upstream) = app(down, |config| config.providers.get_mut("small").unwrap().breaker_failures = 2).await;
    let (operator, user) = (app.operator().await, app.user().await);
    for number in 1..=4 {
        ask(&app, &user, "Oil?", None).await;
        let of_small = |stats: &Value| {
            let providers = stats["providers"].as_array().cloned().unwrap_or_default();
            providers.into_iter().find(|provider| provider["name"] == "small").unwrap_or_default()
        };
        let done = |stats: &Value| {
            let requests = &of_small(stats)["requests"];
            let count = |outcome: &str| requests[outcome].as_u64().unwrap_or_default();
            count("unavailable") + count("circuit_open") == number
        };
        let stats = app.stats_when(&operator, done).await;
        let circuit = if number < 2 { "closed" } else { "open" };
        assert_eq!(of_small(&stats)["circuit"], circuit, "{stats}");
    }
    assert_eq!(requests(&upstream).len(), 2, "requests through an open circuit");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_task_model_is_checked_at_the_start() {
    let upstream = Upstream::answering(|_| answers("401 Unauthorized", "", "{}")).await;
    let mut config = Config::default();
    with_task_model(&mut config, upstream.base_url());
    config.provider.kind = ProviderKind::Extractive;
    let folder = tempfile::TempDir::new().unwrap();
    config.data_dir = folder.path().to_owned();
    config.database.url = format!("sqlite://{}", folder.path().join("switchboard.db").display());
    config.server.port = 0;
    let problems = Application::check(&config).unwrap().check().await;
    let named: Vec<_> = problems.iter().map(|problem| (&*problem.provider, &*problem.model)).collect();
    assert_eq!(named, [("small", "tasks")]);
}
