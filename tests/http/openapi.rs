//! The OpenAPI document, the page that shows it, and the headers that every answer has.

use super::{Answer, get, send};
use crate::harness::TestApp;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Every `$ref` in a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_reference_in_the_document_resolves() {
    let app = TestApp::start().await;
    let document = get(&app, "/api/openapi.json", None).await.body;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for target in found {
        assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target} leads nowhere");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_documented_route_exists() {
    let app = TestApp::start().await;
    let document = get(&app, "/api/openapi.json", None).await.body;
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // No answer for an id would be a 404 too, but who is not signed in is not told.
        let path = path.replace(['{', '}'], "").replace("session_id", "01890a5d-ac96-774b-bcce-b302099a8057");
        for method in methods.as_object().unwrap().keys() {
            routes += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = send(&app, method.clone(), &path, None, None).await;
            assert!(![404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
        }
    }
    assert!(routes >= 20, "{routes} routes");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn routes_without_a_token_are_those_that_the_documentation_lists() {
    let app = TestApp::start().await;
    let document = get(&app, "/api/openapi.json", None).await.body;
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| methods.as_object().unwrap().values().map(move |it| (path, it)));
    let open: BTreeSet<_> = operations
        .filter(|(path, operation)| path.starts_with("/api/v1/") && operation.get("security").is_none())
        .map(|(path, _)| path.rsplit('/').next().unwrap())
        .collect();
    let page = include_str!("../../docs/WEBSOCKET.md");
    let (names, _) =
        page.split_once("All but ").and_then(|(_, rest)| rest.split_once("require `Authorization")).unwrap();
    assert_eq!(open, names.split('`').skip(1).step_by(2).collect());
    let user = app.user().await;
    let body = json!({"refresh_token": user.refresh_token});
    assert_eq!(send(&app, Method::POST, "/api/v1/auth/logout", None, Some(&body)).await.status, 204);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn swagger_ui_loads_with_all_its_files() {
    let app = TestApp::start().await;
    let page = get(&app, "/api/docs/", None).await;
    assert_eq!(page.status, 200);
    let html = page.body.as_str().unwrap().to_owned();
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'self'") && !policy.contains("script-src"), "{policy}");
    // Inline scripts would not run under this policy.
    assert_eq!(html.matches("<script").count(), html.matches("<script src=").count(), "{html}");
    let assets: Vec<_> = html
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css"))
        .map(|text| text.trim_start_matches("./").to_owned())
        .collect();
    assert!(assets.len() >= 3, "{html}");
    for asset in assets {
        let answer = get(&app, &format!("/api/docs/{asset}"), None).await;
        assert_eq!(answer.status, 200, "{asset}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_response_has_security_headers_and_no_cors_headers() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for (method, path, status) in [
        (Method::GET, "/health", 200),
        (Method::GET, "/health/ready", 200),
        (Method::GET, "/ws/test", 200),
        (Method::GET, "/api/docs/", 200),
        (Method::GET, "/nowhere", 404),
        (Method::DELETE, "/health", 405),
        (Method::GET, "/ws/chat", 403),
        (Method::GET, "/api/v1/auth/me", 401),
        (Method::GET, "/api/v1/conversations?limit=0", 401),
        (Method::OPTIONS, "/api/v1/chat", 405),
        (Method::POST, "/api/v1/conversations", 405),
        (Method::POST, "/api/openapi.json", 405),
        (Method::POST, "/ws/chat", 405),
        (Method::POST, "/", 405),
    ] {
        let request = app.http.request(method.clone(), format!("{}{path}", app.url));
        let answer = Answer::of(request.header("origin", "https://evil.example")).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(answer.header(name), value, "{name} of {method} {path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src") && policy.contains("frame-ancestors 'none'"), "{path}: {policy:?}");
        let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cors, None, "{method} {path}");
    }
    let refused = send(&app, Method::DELETE, "/health", Some(&user), None).await;
    refused.assert_error(405, "METHOD_NOT_ALLOWED");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn root_redirects_to_the_page_which_runs_only_scripts_of_the_server() {
    let app = TestApp::start().await;
    let home = get(&app, "/", None).await;
    assert!(home.status == 200 && home.body.as_str().unwrap().contains("/ws/chat"), "the redirect was not followed");
    let policy = home.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    for (path, content_type) in [
        ("/static/pages/chat/page.js", "text/javascript; charset=utf-8"),
        ("/static/clients/javascript/connection.mjs", "text/javascript; charset=utf-8"),
        ("/static/pages/chat/page.css", "text/css; charset=utf-8"),
    ] {
        let file = get(&app, path, None).await;
        assert_eq!((file.status, file.header("content-type")), (200, content_type), "{path}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
    }
    for path in ["/static/", "/static/pages/chat/page.html", "/static/%2e%2e/Cargo.toml", "/static//etc/passwd"] {
        get(&app, path, None).await.assert_error(404, "NOT_FOUND");
    }
}
