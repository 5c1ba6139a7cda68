//! Settings that change while the server runs.

use super::audited;
use crate::harness::{Program, TestApp};
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn changed_limits_apply_to_new_connections() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let (status, before) = app.get("/api/v1/settings", Some(&operator)).await;
    assert_eq!((status, &before["limits"]["connections_per_user"]), (200, &json!(100)));
    let change = async |body: Value| {
        let (status, answer) = app.patch("/api/v1/settings", Some(&operator), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };

    let first = app.socket().signed_in(&user).await;
    let changed = change(json!({"limits": {"connections_per_user": 1}})).await;
    assert_eq!(changed["limits"]["connections_per_user"], 1);
    assert_eq!(changed["limits"]["connections_per_address"], before["limits"]["connections_per_address"]);
    let query = format!("token={}", user.access_token);
    assert_eq!(app.socket().query(&query).try_connect().await.err().unwrap().0, 429);
    change(json!({"limits": {"connections_per_user": 2}})).await;
    let mut old = app.socket().query(&query).connect().await;
    old.expect("auth_success").await;
    first.close().await;

    // Frames: a socket keeps the limit with which it began.
    change(json!({"limits": {"frames_per_s": 1, "frame_burst": 2, "violations_per_minute": 0}})).await;
    let mut new = app.socket().connect().await;
    for n in 0..3 {
        old.send(json!({"type": "ping", "id": n})).await;
        assert_eq!(old.expect("pong").await["id"], n);
        new.send(json!({"type": "ping", "id": n})).await;
    }
    new.expect("pong").await;
    new.expect("pong").await;
    new.expect_error("RATE_LIMITED").await;
    let page = app.get("/api/v1/connections?sort=violations&order=desc", Some(&operator)).await.1;
    assert_eq!((&page["connections"][0]["violations"], &page["connections"][1]["violations"]), (&json!(1), &json!(0)));

    change(json!({"limits": {"logins_per_minute_per_account": 1}})).await;
    let login = json!({"email": user.email, "password": "wrong"});
    assert_eq!(app.post("/api/v1/auth/login", None, &login).await.0, 401);
    assert_eq!(app.post("/api/v1/auth/login", None, &login).await.0, 429);
    assert!(audited(&app, &operator, 9).await.iter().all(|(action, ..)| action == "change_settings"));
    let (_, page) = app.get("/api/v1/audit?limit=1", Some(&operator)).await;
    assert_eq!(page["entries"][0]["detail"], json!({"limits": {"logins_per_minute_per_account": 1}}));
    old.close().await;
    new.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn number_of_permits_changes_while_turns_run() {
    let app = TestApp::with(|config| {
        config.session.max_running_turns = 1;
        config.workflow.admission_wait_ms = 0;
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100_000, 20);
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let change = async |name: &str, max: u32| {
        let (status, answer) = app.patch("/api/v1/settings", Some(&operator), &json!({"workflow": {name: max}})).await;
        assert_eq!((status, &answer["workflow"][name]), (200, &json!(max)), "{answer}");
    };
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(app.socket().signed_in(&user).await);
    }
    let ask = json!({"type": "message", "message": "Hi"});
    let first = sockets[0].start(ask.clone()).await;
    let second = sockets[1].start(ask.clone()).await;
    change("max_running_turns", 1).await;
    sockets[2].send(ask.clone()).await;
    sockets[2].expect_error("OVERLOADED").await;
    // Those that run go on; with one of them gone there is still none free.
    sockets[0].send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    sockets[0].rest_of_turn(vec![first]).await;
    sockets[2].send(ask.clone()).await;
    sockets[2].expect_error("OVERLOADED").await;
    change("max_running_turns", 3).await;
    let third = sockets[2].start(ask.clone()).await;
    change("max_running_turns_per_user", 2).await;
    sockets[0].send(ask.clone()).await;
    sockets[0].expect_error("OVERLOADED").await;
    change("max_running_turns_per_user", 0).await;
    let first = sockets[0].start(ask).await;
    for (socket, begun) in sockets.iter_mut().zip([first, second, third]) {
        socket.send(json!({"type": "cancel", "turn_id": begun["turn_id"]})).await;
        assert_eq!(socket.rest_of_turn(vec![begun]).await.terminal["finish_reason"], "cancelled");
    }
    for socket in sockets {
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_setting_is_refused_by_name_and_changes_nothing() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let (_, before) = app.get("/api/v1/settings", Some(&operator)).await;
    for (body, named) in [
        (json!({"limits": {"frame_burst": 0, "frames_per_s": 3}}), "`limits.frame_burst`"),
        (json!({"limits": {"connections_per_user": 10_000_001}}), "`limits.connections_per_user`"),
        (json!({"limits": {"connections_per_user": -1}}), "`limits.connections_per_user`"),
        (json!({"limits": {"connections_per_user": "many"}}), "`limits.connections_per_user`"),
        (json!({"limits": {"json_depth": 4}}), "json_depth"),
        (json!({"limits": []}), "`limits`"),
        (json!({"limits": {"frame_burst": 50}, "workflow": [100, 10]}), "`workflow`"),
        (json!({"workflow": 5}), "`workflow`"),
        (json!({"limits": {"frames_per_s": 5}, "workflow": {"max_running_turns": 0}}), "`workflow.max_running_turns`"),
        (json!({"workflow": {"max_running_turns": 1}}), "workflow.max_running_turns"),
        (json!({"log_level": "info,x=loud"}), "`log_level`"),
        (json!({"log_level": ""}), "`log_level`"),
        (json!({"auth": {"jwt_secret": "mine"}}), "auth"),
    ] {
        let (status, answer) = app.patch("/api/v1/settings", Some(&operator), &body).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(named), "{body}: {answer}");
    }
    assert_eq!(app.get("/api/v1/settings", Some(&operator)).await.1, before);
    assert!(audited(&app, &operator, 9).await.is_empty());
    assert!(!before.to_string().contains("secret"), "{before}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn log_level_changes_while_the_program_runs() {
    let program = Program::start(&[("log.level", "warn")]);
    let operator = program.operator().await;
    let http = reqwest::Client::new();
    let set = async |level: &str| {
        let request = http.patch(format!("{}/api/v1/settings", program.url)).bearer_auth(&operator.access_token);
        let answer: Value = request.json(&json!({"log_level": level})).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["log_level"], level, "{answer}");
    };
    let opened = |log: &str| log.matches("connection opened").count();
    program.socket().connect().await.close().await;
    assert_eq!(opened(&program.log()), 0);
    set("warn,switchboard::session=info").await;
    program.socket().connect().await.close().await;
    let log = program.log_when(|log| opened(log) == 1).await;
    assert!(!log.contains("operator action finished"), "{log}");
    set("off").await;
    program.socket().connect().await.close().await;
    assert_eq!(opened(&program.log()), 1);
    set("info").await;
    program.socket().connect().await.close().await;
    let log = program.log_when(|log| opened(log) == 2 && log.contains("operator action finished")).await;
    assert!(!log.contains(&operator.email));
}
