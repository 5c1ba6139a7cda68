//! The document routes as a client sees them, on a real database.

use super::routes;
use crate::{
    auth::test_support::{access_token, user},
    config::KnowledgeConfig,
    domain::Role,
    http::{
        error,
        state::{WorkerState, test_support::state},
    },
    knowledge::KnowledgeBase,
};
use actix_multipart::test::create_form_data_payload_and_headers;
use actix_web::{
    App,
    body::MessageBody,
    dev::{Service, ServiceResponse},
    http::header::{AUTHORIZATION, CONTENT_TYPE},
    test::{TestRequest, call_service, init_service, read_body},
    web::{Bytes, Data},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

const DOCUMENTS: &str = "/api/v1/documents";

/// The state with a knowledge base that accepts documents of at most 1,000 bytes.
fn base() -> (Data<WorkerState>, TempDir) {
    state(|app, store| {
        let config = KnowledgeConfig { max_document_bytes: 1_000, ..KnowledgeConfig::default() };
        app.knowledge = Arc::new(KnowledgeBase::in_process(Arc::new(store.clone()), config));
    })
}

macro_rules! app {
    ($state:expr) => {
        init_service(
            App::new()
                .wrap(error::error_bodies())
                .app_data($state.clone())
                .configure(error::configure)
                .configure(routes),
        )
        .await
    };
}

async fn answer<S, B>(app: &S, role: Option<Role>, request: TestRequest) -> (u16, Value)
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let request = match role {
        None => request,
        Some(role) => {
            let token = access_token(&user("ada@example.org", role));
            request.insert_header((AUTHORIZATION, format!("Bearer {token}")))
        }
    };
    let response = call_service(app, request.to_request()).await;
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&read_body(response).await).unwrap_or(Value::Null))
}

fn post(body: &Value) -> TestRequest {
    TestRequest::post().uri(DOCUMENTS).set_json(body)
}

fn upload(part: &str, file_name: &str, bytes: &'static [u8]) -> TestRequest {
    let mime = "text/markdown".parse().unwrap();
    let (body, headers) =
        create_form_data_payload_and_headers(part, Some(file_name.to_owned()), Some(mime), Bytes::from_static(bytes));
    headers
        .iter()
        .fold(TestRequest::post().uri(DOCUMENTS).set_payload(body), |request, header| request.insert_header(header))
}

#[actix_web::test]
async fn a_document_is_created_replaced_found_and_deleted() {
    let (base, _folder) = base();
    let app = app!(base);
    let operator = Some(Role::Operator);
    let body = json!({"source": "gasket.md", "text": "# Gasket\n\nThe gasket is blue.", "collection": "specs"});
    let (status, made) = answer(&app, operator, post(&body)).await;
    assert_eq!((status, &made["source"], &made["collection"]), (201, &json!("gasket.md"), &json!("specs")));
    let (status, again) = answer(&app, operator, post(&body)).await;
    assert_eq!((status, &again["id"]), (200, &made["id"]));

    let uri = format!("{DOCUMENTS}/{}", made["id"].as_str().unwrap());
    let user = Some(Role::User);
    assert_eq!(answer(&app, user, TestRequest::get().uri(&uri)).await, (200, again.clone()));
    let (_, list) = answer(&app, user, TestRequest::get().uri(DOCUMENTS)).await;
    assert_eq!(list, json!({"documents": [again]}));

    let search = TestRequest::post().uri("/api/v1/documents/search").set_json(json!({"query": "Which gasket?"}));
    let (status, found) = answer(&app, user, search).await;
    assert_eq!(status, 200);
    let passage = &found["passages"][0];
    assert_eq!((&passage["source"], &passage["title"]), (&json!("gasket.md"), &json!("Gasket")));
    assert!(passage["score"].as_f64().is_some_and(|score| score > 0.5 && score <= 1.0));

    assert_eq!(answer(&app, operator, TestRequest::delete().uri(&uri)).await.0, 204);
    for request in [TestRequest::delete().uri(&uri), TestRequest::get().uri(&uri)] {
        let (status, body) = answer(&app, operator, request).await;
        assert_eq!((status, &body["code"]), (404, &json!("NOT_FOUND")));
    }
}

#[actix_web::test]
async fn a_file_is_uploaded_as_a_form() {
    let (base, _folder) = base();
    let app = app!(base);
    let (status, made) = answer(&app, Some(Role::Operator), upload("file", "docs/a.md", b"# A\n\nBlue.")).await;
    assert_eq!((status, &made["source"], &made["media_type"]), (201, &json!("a.md"), &json!("text/markdown")));
    let (status, body) = answer(&app, Some(Role::Operator), upload("other", "a.md", b"# A\n\nBlue.")).await;
    assert_eq!((status, &body["code"]), (422, &json!("INVALID_FIELD")));
    assert!(body["error"].as_str().unwrap().contains("`file`"), "{body}");
}

#[actix_web::test]
async fn form_fields_name_the_document_and_its_collection() {
    let (base, _folder) = base();
    let app = app!(base);
    let part = |head: &str, body: &str| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let form = [
        part("name=\"source\"", "b.md"),
        part("name=\"collection\"", "maintenance"),
        part("name=\"note\"", "an unknown part"),
        part("name=\"file\"; filename=\"a.md\"", "# A"),
        part("name=\"file\"; filename=\"c.md\"", "Blue."),
    ];
    let send = |parts: &[String]| {
        TestRequest::post()
            .uri(DOCUMENTS)
            .insert_header((CONTENT_TYPE, "multipart/form-data; boundary=x"))
            .set_payload(format!("{}--x--\r\n", parts.concat()))
    };
    let one_file = [&form[..3], &form[4..]].concat();
    let (status, made) = answer(&app, Some(Role::Operator), send(&one_file)).await;
    assert_eq!((status, &made["source"], &made["collection"]), (201, &json!("b.md"), &json!("maintenance")));
    assert_eq!(answer(&app, Some(Role::Operator), send(&form)).await.0, 422, "two files are accepted");
    let (status, body) = answer(&app, Some(Role::Operator), send(&vec![form[2].clone(); 17])).await;
    assert_eq!((status, &body["code"]), (422, &json!("INVALID_FIELD")));
    let broken = TestRequest::post()
        .uri(DOCUMENTS)
        .insert_header((CONTENT_TYPE, "multipart/form-data; boundary=x"))
        .set_payload("--x\r\nno head");
    assert_eq!(answer(&app, Some(Role::Operator), broken).await.0, 422);
}

#[actix_web::test]
async fn documents_over_the_limit_are_refused_as_json_and_as_a_form() {
    let (base, _folder) = base();
    let app = app!(base);
    static LARGE: [u8; 1_001] = [b'a'; 1_001];
    let text = "a".repeat(1_001);
    let padded = json!({"source": "a.md", "text": "a", "padding": "x".repeat(20_000)});
    for request in [upload("file", "a.md", &LARGE), post(&json!({"source": "a.md", "text": text})), post(&padded)] {
        let (status, body) = answer(&app, Some(Role::Operator), request).await;
        assert_eq!((status, &body["code"]), (413, &json!("MESSAGE_TOO_LONG")));
    }
}

#[actix_web::test]
async fn unreadable_documents_are_refused_with_the_reason() {
    let (base, _folder) = base();
    let app = app!(base);
    for (source, text, reason) in [("a.md", " ", "no text"), ("", "Blue.", "`source`"), ("a\u{7}", "Blue.", "`source`")]
    {
        let (status, body) = answer(&app, Some(Role::Operator), post(&json!({"source": source, "text": text}))).await;
        assert_eq!((status, &body["code"]), (422, &json!("INVALID_FIELD")));
        assert!(body["error"].as_str().unwrap().contains(reason), "{body}");
    }
    let (status, body) = answer(&app, Some(Role::Operator), upload("file", "a.pdf", b"%PDF-1.7 nonsense")).await;
    assert_eq!((status, &body["code"]), (422, &json!("INVALID_FIELD")));
}

#[actix_web::test]
async fn only_operators_write_and_only_signed_in_users_read() {
    let (base, _folder) = base();
    let app = app!(base);
    let id = crate::domain::DocumentId::new();
    let uri = format!("{DOCUMENTS}/{id}");
    let search = || TestRequest::post().uri("/api/v1/documents/search").set_json(json!({"query": "x"}));
    let document = || post(&json!({"source": "a.md", "text": "Blue."}));
    for role in [Role::User, Role::Agent] {
        for request in [document(), upload("file", "a.md", b"Blue."), TestRequest::delete().uri(&uri)] {
            let (status, body) = answer(&app, Some(role), request).await;
            assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")));
        }
        assert_eq!(answer(&app, Some(role), search()).await.0, 200);
    }
    for request in [
        document(),
        search(),
        TestRequest::get().uri(DOCUMENTS),
        TestRequest::get().uri(&uri),
        TestRequest::delete().uri(&uri),
    ] {
        let (status, body) = answer(&app, None, request).await;
        assert_eq!((status, &body["code"]), (401, &json!("AUTH_REQUIRED")));
    }
}

#[actix_web::test]
async fn the_document_list_is_paginated() {
    let (base, _folder) = base();
    let app = app!(base);
    for n in 0..5 {
        let body = json!({"source": format!("{n}.md"), "text": "Blue."});
        assert_eq!(answer(&app, Some(Role::Operator), post(&body)).await.0, 201);
    }
    let mut sources = Vec::new();
    let mut uri = format!("{DOCUMENTS}?limit=2");
    loop {
        let (status, page) = answer(&app, Some(Role::User), TestRequest::get().uri(&uri)).await;
        assert_eq!(status, 200);
        sources.extend(page["documents"].as_array().unwrap().iter().map(|document| document["source"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        uri = format!("{DOCUMENTS}?limit=2&before={next}");
    }
    assert_eq!(sources, ["4.md", "3.md", "2.md", "1.md", "0.md"]);
    for query in ["limit=0", "limit=201", "limit=x", "before=x"] {
        let uri = format!("{DOCUMENTS}?{query}");
        assert_eq!(answer(&app, Some(Role::User), TestRequest::get().uri(&uri)).await.0, 422, "{query}");
    }
}

#[actix_web::test]
async fn an_invalid_search_names_the_field() {
    let (base, _folder) = base();
    let app = app!(base);
    for (body, field) in [
        (json!({"query": " "}), "query"),
        (json!({}), "query"),
        (json!({"query": "x", "limit": 0}), "limit"),
        (json!({"query": "x", "limit": 51}), "limit"),
        (json!({"query": "x", "collections": "specs"}), "collections"),
    ] {
        let request = TestRequest::post().uri("/api/v1/documents/search").set_json(&body);
        let (status, answer) = answer(&app, Some(Role::User), request).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{body}");
        assert!(answer["error"].as_str().unwrap().contains(&format!("`{field}`")), "{answer}");
    }
}
