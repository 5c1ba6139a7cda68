//! Daily budgets of users: refusal, charge and restart.

use crate::harness::{TestApp, TestUser};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{io::Write as _, sync::Arc};
use switchboard::config::Config;
use tempfile::NamedTempFile;

/// A server whose turns are scripted, with a budget of tokens and cost per user.
fn budget(tokens: u64, cost: f64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.budgets.tokens_per_user_per_day = tokens;
        config.budgets.cost_per_user_per_day = cost;
    }
}

/// Prices of the scripted model: 0.001 for a token of the answer, nothing for the prompt.
fn prices() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"[[price]]\nmodel = \"script*\"\ninput = 0\noutput = 1_000_000_000\n").unwrap();
    file
}

async fn ask(app: &TestApp, user: &TestUser, tokens: u32) -> (u16, Value) {
    let question = json!({"message": "Hello?", "metadata": {"script": {"tokens": tokens}}});
    app.post("/api/v1/chat", Some(user), &question).await
}

/// Consumption of a user today as operators see it.
async fn used_today(app: &TestApp, operator: &TestUser, user: &TestUser) -> Value {
    let (status, page) = app.get(&format!("/api/v1/users?q={}", user.email), Some(operator)).await;
    assert_eq!(status, 200, "{page}");
    page["users"][0]["used_today"].clone()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_used_up_budget_refuses_turns_until_the_next_day() {
    let app = TestApp::with(budget(30, 0.0)).await;
    let (user, other) = (app.user().await, app.user().await);
    assert_eq!(ask(&app, &user, 20).await.0, 200, "a budget that is not used up is enough");
    let (status, refused) = ask(&app, &user, 1).await;
    assert_eq!((status, &refused["code"], &refused["retryable"]), (429, &json!("BUDGET_EXCEEDED"), &json!(true)));
    let (wait_ms, resets_at_ms) =
        (refused["retry_after_ms"].as_i64().unwrap(), refused["resets_at_ms"].as_i64().unwrap());
    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    assert!(resets_at_ms % DAY_MS == 0 && (0..=DAY_MS).contains(&wait_ms), "{refused}");
    assert_eq!(ask(&app, &other, 1).await.0, 200, "another user");

    let mut socket = app.socket().signed_in(&user).await;
    socket.send(json!({"type": "message", "message": "Hello?", "client_message_id": "m"})).await;
    let error = socket.expect_error("BUDGET_EXCEEDED").await;
    assert_eq!((&error["client_message_id"], &error["resets_at_ms"]), (&json!("m"), &json!(resets_at_ms)));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_budget_survives_a_restart() {
    let app = TestApp::with(budget(30, 0.0)).await;
    let user = app.user().await;
    assert_eq!(ask(&app, &user, 20).await.0, 200);
    app.stop().await;
    let (url, _folder) = (app.database_url().to_owned(), Arc::clone(&app.folder));
    let again = TestApp::with(|config| {
        budget(30, 0.0)(config);
        config.database.url = url;
    })
    .await;
    let user = again.sign_in(&user.email, crate::harness::PASSWORD).await;
    assert_eq!(ask(&again, &user, 1).await.1["code"], "BUDGET_EXCEEDED");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turns_at_once_exceed_a_budget_by_at_most_their_own_consumption() {
    const AT_ONCE: u64 = 3;
    const BUDGET: u64 = 100;
    let app = TestApp::with(|config| {
        budget(BUDGET, 0.0)(config);
        config.workflow.max_running_turns_per_user = usize::try_from(AT_ONCE).unwrap();
    })
    .await;
    let (operator, other) = (app.operator().await, app.user().await);
    assert_eq!(ask(&app, &other, 20).await.0, 200);
    let of_turn = used_today(&app, &operator, &other).await["tokens"].as_u64().unwrap();
    assert!(of_turn < BUDGET);
    for _ in 0..5 {
        let user = app.user().await;
        let outcomes = join_all((0..24).map(|_| ask(&app, &user, 20))).await;
        assert!(outcomes.iter().any(|(status, _)| *status == 200));
        while ask(&app, &user, 20).await.0 == 200 {}
        let used = used_today(&app, &operator, &user).await["tokens"].as_u64().unwrap();
        assert!((BUDGET..BUDGET + AT_ONCE * of_turn).contains(&used), "{used} of {BUDGET}, {of_turn} a turn");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_cancelled_turn_is_charged_for_what_it_produced() {
    let app = TestApp::with(|config| {
        budget(1_000_000, 0.0)(config);
        config.provider.scripted.tokens = 10_000;
        config.provider.scripted.interval_ms = 5;
    })
    .await;
    let (operator, user) = (app.operator().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "A long one"})).await;
    let tokens = socket.read_tokens(first.clone(), 20).await;
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    let end = socket.rest_of_turn(tokens).await.terminal;
    assert_eq!(
        (&end["finish_reason"], &end["metadata"]["calls"]["generate"]["estimated"]),
        (&json!("cancelled"), &json!(true))
    );
    let used = used_today(&app, &operator, &user).await;
    assert!(used["tokens"].as_u64().is_some_and(|tokens| (30..15_000).contains(&tokens)), "{used}");

    let failing = json!({"message": "Hello?", "metadata": {"script": {"tokens": 20, "fail_after": 10}}});
    let (_, failed) = app.post("/api/v1/chat", Some(&user), &failing).await;
    assert_eq!(failed["code"], "TURN_INTERRUPTED", "{failed}");
    let after = used_today(&app, &operator, &user).await;
    assert!(after["tokens"].as_u64() > used["tokens"].as_u64(), "{used} {after}");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn costs_are_computed_and_limited() {
    let prices = prices();
    let path = prices.path().to_owned();
    let app = TestApp::with(move |config| {
        budget(0, 0.04)(config);
        config.budgets.prices_file = Some(path);
        config.budgets.currency = "EUR".to_owned();
    })
    .await;
    let (operator, user) = (app.operator().await, app.user().await);
    let (status, answer) = ask(&app, &user, 20).await;
    assert_eq!(status, 200, "{answer}");
    let metadata = &answer["metadata"];
    assert_eq!(metadata["cost"], json!({"currency": "EUR", "trillionths": 20_000_000_000_u64}), "{metadata}");
    assert_eq!(metadata["calls"]["generate"]["cost_trillionths"], 20_000_000_000_u64);
    assert_eq!(metadata["calls"]["generate"]["completion_tokens"], 20);
    assert_eq!(used_today(&app, &operator, &user).await["cost_trillionths"], 20_000_000_000_u64);
    assert_eq!(ask(&app, &user, 20).await.0, 200, "0.02 of 0.04");
    assert_eq!(ask(&app, &user, 1).await.0, 429, "0.04 of 0.04");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn without_a_budget_nothing_is_stored() {
    let app = TestApp::start().await;
    let (operator, user) = (app.operator().await, app.user().await);
    assert_eq!(ask(&app, &user, 20).await.0, 200);
    assert_eq!(used_today(&app, &operator, &user).await, Value::Null);
}
