//! Parameters that a server refuses: left out, remembered, and never asked about for ever.

use super::{
    choice::choice_request,
    openai::{ask, outcome, says},
    upstream::{Step, Upstream, answers, config, provider},
};
use serde_json::{Value, json};
use switchboard::{
    config::ProviderConfig,
    domain::FinishReason,
    provider::{ModelProvider, ProviderErrorKind as Kind, openai::OpenAi},
};

fn refuses(param: &str) -> Vec<Step> {
    let message = format!("Unsupported parameter: '{param}' is not supported with this model.");
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_parameter"}});
    answers("400 Bad Request", "content-type: application/json\r\n", &error.to_string())
}

fn bodies(upstream: &Upstream) -> Vec<Value> {
    upstream.requests().into_iter().map(|request| request.body).collect()
}

fn hi() -> (String, Result<FinishReason, Kind>) {
    ("hi".to_owned(), Ok(FinishReason::Stop))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_refused_parameter_costs_one_request_once() {
    for param in ["temperature", "stream_options", "max_tokens"] {
        let upstream = Upstream::start([refuses(param), says("hi"), says("hi")]).await;
        let provider = provider(&upstream);
        assert_eq!(outcome(&provider).await, hi(), "{param}");
        assert_eq!(outcome(&provider).await, hi(), "{param}");
        let bodies = bodies(&upstream);
        assert_eq!(bodies.len(), 3, "{param}");
        assert!(bodies[0].get(param).is_some());
        for body in &bodies[1..] {
            assert!(body.get(param).is_none(), "{body}");
            assert_eq!(body.get("max_completion_tokens"), (param == "max_tokens").then_some(&json!(1024)), "{body}");
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn several_refused_parameters_are_left_out_one_after_the_other() {
    let script = ["max_tokens", "temperature", "max_completion_tokens", "stream_options"].map(refuses);
    let upstream = Upstream::start(script.into_iter().chain([says("hi")])).await;
    assert_eq!(outcome(&provider(&upstream)).await, hi());
    let last = bodies(&upstream).pop().unwrap();
    let names: Vec<_> = last.as_object().unwrap().keys().collect();
    assert_eq!(names, ["messages", "model", "stream"]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_server_that_refuses_everything_is_asked_a_bounded_number_of_times() {
    let params = ["temperature", "temperature", "temperature"].map(refuses);
    let upstream = Upstream::start(params).await;
    assert_eq!(outcome(&provider(&upstream)).await, (String::new(), Err(Kind::Rejected)));
    assert_eq!(upstream.requests().len(), 2, "what was left out already cannot be left out again");
    // Nothing was learnt of it: no request was ever taken.
    let all = ["stream_options", "max_tokens", "max_completion_tokens", "temperature", "stream"].map(refuses);
    let upstream = Upstream::start(all.into_iter().chain([refuses("messages"), says("hi")])).await;
    let provider = provider(&upstream);
    assert_eq!(outcome(&provider).await, (String::new(), Err(Kind::Rejected)));
    assert_eq!(outcome(&provider).await, hi());
    assert!(bodies(&upstream).last().unwrap().get("temperature").is_some());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_server_that_does_not_stream_is_asked_for_a_whole_answer() {
    let whole = json!({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}).to_string();
    let upstream =
        Upstream::start([refuses("stream"), answers("200 OK", "content-type: application/json\r\n", &whole)]).await;
    assert_eq!(outcome(&provider(&upstream)).await, hi());
    let bodies = bodies(&upstream);
    assert_eq!((&bodies[1]["stream"], bodies[1].get("stream_options")), (&json!(false), None));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_refusal_inside_a_stream_counts_too() {
    let error = json!({"error": {"message": "Unknown parameter", "param": "stream_options", "code": 400}});
    let refusal =
        Step::Raw(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {error}\n\n").into());
    let upstream = Upstream::start([vec![refusal], says("hi")]).await;
    assert_eq!(outcome(&provider(&upstream)).await, hi());
    assert!(bodies(&upstream)[1].get("stream_options").is_none());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_limit_that_does_not_fit_beside_a_prompt_is_left_out_this_once() {
    let error = json!({"error": {"message": "'max_tokens' is too large: 1024. This model's maximum context length is 1024 tokens", "code": 400}});
    let upstream = Upstream::start([answers("400 Bad Request", "", &error.to_string()), says("hi"), says("hi")]).await;
    let provider = provider(&upstream);
    assert_eq!(outcome(&provider).await, hi());
    assert_eq!(outcome(&provider).await, hi());
    let limits: Vec<_> = bodies(&upstream).iter().map(|body| body.get("max_tokens").is_some()).collect();
    assert_eq!(limits, [true, false, true]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_choice_does_without_what_the_server_refuses() {
    let chosen =
        json!({"choices": [{"message": {"content": "<think>{?}</think>{\"label\":\"specs\"}"}, "index": null}]})
            .to_string();
    let chosen = || answers("200 OK", "", &chosen);
    let upstream = Upstream::start([refuses("response_format"), refuses("logprobs"), chosen(), says("hi")]).await;
    let provider = provider(&upstream);
    let label = provider.classify(choice_request()).await.unwrap().unwrap().label;
    assert_eq!(label, "specs");
    assert_eq!(outcome(&provider).await, hi());
    assert!(
        bodies(&upstream)[2..]
            .iter()
            .all(|body| body.get("response_format").is_none() && body.get("logprobs").is_none())
    );
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn answers_that_are_no_stream_or_packed_are_read() {
    use std::io::Write;
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(events.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        gzip.len()
    );
    let whole =
        json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})
            .to_string();
    for script in [
        vec![Step::Raw(head.into_bytes()), Step::Raw(gzip)],
        answers("200 OK", "content-type: application/json\r\n", &whole),
        answers("200 OK", "content-type: text/plain; charset=utf-8\r\n", events),
        answers("200 OK", "content-type: application/octet-stream\r\n", events),
        answers("200 OK", "", events),
    ] {
        let upstream = Upstream::start([script.clone()]).await;
        assert_eq!(outcome(&provider(&upstream)).await, hi(), "{script:?}");
        assert!(upstream.requests()[0].head.contains("accept-encoding: identity"), "{}", upstream.requests()[0].head);
    }
    let brotli = Upstream::start([answers("200 OK", "content-encoding: br\r\n", "x")]).await;
    assert_eq!(outcome(&provider(&brotli)).await, (String::new(), Err(Kind::Broken)));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_model_that_reasons_for_long_is_waited_for() {
    use futures_util::StreamExt;
    use std::time::Duration;
    let chunk =
        |delta: Value| Step::Chunk(format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})).into_bytes());
    let mut script = vec![Step::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())];
    for _ in 0..6 {
        script.extend([chunk(json!({"reasoning_content": "hm"})), Step::Wait(Duration::from_millis(150))]);
    }
    script.extend([chunk(json!({"content": "hi"})), Step::Chunk(b"data: [DONE]\n\n".to_vec()), Step::End]);
    let upstream = Upstream::start([script]).await;
    let config = ProviderConfig { first_token_timeout_ms: 600, idle_timeout_ms: 600, ..config(&upstream) };
    let provider = OpenAi::new(&config).unwrap();
    let parts: Vec<_> = provider.generate(ask("Hello?")).await.unwrap().collect().await;
    assert!(parts.iter().all(Result::is_ok), "{parts:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_check_at_start_finds_what_is_wrong() {
    let list =
        |id: &str| answers("200 OK", "content-type: application/json\r\n", &json!({"data": [{"id": id}]}).to_string());
    let status = |status: &str| answers(status, "", "");
    for (scripts, want) in [
        (vec![list("test-model")], None),
        (vec![list("other")], Some(Kind::UnknownModel)),
        (vec![status("401 Unauthorized")], Some(Kind::Unauthorized)),
        (vec![status("503 Service Unavailable")], Some(Kind::Unavailable)),
        // Servers without a list.
        (vec![status("404 Not Found"), status("400 Bad Request")], None),
        (vec![status("405 Method Not Allowed"), status("401 Unauthorized")], Some(Kind::Unauthorized)),
        (vec![status("501 Not Implemented"), status("422 Unprocessable Entity")], None),
        (vec![answers("200 OK", "", "<html>")], None),
        // Servers without the API.
        (vec![status("404 Not Found"), status("404 Not Found")], Some(Kind::Rejected)),
        (vec![status("405 Method Not Allowed"), status("501 Not Implemented")], Some(Kind::Rejected)),
    ] {
        let upstream = Upstream::start(scripts.clone()).await;
        let result = provider(&upstream).check().await;
        assert_eq!(result.err().map(|error| error.kind), want, "{scripts:?}");
        let requests = upstream.requests();
        assert_eq!(requests.len(), scripts.len());
        assert!(requests[0].head.starts_with("GET /v1/models "), "{}", requests[0].head);
        for probe in &requests[1..] {
            assert!(probe.head.starts_with("POST /v1/chat/completions "), "{}", probe.head);
            assert_eq!(probe.body, json!({}));
        }
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = ProviderConfig { base_url: format!("http://{unused}/v1"), ..ProviderConfig::default() };
    let error = OpenAi::new(&nobody).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
}
