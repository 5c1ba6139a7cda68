//! The knowledge base from outside: what operators put in is what users get answers from.

mod answers;
mod embeddings;
mod real_embeddings;
mod rerank;
mod sources;

use crate::harness::{TestApp, TestUser};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::time::Duration;
use switchboard::config::ProviderKind;

async fn app() -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.knowledge.seed = true;
    })
    .await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_first_question_has_a_real_answer() {
    let app = app().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    assert_eq!(turn.terminal["type"], "complete", "{}", turn.terminal);
    assert!(turn.tokens.len() > 10, "{} tokens", turn.tokens.len());
    for fact in ["180 kW", "[1]"] {
        assert!(turn.text.contains(fact), "{}", turn.text);
    }
    let metadata = &turn.terminal["metadata"];
    assert_eq!(metadata["model"], "extractive");
    assert_eq!(metadata["sources"][0]["source"], "engine-and-performance.md");
    assert!(metadata["sources"][0]["score"].as_f64().is_some_and(|score| score > 0.5), "{metadata}");
    assert!(metadata["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 10), "{metadata}");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_follow_up_goes_on_from_the_question_before() {
    let app = app().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.ask("What is the maximum torque of the petrol engine?").await;
    assert!(first.text.contains("370 Nm"), "{}", first.text);
    let follow_up = json!({"type": "message", "message": "And the hybrid?", "session_id": first.conversation_id});
    let second = socket.turn(follow_up).await;
    assert!(second.text.contains("320 Nm") && !second.text.contains("370 Nm"), "{}", second.text);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_document_that_an_operator_uploads_answers_the_next_question() {
    let app = app().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let question = "What is the torque of a Frobnitz clamp?";
    assert!(!socket.ask(question).await.text.contains("17 Nm"));

    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"clamp.md\"\r\n\r\n\
                # Frobnitz clamp\n\nThe torque of a Frobnitz clamp is 17 Nm.\r\n--x--\r\n";
    let response = app
        .http
        .post(format!("{}/api/v1/documents", app.url))
        .bearer_auth(&operator.access_token)
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 201);
    let document: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();

    let answer = socket.ask(question).await;
    assert!(answer.text.contains("17 Nm") && answer.text.contains("[1]"), "{}", answer.text);
    assert_eq!(answer.terminal["metadata"]["sources"][0]["source"], "clamp.md");

    let path = format!("/api/v1/documents/{}", document["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, Some(&user)).await.0, 403);
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 204);
    assert!(!socket.ask(question).await.text.contains("17 Nm"));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn users_search_and_only_operators_write() {
    let app = app().await;
    let user = app.user().await;
    let search = json!({"query": "tyre pressure", "collections": ["maintenance"], "limit": 2});
    let (status, found) = app.post("/api/v1/documents/search", Some(&user), &search).await;
    assert_eq!(status, 200);
    assert_eq!(found["passages"][0]["title"], "Brakes and tyres › Tyre pressure");
    assert!(found["passages"].as_array().is_some_and(|passages| passages.len() <= 2));
    let document = json!({"source": "a.md", "text": "Blue."});
    let (status, refused) = app.post("/api/v1/documents", Some(&user), &document).await;
    assert_eq!((status, &refused["code"]), (403, &json!("FORBIDDEN")));
    assert_eq!(app.get("/api/v1/documents", None).await.0, 401);
    let (_, list) = app.get("/api/v1/documents", Some(&user)).await;
    assert_eq!(list["documents"].as_array().map(Vec::len), Some(8));
}

/// Sends a file under a name as it stands in the header, and returns what the server made of it.
async fn upload(app: &TestApp, operator: &TestUser, filename: &[u8], file: &[u8]) -> (u16, Value) {
    let head = [b"--x\r\nContent-Disposition: form-data; name=\"file\"; ", filename, b"\r\n\r\n"].concat();
    let request = app
        .http
        .post(format!("{}/api/v1/documents", app.url))
        .bearer_auth(&operator.access_token)
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body([&*head, file, b"\r\n--x--\r\n"].concat());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn names_of_files_arrive_from_every_client() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for (filename, source) in [
        (&b"filename=\"=?utf-8?B?UHLDvGYubWQ=?=\"; filename*=utf-8''Pr%C3%BCf.md"[..], "Prüf.md"),
        (b"filename=\"=?utf-8?B?R2Vyw6R0Lm1k?=\"", "Gerät.md"),
        (b"filename=\"Ma\xdf.md\"", "Maß.md"),
        (b"filename=\"C:\\manuals\\clamp.md\"", "clamp.md"),
        (b"filename=\"..%2F..%2Fetc%2Fpasswd.md\"", "passwd.md"),
        ("filename=\"gnp.\u{202e}dm.md\"".as_bytes(), "gnp.dm.md"),
        ("filename=\"A\u{308}.md\"".as_bytes(), "Ä.md"),
    ] {
        let (status, document) = upload(&app, &operator, filename, b"# Words").await;
        assert_eq!((status, &document["source"]), (201, &json!(source)), "{document}");
        assert_eq!(document["media_type"], "text/markdown", "the name tells Markdown from text");
    }
    let (status, refused) = upload(&app, &operator, b"filename=\"..\"", b"# Words").await;
    assert_eq!((status, &refused["code"]), (422, &json!("INVALID_FIELD")));
    assert!(refused["error"].as_str().unwrap().contains("`source`"), "{refused}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_document_that_cannot_be_read_is_refused_by_its_name() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for (name, file, reason) in [
        ("photo.md", &b"\x89PNG\r\n\x1a\n0000"[..], "is image/png, which is not supported"),
        ("blank.md", b" \n", "contains no text"),
        ("broken.pdf", b"%PDF-1.7 nonsense", "cannot be read"),
        ("broken.docx", b"PK\x03\x04 nonsense", "cannot be read"),
    ] {
        let (status, refused) = upload(&app, &operator, format!("filename=\"{name}\"").as_bytes(), file).await;
        assert_eq!((status, &refused["code"]), (422, &json!("INVALID_FIELD")), "{name}: {refused}");
        let error = refused["error"].as_str().unwrap();
        assert!(error.starts_with(&format!("The document \"{name}\" ")) && error.contains(reason), "{error}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_picture_within_a_text_is_not_searched() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let picture = format!("![The fuse box](data:image/png;base64,{})", "iVBORw0KGgoAAAANSUhEUgAA".repeat(400));
    let text = format!("# Fuses\n\nFuse 7 is the radio.\n\n{picture}\n");
    let (status, document) = upload(&app, &operator, b"filename=\"fuses.md\"", text.as_bytes()).await;
    assert_eq!((status, &document["chunks"]), (201, &json!(1)));
    let (_, found) = app.post("/api/v1/documents/search", Some(&operator), &json!({"query": "fuse box"})).await;
    assert_eq!(found["passages"][0]["text"], "Fuse 7 is the radio.\n\n![The fuse box]()");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stalled_or_slow_upload_times_out() {
    for (stall_ms, upload_s) in [(2_000, 300), (60_000, 2)] {
        let app = TestApp::with(|config| {
            config.server.request_body_timeout_ms = stall_ms;
            config.knowledge.upload_timeout_s = upload_s;
        })
        .await;
        let operator = app.operator().await;
        let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n\r\nbegun";
        let bodies = [
            ("multipart/form-data; boundary=x", head),
            ("application/json", "{\"source\": \"a.md\", \"text\": \"begun"),
        ];
        for (content_type, begun) in bodies {
            // A byte each 50 ms at first, then none: only the time of the whole upload ends the second server's.
            let drops = stream::iter(begun.bytes().collect::<Vec<_>>()).then(move |byte| async move {
                tokio::time::sleep(Duration::from_millis(if upload_s == 2 { 50 } else { 0 })).await;
                Ok::<_, std::io::Error>(vec![byte])
            });
            let request = app
                .http
                .post(format!("{}/api/v1/documents", app.url))
                .bearer_auth(&operator.access_token)
                .header("Content-Type", content_type)
                .body(reqwest::Body::wrap_stream(drops.chain(stream::pending())));
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), 408, "{content_type}");
            let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(answer["code"], "REQUEST_TIMEOUT");
        }
        let stats = app.stats_when(&operator, |_| true).await;
        assert_eq!(stats["limits"]["request_body_time"], 2, "{}", stats["limits"]);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn long_passages_are_fewer_than_were_asked_for() {
    let app = TestApp::with(|config| {
        config.knowledge.chunk_chars = 100_000;
        config.knowledge.seed = false;
    })
    .await;
    let operator = app.operator().await;
    for n in 0..5 {
        let text = format!("Flywheel {n}. {}", "Words and words. ".repeat(5_000));
        let (status, answer) =
            app.post("/api/v1/documents", Some(&operator), &json!({"source": format!("{n}.txt"), "text": text})).await;
        assert_eq!(status, 201, "{answer}");
    }
    let search = json!({"query": "flywheel", "limit": 50});
    let (_, found) = app.post("/api/v1/documents/search", Some(&operator), &search).await;
    assert_eq!(found["passages"].as_array().map(Vec::len), Some(3), "85 kB each, 256 KiB in all");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn follow_ups_are_suggested_after_answers_from_the_documents() {
    let app = app().await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let mut suggested = Vec::new();
    for question in [
        "How often should I change the oil?",
        "Which engine oil does the diesel need?",
        "What tyre pressure do I need with a trailer?",
        "My car won't start, is the battery flat?",
    ] {
        let turn = socket.ask(question).await;
        let Some(part) = turn.parts.first() else { continue };
        assert_eq!((&part["kind"], turn.parts.len()), (&json!("suggestions"), 1));
        let items = part["items"].as_array().unwrap();
        assert!((1..=3).contains(&items.len()), "{items:?}");
        // The last entry before the end, and stored with the answer.
        assert_eq!(turn.terminal["index"], part["index"].as_u64().unwrap() + 1);
        let history = app.history(&user, &turn.conversation_id).await;
        assert_eq!(history[1]["parts"][0]["items"], part["items"]);
        suggested.extend(items.iter().map(|item| item.as_str().unwrap().to_owned()));
    }
    assert!(!suggested.is_empty(), "nothing was suggested");
    // Each is a question that the documents cover.
    for item in suggested {
        let answer = socket.ask(&item).await;
        assert_ne!(answer.terminal["metadata"]["sources"], json!([]), "{item}");
    }
    let off_topic = socket.ask("Who won the World Cup in 2014?").await;
    assert!(off_topic.parts.is_empty(), "{:?}", off_topic.parts);
    socket.close().await;
}
