//! The openai provider against a server that streams, stalls, breaks off, refuses and sends garbage.

use super::upstream::{KEY, Step, Upstream, answers, config, provider};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::json;
use std::time::{Duration, Instant};
use switchboard::{
    config::ProviderConfig,
    domain::{FinishReason, RetrievalBasis, Usage},
    provider::{
        AnswerPart, GenerateRequest, Guidance, ModelProvider, ProviderError, ProviderErrorKind as Kind, openai::OpenAi,
    },
};

pub fn ask(question: &str) -> GenerateRequest {
    GenerateRequest {
        guidance: Guidance::default(),
        system_prompt: "Be brief.".to_owned(),
        passages: vec![],
        basis: RetrievalBasis::Nothing,
        history: vec![],
        question: question.to_owned(),
        script: None,
    }
}

pub fn stream_head() -> Step {
    Step::Raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

pub fn event(data: &serde_json::Value) -> Step {
    Step::Chunk(format!("data: {data}\n\n").into_bytes())
}

pub fn token(text: &str) -> Step {
    event(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

pub fn stop() -> Step {
    event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
}

pub fn done() -> Step {
    Step::Chunk(b"data: [DONE]\n\n".to_vec())
}

/// A stream that says `text` and ends as it should.
pub fn says(text: &str) -> Vec<Step> {
    vec![stream_head(), token(text), stop(), done(), Step::End]
}

/// Outcome of an answer: its tokens, and its end.
async fn answer(provider: &OpenAi) -> (Vec<String>, Result<(FinishReason, Usage), ProviderError>) {
    let mut tokens = Vec::new();
    let mut parts = match provider.generate(ask("Hello?")).await {
        Ok(parts) => parts,
        Err(err) => return (tokens, Err(err)),
    };
    let mut end = None;
    while let Some(part) = parts.next().await {
        assert!(end.is_none(), "something behind the end: {part:?}");
        match part {
            Ok(AnswerPart::Token(token)) => tokens.push(token),
            Ok(AnswerPart::Working | AnswerPart::Reasoning(_) | AnswerPart::Part(_)) => {}
            Ok(AnswerPart::Finished { reason, usage }) => end = Some(Ok((reason, usage.tokens))),
            Err(err) => end = Some(Err(err)),
        }
    }
    (tokens, end.expect("an end"))
}

/// The text, or what kind of failure ended it.
pub async fn outcome(provider: &OpenAi) -> (String, Result<FinishReason, Kind>) {
    let (tokens, end) = answer(provider).await;
    (tokens.concat(), end.map(|(reason, _)| reason).map_err(|err| err.kind))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_answer_arrives_token_by_token_with_its_usage() {
    let usage = event(&json!({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 2}}));
    let role = event(&json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "usage": null}));
    let script = vec![stream_head(), role, token("Grüß"), token(" Gott"), stop(), usage, done(), Step::End];
    let upstream = Upstream::start([script]).await;
    let (tokens, end) = answer(&provider(&upstream)).await;
    assert_eq!(tokens, ["Grüß", " Gott"]);
    assert_eq!(end.unwrap(), (FinishReason::Stop, Usage { prompt_tokens: 12, completion_tokens: 2 }));

    let [request] = &upstream.requests()[..] else { panic!("one request") };
    assert!(request.head.starts_with("POST /v1/chat/completions "), "{}", request.head);
    assert!(request.head.contains(&format!("Bearer {KEY}")), "{}", request.head);
    let mut body = request.body.clone();
    let messages = body["messages"].take();
    assert_eq!(
        body,
        json!({"model": "test-model", "messages": null, "stream": true, "stream_options": {"include_usage": true},
            "temperature": 0.2, "max_tokens": 1024})
    );
    assert_eq!(messages, json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_token_is_handed_out_before_the_next_one_is_there() {
    let upstream = Upstream::start([vec![stream_head(), token("now"), Step::Stall]]).await;
    let mut parts = provider(&upstream).generate(ask("Hello?")).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap(), AnswerPart::Token("now".to_owned()));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn usage_that_is_not_sent_is_estimated() {
    let upstream = Upstream::start([says("12345")]).await;
    let (_, end) = answer(&provider(&upstream)).await;
    // "Be brief." and "Hello?" have 15 bytes.
    assert_eq!(end.unwrap().1, Usage { prompt_tokens: 4, completion_tokens: 2 });
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connections_are_used_again() {
    let upstream = Upstream::start((0..5).map(|_| says("hi"))).await;
    let provider = provider(&upstream);
    for _ in 0..5 {
        assert_eq!(outcome(&provider).await, ("hi".to_owned(), Ok(FinishReason::Stop)));
    }
    assert_eq!(upstream.requests().len(), 5);
    assert!(upstream.accepted() < 5, "{} connections", upstream.accepted());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn dropping_the_stream_closes_the_connection() {
    let upstream = Upstream::start([vec![
        stream_head(),
        Step::Repeat(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_vec()),
    ]])
    .await;
    let provider = provider(&upstream);
    let mut parts = provider.generate(ask("Hello?")).await.unwrap();
    for _ in 0..3 {
        parts.next().await.unwrap().unwrap();
    }
    drop(parts);
    upstream.all_closed().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn dropping_the_request_closes_the_connection_too() {
    let upstream = Upstream::start([vec![Step::Stall]]).await;
    let provider = provider(&upstream);
    let request = provider.generate(ask("Hello?"));
    assert!(tokio::time::timeout(Duration::from_millis(200), request).await.is_err());
    assert_eq!(upstream.requests().len(), 1);
    upstream.all_closed().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn characters_and_events_cut_anywhere_stay_whole() {
    let body = format!(
        ": keep-alive\r\n\r\ndata: {}\r\n\r\ndata: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [{"delta": {"content": "größer 👍"}}]}),
        json!({"choices": [{"delta": {"content": "!"}, "finish_reason": "length"}]}),
    );
    for size in [1, 2, 3, 7] {
        let mut script = vec![stream_head()];
        for bytes in body.as_bytes().chunks(size) {
            script.push(Step::Chunk(bytes.to_vec()));
        }
        script.push(Step::End);
        let upstream = Upstream::start([script]).await;
        assert_eq!(outcome(&provider(&upstream)).await, ("größer 👍!".to_owned(), Ok(FinishReason::Length)));
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn failures_before_the_first_token_are_tried_once_more() {
    for failure in [
        answers("500 Internal Server Error", "", "oops"),
        answers("503 Service Unavailable", "retry-after: 0\r\n", ""),
        answers("429 Too Many Requests", "retry-after-ms: 50\r\n", ""),
        vec![],
        vec![stream_head(), Step::Chunk(b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n".to_vec())],
        vec![stream_head(), event(&json!({"error": {"code": 503}})), Step::End],
    ] {
        let upstream = Upstream::start([failure.clone(), says("hi")]).await;
        assert_eq!(outcome(&provider(&upstream)).await, ("hi".to_owned(), Ok(FinishReason::Stop)), "{failure:?}");
        assert_eq!(upstream.requests().len(), 2, "{failure:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn there_is_only_one_second_try() {
    let failure = || answers("500 Internal Server Error", "", "");
    let upstream = Upstream::start([failure(), failure(), says("hi")]).await;
    assert_eq!(outcome(&provider(&upstream)).await, (String::new(), Err(Kind::Unavailable)));
    assert_eq!(upstream.requests().len(), 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn after_the_first_token_nothing_is_tried_again() {
    let garbage = Step::Chunk(b"data: <html>\n\n".to_vec());
    for (behind, kind) in [
        (vec![], Kind::Broken),
        (vec![Step::End], Kind::Broken),
        (vec![garbage], Kind::Broken),
        (vec![Step::Chunk(b"data: \xff\n\n".to_vec())], Kind::Broken),
        (vec![event(&json!({"error": {"code": 503}})), Step::End], Kind::Unavailable),
    ] {
        let script = [vec![stream_head(), token("half")], behind.clone()].concat();
        let upstream = Upstream::start([script, says("hi")]).await;
        assert_eq!(outcome(&provider(&upstream)).await, ("half".to_owned(), Err(kind)), "{behind:?}");
        assert_eq!(upstream.requests().len(), 1, "{behind:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn permanent_failure_is_not_retried() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    for (failure, kind) in [
        (answers("400 Bad Request", "", "{}"), Kind::Rejected),
        (answers("401 Unauthorized", "", ""), Kind::Unauthorized),
        (answers("402 Payment Required", "", ""), Kind::OutOfCredit),
        (answers("404 Not Found", "", ""), Kind::UnknownModel),
        (answers("413 Payload Too Large", "", ""), Kind::ContextTooLong),
        (
            answers("429 Too Many Requests", "retry-after: 0\r\n", r#"{"error":{"code":"insufficient_quota"}}"#),
            Kind::OutOfCredit,
        ),
        (answers("429 Too Many Requests", "retry-after: 30\r\n", ""), Kind::RateLimited),
        (answers("429 Too Many Requests", "", ""), Kind::RateLimited),
        (answers("302 Found", "location: /v1/elsewhere\r\n", ""), Kind::Rejected),
        (vec![Step::Raw(html.as_bytes().to_vec())], Kind::Broken),
        (vec![stream_head(), Step::Chunk(b"data: no json\n\n".to_vec())], Kind::Broken),
        (vec![stream_head(), Step::Repeat(b"data: xxxxxxxxxxxxxxxx".repeat(1_000))], Kind::Broken),
    ] {
        let upstream = Upstream::start([failure.clone(), says("hi")]).await;
        let head = format!("{:?}", failure.first());
        assert_eq!(outcome(&provider(&upstream)).await, (String::new(), Err(kind)), "{head}");
        assert_eq!(upstream.requests().len(), 1, "{head}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn retry_after_of_the_provider_is_passed_on() {
    let upstream = Upstream::start([answers("429 Too Many Requests", "retry-after: 30\r\n", "")]).await;
    let (_, end) = answer(&provider(&upstream)).await;
    assert_eq!(end.unwrap_err().retry_after_ms, Some(30_000));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn refused_connection_is_unavailable() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = ProviderConfig { base_url: format!("http://user:pass@{unused}"), ..ProviderConfig::default() };
    let (_, end) = answer(&OpenAi::new(&config).unwrap()).await;
    let error = end.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(!error.detail.contains("pass"), "{}", error.detail);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_key_and_the_messages_of_others_never_reach_the_log() {
    let body = json!({"error": {"message": format!("wrong key {KEY}; you said Hello?"), "code": KEY}}).to_string();
    for script in [
        answers("401 Unauthorized", "", &body),
        vec![stream_head(), Step::Chunk(format!("data: {body}\n\n").into_bytes()), Step::End],
        vec![stream_head(), token("x"), Step::Chunk(format!("data: {body}\n\n").into_bytes()), Step::End],
    ] {
        let upstream = Upstream::start([script]).await;
        let provider = provider(&upstream);
        let error = answer(&provider).await.1.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(KEY) && !text.contains("Hello?"), "{text}");
        assert!(text.contains("[redacted]"), "the code is part of it: {text}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn each_silence_ends_in_its_own_time_out() {
    let head_only = vec![stream_head(), Step::Stall];
    let one_token = vec![stream_head(), token("a"), Step::Stall];
    let comments = vec![stream_head(), token("a"), Step::Repeat(b": still here\n\n".to_vec())];
    let drip = vec![stream_head(), Step::Repeat(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n".to_vec())];
    for (script, first_ms, idle_ms, total_ms, says) in [
        (vec![Step::Stall], 200, 9_000, 9_000, "no response before the deadline"),
        (head_only, 200, 9_000, 9_000, "first_token_timeout_ms"),
        (one_token, 9_000, 200, 9_000, "idle_timeout_ms"),
        (comments, 9_000, 200, 9_000, "idle_timeout_ms"),
        (drip, 9_000, 9_000, 200, "total_timeout_ms"),
    ] {
        let upstream = Upstream::start([script]).await;
        let config = ProviderConfig {
            first_token_timeout_ms: first_ms,
            idle_timeout_ms: idle_ms,
            total_timeout_ms: total_ms,
            ..config(&upstream)
        };
        let start = Instant::now();
        let error = answer(&OpenAi::new(&config).unwrap()).await.1.unwrap_err();
        assert_eq!(error.kind, Kind::Timeout);
        assert!(error.detail.contains(says), "{says:?} in {}", error.detail);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{says}: {took:?}");
        assert_eq!(upstream.requests().len(), 1, "a time-out is not tried again");
        upstream.all_closed().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_pause_shorter_than_the_time_out_is_waited_for() {
    let pause = || Step::Wait(Duration::from_millis(150));
    let script = vec![stream_head(), pause(), token("a"), pause(), token("b"), pause(), stop(), done(), Step::End];
    let upstream = Upstream::start([script]).await;
    let config = ProviderConfig { first_token_timeout_ms: 2_000, idle_timeout_ms: 1_000, ..config(&upstream) };
    assert_eq!(outcome(&OpenAi::new(&config).unwrap()).await, ("ab".to_owned(), Ok(FinishReason::Stop)));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn settings_that_cannot_work_are_named() {
    let config = |base_url: &str, key: &str, model: &str| ProviderConfig {
        base_url: base_url.to_owned(),
        api_key: Some(SecretString::from(key)),
        model: model.to_owned(),
        ..ProviderConfig::default()
    };
    for (config, key) in [
        (config("no url", "k", "m"), "base_url"),
        (config("ftp://x", "k", "m"), "base_url"),
        (config("http://x", "line\nbreak", "m"), "api_key"),
        (config("http://x", "k", ""), "model"),
    ] {
        let error = OpenAi::new(&config).err().expect("refused");
        assert_eq!(error.key, key);
        assert!(!error.to_string().contains("break"));
    }
}
