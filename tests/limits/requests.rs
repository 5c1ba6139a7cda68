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

/// Everything the server sends until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("the connection stays open");
    String::from_utf8(bytes).unwrap()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn endless_request_head_times_out() {
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn endless_request_body_times_out() {
    let app = TestApp::with(|config| config.server.request_body_timeout_ms = 300).await;
    for body in ["Content-Length: 1000\r\n\r\n{\"email\":", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ema"] {
        let mut stream = connect(&app).await;
        let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
    }
    assert_eq!(hits(&app, "request_body_time").await, 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unread_request_body_closes_the_connection() {
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connections_over_the_limit_serve_health_checks_only() {
    let app = TestApp::with(|config| config.server.max_connections = 2).await;
    let mut sockets = vec![app.socket().connect().await, app.socket().connect().await];
    let send = async |path: &str, headers: &str| {
        let mut over = connect(&app).await;
        over.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes()).await.unwrap();
        rest(&mut over).await
    };
    // The connection ends with the answer, though the request does not ask for it.
    let ask = async |path: &str| send(path, "").await;
    let ask_once = async |path: &str| send(path, "Connection: close\r\n").await;
    assert!(ask("/health").await.starts_with("HTTP/1.1 200 "));
    let refused = ask("/api/v1/auth/me").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("OVERLOADED"), "{refused}");
    assert!(refused.to_lowercase().contains("\r\nretry-after: 1\r\n"), "{refused}");
    let (status, _) = app.socket().try_connect().await.err().unwrap();
    assert_eq!(status, 503);
    sockets.pop().unwrap().close().await;
    let began = Instant::now();
    while !ask_once("/api/v1/nothing").await.starts_with("HTTP/1.1 404 ") {
        assert!(began.elapsed() < Duration::from_secs(20), "the connection that has ended still counts");
    }
    sockets.pop().unwrap().close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn requests_per_address_are_limited() {
    let app = TestApp::with(|config| config.limits.requests_per_s_per_address = 5).await;
    let ask = async |path: &str| app.http.get(format!("{}{path}", app.url)).send().await.unwrap();
    let mut refused = None;
    for _ in 0..50 {
        let answer = ask("/api/v1/auth/me").await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 401);
    }
    let refused = refused.expect("fifty requests in less than ten seconds");
    assert_eq!(refused.headers()["retry-after"], "1");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!((&body["code"], &body["retryable"]), (&"RATE_LIMITED".into(), &true.into()));
    for _ in 0..20 {
        for path in [
            "/health",
            "/health/ready",
            "/metrics",
            "/ws/test",
            "/ops",
            "/static/pages/ops/page.js",
            "/api/docs/",
            "/api/openapi.json",
        ] {
            assert_eq!(ask(path).await.status(), 200, "{path}");
        }
    }
    // Written otherwise, it is the same route.
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(ask("/%61pi/v1/auth/me").await.status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn requests_per_user_are_limited() {
    let app = TestApp::with(|config| config.limits.requests_per_s_per_user = 5).await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(app.get("/api/v1/conversations", Some(&ada)).await);
    }
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    assert!(refused > 0 && answers[0].0 == 200, "{refused} of 30 refused");
    assert_eq!(app.get("/api/v1/conversations", Some(&eve)).await.0, 200);
    assert_eq!(hits(&app, "requests_per_user").await, refused as u64);
    // An operator changes it while the server runs.
    let operator = app.operator().await;
    let (status, answer) = app
        .patch("/api/v1/settings", Some(&operator), &serde_json::json!({"limits": {"requests_per_s_per_user": 0}}))
        .await;
    assert_eq!((status, &answer["limits"]["requests_per_s_per_user"]), (200, &0.into()));
    for _ in 0..30 {
        assert_eq!(app.get("/api/v1/conversations", Some(&ada)).await.0, 200);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn by_default_requests_are_limited_unless_an_address_is_exempt() {
    let limits = switchboard::config::LimitsConfig::default();
    assert_eq!((limits.requests_per_s_per_user, limits.requests_per_s_per_address), (50, 200));
    for is_exempt in [false, true] {
        let app = TestApp::with(|config| {
            config.limits = switchboard::config::LimitsConfig::default();
            if is_exempt {
                config.limits.exempt_addresses = vec!["127.0.0.1".to_owned()];
            }
        })
        .await;
        let user = app.user().await;
        // More than the burst of a user, and more than a slow machine answers within the seconds that refill it.
        let answers = futures_util::future::join_all((0..800).map(|_| app.get("/api/v1/auth/me", Some(&user)))).await;
        let refused = answers.iter().filter(|(status, _)| *status == 429).count();
        let began = Instant::now();
        assert!(if is_exempt { refused == 0 } else { refused > 0 }, "{refused} of 800 refused, {:?}", began.elapsed());
    }
}
