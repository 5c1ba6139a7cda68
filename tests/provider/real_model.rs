//! The openai provider against a real model: SmolLM2 behind llama.cpp's server, both from packages.

use crate::harness::{TestApp, eventually, holds, installed};
use futures_util::StreamExt;
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
};
use switchboard::{
    config::{ProviderConfig, ProviderKind, Routing},
    domain::{DocumentId, FinishReason, HistoryMessage, MessageRole, Passage, RetrievalBasis},
    language::Languages,
    provider::{
        AnswerPart, ClassifyRequest, GenerateRequest, Guidance, ModelProvider, ProviderErrorKind, openai::OpenAi,
    },
    workflow::{router::Router, specialists::Specialists},
};

/// The model's server, one for all tests. It ends with this process, when its standard input closes.
struct RealModel {
    base_url: String,
    _child: Child,
}

fn real_model() -> &'static RealModel {
    static MODEL: OnceLock<RealModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut child = Command::new(installed("target/real-model/venv/bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_model/serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(
                "the real model starts; if not, install it again with: rm -r target/real-model; .ci/install-model.sh",
            );
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base_url = line.trim().strip_prefix("ready ").expect("a line with its address").to_owned();
        RealModel { base_url, _child: child }
    })
}

fn config() -> ProviderConfig {
    ProviderConfig {
        kind: ProviderKind::Openai,
        base_url: real_model().base_url.clone(),
        model: "smollm2-135m-instruct".to_owned(),
        temperature: 0.0,
        max_answer_tokens: 40,
        // The machine may be busy with other tests.
        first_token_timeout_ms: 120_000,
        idle_timeout_ms: 60_000,
        ..ProviderConfig::default()
    }
}

fn provider(change: impl FnOnce(&mut ProviderConfig)) -> OpenAi {
    let mut config = config();
    change(&mut config);
    OpenAi::new(&config).unwrap()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_question_goes_from_a_websocket_to_the_model_and_back() {
    let app = TestApp::with(|settings| {
        settings.provider = config();
        settings.knowledge.seed = true;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    let metadata = &turn.terminal["metadata"];
    assert_eq!((&turn.terminal["type"], &metadata["model"]), (&json!("complete"), &json!("smollm2-135m-instruct")));
    assert!(turn.tokens.len() > 3 && !turn.text.trim().is_empty(), "{turn:?}");
    assert!(metadata["usage"]["prompt_tokens"].as_u64() > Some(100), "no passages reached the model: {metadata}");
    assert!(metadata["usage"]["completion_tokens"].as_u64() > Some(3), "{metadata}");
    assert_eq!(metadata["sources"][0]["source"], "engine-and-performance.md");
    socket.close().await;
}

fn ask(question: &str) -> GenerateRequest {
    GenerateRequest {
        guidance: Guidance::default(),
        system_prompt: "You answer questions about a car. Be brief.".to_owned(),
        passages: vec![Passage {
            document_id: DocumentId::new(),
            source: "specs.md".to_owned(),
            title: "Engine".to_owned(),
            passage: 1,
            text: "The engine power is 74 kW.".to_owned(),
            score: 1.0,
        }],
        basis: RetrievalBasis::Covered,
        history: vec![
            HistoryMessage { role: MessageRole::User, content: "Hello!".to_owned() },
            HistoryMessage { role: MessageRole::Assistant, content: "Hello! How can I help?".to_owned() },
        ],
        question: question.to_owned(),
        script: None,
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn it_streams_an_answer_from_the_reference_data_and_counts_it() {
    let mut parts = provider(|_| ()).generate(ask("What is the engine power?")).await.unwrap();
    let mut tokens = Vec::new();
    let mut end = None;
    while let Some(part) = parts.next().await {
        match part.unwrap() {
            AnswerPart::Token(token) => tokens.push(token),
            AnswerPart::Working | AnswerPart::Reasoning(_) | AnswerPart::Part(_) => {}
            AnswerPart::Finished { reason, usage } => end = Some((reason, usage.tokens)),
        }
    }
    let (reason, usage) = end.unwrap();
    assert!(tokens.concat().contains("74"), "{tokens:?}");
    assert!(tokens.len() > 3, "one by one: {tokens:?}");
    assert!(matches!(reason, FinishReason::Stop | FinishReason::Length));
    assert!(usage.prompt_tokens > 50 && usage.prompt_tokens < 500, "{usage:?}");
    assert!(usage.completion_tokens as usize >= tokens.len() && usage.completion_tokens <= 41, "{usage:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn it_stops_at_the_limit_of_tokens() {
    let parts = provider(|config| config.max_answer_tokens = 3).generate(ask("Tell me a long story.")).await.unwrap();
    let parts: Vec<_> = parts.map(Result::unwrap).collect().await;
    assert!(matches!(parts.last(), Some(AnswerPart::Finished { reason: FinishReason::Length, .. })), "{parts:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn it_chooses_one_of_the_labels_and_says_how_sure_it_is() {
    let choice = |question: &str| ClassifyRequest {
        instructions: "Choose the label that fits.".to_owned(),
        question: question.to_owned(),
        labels: [("animals", "dogs, cats, birds"), ("tools", "hammers, saws")]
            .map(|(label, meaning)| (label.to_owned(), meaning.to_owned()))
            .to_vec(),
        meter: Default::default(),
    };
    let provider = provider(|_| ());
    // A model this small only chooses well when it is told what to choose.
    for label in ["animals", "tools"] {
        let told = choice(&format!("Answer with this and nothing else: {{\"label\": \"{label}\"}}"));
        let chosen = provider.classify(told).await.unwrap().unwrap();
        assert_eq!(chosen.label, label);
        assert!(chosen.confidence.is_some_and(|confidence| confidence > 0.5 && confidence < 1.0), "{chosen:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_router_finds_the_specialist_with_its_help_or_without() {
    let specialists = Arc::new(Specialists::load(None).unwrap());
    let router = Router::new(specialists, Arc::new(Languages::built_in()), 0.2, Routing::Model);
    let route = router.route(&provider(|_| ()), &"What is the engine power?".into(), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.fell_back), ("specs", false));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn it_stops_working_when_the_stream_is_dropped() {
    let provider = provider(|config| config.max_answer_tokens = 2_000);
    let mut request = ask("Count from 1 to 1000, every number on a line of its own.");
    request.passages.clear();
    let mut parts = provider.generate(request).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(parts.next().await, Some(Ok(AnswerPart::Token(_)))));
    }
    // Only this request has such a limit; after it the slot still shows it, but is idle.
    let is_counting = || async {
        let url = real_model().base_url.replace("/v1", "/slots");
        let slots: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let mut slots = slots.as_array().expect("a list of slots").iter();
        slots.any(|slot| slot["is_processing"] == true && slot["params"]["max_tokens"] == 2_000)
    };
    assert!(is_counting().await, "it is at work while the stream is there");
    drop(parts);
    eventually(async || holds(!is_counting().await, "it is still at work")).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_prompt_that_is_too_long_is_known() {
    let error = provider(|_| ()).generate(ask(&"word ".repeat(20_000))).await.err().expect("refused");
    assert_eq!(error.kind, ProviderErrorKind::ContextTooLong, "{error}");
}
