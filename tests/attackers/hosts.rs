//! Pages whose name is made to point to this server (DNS rebinding), and other requests for a host that is not ours.

use super::requests::exchange;
use crate::harness::TestApp;
use serde_json::{Value, json};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The status of the answer to a request with this first line and these headers.
async fn status(app: &TestApp, line: &str, headers: &str) -> u16 {
    let answer = exchange(app, format!("{line}\r\n{headers}\r\n").as_bytes()).await;
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    status.unwrap_or_else(|| panic!("{line}: {answer:?}"))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn rebound_host_name_reaches_no_route() {
    let app = TestApp::start().await;
    let (_, openapi) = app.get("/api/openapi.json", None).await;
    let mut requests = vec![
        ("GET", "/".to_owned()),
        ("GET", "/ws/test".to_owned()),
        ("GET", "/ops".to_owned()),
        ("GET", "/static/pages/ops/page.js".to_owned()),
        ("GET", "/api/docs/".to_owned()),
        ("GET", "/no/such/route".to_owned()),
    ];
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method = ["get", "post", "delete", "patch", "put"].iter().position(|name| name == method);
            let method = method.map(|index| ["GET", "POST", "DELETE", "PATCH", "PUT"][index]);
            requests.extend(method.map(|method| (method, path.clone())));
        }
    }
    assert!(requests.len() > 25, "{requests:?}");
    let evil = "Host: evil.example:8000\r\nOrigin: http://evil.example:8000\r\nConnection: close\r\n";
    for (method, path) in requests {
        let expected = if path.starts_with("/health") { 200 } else { 421 };
        assert_eq!(status(&app, &format!("{method} {path} HTTP/1.1"), evil).await, expected, "{method} {path}");
    }
    for path in ["/ws/chat", "/ws/ops"] {
        let evil = format!("Host: evil.example:8000\r\nOrigin: http://evil.example:8000\r\n{UPGRADE}");
        assert_eq!(status(&app, &format!("GET {path} HTTP/1.1"), &evil).await, 421, "{path}");
    }
    // A preflight, too, and it allows nothing.
    let preflight = format!("{evil}Access-Control-Request-Method: POST\r\n");
    let answer = exchange(&app, format!("OPTIONS /api/v1/chat HTTP/1.1\r\n{preflight}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.to_lowercase().contains("access-control-allow"), "{answer}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_refusal_names_the_host_and_the_setting() {
    let app = TestApp::start().await;
    let response = app.http.get(format!("{}/api/v1/auth/me", app.url)).header("host", "chat.example.org").send();
    let response = response.await.unwrap();
    assert_eq!(response.status().as_u16(), 421);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["code"], &body["retryable"]), (&json!("HOST_NOT_ALLOWED"), &json!(false)));
    let text = body["error"].as_str().unwrap();
    assert!(text.contains("chat.example.org") && text.contains("server.allowed_hosts"), "{text}");
    let operator = app.operator().await;
    app.stats_when(&operator, |stats| stats["limits"]["hosts"] == 1).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn request_must_name_exactly_one_allowed_host() {
    let app = TestApp::start().await;
    let port = app.url.rsplit(':').next().unwrap();
    let get = "GET /api/openapi.json HTTP/1.1";
    for (line, hosts, expected) in [
        (get, format!("Host: 127.0.0.1:{port}\r\n"), 200),
        (get, "Host: LOCALHOST\r\n".to_owned(), 200),
        (get, "Host: localhost.:1\r\n".to_owned(), 200),
        (get, "Host: app.localhost:3000\r\n".to_owned(), 200),
        (get, "Host: [::1]:8000\r\n".to_owned(), 200),
        (get, "Host:\r\n".to_owned(), 421),
        // HTTP/1.1 itself forbids none, and more than one (RFC 9112, 3.2).
        (get, String::new(), 400),
        (get, "Host: localhost\r\nHost: localhost\r\n".to_owned(), 400),
        (get, "Host: localhost\r\nHost: evil.example\r\n".to_owned(), 400),
        (get, "Host: localhost@evil.example\r\n".to_owned(), 421),
        (get, "Host: evil.example@localhost\r\n".to_owned(), 421),
        (get, "Host: localhost, evil.example\r\n".to_owned(), 421),
        (get, "Host: 127.0.0.1.evil.example\r\n".to_owned(), 421),
        (get, "Host: evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n".to_owned(), 421),
        ("GET http://evil.example/api/openapi.json HTTP/1.1", "Host: localhost\r\n".to_owned(), 421),
        ("GET http://localhost/api/openapi.json HTTP/1.1", "Host: evil.example\r\n".to_owned(), 421),
        ("GET http://localhost/api/openapi.json HTTP/1.1", "Host: localhost\r\n".to_owned(), 200),
        ("GET /api/openapi.json HTTP/1.0", String::new(), 421),
        ("GET /api/openapi.json HTTP/1.0", "Host: localhost\r\n".to_owned(), 200),
        // A load balancer that asks whether the server is well.
        ("GET /health HTTP/1.0", String::new(), 200),
        ("GET /health/ready HTTP/1.1", "Host: 10.1.2.3:8000\r\n".to_owned(), 200),
    ] {
        assert_eq!(status(&app, line, &format!("{hosts}Connection: close\r\n")).await, expected, "{line} {hosts:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn public_host_name_of_a_proxy_must_be_listed() {
    let app = TestApp::with(|config| {
        config.server.allowed_hosts = vec!["chat.example.org".to_owned(), "*.apps.example.org".to_owned()];
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    // As a proxy on this machine passes it on, with the page's origin.
    let forwarded = |host: &str| {
        format!(
            "Host: {host}\r\nOrigin: https://{host}\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n{UPGRADE}"
        )
    };
    for (host, expected) in
        [("chat.example.org", 101), ("a.apps.example.org", 101), ("apps.example.org", 421), ("evil.example", 421)]
    {
        assert_eq!(status(&app, "GET /ws/chat HTTP/1.1", &forwarded(host)).await, expected, "{host}");
    }

    let app = TestApp::with(|config| config.server.allowed_hosts = vec!["*".to_owned()]).await;
    assert_eq!(status(&app, "GET /ws/chat HTTP/1.1", &forwarded("evil.example")).await, 101);
    let none = "Connection: close\r\n";
    assert_eq!(status(&app, "GET /api/openapi.json HTTP/1.0", none).await, 200);
}
