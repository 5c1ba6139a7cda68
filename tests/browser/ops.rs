//! The operator's page, with something to see on it: `ops.mjs` knows these connections.

use super::run_script;
use crate::harness::{PASSWORD, TestApp, TestSocket, TestUser};
use serde_json::json;
use switchboard::config::{ProviderConfig, ProviderKind};

/// A connection whose answer goes on for as long as anybody looks.
async fn streaming(app: &TestApp, user: &TestUser) -> TestSocket {
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(user).await;
    let script = json!({"script": {"tokens": 100_000, "interval_ms": 50}});
    socket.start(json!({"type": "message", "message": "What is said stays secret", "metadata": script})).await;
    socket
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_operators_page_shows_and_steers_in_a_real_browser() {
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Scripted;
        config.workflow.turn_timeout_s = 3_600;
        // One connection never signs in, and stays as long as the browser looks.
        config.session.auth_deadline_s = 3_600;
        // Nobody listens at port 9: the first title opens the circuit of the provider for titles.
        let titles = ProviderConfig {
            kind: ProviderKind::Openai,
            base_url: "http://127.0.0.1:9/v1".to_owned(),
            breaker_failures: 1,
            breaker_cooldown_s: 3_600,
            ..ProviderConfig::default()
        };
        config.providers.insert("titles".to_owned(), titles);
        config.workflow.task_provider = Some("titles".to_owned());
        config.budgets.tokens_per_user_per_day = 100;
    })
    .await;
    let (operator, user, away) = (app.operator().await, app.user().await, app.user_called("Nobody is here").await);
    let hostile = app.user_called("<img src=x onerror=\"alert('name')\">hostile").await;
    for tokens in [1, 100] {
        let question = json!({"message": "Hello?", "metadata": {"script": {"tokens": tokens}}});
        assert_eq!(app.post("/api/v1/chat", Some(&away), &question).await.0, 200);
    }
    let mut sockets = vec![streaming(&app, &user).await, streaming(&app, &user).await];
    for _ in 0..10 {
        sockets.push(app.socket().signed_in(&user).await);
    }
    let agent = "<img src=x onerror=alert(1)> hostile";
    sockets.push(app.socket().header("user-agent", agent).subprotocols("chat.v2").signed_in(&hostile).await);
    sockets.push(app.socket().connect().await);
    // Somebody has to read, or the answers wait.
    let readers: Vec<_> =
        sockets.into_iter().map(|mut socket| actix_web::rt::spawn(async move { socket.read_to_end().await })).collect();
    run_script("ops.mjs", &[&app.url, &operator.email, &user.email, &away.email, PASSWORD]).await;
    for reader in readers {
        reader.abort();
    }
    app.turns().interrupt_all();
}
