//! Sockets of one address and of one user.

use super::hits;
use crate::harness::TestApp;
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connections_per_address_are_limited_and_released() {
    let app = TestApp::with(|config| config.limits.connections_per_address = 2).await;
    let (first, second) = (app.socket().connect().await, app.socket().connect().await);
    let (status, body) = app.socket().try_connect().await.err().unwrap();
    assert_eq!((status, &body["code"], &body["retryable"]), (429, &json!("TOO_MANY_CONNECTIONS"), &json!(true)));
    assert_eq!(hits(&app, "connections_per_address").await, 1);
    first.close().await;
    let operator = app.operator().await;
    app.stats_when(&operator, |stats| stats["connections"] == 1).await;
    app.socket().connect().await.close().await;
    second.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connections_per_user_are_limited() {
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
    app.stats_when(&operator, |stats| stats["connections"] == 0).await;
    app.socket().query(&query).connect().await.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn trusted_proxy_names_the_client_address() {
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn forwarded_address_of_an_untrusted_peer_is_ignored() {
    let app = TestApp::with(|config| config.limits.connections_per_address = 1).await;
    let first = app.socket().header("x-forwarded-for", "203.0.113.1").connect().await;
    let second = app.socket().header("x-forwarded-for", "203.0.113.2").try_connect().await;
    assert_eq!(second.err().unwrap().0, 429);
    first.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn exempt_address_may_run_a_load_test() {
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn event_streams_count_as_connections() {
    let app = TestApp::with(|config| {
        config.limits.connections_per_user = 2;
        config.provider.scripted.tokens = 100_000;
        config.provider.scripted.interval_ms = 20;
    })
    .await;
    let (ada, eve) = (app.user().await, app.user().await);
    let question = json!({"message": "Hello?"});
    let mut stream = app.events(&ada, &question, None).await.unwrap();
    let turn = stream.next().await.unwrap();
    // Another reader of the same turn holds a connection, too.
    let again = app.events(&ada, &json!({}), Some(&turn.id)).await.unwrap();
    let (status, body) = app.events(&ada, &question, None).await.err().unwrap();
    assert_eq!((status, &body["code"]), (429, &json!("TOO_MANY_CONNECTIONS")));
    let (status, body) = app.post("/api/v1/chat", Some(&ada), &question).await;
    assert_eq!((status, &body["code"]), (429, &json!("TOO_MANY_CONNECTIONS")), "an answer that is waited for");
    let query = format!("token={}", ada.access_token);
    assert_eq!(app.socket().query(&query).try_connect().await.err().unwrap().0, 429);
    // Nothing was started for those who were refused.
    assert_eq!(app.turns().stats().started_turns, 1);
    let others = app.events(&eve, &question, None).await.unwrap();
    assert_eq!(hits(&app, "connections_per_user").await, 3);
    // A stream that ends gives its place back.
    drop((again, others));
    let began = std::time::Instant::now();
    while app.socket().query(&query).try_connect().await.is_err() {
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "the place of a stream was not given back");
    }
    drop(stream);
    app.turns().interrupt_all();
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn streams_count_as_connections_of_their_address() {
    let app = TestApp::with(|config| {
        config.limits.connections_per_address = 2;
        config.provider.scripted.tokens = 100_000;
        config.provider.scripted.interval_ms = 20;
    })
    .await;
    let (ada, eve) = (app.user().await, app.user().await);
    let question = json!({"message": "Hello?"});
    let stream = app.events(&ada, &question, None).await.unwrap();
    let socket = app.socket().connect().await;
    let (status, body) = app.events(&eve, &question, None).await.err().unwrap();
    assert_eq!((status, &body["code"]), (429, &json!("TOO_MANY_CONNECTIONS")));
    assert_eq!(hits(&app, "connections_per_address").await, 1);
    socket.close().await;
    drop(stream);
    app.turns().interrupt_all();
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn silent_tcp_connections_are_limited() {
    let app = TestApp::with(|config| {
        config.limits.connections_per_address = 1;
        config.server.request_head_timeout_ms = 60_000;
    })
    .await;
    let address = app.url.strip_prefix("http://").unwrap();
    let operator = app.operator().await;
    let mut silent = Vec::new();
    // 64 are the least that an address may have.
    for _ in 0..80 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    app.stats_when(&operator, |stats| stats["limits"]["tcp_connections_per_address"].as_u64() > Some(0)).await;
    drop(silent);
}
