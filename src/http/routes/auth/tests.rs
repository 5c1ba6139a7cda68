//! The account routes as a client sees them, on a real database.

use super::routes;
use crate::{
    auth::{
        Tickets,
        test_support::{service, service_by, service_with},
    },
    config::{AuthConfig, LimitsConfig},
    domain::{Email, Role, UnixMillis},
    http::{error, state::test_support::state},
    limiter::Limiter,
    store::{ServedTime, TurnedClock},
};
use actix_web::{
    App,
    body::MessageBody,
    dev::{Service, ServiceResponse},
    http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE},
    test::{TestRequest, call_service, init_service, read_body},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const PASSWORD: &str = "quiet-otter-paints-thursday";

/// The application with the account routes and the given services.
macro_rules! app {
    ($accounts:expr, $tickets:expr) => {{
        let (accounts, tickets) = ($accounts, $tickets);
        let (state, folder) = state(|app, _| {
            app.accounts = accounts;
            app.tickets = tickets;
            app.limiter =
                Arc::new(Limiter::new(&LimitsConfig { logins_per_minute_per_account: 0, ..LimitsConfig::default() }));
        });
        // Nothing here uses the database of the state: the accounts have their own.
        drop(folder);
        init_service(
            App::new().wrap(error::error_bodies()).app_data(state).configure(error::configure).configure(routes),
        )
        .await
    }};
    ($accounts:expr) => {
        app!($accounts, Arc::new(Tickets::new(30)))
    };
}

struct Answer {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    body: Value,
}

async fn answer<S, B>(app: &S, request: TestRequest) -> Answer
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let response = call_service(app, request.to_request()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = read_body(response).await;
    Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

fn post(path: &str, body: Value) -> TestRequest {
    TestRequest::post().uri(&format!("/api/v1/auth/{path}")).set_json(body)
}

fn bearer(request: TestRequest, answer: &Answer) -> TestRequest {
    let token = answer.body["access_token"].as_str().unwrap();
    request.insert_header((AUTHORIZATION, format!("Bearer {token}")))
}

fn me() -> TestRequest {
    TestRequest::get().uri("/api/v1/auth/me")
}

fn ada() -> Value {
    json!({"email": "ada@example.org", "password": PASSWORD})
}

#[actix_web::test]
async fn an_account_registers_signs_in_refreshes_and_signs_out() {
    let (accounts, _folder) = service();
    let app = app!(Arc::new(accounts));
    let mut registration = ada();
    registration["name"] = "Ada Lovelace".into();
    let registered = answer(&app, post("register", registration)).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let user = &registered.body["user"];
    assert_eq!(
        (&user["email"], &user["name"], &user["role"]),
        (&"ada@example.org".into(), &"Ada Lovelace".into(), &"user".into())
    );

    let signed_in = answer(&app, post("login", ada())).await;
    let refreshed = answer(&app, post("refresh", json!({"refresh_token": signed_in.body["refresh_token"]}))).await;
    for answer in [&registered, &signed_in, &refreshed] {
        assert_eq!(answer.body["token_type"], "bearer");
        assert_eq!(answer.body["expires_in"], 900);
        assert_eq!(&answer.body["user"], user);
        assert_eq!(answer.headers.get(CACHE_CONTROL).unwrap(), "no-store");
    }

    let account = answer(&app, bearer(me(), &refreshed)).await;
    assert_eq!((account.status, &account.body), (200, user));

    let newest = json!({"refresh_token": refreshed.body["refresh_token"]});
    assert_eq!(answer(&app, post("logout", newest.clone())).await.status, 204);
    let refused = answer(&app, post("refresh", newest)).await;
    assert_eq!((refused.status, &refused.body["code"]), (401, &"EXPIRED_TOKEN".into()));
}

#[actix_web::test]
async fn every_refusal_has_its_status_and_code() {
    let (accounts, _folder) = service();
    let app = app!(Arc::new(accounts));
    assert_eq!(answer(&app, post("register", ada())).await.status, 201);
    let eve = |password: &str| json!({"email": "eve@example.org", "password": password});
    for (request, status, code, text) in [
        (post("register", ada()), 409, "EMAIL_TAKEN", "e-mail"),
        (post("register", json!({"email": " ADA@example.ORG", "password": PASSWORD})), 409, "EMAIL_TAKEN", "e-mail"),
        (post("register", eve("password1")), 422, "WEAK_PASSWORD", "common"),
        (post("register", eve("short")), 422, "WEAK_PASSWORD", "at least 8"),
        (post("register", json!({"password": PASSWORD})), 422, "INVALID_FIELD", "`email`"),
        (post("register", json!({"email": "ada", "password": PASSWORD})), 422, "INVALID_FIELD", "`email`"),
        (post("register", json!({"email": "eve@example.org", "password": 7})), 422, "INVALID_FIELD", "`password`"),
        (
            post("register", json!({"email": "eve@example.org", "password": PASSWORD, "name": "\n"})),
            422,
            "INVALID_FIELD",
            "`name`",
        ),
        (post("register", json!([])), 400, "INVALID_JSON", "object"),
        (post("login", eve(PASSWORD)), 401, "INVALID_CREDENTIALS", "wrong"),
        (post("login", json!({"email": "ada@example.org", "password": ""})), 401, "INVALID_CREDENTIALS", "wrong"),
        (post("refresh", json!({"refresh_token": "x"})), 401, "INVALID_TOKEN", "sign in"),
        (post("refresh", json!({})), 422, "INVALID_FIELD", "`refresh_token`"),
        (post("logout", json!({"refresh_token": "x"})), 401, "INVALID_TOKEN", "sign in"),
        (post("ws-ticket", json!({})), 401, "AUTH_REQUIRED", "sign in"),
        (me(), 401, "AUTH_REQUIRED", "sign in"),
        (TestRequest::get().uri("/api/v1/auth/login"), 405, "METHOD_NOT_ALLOWED", "method"),
        (post("nothing", json!({})), 404, "NOT_FOUND", "nothing"),
    ] {
        let answer = answer(&app, request).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &code.into()), "{}", answer.body);
        assert!(answer.body["error"].as_str().unwrap().contains(text), "{}", answer.body);
        assert!(answer.body["correlation_id"].is_string(), "{}", answer.body);
        assert_eq!(answer.headers.contains_key(WWW_AUTHENTICATE), status == 401);
    }
}

#[actix_web::test]
async fn a_refresh_token_can_be_reused_for_ten_seconds_and_ends_the_sign_in_later() {
    let turned = TurnedClock::at(UnixMillis::now());
    let (accounts, _folder) = service_by(&AuthConfig::default(), turned.serve(ServedTime::default()));
    turned.pass(Duration::from_secs(1));
    let app = app!(Arc::new(accounts));
    let first = answer(&app, post("register", ada())).await;
    let refresh = |answer: &Answer| post("refresh", json!({"refresh_token": answer.body["refresh_token"]}));
    let second = answer(&app, refresh(&first)).await;
    turned.pass(Duration::from_secs(10));
    let again = answer(&app, refresh(&first)).await;
    for name in ["access_token", "refresh_token", "user"] {
        assert_eq!(again.body[name], second.body[name], "{name}");
    }
    assert_eq!((&second.body["expires_in"], &again.body["expires_in"]), (&json!(900), &json!(890)));
    turned.pass(Duration::from_secs(1));
    assert_eq!(answer(&app, refresh(&first)).await.status, 401);
    assert_eq!(answer(&app, refresh(&second)).await.status, 401);
}

#[actix_web::test]
async fn the_account_shows_a_role_changed_after_the_token_was_issued() {
    let (accounts, _folder) = service();
    let accounts = Arc::new(accounts);
    let app = app!(Arc::clone(&accounts));
    let registered = answer(&app, post("register", ada())).await;
    accounts.set_role(Email::parse("ada@example.org").unwrap(), Role::Operator).await.unwrap();
    assert_eq!(answer(&app, bearer(me(), &registered)).await.body["role"], "operator");
}

#[actix_web::test]
async fn a_ticket_identifies_its_user_once() {
    let (accounts, _folder) = service();
    let tickets = Arc::new(Tickets::new(30));
    let app = app!(Arc::new(accounts), Arc::clone(&tickets));
    let registered = answer(&app, post("register", ada())).await;
    let issued = answer(&app, bearer(TestRequest::post().uri("/api/v1/auth/ws-ticket"), &registered)).await;
    assert_eq!((issued.status, &issued.body["expires_in"]), (200, &30.into()));
    assert_eq!(issued.headers.get(CACHE_CONTROL).unwrap(), "no-store");

    let ticket = issued.body["ticket"].as_str().unwrap();
    let identity = tickets.redeem(ticket).unwrap();
    assert_eq!(identity.user_id.to_string(), registered.body["user"]["id"]);
    assert!(tickets.redeem(ticket).is_err());
}

#[actix_web::test]
async fn a_full_hash_queue_is_answered_with_a_retry_delay() {
    let (accounts, _folder) = service_with(&AuthConfig { hash_threads: 1, hash_queue: 1, ..AuthConfig::default() });
    let app = app!(Arc::new(accounts));

    // Far more at once than one running and one queued hash.
    let answers = futures_util::future::join_all((0..16).map(|_| answer(&app, post("login", ada())))).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty() && refused.len() < answers.len(), "{} refused", refused.len());
    for answer in refused {
        assert_eq!(answer.body["code"], "OVERLOADED");
        assert_eq!(answer.body["retryable"], true);
        assert!(answer.body["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0));
        assert!(answer.headers.contains_key("retry-after"));
    }
}
