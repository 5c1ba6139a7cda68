//! Reordering of passages by a fake reranking model.

use super::embeddings::ask;
use crate::{
    harness::{TestApp, TestUser},
    provider::upstream::{Step, Upstream, answers},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use switchboard::config::{ProviderKind, RerankConfig};

/// Answers of the fake model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Prefers passages about the moon.
    Right,
    WrongIndexes,
    Fails,
    Hangs,
}

fn response(documents: &[Value], mode: Mode) -> String {
    let results = documents.iter().enumerate().map(|(index, document)| {
        let score = if document.as_str().unwrap().contains("moon") { 0.9 } else { 0.1 };
        let index = if mode == Mode::WrongIndexes { index + 1 } else { index };
        json!({"index": index, "relevance_score": score})
    });
    json!({"results": results.collect::<Vec<_>>()}).to_string()
}

async fn server(mode: &Arc<Mutex<Mode>>) -> Upstream {
    let mode = Arc::clone(mode);
    Upstream::answering(move |request| match *mode.lock().unwrap() {
        Mode::Hangs => vec![Step::Stall],
        Mode::Fails => answers("500 Internal Server Error", "", "{}"),
        mode => answers("200 OK", "", &response(request["documents"].as_array().unwrap(), mode)),
    })
    .await
}

async fn app(upstream: &Upstream) -> (TestApp, TestUser) {
    let base_url = upstream.base_url();
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.provider.extractive.interval_ms = 0;
        config.rerank = RerankConfig {
            base_url: Some(base_url),
            api_key: Some("sk-secret".into()),
            model: Some("fake".to_owned()),
            // Long enough on a busy machine.
            timeout_ms: 5_000,
            ..RerankConfig::default()
        };
    })
    .await;
    let operator = app.operator().await;
    for (source, text) in [
        ("sun.md", "# Light of the sun\n\nThe light of the sun takes eight minutes."),
        ("moon.md", "# Light of the moon\n\nThe light of the moon takes one second and is weak."),
        ("lamp.md", "# Light of the lamp\n\nThe light of the lamp takes no time."),
    ] {
        let (status, document) =
            app.post("/api/v1/documents", Some(&operator), &json!({"source": source, "text": text})).await;
        assert_eq!(status, 201, "{document}");
    }
    (app, operator)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_model_decides_the_order() {
    let mode = Arc::new(Mutex::new(Mode::Right));
    let upstream = server(&mode).await;
    let (app, operator) = app(&upstream).await;
    let (found, account) = ask(&app, &operator, "How long does the light of the sun take?").await;
    assert_eq!((found.as_str(), &account["methods"]["rerank"]), ("moon.md", &json!("used")), "{account}");
    let request = &upstream.requests()[0];
    assert!(request.head.starts_with("POST /v1/rerank ") && request.head.contains("Bearer sk-secret"), "{request:?}");
    assert_eq!(request.body["query"], "How long does the light of the sun take?");
    assert_eq!(request.body["documents"].as_array().map(Vec::len), Some(3));
    assert_eq!(request.body["documents"][0], "Light of the sun\nThe light of the sun takes eight minutes.");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_model_that_fails_changes_no_order_and_is_left_alone_for_a_while() {
    for mode in [Mode::WrongIndexes, Mode::Fails, Mode::Hangs] {
        let upstream = server(&Arc::new(Mutex::new(mode))).await;
        let (app, operator) = app(&upstream).await;
        for _ in 0..2 {
            let (found, account) = ask(&app, &operator, "How long does the light of the sun take?").await;
            assert_eq!((found.as_str(), &account["methods"]["rerank"]), ("sun.md", &json!("failed")), "{mode:?}");
        }
        assert_eq!(upstream.requests().len(), 1, "{mode:?}");
    }
}
