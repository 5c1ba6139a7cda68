//! The sources of an answer: the same list everywhere, its citations, and the pages that they open.

use super::app;
use crate::harness::TestApp;
use serde_json::{Value, json};
use switchboard::config::ProviderKind;

/// Status, headers and body of a page, for a reader who is not signed in.
async fn page(url: &str) -> (u16, reqwest::header::HeaderMap, String) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.headers().clone(), response.text().await.unwrap())
}

/// Checks that each citation is at its place in the text, in bytes and in UTF-16 code units.
fn check_citations(text: &str, metadata: &Value) {
    let units: Vec<u16> = text.encode_utf16().collect();
    let citations = metadata["citations"].as_array().unwrap();
    assert!(!citations.is_empty(), "{metadata}");
    for citation in citations {
        let at = |field: &str| usize::try_from(citation[field].as_u64().unwrap()).unwrap();
        let marker = format!("[{}]", at("n"));
        assert_eq!(&text[at("start")..at("end")], marker);
        assert_eq!(String::from_utf16(&units[at("start_utf16")..at("end_utf16")]).unwrap(), marker);
        assert!(at("n") <= metadata["sources"].as_array().unwrap().len(), "{metadata}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_surface_has_the_same_sources_and_citations() {
    let app = app().await;
    let user = app.user().await;
    for dialect in ["chat.v1", "chat.v2"] {
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        let turn = socket.ask("What is the engine power?").await;
        let metadata = &turn.terminal["metadata"];
        check_citations(&turn.text, metadata);
        let progress = turn.progress.iter().find(|frame| frame["step"] == "generating").unwrap();
        assert_eq!(progress["sources"], metadata["sources"]);
        let stored = &app.history(&user, &turn.conversation_id).await[1];
        assert_eq!(stored["metadata"]["citations"], metadata["citations"]);
        let without_urls = |sources: &Value| {
            let mut sources = sources.clone();
            for source in sources.as_array_mut().unwrap() {
                assert!(source.as_object_mut().unwrap().remove("url").is_some(), "{source}");
            }
            sources
        };
        assert_eq!(without_urls(&stored["metadata"]["sources"]), without_urls(&metadata["sources"]));
        socket.close().await;
    }
    let (status, answer) =
        app.post("/api/v1/chat", Some(&user), &json!({"message": "What is the engine power?"})).await;
    assert_eq!(status, 200, "{answer}");
    check_citations(answer["response"].as_str().unwrap(), &answer["metadata"]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_source_opens_as_a_page_without_an_account() {
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.knowledge.seed = true;
        config.server.public_url = Some("http://chat.example.org/".to_owned());
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    let source = &turn.terminal["metadata"]["sources"][0];
    let url = source["url"].as_str().unwrap();
    let local = url.replace("http://chat.example.org", &app.url);
    assert!(url.starts_with("http://chat.example.org/documents/"), "{url}");

    let (status, headers, body) = page(&local).await;
    assert_eq!(status, 200, "{body}");
    let anchor = url.split_once('#').unwrap().1;
    let passage = body.split("<section").find(|section| section.contains(&format!("id=\"{anchor}\""))).unwrap();
    assert_eq!(anchor, format!("passage-{}", source["passage"]));
    assert!(passage.contains("180 kW"), "{passage}");
    for (name, value) in
        [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex")]
    {
        assert_eq!(headers[name], value, "{name}");
    }

    let token = local.split_once("?t=").unwrap().1.split('#').next().unwrap();
    let other = turn.terminal["metadata"]["sources"].as_array().unwrap().iter().find_map(|other| {
        let id = other["document_id"].as_str().unwrap();
        (id != source["document_id"]).then(|| id.to_owned())
    });
    let mut foreign =
        vec![format!("{}/documents/{}?t={}", app.url, source["document_id"].as_str().unwrap(), user.access_token)];
    foreign.extend(other.map(|id| format!("{}/documents/{id}?t={token}", app.url)));
    for url in foreign {
        let (status, _, body) = page(&url).await;
        assert!(status == 403 && body.contains("<h1>This link is not valid</h1>"), "{url}: {status} {body}");
    }
    let response = app.http.get(format!("{}/api/v1/auth/me", app.url)).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 401, "a link is not a sign-in");

    let path = format!("/api/v1/documents/{}", source["document_id"].as_str().unwrap());
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 204);
    assert_eq!(page(&local).await.0, 404);
    socket.close().await;
}
