//! OpenAI-compatible server for the relay job: streams a computed answer at a given rate and checks nothing.
//!
//! A request that is not streamed is a classification, and is answered at once with the first label of its JSON schema.
//! `relay_upstream ADDRESS TOKENS INTERVAL_MS`. Token n is due n intervals after the first, whatever delayed those before it.

use peers::{
    answer::{put_token, question_in},
    run,
    socket::{find, header, read, read_head, readable, write},
};
use std::{fmt::Write, io, net::SocketAddr, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
const MODELS: &str =
    r#"{"object":"list","data":[{"id":"bench","object":"model","created":1764000000,"owned_by":"bench"}]}"#;

#[derive(Clone, Copy)]
struct Pace {
    tokens: u32,
    interval: Duration,
}

fn main() {
    let number = |index: usize| std::env::args().nth(index).and_then(|text| text.parse::<u32>().ok());
    let (Some(tokens), Some(interval_ms)) = (number(2), number(3)) else {
        panic!("usage: relay_upstream 127.0.0.1:PORT TOKENS INTERVAL_MS");
    };
    run(move |address| serve(address, Pace { tokens, interval: Duration::from_millis(interval_ms.into()) }));
}

async fn serve(address: SocketAddr, pace: Pace) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that is gone is not an error.
            let _ = converse(stream, pace).await;
        });
    }
}

async fn converse(stream: TcpStream, pace: Pace) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let head = read_head(&stream, &mut input).await?;
        let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while input.len() < length {
            readable(&stream).await?;
            read(&stream, &mut input)?;
        }
        let body: Vec<u8> = input.drain(..length).collect();
        if head.starts_with("POST ") && find(&body, br#""stream":false"#).is_some() {
            send_json(&stream, &classification(&body)).await?;
        } else if head.starts_with("POST ") {
            let asks_usage = find(&body, br#""include_usage":true"#).is_some();
            answer(&stream, question_in(&body), asks_usage, pace).await?;
        } else {
            send_json(&stream, MODELS).await?;
        }
    }
}

async fn send_json(stream: &TcpStream, json: &str) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    write(stream, format!("{head}{}\r\n\r\n{json}", json.len()).as_bytes()).await
}

fn classification(body: &[u8]) -> String {
    const ENUM: &[u8] = br#""enum":[""#;
    let labels = find(body, ENUM).map_or(&b""[..], |at| &body[at + ENUM.len()..]);
    let label = labels.split(|byte| *byte == b'"').next().unwrap_or_default();
    let label = String::from_utf8_lossy(label);
    let token = |text: &str| serde_json::json!({ "token": text, "logprob": -0.01, "top_logprobs": [{ "token": text, "logprob": -0.01 }] });
    serde_json::json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "bench",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": format!("{{\"label\":\"{label}\"}}") },
            "logprobs": { "content": [token("{\"label\":\""), token(&label), token("\"}")] },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 200, "completion_tokens": 3, "total_tokens": 203 },
    })
    .to_string()
}

async fn answer(stream: &TcpStream, question: u64, asks_usage: bool, pace: Pace) -> io::Result<()> {
    let mut out = HEAD.to_owned();
    let mut data = String::new();
    put_choice(question, r#"{"role":"assistant","content":""}"#, "null", &mut data, &mut out);
    let mut due = Instant::now();
    let (mut token, mut delta) = (String::new(), String::new());
    for index in 0..pace.tokens {
        token.clear();
        put_token(question, index, &mut token);
        delta.clear();
        write!(delta, r#"{{"content":"{token}"}}"#).expect("writing to a string does not fail");
        put_choice(question, &delta, "null", &mut data, &mut out);
        write(stream, out.as_bytes()).await?;
        out.clear();
        due += pace.interval;
        if index + 1 < pace.tokens {
            sleep_until(due).await;
        }
    }
    put_choice(question, "{}", r#""stop""#, &mut data, &mut out);
    if asks_usage {
        let completion = pace.tokens;
        let usage = format!(
            r#","choices":[],"usage":{{"prompt_tokens":20,"completion_tokens":{completion},"total_tokens":{}}}}}"#,
            completion + 20
        );
        put_event(question, &usage, &mut data, &mut out);
    }
    put_http_chunk("data: [DONE]\n\n", &mut out);
    out.push_str("0\r\n\r\n");
    write(stream, out.as_bytes()).await
}

fn put_choice(question: u64, delta: &str, finish_reason: &str, data: &mut String, out: &mut String) {
    let rest =
        format!(r#","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]}}"#);
    put_event(question, &rest, data, out);
}

/// Appends an event with the members that OpenAI's servers send.
fn put_event(question: u64, rest: &str, data: &mut String, out: &mut String) {
    data.clear();
    write!(
        data,
        "data: {{\"id\":\"chatcmpl-{question:029}\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\
         \"model\":\"bench\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\"{rest}\n\n"
    )
    .expect("writing to a string does not fail");
    put_http_chunk(data, out);
}

fn put_http_chunk(text: &str, out: &mut String) {
    write!(out, "{:x}\r\n{text}\r\n", text.len()).expect("writing to a string does not fail");
}
