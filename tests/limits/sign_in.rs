//! Sign-ins and registrations.

use super::hits;
use crate::harness::{PASSWORD, TestApp, TestUser};
use serde_json::{Value, json};

async fn login(app: &TestApp, email: &str, password: &str) -> (u16, Value) {
    app.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await
}

fn is_rate_limited((status, body): &(u16, Value)) -> bool {
    let is = *status == 429;
    assert_eq!(is, body["code"] == "RATE_LIMITED", "{body}");
    assert!(!is || body["retry_after_ms"].as_u64().is_some_and(|wait| (1..=60_000).contains(&wait)), "{body}");
    is
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_ins_per_account_are_limited_across_addresses() {
    let app = TestApp::with(|config| {
        config.limits.logins_per_minute_per_account = 3;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let (ada, other): (TestUser, TestUser) = (app.user().await, app.user().await);
    for index in 0..3 {
        let response = app
            .http
            .post(format!("{}/api/v1/auth/login", app.url))
            .header("x-forwarded-for", format!("203.0.113.{index}"))
            .json(&json!({"email": ada.email.to_uppercase(), "password": "wrong wrong wrong"}))
            .send();
        assert_eq!(response.await.unwrap().status().as_u16(), 401);
    }
    // The right password is no way around, or guessing would go on.
    assert!(is_rate_limited(&login(&app, &ada.email, PASSWORD).await));
    assert_eq!(login(&app, &other.email, PASSWORD).await.0, 200);
    // An account that does not exist is limited alike, and tells nothing by it.
    for _ in 0..3 {
        assert_eq!(login(&app, "nobody@example.org", PASSWORD).await.0, 401);
    }
    assert!(is_rate_limited(&login(&app, "nobody@example.org", PASSWORD).await));
    assert_eq!(hits(&app, "logins_per_account").await, 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_ins_per_address_are_limited() {
    let app = TestApp::with(|config| config.limits.logins_per_minute_per_address = 4).await;
    let operator = app.operator().await; // Signs in once.
    let mut answers = Vec::new();
    for index in 0..5 {
        answers.push(login(&app, &format!("user-{index}@example.org"), PASSWORD).await);
    }
    let limited: Vec<_> = answers.iter().map(is_rate_limited).collect();
    assert_eq!(limited, [false, false, false, true, true]);
    let (_, stats) = app.get("/api/v1/connections/stats", Some(&operator)).await;
    assert_eq!(stats["limits"]["logins_per_address"], 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn registrations_per_address_are_limited() {
    let app = TestApp::with(|config| config.limits.registrations_per_minute_per_address = 3).await;
    let operator = app.operator().await; // Registers once.
    let app_ref = &app;
    let register = |email: &'static str| async move {
        app_ref.post("/api/v1/auth/register", None, &json!({"email": email, "password": PASSWORD})).await
    };
    assert_eq!(register("a@example.org").await.0, 201);
    // Asking whether an address is known costs as much as registering it.
    assert_eq!(register("a@example.org").await.1["code"], "EMAIL_TAKEN");
    assert!(is_rate_limited(&register("a@example.org").await));
    assert!(is_rate_limited(&register("b@example.org").await));
    let (_, stats) = app.get("/api/v1/connections/stats", Some(&operator)).await;
    assert_eq!(stats["limits"]["registrations_per_address"], 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn queue_of_password_hashes_is_bounded() {
    let app = TestApp::with(|config| {
        config.auth.hash_threads = 1;
        config.auth.hash_queue = 1;
        config.limits.logins_per_minute_per_account = 0;
    })
    .await;
    let operator = app.operator().await;
    let answers = futures_util::future::join_all((0..20).map(|_| login(&app, &operator.email, PASSWORD))).await;
    let refused = answers.iter().filter(|(_, body)| body["code"] == "OVERLOADED").count();
    assert!(refused > 0 && answers.iter().any(|(status, _)| *status == 200), "{refused} of 20 refused");
    let (_, stats) = app.get("/api/v1/connections/stats", Some(&operator)).await;
    assert_eq!(stats["limits"]["password_hashes"], refused);
}
