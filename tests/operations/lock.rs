//! An account that nobody may use.

use super::{audited, shell::run};
use crate::harness::{PASSWORD, TestApp, TestUser};
use serde_json::{Value, json};

async fn sign_in(app: &TestApp, email: &str, password: &str) -> (u16, Value) {
    let (status, answer) = app.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await;
    (status, answer["code"].clone())
}

/// The sign-in of before is good for nothing any more.
async fn is_out(app: &TestApp, user: &TestUser) {
    let (status, answer) = app.get("/api/v1/auth/me", Some(user)).await;
    assert_eq!((status, &answer["code"]), (401, &json!("EXPIRED_TOKEN")));
    let (status, answer) = app.post("/api/v1/auth/refresh", None, &json!({"refresh_token": user.refresh_token})).await;
    assert_eq!((status, &answer["code"]), (401, &json!("EXPIRED_TOKEN")));
    let mut socket = app.socket().query(&format!("token={}", user.access_token)).connect().await;
    assert_eq!(socket.expect("auth_error").await["code"], "EXPIRED_TOKEN");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn locked_account_is_refused_until_it_is_unlocked() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut bystander = app.socket().signed_in(&other).await;
    let path = format!("/api/v1/users/{}/lock", user.id);
    let (status, answer) = app.post(&path, Some(&operator), &json!({"reason": "Please call us."})).await;
    assert_eq!((status, answer), (200, json!({"locked": true, "kicked": 1})));
    assert_eq!(socket.expect_close_reason().await, (4403, "Please call us.".to_owned()));
    is_out(&app, &user).await;
    // Only who knows the password is told.
    assert_eq!(sign_in(&app, &user.email, PASSWORD).await, (403, json!("ACCOUNT_LOCKED")));
    assert_eq!(sign_in(&app, &user.email, "not the password").await, (401, json!("INVALID_CREDENTIALS")));
    bystander.expect_nothing().await;

    // It lasts over a restart.
    bystander.close().await;
    app.idle().await;
    app.stop().await;
    let url = app.database_url().to_owned();
    let next = TestApp::with(|config| config.database.url = url).await;
    assert_eq!(sign_in(&next, &user.email, PASSWORD).await, (403, json!("ACCOUNT_LOCKED")));
    let (status, answer) = next.delete(&path, Some(&operator)).await;
    assert_eq!((status, answer), (200, json!({"locked": false, "kicked": 0})));
    let again = next.sign_in(&user.email, PASSWORD).await;
    next.socket().signed_in(&again).await.close().await;
    is_out(&next, &user).await;

    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    let nobody_path = format!("/api/v1/users/{nobody}/lock");
    assert_eq!(next.post(&nobody_path, Some(&operator), &Value::Null).await.0, 404);
    let entry = |action: &str, target: &str, outcome: &str| (action.to_owned(), json!(target), outcome.to_owned());
    let entries = [
        entry("lock_user", nobody, "NOT_FOUND"),
        entry("unlock_user", &user.id, "done"),
        entry("lock_user", &user.id, "done"),
    ];
    assert_eq!(audited(&next, &operator, 9).await, entries);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operators_lock_and_unlock_from_the_shell() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let locked = run(&app, &operator, &["lock", &user.id, "--reason", "Tea time."]).await;
    assert_eq!(locked.ok(), "The account is locked. Connections closed: 1.\n");
    assert_eq!(socket.expect_close_reason().await, (4403, "Tea time.".to_owned()));
    assert_eq!(sign_in(&app, &user.email, PASSWORD).await.0, 403);
    assert_eq!(run(&app, &operator, &["unlock", &user.id]).await.ok(), "The account is unlocked.\n");
    assert_eq!(sign_in(&app, &user.email, PASSWORD).await.0, 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_lock_on_the_shell_reaches_the_running_server() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut feed = app.ops_socket().signed_in(&operator).await;
    app.user_command("lock", &user);
    app.user_command("lock", &operator);
    assert_eq!(sign_in(&app, &user.email, PASSWORD).await, (403, json!("ACCOUNT_LOCKED")));
    assert_eq!((socket.expect_close().await, feed.expect_close().await), (4401, 4401));
    is_out(&app, &user).await;
    app.user_command("unlock", &user);
    app.sign_in(&user.email, PASSWORD).await;
    drop(feed);
}
