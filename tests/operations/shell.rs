//! The same from a shell: `switchboard ops` against a running server.

use super::connection_of;
use crate::harness::{PASSWORD, TestApp, TestUser};
use assert_cmd::Command;
use serde_json::{Value, json};

/// Output and error output of the program, and its exit code.
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        &self.out
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap()
    }
}

/// Runs `switchboard ops` in a thread of its own: this one serves.
pub(super) async fn ops(app: &TestApp, token: Option<&str>, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(app.folder.path()).env_remove("SWITCHBOARD_TOKEN").env_remove("RUST_LOG");
    command.args(["ops", "--url", &app.url]).args(arguments).write_stdin(format!("{PASSWORD}\n"));
    if let Some(token) = token {
        command.env("SWITCHBOARD_TOKEN", token);
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub(super) async fn run(app: &TestApp, operator: &TestUser, arguments: &[&str]) -> Ran {
    ops(app, Some(&operator.access_token), arguments).await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn shell_commands_show_and_control_the_server() {
    let app = TestApp::scripted(100_000, 20).await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let mut bystander = app.socket().signed_in(&other).await;
    let id = connection_of(&app, &operator, &user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let frames = socket.read_tokens(first.clone(), 1).await;

    let stats = run(&app, &operator, &["stats"]).await;
    let has = |name: &str, value: &str| {
        stats.ok().lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == [name, value])
    };
    assert!(has("connections", "2") && has("running_turns", "1") && has("limits.frames", "0"), "{}", stats.out);
    let table = run(&app, &operator, &["connections", "--q", &user.email]).await;
    let lines: Vec<_> = table.ok().lines().collect();
    assert!(lines[0].starts_with("CONNECTION") && lines.len() == 3 && lines[2] == "1 of 1", "{}", table.out);
    let cells: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(cells[..6], [&id, &user.email, "127.0.0.1", "chat", "chat.v2", "streaming"], "{}", table.out);
    let page =
        run(&app, &operator, &["connections", "--json", "--sort", "user", "--desc", "--limit", "1"]).await.json();
    assert_eq!((&page["total"], page["connections"].as_array().unwrap().len()), (&json!(2), 1));

    let told = run(&app, &operator, &["notice", "Hello; there", "--warning", "--user", &user.id]).await;
    assert_eq!(told.ok(), "Connections notified: 1.\n");
    let mut frames = frames;
    let notice = loop {
        match socket.next().await {
            frame if frame["type"] == "notice" => break frame,
            frame => frames.push(frame),
        }
    };
    assert_eq!((&notice["message"], &notice["level"]), (&json!("Hello; there"), &json!("warning")));
    let cancelled = run(&app, &operator, &["cancel", first["turn_id"].as_str().unwrap()]).await;
    assert_eq!(cancelled.ok(), "The turn is cancelled.\n");
    assert_eq!(socket.rest_of_turn(frames).await.terminal["finish_reason"], "cancelled");

    let set = run(&app, &operator, &["settings", "--set", "limits.frames_per_s=5", "--json"]).await.json();
    assert_eq!(set["limits"]["frames_per_s"], 5);
    let refused = run(&app, &operator, &["settings", "--set", "limits.frame_burst=0"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("`limits.frame_burst`"), "{}", refused.err);

    assert_eq!(run(&app, &operator, &["kick", &id, "--reason", "Tea time."]).await.ok(), "Connections closed: 1.\n");
    assert_eq!(socket.expect_close_reason().await, (4403, "Tea time.".to_owned()));
    let kicked = run(&app, &operator, &["kick", "--user", &user.id]).await;
    assert_eq!(kicked.ok(), "Connections closed: 0.\nThe user is signed out everywhere.\n");
    assert_eq!(app.get("/api/v1/auth/me", Some(&user)).await.0, 401);

    let drained = run(&app, &operator, &["drain", "--stay"]).await;
    assert_eq!(
        drained.ok(),
        "The server drains 1 connections and 0 running turns, then it keeps running without connections.\n"
    );
    assert_eq!(bystander.expect_close().await, 1001);
    assert_eq!(
        run(&app, &operator, &["undrain"]).await.ok(),
        "The drain is cancelled; the server accepts new connections and turns.\n"
    );

    let audit = run(&app, &operator, &["audit", "--limit", "3"]).await;
    let lines: Vec<_> = audit.ok().lines().collect();
    assert!(
        lines[1].contains(&operator.email) && lines[1].contains("undrain") && lines[1].contains("GMT"),
        "{}",
        audit.out
    );
    assert!(lines[3].contains("kick_user") && lines[3].contains(&user.id), "{}", audit.out);
    let before = lines[4].strip_prefix("More: --before ").unwrap();
    let rest = run(&app, &operator, &["audit", "--before", before, "--json"]).await.json();
    assert_eq!(rest["entries"].as_array().unwrap().len(), 4);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn shell_requires_authentication() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let nobody = ops(&app, None, &["stats"]).await;
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(2), ""));
    assert!(nobody.err.contains("SWITCHBOARD_TOKEN"), "{}", nobody.err);
    let refused = run(&app, &user, &["connections"]).await;
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("403") && refused.err.contains("FORBIDDEN"), "{}", refused.err);
    assert!(refused.err.contains("switchboard user set-role"), "{}", refused.err);
    let forged = ops(&app, Some("x.y.z"), &["audit"]).await;
    assert!(forged.code == Some(1) && forged.err.contains("INVALID_TOKEN") && !forged.err.contains("x.y.z"));
    assert!(forged.err.contains("sign in with --email"), "{}", forged.err);
    let unknown = ops(&app, None, &["--email", "nobody@example.org", "--password-stdin", "stats"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("check --email and the password"), "{}", unknown.err);
    // What is allowed is named to the last word, however long the list is.
    let unsorted = run(&app, &operator, &["connections", "--sort", "frobnicate"]).await;
    assert!(unsorted.code == Some(1) && unsorted.err.contains("`violations` (INVALID_FIELD)"), "{}", unsorted.err);

    let signed_in = ops(&app, None, &["--email", &operator.email, "--password-stdin", "stats", "--json"]).await;
    assert_eq!(signed_in.json()["connections"], 0);
    // An id leads nowhere else, and an address has to be one.
    let elsewhere = run(&app, &operator, &["kick", "../drain"]).await;
    assert!(elsewhere.code == Some(2) && elsewhere.err.contains("`switchboard ops connections`"), "{}", elsewhere.err);
    let unknown = run(&app, &operator, &["kick", &operator.id]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("NOT_FOUND"), "{}", unknown.err);
    assert_eq!(app.get("/health/ready", None).await.0, 200);
    assert_eq!(run(&app, &operator, &["stats", "--url", "soap"]).await.code, Some(2));
    let nowhere = run(&app, &operator, &["stats", "--url", "http://127.0.0.1:1"]).await;
    assert!(nowhere.code == Some(1) && nowhere.err.contains("http://127.0.0.1:1"), "{}", nowhere.err);
    assert!(nowhere.err.contains("Connection refused") && nowhere.err.contains("switchboard serve"), "{}", nowhere.err);
    assert_eq!(run(&app, &operator, &["kick"]).await.code, Some(2));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn users_may_be_named_by_their_address() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    // An account whose address contains the other one.
    let longer = format!("x{}", user.email);
    let body = json!({"email": longer, "password": PASSWORD, "name": "Other"});
    assert_eq!(app.post("/api/v1/auth/register", None, &body).await.0, 201);
    let socket = app.socket().signed_in(&user).await;
    connection_of(&app, &operator, &user).await;

    let list = run(&app, &operator, &["connections", "--user", &user.email]).await;
    assert!(list.ok().ends_with("1 of 1\n"), "{}", list.out);
    let told = run(&app, &operator, &["notice", "Hello", "--user", &user.email.to_uppercase()]).await;
    assert_eq!(told.ok(), "Connections notified: 1.\n");
    let locked = run(&app, &operator, &["lock", &user.email]).await;
    assert_eq!(locked.ok(), "The account is locked. Connections closed: 1.\n");
    assert_eq!(app.post("/api/v1/auth/login", None, &json!({"email": longer, "password": PASSWORD})).await.0, 200);
    assert_eq!(run(&app, &operator, &["unlock", &user.email]).await.ok(), "The account is unlocked.\n");
    assert_eq!(run(&app, &operator, &["kick", "--user", &user.email]).await.code, Some(0));
    drop(socket);

    let nobody = run(&app, &operator, &["lock", "nobody@example.org"]).await;
    assert!(nobody.code == Some(1) && nobody.err.contains("no account has the e-mail address"), "{}", nobody.err);
    for (arguments, words) in [
        (["lock", "ada"], "the id of a user (a UUID) or an e-mail address"),
        (["kick", &user.email], "the id of a connection (a UUID)"),
        (["cancel", &user.email], "the id of a turn (a UUID)"),
        (["tail", &user.email], "the id of a connection (a UUID)"),
    ] {
        let refused = run(&app, &operator, &arguments).await;
        assert!(refused.code == Some(2) && refused.err.contains(words), "{}", refused.err);
    }
    // A refusal that has another cause than the role does not mention roles.
    let own = run(&app, &operator, &["lock", &operator.email]).await;
    assert!(own.code == Some(1) && own.err.contains("your own account"), "{}", own.err);
    assert!(!own.err.contains("set-role"), "{}", own.err);
    let refused = run(&app, &app.user().await, &["lock", &operator.email]).await;
    assert!(refused.code == Some(1) && refused.err.contains("set-role EMAIL operator"), "{}", refused.err);
}
