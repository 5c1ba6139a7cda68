//! Pages of other origins: cross-site WebSocket hijacking, and what CORS lets them read.

use crate::harness::TestApp;
use serde_json::json;

#[actix_web::test]
async fn a_page_of_another_origin_opens_no_socket() {
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
    app.finish().await;
}

#[actix_web::test]
async fn only_pages_of_the_list_read_answers() {
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
    app.finish().await;
}
