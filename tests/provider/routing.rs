//! Requests that choose the specialist: their number, and their deadline.

use super::upstream::{Step, Upstream, answers};
use crate::harness::TestApp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use switchboard::config::{Config, ProviderKind, Routing};
use tempfile::NamedTempFile;

/// A question that is similar to the examples of one specialist.
const CLEAR: &str = "How often should I change the oil?";
/// A question that is similar to none.
const UNCLEAR: &str = "Is that so?";
const ONE_SPECIALIST: &str =
    "[[agent]]\nname='a'\ntopic='t'\ndescription='d'\nsystem_prompt='s'\nexamples=['e']\ndefault=true";

fn says(text: &str) -> Vec<Step> {
    let whole = json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]});
    answers("200 OK", "content-type: application/json\r\n", &whole.to_string())
}

/// Whether a request asks for a label.
fn is_choice(body: &Value) -> bool {
    !body["response_format"].is_null()
}

/// A model server without token probabilities.
async fn upstream() -> Upstream {
    Upstream::answering(|body| if is_choice(body) { says("{\"label\":\"troubleshoot\"}") } else { says("Fine.") }).await
}

async fn app(upstream: &Upstream, configure: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.provider.model = "test-model".to_owned();
        configure(config);
    })
    .await
}

fn choices(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| is_choice(&request.body)).count()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn model_chooses_once_or_not_at_all() {
    for (routing, question, wanted, specialist) in [
        (Routing::Auto, CLEAR, 0, "maintenance"),
        (Routing::Auto, UNCLEAR, 1, "troubleshoot"),
        (Routing::Model, CLEAR, 1, "maintenance"),
        (Routing::Model, UNCLEAR, 1, "troubleshoot"),
        (Routing::Similarity, CLEAR, 0, "maintenance"),
        (Routing::Similarity, UNCLEAR, 0, "specs"),
    ] {
        let upstream = upstream().await;
        let app = app(&upstream, |config| config.workflow.routing = routing).await;
        let user = app.user().await;
        let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
        let turn = socket.ask(question).await;
        assert_eq!(turn.terminal["metadata"]["specialist"], specialist, "{routing:?}, {question}");
        assert_eq!(choices(&upstream), wanted, "{routing:?}, {question}");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn model_does_not_choose_between_one_specialist() {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ONE_SPECIALIST).unwrap();
    let upstream = upstream().await;
    let app = app(&upstream, |config| {
        config.workflow.routing = Routing::Model;
        config.workflow.agents_file = Some(file.path().to_owned());
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(socket.ask(UNCLEAR).await.terminal["type"], "complete");
    assert_eq!(choices(&upstream), 0);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn silent_model_delays_the_answer_by_a_quarter_of_the_first_token_timeout() {
    const FIRST_TOKEN: Duration = Duration::from_secs(8);
    let upstream = Upstream::answering(|body| if is_choice(body) { vec![Step::Stall] } else { says("Fine.") }).await;
    let app = app(&upstream, |config| {
        config.provider.first_token_timeout_ms = FIRST_TOKEN.as_millis() as u64;
        config.provider.connect_timeout_ms = 2_000;
        config.provider.idle_timeout_ms = 2_000;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let began = Instant::now();
    let turn = socket.ask(UNCLEAR).await;
    assert_eq!((turn.text.as_str(), choices(&upstream)), ("Fine.", 1));
    assert!(began.elapsed() >= FIRST_TOKEN / 4 && began.elapsed() < FIRST_TOKEN, "{:?}", began.elapsed());
    socket.close().await;
}
