//! The record of what operators did.

use crate::harness::TestApp;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn audit_entry_names_operator_time_action_and_outcome() {
    let app = TestApp::start().await;
    let (first, second) = (app.operator().await, app.operator().await);
    assert_eq!(app.get("/api/v1/audit", Some(&first)).await.1, json!({"entries": []}));
    for n in 0..5 {
        let operator = if n % 2 == 0 { &first } else { &second };
        let body = json!({"message": format!("Number {n}")});
        assert_eq!(app.post("/api/v1/notices", Some(operator), &body).await.0, 200);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/audit?limit=2".to_owned());
    loop {
        let (status, page) = app.get(&path, Some(&second)).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["entries"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/audit?limit=2&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    let mut before = i64::MAX;
    for (n, entry) in (0..5).rev().zip(&seen) {
        let operator = if n % 2 == 0 { &first } else { &second };
        assert_eq!(entry["operator"], json!({"id": operator.id, "email": operator.email}));
        let what = (&entry["action"], &entry["target"], &entry["outcome"]);
        assert_eq!(what, (&json!("notice"), &Value::Null, &json!("done")));
        assert_eq!(entry["detail"], json!({"message": format!("Number {n}"), "level": "info"}));
        let at = entry["at_ms"].as_i64().unwrap();
        assert!(at <= before && at > 1_700_000_000_000, "{entry}");
        before = at;
    }
    for query in ["limit=0", "limit=201", "before=x"] {
        assert_eq!(app.get(&format!("/api/v1/audit?{query}"), Some(&first)).await.0, 422, "{query}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn audit_names_documents_without_their_text() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let body = json!({"source": "a.md", "text": "# Blue\n\nA secret."});
    let (status, document) = app.post("/api/v1/documents", Some(&operator), &body).await;
    assert_eq!(status, 201, "{document}");
    let empty = json!({"source": "b.md", "text": " "});
    assert_eq!(app.post("/api/v1/documents", Some(&operator), &empty).await.0, 422);
    let path = format!("/api/v1/documents/{}", document["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 204);
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 404);
    let (_, page) = app.get("/api/v1/audit", Some(&operator)).await;
    let entries = page["entries"].as_array().unwrap().iter();
    let entries: Vec<_> = entries.map(|entry| (&entry["action"], &entry["target"], &entry["outcome"])).collect();
    let wanted = [
        (&json!("delete_document"), &json!("a.md"), &json!("done")),
        (&json!("put_document"), &json!("b.md"), &json!("INVALID_FIELD")),
        (&json!("put_document"), &json!("a.md"), &json!("done")),
    ];
    assert_eq!(entries, wanted);
    assert!(!page.to_string().contains("secret"), "{page}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn audit_entries_expire_after_the_retention() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for message in ["The first.", "The second."] {
        assert_eq!(app.post("/api/v1/notices", Some(&operator), &json!({"message": message})).await.0, 200);
    }
    let url = app.database_url().to_owned();
    app.stop().await;
    // Two days pass for the first one.
    SqliteConnection::establish(url.trim_start_matches("sqlite://"))
        .unwrap()
        .batch_execute("UPDATE audit_entries SET at_ms = at_ms - 2 * 86400000 WHERE detail LIKE '%The first.%'")
        .unwrap();
    for (days, left) in [(0, 2), (3, 2), (0, 2), (1, 1)] {
        let next = TestApp::with(|config| {
            config.database.url.clone_from(&url);
            config.database.audit_retention_days = days;
        })
        .await;
        let is_right = |page: &Value| page["entries"].as_array().unwrap().len() == left;
        let page = next.get_when("/api/v1/audit", &operator, is_right).await;
        assert_eq!(page["entries"][0]["detail"]["message"], "The second.");
        next.stop().await;
    }
}
