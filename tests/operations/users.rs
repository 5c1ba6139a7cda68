//! The list of all accounts.

use super::audited;
use crate::harness::{TestApp, TestUser};
use serde_json::{Value, json};

async fn list(app: &TestApp, operator: &TestUser, query: &str) -> Value {
    let (status, page) = app.get(&format!("/api/v1/users{query}"), Some(operator)).await;
    assert_eq!(status, 200, "{page}");
    page
}

fn emails(page: &Value) -> Vec<&str> {
    page["users"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect()
}

/// The only user of a page.
fn only(page: &Value) -> &Value {
    assert_eq!(page["users"].as_array().map(Vec::len), Some(1), "{page}");
    &page["users"][0]
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn user_list_shows_each_account_with_its_activity() {
    let app = TestApp::scripted(100_000, 20).await;
    let (user, operator) = (app.user_called("Ada ÅNGSTRÖM").await, app.operator().await);
    let of_user = format!("?q={}", user.email.to_uppercase());
    let page = list(&app, &operator, &of_user).await;
    let away = only(&page);
    assert_eq!((&away["id"], &away["name"], &away["role"]), (&json!(user.id), &json!("Ada ÅNGSTRÖM"), &json!("user")));
    assert_eq!((&away["locked"], &away["sign_ins"]), (&json!(false), &json!(1)));
    assert_eq!((&away["connections"], &away["running_turns"]), (&json!(0), &json!(0)));
    let ago = |field: &str, user: &Value| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
            - user[field].as_i64().unwrap()
    };
    // Tokens count in seconds.
    for field in ["created_at_ms", "last_seen_at_ms"] {
        assert!((-1_000..60_000).contains(&ago(field, away)), "{field}: {away}");
    }

    let mut socket = app.socket().signed_in(&user).await;
    let _idle = app.socket().signed_in(&user).await;
    socket.start(json!({"type": "message", "message": "Hi"})).await;
    let page =
        app.get_when(&format!("/api/v1/users{of_user}"), &operator, |page| page["users"][0]["connections"] == 2).await;
    assert_eq!(only(&page)["running_turns"], 1);
    assert_eq!(only(&list(&app, &operator, "?q=%C3%A5ngstr%C3%B6m").await)["id"], user.id);
    assert_eq!(only(&list(&app, &operator, &format!("?q={}", user.id)).await)["id"], user.id);
    assert_eq!(only(&list(&app, &operator, "?role=operator").await)["id"], operator.id);
    drop((socket, _idle));
    app.turns().interrupt_all();
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_locked_account_is_found_and_unlocked() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    assert_eq!(emails(&list(&app, &operator, "?locked=true").await), [""; 0]);
    assert_eq!(app.post(&format!("/api/v1/users/{}/lock", user.id), Some(&operator), &json!({})).await.0, 200);
    let page = list(&app, &operator, "?locked=true").await;
    let locked = only(&page);
    assert_eq!((&locked["id"], &locked["locked"], &locked["sign_ins"]), (&json!(user.id), &json!(true), &json!(0)));
    assert!(locked.get("last_seen_at_ms").is_none(), "{locked}");
    assert_eq!(app.delete(&format!("/api/v1/users/{}/lock", user.id), Some(&operator)).await.0, 200);
    assert_eq!(emails(&list(&app, &operator, "?locked=true").await), [""; 0]);
    assert_eq!(emails(&list(&app, &operator, "?locked=false").await).len(), 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn user_pages_have_no_gaps() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for _ in 0..6 {
        app.user().await;
    }
    let (mut found, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = list(&app, &operator, &query).await;
        assert!(page["users"].as_array().unwrap().len() <= 3, "{page}");
        found.extend(emails(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&before={next}");
    }
    let whole = list(&app, &operator, "").await;
    assert_eq!((found.len(), whole.get("next")), (7, None));
    assert_eq!(found, emails(&whole));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn user_list_requires_an_operator_and_names_invalid_fields() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    assert_eq!(app.get("/api/v1/users", None).await.0, 401);
    let (status, answer) = app.get("/api/v1/users", Some(&user)).await;
    assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")));
    let long = format!("q={}", "x".repeat(201));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("before=x", "before"),
        ("locked=perhaps", "locked"),
        ("role=king", "role"),
        (&long, "q"),
    ] {
        let (status, answer) = app.get(&format!("/api/v1/users?{query}"), Some(&operator)).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{query}");
        assert!(answer["error"].as_str().unwrap().contains(&format!("`{field}`")), "{answer}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operators_cannot_lock_themselves_out() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let own = format!("/api/v1/users/{}/lock", operator.id);
    let (status, answer) = app.post(&own, Some(&operator), &json!({"reason": "a slip"})).await;
    assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")));
    assert!(answer["error"].as_str().unwrap().contains("your own account"), "{answer}");
    assert_eq!(only(&list(&app, &operator, "").await)["locked"], false);
    assert_eq!(audited(&app, &operator, 9).await, [], "what is refused before it begins is not recorded");
    let other = app.operator().await;
    assert_eq!(app.post(&own, Some(&other), &json!({})).await.0, 200);
}
