//! Nothing personal is kept on the way: `Cache-Control: no-store` everywhere but on files that are the same for everybody.

use super::{Answer, get, send};
use crate::harness::TestApp;
use reqwest::{
    Method,
    header::{ETAG, IF_NONE_MATCH},
};
use serde_json::json;

/// Routes whose response is the same for everybody until the program changes.
const STATIC: [&str; 9] = [
    "/api/openapi.json",
    "/api/docs/",
    "/api/docs/swagger-ui.css",
    "/api/docs/swagger-initializer.js",
    "/ws/test",
    "/ops",
    "/static/pages/chat/page.js",
    "/static/pages/ops/page.css",
    "/static/clients/javascript/switchboard-client.mjs",
];

#[actix_web::rt::test(system = "crate::harness::System")]
async fn responses_with_personal_data_are_not_cached() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let document = get(&app, "/api/openapi.json", None).await.body;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let path: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect();
        let path = path.join("/");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            // A drain would stop the server.
            let users = if path == "/api/v1/drain" { &[None][..] } else { &[None, Some(&operator)] };
            for user in users {
                let answer = send(&app, method.clone(), &path, *user, None).await;
                assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}: {answer:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 60, "{asked}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn no_response_is_cached_by_default() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let answer = send(&app, Method::POST, "/api/v1/chat", Some(&user), Some(&json!({"message": "Hi"}))).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    let id = answer.body["session_id"].as_str().unwrap();
    for path in [
        "/api/v1/auth/me",
        "/api/v1/conversations",
        &format!("/api/v1/conversations/{id}/messages"),
        "/api/v1/documents",
        "/nowhere",
        "/static/nowhere.js",
        "/ws/chat",
        "/api/docs/nowhere",
    ] {
        let answer = get(&app, path, Some(&user)).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}: {answer:?}");
    }
    let stream = app.http.post(format!("{}/api/v1/chat", app.url)).bearer_auth(&user.access_token);
    let stream = stream.header("accept", "text/event-stream").json(&json!({"message": "Hi"})).send().await.unwrap();
    assert_eq!(stream.headers()["cache-control"], "no-store");
    assert!(stream.text().await.unwrap().contains("complete"));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn static_files_are_revalidated() {
    let app = TestApp::start().await;
    for path in STATIC {
        let url = format!("{}{path}", app.url);
        let first = Answer::of(app.http.get(&url)).await;
        assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"), "{path}");
        let tag = first.header(ETAG.as_str()).to_owned();
        assert!(tag.starts_with('"') && tag.len() > 30, "{path}: {tag}");
        let known = Answer::of(app.http.get(&url).header(IF_NONE_MATCH, format!("\"other\", W/{tag}"))).await;
        assert_eq!((known.status, known.header(ETAG.as_str())), (304, tag.as_str()), "{path}");
        assert_eq!(known.body, "", "{path}");
        // Headers of a 304 replace those of the copy.
        let policy = "content-security-policy";
        assert_eq!(known.header(policy), first.header(policy), "{path}");
        let other = Answer::of(app.http.get(&url).header(IF_NONE_MATCH, "\"other\"")).await;
        assert_eq!((other.status, other.body == first.body), (200, true), "{path}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pages_are_found_with_and_without_a_slash() {
    let app = TestApp::start().await;
    for (path, target) in [("/api/docs", "/api/docs/"), ("/ops/", "/ops"), ("/ws/test/", "/ws/test"), ("/", "/ws/test")]
    {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = Answer::of(client.get(format!("{}{path}", app.url))).await;
        assert_eq!((answer.status, answer.header("location")), (307, target), "{path}");
        let followed = get(&app, path, None).await;
        assert!(followed.status == 200 && followed.header("content-type").starts_with("text/html"), "{path}");
    }
}
