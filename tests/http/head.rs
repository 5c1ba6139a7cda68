//! HEAD wherever there is GET, and `Allow` wherever a method is refused.

use super::{Answer, get, send};
use crate::harness::TestApp;
use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PAGES: [&str; 12] = [
    "/",
    "/ops",
    "/ops/",
    "/ws/test",
    "/ws/test/",
    "/api/docs",
    "/api/docs/",
    "/api/docs/swagger-ui.css",
    "/api/openapi.json",
    "/static/pages/chat/page.js",
    "/ws/chat",
    "/ws/ops",
];

/// The paths of the API that take GET, with an id that nothing has.
async fn paths_of_get(app: &TestApp) -> Vec<String> {
    let document = get(app, "/api/openapi.json", None).await.body;
    let paths = document["paths"].as_object().unwrap().iter().filter(|(_, methods)| methods.get("get").is_some());
    let filled = paths.map(|(path, _)| {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect::<Vec<_>>().join("/")
    });
    filled.collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn head_is_answered_as_get_without_the_body() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = |method: Method, path: String| {
        Answer::of(client.request(method, format!("{}{path}", app.url)).bearer_auth(&operator.access_token))
    };
    let paths = paths_of_get(&app).await;
    assert!(paths.len() > 10 && paths.iter().any(|path| path == "/health/ready"), "{paths:?}");
    for path in paths.into_iter().chain(PAGES.map(str::to_owned)) {
        let (head, get) = (ask(Method::HEAD, path.clone()).await, ask(Method::GET, path.clone()).await);
        assert_eq!(head.status, get.status, "{path}");
        assert_ne!(head.status, 405, "{path}");
        assert_eq!(head.body, Value::String(String::new()), "{path}");
        for name in ["content-type", "cache-control", "location", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        // Numbers of the metrics and of uptimes, and ids of errors, are as long as before or not.
        let is_fixed = get.status == 200 && (path.starts_with("/api/docs") || path.starts_with("/health"));
        assert!(!is_fixed || head.header("content-length") == get.header("content-length"), "{path}");
        let keeps = head.header("content-length").parse::<u64>();
        assert!(keeps.is_ok(), "{path} says nothing of its length: {head:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connection_is_reusable_right_after_the_headers() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    let requests = [
        request("HEAD", "/health") + "\r\n",
        request("HEAD", "/metrics") + "\r\n",
        request("HEAD", "/api/docs/swagger-ui.css") + "\r\n",
        request("HEAD", "/nowhere") + "\r\n",
        request("GET", "/health") + "Connection: close\r\n\r\n",
    ];
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    let parts: Vec<_> = answers.split("\r\n\r\n").collect();
    let statuses: Vec<_> = parts.iter().map(|part| part.get(..12).unwrap_or(part)).collect();
    assert_eq!(statuses[..5], ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 404", "HTTP/1.1 200"]);
    assert!(parts.len() == 6 && parts[5].starts_with('{'), "{parts:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn head_opens_no_websocket() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for path in ["/ws/chat", "/ws/ops"] {
        let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!(
            "HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 4") && answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
    app.stats_when(&operator, |stats| stats["connections"] == 0).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn refused_method_returns_the_allowed_ones() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        (Method::POST, "/health", "GET, HEAD"),
        (Method::DELETE, "/health/ready", "GET, HEAD"),
        (Method::PUT, "/metrics", "GET, HEAD"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::POST, "/ops", "GET, HEAD"),
        (Method::POST, "/static/pages/ops/page.js", "GET, HEAD"),
        (Method::POST, "/ws/chat", "GET, HEAD"),
        (Method::POST, "/api/docs/", "GET, HEAD"),
        (Method::POST, "/api/openapi.json", "GET, HEAD"),
        (Method::GET, "/api/v1/chat", "POST"),
        (Method::HEAD, "/api/v1/chat", "POST"),
        (Method::GET, "/api/v1/auth/login", "POST"),
    ] {
        let answer = send(&app, method.clone(), path, None, None).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
    }
    let several = send(&app, Method::PUT, "/api/v1/drain", None, None).await;
    let mut allowed: Vec<_> = several.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"]);
}
