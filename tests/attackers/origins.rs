//! Pages of other origins: cross-site WebSocket hijacking, and what CORS lets them read.

use crate::{harness::TestApp, websocket_doc::fences};
use serde_json::{Value, json};
use switchboard::config::Environment;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn page_of_another_origin_cannot_open_a_websocket() {
    let app = TestApp::with(|config| config.server.allowed_origins = vec!["https://app.example.org".to_owned()]).await;
    let user = app.user().await;
    let authority = app.url.strip_prefix("http://").unwrap();
    let token = format!("token={}", user.access_token);
    for origin in [
        "https://evil.example",
        "null",
        "",
        "http://app.example.org",
        "https://app.example.org.evil.example",
        "https://app.example.org:8443",
        "http://127.0.0.1",
        "http://localhost",
    ] {
        // Not even with a token that is good.
        let refused = app.socket().query(&token).header("origin", origin).try_connect().await;
        let (status, body) = refused.err().unwrap();
        assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")), "{origin}");
    }
    for origin in [app.url.as_str(), "https://app.example.org", "HTTPS://APP.EXAMPLE.ORG"] {
        app.socket().header("origin", origin).connect().await.close().await;
    }
    assert!(app.url.ends_with(authority));
    let operator = app.operator().await;
    app.stats_when(&operator, |stats| stats["limits"]["origins"] == 8 && stats["opened"] == 3).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_listed_origins_can_read_responses() {
    let app = TestApp::with(|config| config.server.allowed_origins = vec!["https://app.example.org".to_owned()]).await;
    let preflight = |origin: &'static str| {
        app.http
            .request(reqwest::Method::OPTIONS, format!("{}/api/v1/chat", app.url))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization, content-type, last-event-id")
            .send()
    };
    let allowed = preflight("https://app.example.org").await.unwrap();
    assert_eq!(allowed.status().as_u16(), 200);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example.org");
    assert!(!allowed.headers().contains_key("access-control-allow-credentials"));
    let refused = preflight("https://evil.example").await.unwrap();
    assert!(!refused.headers().contains_key("access-control-allow-origin"), "{refused:?}");

    for (origin, readable) in [("https://app.example.org", true), ("https://evil.example", false)] {
        let answer = app.http.get(format!("{}/health", app.url)).header("Origin", origin).send().await.unwrap();
        let header = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(header, readable.then_some(origin));
        // A cache must not give the answer for one origin to another.
        assert!(answer.headers()["vary"].to_str().unwrap().to_lowercase().contains("origin"), "{answer:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pages_of_a_development_server_have_full_access() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080", "https://localhost"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let preflight = app
                .http
                .request(reqwest::Method::OPTIONS, format!("{}/api/v1/settings", app.url))
                .header("Origin", origin)
                .header("Access-Control-Request-Method", method)
                .header(
                    "Access-Control-Request-Headers",
                    "authorization,content-type,last-event-id,cache-control,x-mine",
                );
            let allowed = preflight.send().await.unwrap();
            assert_eq!(allowed.status().as_u16(), 200, "{origin} {method}");
            let header = |name: &str| allowed.headers()[name].to_str().unwrap().to_lowercase();
            assert_eq!(header("access-control-allow-origin"), origin);
            assert!(header("access-control-allow-methods").contains(&method.to_lowercase()), "{allowed:?}");
            for name in ["authorization", "content-type", "last-event-id", "cache-control", "x-mine"] {
                assert!(header("access-control-allow-headers").contains(name), "{name}: {allowed:?}");
            }
        }
        let request = app.http.get(format!("{}/api/v1/conversations", app.url)).header("Origin", origin);
        let answer = request.bearer_auth(&user.access_token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
        let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
        assert!(exposed.contains("retry-after") && exposed.contains("www-authenticate"), "{exposed}");
        // An error is readable, too.
        let answer = app.http.get(format!("{}/api/v1/auth/me", app.url)).header("Origin", origin).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
            (401, &origin.parse().unwrap())
        );
        app.socket().header("origin", origin).connect().await.close().await;
    }
}

async fn refused(origin: &str, request: reqwest::RequestBuilder) {
    let answer = request.header("Origin", origin).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403, "{answer:?}");
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let body: Value = answer.json().await.unwrap();
    let error = body["error"].as_str().unwrap();
    assert_eq!(body["code"], "FORBIDDEN");
    assert!(error.contains(origin) && error.contains("`server.allowed_origins`"), "{error}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn refused_origin_is_told_which_setting_allows_it() {
    let in_production = TestApp::with(|config| config.env = Environment::Production).await;
    let in_development = TestApp::start().await;
    for (app, origin) in [(&in_production, "http://localhost:5173"), (&in_development, "https://evil.example")] {
        for path in ["/api/v1/chat", "/api/v1/settings", "/nothing", "/ws/chat", "/health"] {
            let url = format!("{}{path}", app.url);
            let preflight =
                app.http.request(reqwest::Method::OPTIONS, &url).header("Access-Control-Request-Method", "POST");
            refused(origin, preflight).await;
            // Its other requests are answered as those of anybody, and a browser hides the answer.
            let its = app.http.get(&url).header("Origin", origin).send().await.unwrap();
            let anybodys = app.http.get(&url).send().await.unwrap();
            assert!(its.status() == anybodys.status() || path == "/ws/chat", "{path}: {its:?}");
            assert!(!its.headers().contains_key("access-control-allow-origin"));
        }
        for path in ["/ws/chat", "/ws/ops"] {
            refused(origin, app.http.get(format!("{}{path}", app.url))).await;
        }
    }
}

/// The exchange that `docs/CONFIGURATION.md` shows.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn documented_preflight_gets_the_documented_response() {
    let doc = std::fs::read_to_string(crate::clients::repository("docs/CONFIGURATION.md")).unwrap();
    let exchange: Vec<_> =
        fences(&doc).into_iter().filter(|fence| fence.language == "http").map(|fence| fence.code).collect();
    let [request, wanted] = exchange[..] else { panic!("a request and its answer: {exchange:?}") };
    let app = TestApp::with(|config| {
        config.server.allowed_hosts = vec!["chat.example.org".to_owned()];
        config.server.allowed_origins = vec!["https://app.example.org".to_owned()];
    })
    .await;
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = format!("{}\r\nConnection: close\r\n\r\n", request.trim().replace('\n', "\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let lines: Vec<_> = answer.lines().map(str::to_lowercase).collect();
    for line in wanted.trim().lines() {
        let line = line.to_lowercase();
        // A list has no order.
        let is_there = match line.split_once(": ") {
            None => lines[0] == line,
            Some((name, list)) => lines
                .iter()
                .filter_map(|line| line.strip_prefix(&format!("{name}: ")))
                .any(|value| list.split(", ").all(|entry| value.split(", ").any(|known| known == entry))),
        };
        assert!(is_there, "{line} is not in {answer}");
    }
}
