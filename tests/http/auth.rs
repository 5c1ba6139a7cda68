//! Accounts: register, sign in, renew, sign out.

use super::{Answer, get, post};
use crate::harness::{PASSWORD, TestApp, TestUser};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn credentials(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

async fn refresh(app: &TestApp, token: &Value) -> Answer {
    post(app, "/api/v1/auth/refresh", None, &json!({"refresh_token": token})).await
}

fn assert_tokens(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = &answer.body;
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(900)), "{body}");
    assert!(body["access_token"].is_string() && body["refresh_token"].is_string(), "{body}");
    for field in ["id", "email", "name", "role"] {
        assert!(body["user"][field].is_string(), "{field}: {body}");
    }
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn misleading_names_are_refused_and_questions_stay_unchanged() {
    let app = TestApp::start().await;
    for name in ["Ada\u{202e}", "\u{200b}Ada", "\u{3164}"] {
        let body = json!({"email": "ada@example.org", "password": PASSWORD, "name": name});
        let refused = post(&app, "/api/v1/auth/register", None, &body).await;
        refused.assert_error(422, "INVALID_FIELD");
        assert!(refused.body["error"].as_str().unwrap().starts_with("`name` "), "{}", refused.body);
    }
    let user = app.user().await;
    let question = "What does \u{202e}this\u{202c} mean\u{200b}?";
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask(question).await;
    assert_eq!(app.history(&user, &turn.conversation_id).await[0]["content"], question);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn account_registers_once_and_signs_in() {
    let app = TestApp::start().await;
    let body = json!({"email": " Ada@Example.org", "password": PASSWORD, "name": "Ada Lovelace"});
    let registered = post(&app, "/api/v1/auth/register", None, &body).await;
    assert_tokens(&registered, 201);
    let user = &registered.body["user"];
    assert_eq!(
        (&user["email"], &user["name"], &user["role"]),
        (&json!("ada@example.org"), &json!("Ada Lovelace"), &json!("user"))
    );
    assert!(!registered.body.to_string().contains(PASSWORD));

    post(&app, "/api/v1/auth/register", None, &body).await.assert_error(409, "EMAIL_TAKEN");
    let signed_in = post(&app, "/api/v1/auth/login", None, &credentials("ADA@example.org", PASSWORD)).await;
    assert_tokens(&signed_in, 200);
    assert_eq!(signed_in.body["user"], *user);
    let me = app.http.get(format!("{}/api/v1/auth/me", app.url));
    let me = Answer::of(me.bearer_auth(signed_in.body["access_token"].as_str().unwrap())).await;
    assert_eq!((me.status, &me.body, me.header("cache-control")), (200, user, "no-store"));
}

/// Operating systems and input methods write the same characters as different code points.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn email_and_password_match_in_every_unicode_form() {
    let app = TestApp::start().await;
    let forms = [
        ("Caf\u{e9}.ada@ex\u{e4}mple.org", "Gr\u{fc}\u{df}e-aus-K\u{f6}ln-1794"),
        ("cafe\u{301}.ada@exa\u{308}mple.org", "Gru\u{308}\u{df}e-aus-Ko\u{308}ln-1794"),
        ("ｃａｆé．ａｄａ＠exämple．org", "Grüße－aus－Köln－１７９４"),
    ];
    for (number, (email, password)) in forms.iter().enumerate() {
        let account = |form: &str| format!("{number}{form}");
        let registered = post(&app, "/api/v1/auth/register", None, &credentials(&account(email), password)).await;
        assert_eq!(registered.status, 201, "{}", registered.body);
        assert_eq!(registered.body["user"]["email"], account("café.ada@exämple.org"));
        for (email, password) in forms {
            let signed_in = post(&app, "/api/v1/auth/login", None, &credentials(&account(email), password)).await;
            assert_eq!(signed_in.body["user"]["id"], registered.body["user"]["id"], "{email:?} {}", signed_in.body);
            let again = post(&app, "/api/v1/auth/register", None, &credentials(&account(email), password)).await;
            again.assert_error(409, "EMAIL_TAKEN");
        }
        let wrong = post(&app, "/api/v1/auth/login", None, &credentials(&account(email), "Grusse-aus-Koln-1794")).await;
        wrong.assert_error(401, "INVALID_CREDENTIALS");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_registration_is_explained() {
    let app = TestApp::start().await;
    for (body, code, named) in [
        (credentials("ada@example.org", "short"), "WEAK_PASSWORD", "8"),
        (credentials("ada@example.org", "password123"), "WEAK_PASSWORD", ""),
        (credentials("ada@example.org", "ada@example.org"), "WEAK_PASSWORD", ""),
        (credentials("ada", PASSWORD), "INVALID_FIELD", "`email`"),
        (json!({"email": "ada@example.org"}), "INVALID_FIELD", "`password`"),
        (json!({"email": 1, "password": PASSWORD}), "INVALID_FIELD", "`email`"),
        (json!({"email": "ada@example.org", "password": PASSWORD, "name": "\u{0}"}), "INVALID_FIELD", "`name`"),
    ] {
        let answer = post(&app, "/api/v1/auth/register", None, &body).await;
        answer.assert_error(422, code);
        assert!(answer.reason().contains(named) && answer.reason().len() > 10, "{body}: {}", answer.reason());
    }
    for path in ["register", "login", "refresh", "logout"] {
        let url = format!("{}/api/v1/auth/{path}", app.url);
        let json = app.http.post(&url).header("content-type", "application/json");
        Answer::of(json.body("{\"email\":")).await.assert_error(400, "INVALID_JSON");
        Answer::of(app.http.post(&url).header("content-type", "text/plain").body("{}"))
            .await
            .assert_error(400, "INVALID_JSON");
        let large = app.http.post(&url).header("content-type", "application/json");
        Answer::of(large.body(" ".repeat(70_000))).await.assert_error(413, "MESSAGE_TOO_LONG");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_in_does_not_reveal_accounts() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let wrong = post(&app, "/api/v1/auth/login", None, &credentials(&user.email, "not the password")).await;
    let unknown = post(&app, "/api/v1/auth/login", None, &credentials("nobody@example.org", PASSWORD)).await;
    wrong.assert_error(401, "INVALID_CREDENTIALS");
    unknown.assert_error(401, "INVALID_CREDENTIALS");
    assert_eq!(wrong.reason(), unknown.reason());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_refresh_token_returns_one_pair_and_later_ends_its_family() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let elsewhere = post(&app, "/api/v1/auth/login", None, &credentials(&user.email, PASSWORD)).await;

    let first = refresh(&app, &json!(user.refresh_token)).await;
    assert_tokens(&first, 200);
    let second = refresh(&app, &first.body["refresh_token"]).await;
    assert_tokens(&second, 200);
    assert_ne!(first.body["refresh_token"], second.body["refresh_token"]);

    // Tabs that share it, and a client that did not get the answer, bring it again.
    let again = futures_util::future::join_all((0..16).map(|_| refresh(&app, &first.body["refresh_token"]))).await;
    for again in again {
        assert_eq!(again.status, 200, "{again:?}");
        for name in ["access_token", "refresh_token", "user"] {
            assert_eq!(again.body[name], second.body[name], "{name}");
        }
    }

    app.pass_refresh_grace();
    refresh(&app, &first.body["refresh_token"]).await.assert_error(401, "EXPIRED_TOKEN");
    // The thief's or the owner's: nobody can tell, so neither goes on.
    refresh(&app, &second.body["refresh_token"]).await.assert_error(401, "EXPIRED_TOKEN");
    assert_tokens(&refresh(&app, &elsewhere.body["refresh_token"]).await, 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_out_invalidates_the_refresh_token() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let body = json!({"refresh_token": user.refresh_token});
    for _ in 0..2 {
        let answer = post(&app, "/api/v1/auth/logout", None, &body).await;
        assert_eq!((answer.status, &answer.body), (204, &json!("")));
    }
    // Both tokens are refused alike, wherever they are sent.
    refresh(&app, &body["refresh_token"]).await.assert_error(401, "EXPIRED_TOKEN");
    get(&app, "/api/v1/auth/me", Some(&user)).await.assert_error(401, "EXPIRED_TOKEN");
    for mut socket in [app.socket().connect().await, app.ops_socket().connect().await] {
        socket.send(json!({"type": "auth", "token": user.access_token})).await;
        assert_eq!(socket.expect("auth_error").await["code"], "EXPIRED_TOKEN");
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn token_of_another_kind_is_refused() {
    let app = TestApp::start().await;
    let user = app.user().await;
    refresh(&app, &json!(user.access_token)).await.assert_error(401, "INVALID_TOKEN");
    let refresh_as_access = TestUser { access_token: user.refresh_token.clone(), ..user.clone() };
    get(&app, "/api/v1/auth/me", Some(&refresh_as_access)).await.assert_error(401, "INVALID_TOKEN");
    let (head, signature) = user.access_token.rsplit_once('.').unwrap();
    let (_, payload) = head.split_once('.').unwrap();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    let cut = format!("{head}.{}", &signature[1..]);
    for token in [unsigned.as_str(), &cut, head, "x.y.z"] {
        let forged = TestUser { access_token: token.to_owned(), ..user.clone() };
        get(&app, "/api/v1/auth/me", Some(&forged)).await.assert_error(401, "INVALID_TOKEN");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn account_route_requires_a_token() {
    let app = TestApp::start().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (method, path) in [
        (Method::GET, "/api/v1/auth/me".to_owned()),
        (Method::POST, "/api/v1/auth/ws-ticket".to_owned()),
        (Method::POST, "/api/v1/chat".to_owned()),
        (Method::POST, format!("/api/v1/chat/{id}/cancel")),
        (Method::GET, "/api/v1/conversations".to_owned()),
        (Method::GET, format!("/api/v1/conversations/{id}/messages")),
        (Method::DELETE, format!("/api/v1/conversations/{id}")),
        (Method::GET, "/api/v1/documents".to_owned()),
        (Method::GET, "/api/v1/connections".to_owned()),
        (Method::GET, "/api/v1/connections/stats".to_owned()),
    ] {
        super::send(&app, method, &path, None, None).await.assert_error(401, "AUTH_REQUIRED");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn ticket_opens_one_connection() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let answer = super::send(&app, Method::POST, "/api/v1/auth/ws-ticket", Some(&user), None).await;
    assert_eq!((answer.status, &answer.body["expires_in"]), (200, &json!(30)));
    assert_eq!(answer.header("cache-control"), "no-store");
    let query = format!("ticket={}", answer.body["ticket"].as_str().unwrap());
    let mut socket = app.socket().query(&query).connect().await;
    assert_eq!(socket.expect("auth_success").await["user"]["id"], user.id);
    let mut again = app.socket().query(&query).connect().await;
    assert_eq!(again.expect("auth_error").await["code"], "INVALID_TOKEN");
    socket.close().await;
    again.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn role_change_takes_effect_with_the_next_token() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    assert_eq!(get(&app, "/api/v1/connections/stats", Some(&operator)).await.status, 200);
    let user = app.user().await;
    get(&app, "/api/v1/connections/stats", Some(&user)).await.assert_error(403, "FORBIDDEN");
    get(&app, "/api/v1/connections", Some(&user)).await.assert_error(403, "FORBIDDEN");
    app.set_role(&user, "operator");
    get(&app, "/api/v1/connections/stats", Some(&user)).await.assert_error(403, "FORBIDDEN");
    assert_eq!(get(&app, "/api/v1/auth/me", Some(&user)).await.body["role"], "operator");
    let renewed = refresh(&app, &json!(user.refresh_token)).await;
    assert_eq!(renewed.body["user"]["role"], "operator");
    let token = renewed.body["access_token"].as_str().unwrap().to_owned();
    let renewed = TestUser { access_token: token, ..user };
    assert_eq!(get(&app, "/api/v1/connections/stats", Some(&renewed)).await.status, 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn flood_of_sign_ins_is_refused_while_the_server_stays_responsive() {
    let app = TestApp::with(|config| (config.auth.hash_threads, config.auth.hash_queue) = (1, 1)).await;
    let user = app.user().await;
    let body = credentials(&user.email, "not the password");
    let tries = (0..8).map(|_| post(&app, "/api/v1/auth/login", None, &body));
    let answers = futures_util::future::join_all(tries).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty(), "{answers:?}");
    for answer in refused {
        answer.assert_error(503, "OVERLOADED");
        assert!(answer.body["retry_after_ms"].is_u64() && !answer.header("retry-after").is_empty(), "{answer:?}");
    }
    let asked = Instant::now();
    assert_eq!(get(&app, "/health", None).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(5));
}
