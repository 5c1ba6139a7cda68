//! Lists of providers in a running server: which one answers, what the client is told, and what goes on the wire.

use super::{
    openai::says,
    upstream::{Step, Upstream, answers},
};
use crate::harness::{TestApp, eventually, holds};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use switchboard::config::{Config, ProviderConfig, ProviderKind, Routing};

fn openai(upstream: &Upstream, model: &str) -> ProviderConfig {
    ProviderConfig {
        kind: ProviderKind::Openai,
        base_url: upstream.base_url(),
        model: model.to_owned(),
        ..ProviderConfig::default()
    }
}

fn refuses(status: &'static str) -> impl Fn(&Value) -> Vec<Step> + Send + Sync + 'static {
    move |_| answers(status, "", "")
}

/// Answers questions with `text`, and chooses no specialist.
fn answering(text: &'static str) -> impl Fn(&Value) -> Vec<Step> + Send + Sync + 'static {
    move |body| if body["stream"] == true { says(text) } else { answers("400 Bad Request", "", "{}") }
}

/// An app with the providers `default` and `backup`, and the built-in answerer after them.
fn three_providers(first: &Upstream, second: &Upstream) -> impl FnOnce(&mut Config) {
    let (first, second) = (openai(first, "big"), openai(second, "small"));
    move |config| {
        config.provider = first;
        config.providers.insert("backup".to_owned(), second);
        config.workflow.providers = ["default", "backup", "extractive"].map(str::to_owned).to_vec();
    }
}

/// Attempts as pairs of provider and outcome.
fn attempts(end: &Value) -> Vec<(&str, &str)> {
    let attempts = end["metadata"]["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    attempts
        .iter()
        .map(|attempt| (attempt["provider"].as_str().unwrap(), attempt["outcome"].as_str().unwrap()))
        .collect()
}

async fn ask(app: &TestApp, question: &str) -> Value {
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let end = socket.ask(question).await.terminal;
    socket.close().await;
    end
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_metadata_names_the_model_that_answered_and_the_attempts_before_it() {
    let first = Upstream::answering(refuses("500 Internal Server Error")).await;
    let second = Upstream::answering(answering("Hello.")).await;
    let app = TestApp::with(three_providers(&first, &second)).await;
    let end = ask(&app, "What is the engine power?").await;
    assert_eq!((&end["response"], &end["metadata"]["model"]), (&json!("Hello."), &json!("small")), "{end}");
    assert_eq!(attempts(&end), [("default", "unavailable"), ("backup", "ok")]);
    assert!(end["metadata"]["attempts"][0]["ms"].is_u64() && end["metadata"]["attempts"][0]["model"] == "big", "{end}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_answer_of_the_first_provider_lists_no_attempts() {
    let first = Upstream::answering(answering("Hello.")).await;
    let second = Upstream::start([]).await;
    let app = TestApp::with(three_providers(&first, &second)).await;
    let end = ask(&app, "What is the engine power?").await;
    assert_eq!(end["metadata"]["model"], "big");
    assert_eq!(end["metadata"].get("attempts"), None, "{end}");
    assert!(second.requests().iter().all(|request| request.head.starts_with("GET ")), "only the check at the start");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_built_in_answerer_is_the_last_resort_and_says_so() {
    let first = Upstream::answering(refuses("401 Unauthorized")).await;
    let second = Upstream::answering(refuses("429 Too Many Requests")).await;
    let app = TestApp::with(three_providers(&first, &second)).await;
    let end = ask(&app, "What is the engine power?").await;
    assert_eq!((&end["type"], &end["metadata"]["model"]), (&json!("complete"), &json!("extractive")), "{end}");
    let wanted = [("default", "unauthorized"), ("backup", "rate_limited"), ("extractive", "ok")];
    assert_eq!(attempts(&end), wanted);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn nothing_falls_back_after_the_first_token() {
    let cut = |body: &Value| match body["stream"] == true {
        // The stream breaks off after its first token.
        true => says("He")[..2].to_vec(),
        false => answers("400 Bad Request", "", "{}"),
    };
    let first = Upstream::answering(cut).await;
    let second = Upstream::answering(answering("Hello.")).await;
    let app = TestApp::with(three_providers(&first, &second)).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    assert_eq!(turn.terminal["code"], "TURN_INTERRUPTED", "{}", turn.terminal);
    assert!(!second.requests().iter().any(|request| request.body["stream"] == true));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_refused_message_is_not_passed_on() {
    let first = Upstream::answering(refuses("400 Bad Request")).await;
    let second = Upstream::answering(answering("Hello.")).await;
    let app = TestApp::with(three_providers(&first, &second)).await;
    let end = ask(&app, "What is the engine power?").await;
    assert_eq!(end["code"], "UPSTREAM_REFUSED", "{end}");
    assert!(!second.requests().iter().any(|request| request.body["stream"] == true));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_provider_that_keeps_failing_is_left_alone() {
    let first = Upstream::answering(refuses("401 Unauthorized")).await;
    let second = Upstream::answering(answering("Hello.")).await;
    let providers = three_providers(&first, &second);
    let app = TestApp::with(|config| {
        providers(config);
        config.workflow.routing = Routing::Model;
    })
    .await;
    let asked = |upstream: &Upstream| upstream.requests().iter().filter(|request| !request.body.is_null()).count();
    // Each question is two requests: the choice of the specialist and the answer.
    for _ in 0..3 {
        ask(&app, "What is the engine power?").await;
    }
    let before = asked(&first);
    let end = ask(&app, "What is the engine power?").await;
    assert_eq!(attempts(&end), [("default", "circuit_open"), ("backup", "ok")]);
    assert_eq!(asked(&first), before);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_specialist_has_its_own_providers_model_and_parameters() {
    let first = Upstream::answering(answering("first")).await;
    let second = Upstream::answering(answering("second")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let specialist = "[[agent]]\nname = 'a'\ntopic = 't'\ndescription = 'd'\nsystem_prompt = 's'\nexamples = ['e']\n\
                      default = true\nproviders = ['backup', 'default']\nmodel = 'special'\ntemperature = 0.75\n\
                      max_answer_tokens = 77\n";
    std::fs::write(file.path(), specialist).unwrap();
    let providers = three_providers(&first, &second);
    let path = file.path().to_owned();
    let app = TestApp::with(move |config| {
        providers(config);
        config.workflow.agents_file = Some(path);
    })
    .await;
    let end = ask(&app, "Hello?").await;
    assert_eq!((&end["response"], &end["metadata"]["model"]), (&json!("second"), &json!("special")), "{end}");
    let requests = second.requests();
    let body = &requests.iter().find(|request| request.body["stream"] == true).expect("an answer").body;
    assert_eq!((&body["model"], &body["temperature"]), (&json!("special"), &json!(0.75)));
    assert_eq!(body["max_tokens"], 77);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_list_with_an_unknown_provider_is_refused_with_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let specialist = "[[agent]]\nname = 'a'\ntopic = 't'\ndescription = 'd'\nsystem_prompt = 's'\nexamples = ['e']\n\
                      default = true\nproviders = ['fast', 'default']\n";
    std::fs::write(file.path(), specialist).unwrap();
    let mut config = Config::default();
    config.workflow.agents_file = Some(file.path().to_owned());
    let refused = switchboard::preflight::Preflight::run(&config).err().map(|error| error.to_string()).unwrap();
    let problem = "line 8, column 13: `agent[0].providers` names the unknown provider \"fast\"; expected one of default, extractive";
    assert!(refused.contains(problem), "{refused}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_single_provider_is_left_alone_until_a_probe_finds_it_working() {
    let works = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&works);
    let upstream = Upstream::answering(move |_| match is_up.load(Ordering::SeqCst) {
        true => says("Hello."),
        false => answers("500 Internal Server Error", "", ""),
    })
    .await;
    let provider = ProviderConfig { breaker_failures: 2, breaker_cooldown_s: 4, ..openai(&upstream, "big") };
    let app = TestApp::with(|config| {
        config.provider = provider;
        config.workflow.routing = Routing::Similarity;
    })
    .await;
    let operator = app.operator().await;
    let circuit =
        async || app.get("/api/v1/connections/stats", Some(&operator)).await.1["providers"][0]["circuit"].clone();
    let asked = || upstream.requests().iter().filter(|request| request.body["stream"] == true).count();
    for _ in 0..2 {
        assert_eq!(ask(&app, "Hello?").await["code"], "UPSTREAM_UNAVAILABLE");
    }
    let sent = asked();
    let refused = ask(&app, "Hello?").await;
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("UPSTREAM_UNAVAILABLE"), &json!(true)), "{refused}");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| (1..=4_001).contains(&wait)), "{refused}");
    assert_eq!((asked(), circuit().await), (sent, json!("open")));

    // The first probe fails, and opens the circuit again.
    eventually(async || {
        ask(&app, "Hello?").await;
        holds(asked() > sent, "no probe")
    })
    .await;
    let probed = asked();
    assert_eq!((ask(&app, "Hello?").await["code"].clone(), asked()), (json!("UPSTREAM_UNAVAILABLE"), probed));
    works.store(true, Ordering::SeqCst);
    eventually(async || holds(circuit().await == "half_open", "open")).await;
    assert_eq!(ask(&app, "Hello?").await["response"], "Hello.");
    assert_eq!((asked(), circuit().await), (probed + 1, json!("closed")));
}
