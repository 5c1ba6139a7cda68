//! Comparison of the registered routes with the OpenAPI document.

use super::{pages::document_of_the_api, routes};
use actix_web::{
    App,
    dev::Service,
    http::{Method, StatusCode, header::ALLOW},
    test::{TestRequest, call_service, init_service},
};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

/// Pages, WebSockets and the document itself, which the OpenAPI document does not contain.
const UNDOCUMENTED: [&str; 12] = [
    "/",
    "/ws/chat",
    "/ws/ops",
    "/ws/test",
    "/ws/test/",
    "/ops",
    "/ops/",
    "/api/docs",
    "/api/docs/{file:.*}",
    "/api/openapi.json",
    "/static/{file:.*}",
    "/documents/{document_id}",
];

/// Extracts the patterns from the `Debug` output of a resource map.
fn patterns(resource_map: &str) -> BTreeSet<String> {
    // The root must be the only prefix: a scope would hide its paths.
    assert_eq!(resource_map.matches("is_prefix: true").count(), 1, "register resources with their whole path");
    let all = resource_map.split("patterns: ").skip(1).map(|rest| {
        let single = rest.strip_prefix("Single(\"").expect("a resource has one pattern");
        single.split("\")").next().unwrap().to_owned()
    });
    all.filter(|pattern| !pattern.is_empty()).collect()
}

/// Returns every path and method of the application. An unknown method is answered with an `Allow` header that lists the known ones.
async fn registered() -> BTreeSet<(String, String)> {
    let map = Rc::new(RefCell::new(String::new()));
    let seen = Rc::clone(&map);
    let app = init_service(App::new().configure(routes).wrap_fn(move |request, service| {
        *seen.borrow_mut() = format!("{:?}", request.resource_map());
        service.call(request)
    }))
    .await;
    let probe = |path: &str| {
        let method = Method::from_bytes(b"PROBE").unwrap();
        TestRequest::with_uri(path).method(method).to_request()
    };
    call_service(&app, probe("/")).await;
    let patterns = patterns(&map.borrow());
    let mut found = BTreeSet::new();
    for pattern in patterns {
        let path = pattern.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let answer = call_service(&app, probe(&path.collect::<Vec<_>>().join("/"))).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{pattern}");
        let allowed = answer.headers().get(ALLOW).unwrap_or_else(|| panic!("no Allow for {pattern}"));
        found.extend(allowed.to_str().unwrap().split(',').map(|method| (pattern.clone(), method.trim().to_owned())));
    }
    found
}

fn documented() -> BTreeSet<(String, String)> {
    let document: Value = serde_json::from_str(&document_of_the_api().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods = |path: &String, methods: &Value| {
        let names: Vec<_> = methods.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        names.into_iter().map(|name| (path.clone(), name)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(|(path, of_path)| methods(path, of_path)).collect()
}

#[actix_web::test]
async fn the_openapi_document_has_every_route_and_no_other() {
    let mut registered = registered().await;
    for path in UNDOCUMENTED {
        assert!(registered.contains(&(path.to_owned(), "GET".to_owned())), "{path} is no longer registered");
        registered.retain(|(registered, _)| registered != path);
    }
    let documented = documented();
    assert!(documented.len() >= 30 && documented.contains(&("/api/v1/users/{id}/lock".to_owned(), "POST".to_owned())));
    let missing: Vec<_> = registered.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&registered).collect();
    assert!(missing.is_empty() && invented.is_empty(), "undocumented: {missing:?}; not registered: {invented:?}");
}
