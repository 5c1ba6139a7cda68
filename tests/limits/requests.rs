//! Requests that come drop by drop.

use super::hits;
use crate::harness::TestApp;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// What the server says until it ends the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("the connection stays open");
    String::from_utf8(bytes).unwrap()
}

#[actix_web::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let app = TestApp::with(|config| config.server.request_head_timeout_ms = 300).await;
    let mut silent = connect(&app).await;
    let mut dripping = connect(&app).await;
    let began = Instant::now();
    dripping.write_all(b"GET /ws/chat HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let drip = async {
        for index in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if dripping.write_all(format!("X-{index}: y\r\n").as_bytes()).await.is_err() {
                break;
            }
        }
        rest(&mut dripping).await
    };
    let (answer, nothing) = futures_util::future::join(drip, rest(&mut silent)).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(nothing.is_empty() || nothing.starts_with("HTTP/1.1 408 "), "{nothing}");
    assert!(began.elapsed() < Duration::from_secs(8));
    app.finish().await;
}

#[actix_web::test]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let app = TestApp::with(|config| config.server.request_body_timeout_ms = 300).await;
    for body in ["Content-Length: 1000\r\n\r\n{\"email\":", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ema"] {
        let mut stream = connect(&app).await;
        let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
    }
    assert_eq!(hits(&app, "request_body_time").await, 2);
    app.finish().await;
}

#[actix_web::test]
async fn a_body_that_nobody_reads_ends_its_connection_unless_it_is_whole() {
    let app = TestApp::start().await;
    let head = "POST /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["", "5\r\nhe"] {
        let mut stream = connect(&app).await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("connection: close"), "{answer}");
    }
    // One that is read to its end leaves the connection to the next request.
    let mut stream = connect(&app).await;
    let whole =
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{whole}{whole}{last}").as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert!(answers.matches("HTTP/1.1 422 ").count() == 2 && answers.contains("HTTP/1.1 200 "), "{answers}");
    app.finish().await;
}

#[actix_web::test]
async fn connections_over_the_limit_wait_until_one_ends() {
    let app = TestApp::with(|config| config.server.max_connections = 2).await;
    let mut sockets = vec![app.socket().connect().await, app.socket().connect().await];
    let mut waiting = connect(&app).await;
    waiting.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut first = [0];
    let early = timeout(Duration::from_millis(300), waiting.read(&mut first)).await;
    assert!(early.is_err(), "served over the limit: {early:?}");
    sockets.pop().unwrap().close().await;
    assert!(rest(&mut waiting).await.starts_with("HTTP/1.1 200 "));
    sockets.pop().unwrap().close().await;
    app.finish().await;
}
