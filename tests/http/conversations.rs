//! Conversations and their messages: pages, and access to them.

use super::{get, post, send};
use crate::harness::{TestApp, TestUser};
use reqwest::Method;
use serde_json::{Value, json};

async fn ask(app: &TestApp, user: &TestUser, text: &str, conversation_id: Option<&Value>) -> Value {
    let answer = post(app, "/api/v1/chat", Some(user), &json!({"message": text, "session_id": conversation_id})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// All pages of a list, in the order in which they come.
async fn pages(app: &TestApp, user: &TestUser, path: &str, list: &str, limit: usize) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut before = String::new();
    loop {
        let answer = get(app, &format!("{path}?limit={limit}{before}"), Some(user)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.body[list].as_array().unwrap().clone();
        assert!(page.len() <= limit);
        pages.push(page);
        match answer.body.get("next") {
            Some(next) => before = format!("&before={}", next.as_str().unwrap()),
            None => return pages,
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pages_together_contain_the_whole_list() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut asked = Vec::new();
    for n in 0..5 {
        asked.push(ask(&app, &user, &format!("Question {n}"), None).await["session_id"].clone());
    }
    // The one with the latest message comes first.
    ask(&app, &user, "Once more", Some(&asked[1])).await;
    let wanted = [1, 4, 3, 2, 0].map(|n| &asked[n]);
    for limit in [1, 2, 5, 200] {
        let pages = pages(&app, &user, "/api/v1/conversations", "conversations", limit).await;
        assert_eq!(pages.len(), 5_usize.div_ceil(limit));
        let listed: Vec<_> = pages.iter().flatten().map(|conversation| &conversation["session_id"]).collect();
        assert_eq!(listed, wanted, "limit {limit}");
    }
    let all = get(&app, "/api/v1/conversations", Some(&user)).await.body;
    assert_eq!(all["conversations"][0]["title"], "Question 1");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn message_pages_start_with_the_latest() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let conversation_id = ask(&app, &user, "Question 0", None).await["session_id"].clone();
    for n in 1..4 {
        ask(&app, &user, &format!("Question {n}"), Some(&conversation_id)).await;
    }
    let path = format!("/api/v1/conversations/{}/messages", conversation_id.as_str().unwrap());
    for limit in [1, 3, 8] {
        let mut pages = pages(&app, &user, &path, "messages", limit).await;
        pages.reverse();
        let messages: Vec<_> = pages.into_iter().flatten().collect();
        assert_eq!(messages.len(), 8, "limit {limit}");
        for (n, pair) in messages.chunks(2).enumerate() {
            assert_eq!((&pair[0]["role"], &pair[1]["role"]), (&json!("user"), &json!("assistant")));
            assert_eq!(pair[0]["content"], format!("Question {n}"));
            assert_eq!(pair[0]["turn_id"], pair[1]["turn_id"]);
            assert!(pair[0].get("metadata").is_none() && pair[1]["metadata"]["model"] == "scripted", "{pair:?}");
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn page_of_long_messages_holds_fewer_and_skips_none() {
    let app = TestApp::start().await;
    let user = app.user().await;
    // 32 kB each.
    let long = "😀".repeat(8_000);
    let conversation_id = ask(&app, &user, &long, None).await["session_id"].clone();
    for _ in 1..20 {
        ask(&app, &user, &long, Some(&conversation_id)).await;
    }
    let path = format!("/api/v1/conversations/{}/messages", conversation_id.as_str().unwrap());
    let mut pages = pages(&app, &user, &path, "messages", 200).await;
    assert!(pages.len() >= 3, "{} pages", pages.len());
    for page in &pages {
        let bytes = serde_json::to_string(page).unwrap().len();
        assert!(bytes < 300_000, "{bytes} bytes in a page");
    }
    pages.reverse();
    let messages: Vec<_> = pages.into_iter().flatten().collect();
    assert_eq!(messages.len(), 40);
    for pair in messages.chunks(2) {
        assert_eq!((&pair[0]["content"], &pair[1]["role"]), (&json!(long), &json!("assistant")));
        assert_eq!(pair[0]["turn_id"], pair[1]["turn_id"]);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn new_messages_do_not_move_conversations_between_pages() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut asked = Vec::new();
    for n in 0..4 {
        asked.push(ask(&app, &user, &format!("Question {n}"), None).await["session_id"].clone());
    }
    let list = "/api/v1/conversations?limit=2";
    let first = get(&app, list, Some(&user)).await.body;
    // In the last one of the page, and in one that comes later.
    ask(&app, &user, "Once more", Some(&asked[2])).await;
    ask(&app, &user, "Once more", Some(&asked[0])).await;
    let next = first["next"].as_str().unwrap();
    let second = get(&app, &format!("{list}&before={next}"), Some(&user)).await.body;
    let ids = |page: &Value| {
        let conversations = page["conversations"].as_array().unwrap();
        conversations.iter().map(|conversation| conversation["session_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!([ids(&first), ids(&second)].concat(), [3, 2, 1, 0].map(|n: usize| asked[n].clone()));
    assert!(second.get("next").is_none(), "{second}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_the_owner_sees_and_deletes_a_conversation() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let conversation_id = ask(&app, &user, "Mine", None).await["session_id"].clone();
    let unknown = json!("01890a5d-ac96-774b-bcce-b302099a8057");
    for (id, status, code) in
        [(&conversation_id, 403, "FORBIDDEN"), (&unknown, 404, "NOT_FOUND"), (&json!("x"), 404, "NOT_FOUND")]
    {
        let path = format!("/api/v1/conversations/{}", id.as_str().unwrap());
        for stranger in [&other, &operator] {
            get(&app, &format!("{path}/messages"), Some(stranger)).await.assert_error(status, code);
            send(&app, Method::DELETE, &path, Some(stranger), None).await.assert_error(status, code);
        }
    }
    let message = json!({"message": "Hi", "session_id": conversation_id});
    post(&app, "/api/v1/chat", Some(&other), &message).await.assert_error(403, "FORBIDDEN");
    let before = format!("/api/v1/conversations?before={}", conversation_id.as_str().unwrap());
    get(&app, &before, Some(&other)).await.assert_error(403, "FORBIDDEN");
    assert_eq!(get(&app, "/api/v1/conversations", Some(&other)).await.body, json!({"conversations": []}));

    let path = format!("/api/v1/conversations/{}", conversation_id.as_str().unwrap());
    assert_eq!(send(&app, Method::DELETE, &path, Some(&user), None).await.status, 204);
    send(&app, Method::DELETE, &path, Some(&user), None).await.assert_error(404, "NOT_FOUND");
    get(&app, &format!("{path}/messages"), Some(&user)).await.assert_error(404, "NOT_FOUND");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_query_parameter_is_named() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let conversation_id = ask(&app, &user, "Hi", None).await["session_id"].clone();
    let messages = format!("/api/v1/conversations/{}/messages", conversation_id.as_str().unwrap());
    for path in ["/api/v1/conversations", &messages] {
        for (query, field) in [
            ("limit=0", "`limit`"),
            ("limit=201", "`limit`"),
            ("limit=-1", "`limit`"),
            ("limit=many", "`limit`"),
            ("before=x", "`before`"),
            ("limit=1&limit=2", "`limit`"),
        ] {
            let answer = get(&app, &format!("{path}?{query}"), Some(&user)).await;
            answer.assert_error(422, "INVALID_FIELD");
            assert!(answer.reason().contains(field), "{query}: {}", answer.reason());
        }
    }
}
