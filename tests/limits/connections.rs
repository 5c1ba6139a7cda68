//! Sockets of one address and of one user.

use super::hits;
use crate::harness::TestApp;
use serde_json::json;

#[actix_web::test]
async fn an_address_has_so_many_sockets_and_gets_them_back() {
    let app = TestApp::with(|config| config.limits.connections_per_address = 2).await;
    let (first, second) = (app.socket().connect().await, app.socket().connect().await);
    let (status, body) = app.socket().try_connect().await.err().unwrap();
    assert_eq!((status, &body["code"], &body["retryable"]), (429, &json!("TOO_MANY_CONNECTIONS"), &json!(true)));
    assert_eq!(hits(&app, "connections_per_address").await, 1);
    first.close().await;
    let operator = app.operator().await;
    app.stats_when(&operator, |stats| stats["sessions"] == 1).await;
    app.socket().connect().await.close().await;
    second.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn a_user_has_so_many_sockets() {
    let app = TestApp::with(|config| config.limits.connections_per_user = 1).await;
    let (user, other) = (app.user().await, app.user().await);
    let mut first = app.socket().signed_in(&user).await;
    // Renewing takes no second place.
    first.sign_in(&user).await;

    // Known at the upgrade: refused there.
    let query = format!("token={}", user.access_token);
    let (status, body) = app.socket().query(&query).try_connect().await.err().unwrap();
    assert_eq!((status, &body["code"]), (429, &json!("TOO_MANY_CONNECTIONS")));
    // Known later: an error, and the end.
    let mut late = app.socket().connect().await;
    late.send(json!({"type": "auth", "token": user.access_token})).await;
    late.expect_error("TOO_MANY_CONNECTIONS").await;
    assert_eq!(late.expect_close().await, 1013);

    app.socket().signed_in(&other).await.close().await;
    assert_eq!(hits(&app, "connections_per_user").await, 2);
    first.close().await;
    let operator = app.operator().await;
    app.stats_when(&operator, |stats| stats["sessions"] == 0).await;
    app.socket().query(&query).connect().await.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn behind_a_trusted_proxy_clients_are_told_apart() {
    let app = TestApp::with(|config| {
        config.limits.connections_per_address = 1;
        config.server.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let from = |addresses: &'static str| app.socket().header("x-forwarded-for", addresses);
    let ada = from("203.0.113.1").connect().await;
    let eve = from("203.0.113.2").connect().await;
    // Whatever a client writes itself stands on the left, and is nobody's word.
    for made_up in ["203.0.113.2", "198.51.100.1, 203.0.113.2", "203.0.113.2, 127.0.0.9"] {
        assert_eq!(from(made_up).try_connect().await.err().unwrap().0, 429, "{made_up}");
    }
    let operator = app.operator().await;
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let addresses: Vec<_> = list["connections"].as_array().unwrap().iter().map(|entry| &entry["address"]).collect();
    assert_eq!(addresses, ["203.0.113.1", "203.0.113.2"]);
    ada.close().await;
    eve.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn without_a_trusted_proxy_nobody_chooses_an_address() {
    let app = TestApp::with(|config| config.limits.connections_per_address = 1).await;
    let first = app.socket().header("x-forwarded-for", "203.0.113.1").connect().await;
    let second = app.socket().header("x-forwarded-for", "203.0.113.2").try_connect().await;
    assert_eq!(second.err().unwrap().0, 429);
    first.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn one_setting_lets_a_load_test_from_one_address_in() {
    let app = TestApp::with(|config| {
        config.limits.connections_per_address = 3;
        config.limits.connections_per_user = 3;
        config.limits.registrations_per_minute_per_address = 1;
        config.limits.exempt_addresses = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let (_, user) = (app.user().await, app.user().await);
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(app.socket().signed_in(&user).await);
    }
    for socket in sockets {
        socket.close().await;
    }
    app.finish().await;
}
