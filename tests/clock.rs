//! The program with a clock that is wrong for a while: ahead, behind, and at its start. The clock is libfaketime's.

use crate::{
    harness::{PASSWORD, TestUser, eventually, holds, needs_installed},
    program::{NO_SEED, Program, SCRIPTED},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// The library that `.ci/install-test-tools.sh` installs.
fn library() -> String {
    needs_installed("libfaketime");
    let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is not installed: run .ci/install-test-tools.sh").to_str().unwrap().to_owned()
}

/// A folder with a database, and the clock of the servers that run on it.
struct Machine {
    folder: TempDir,
    clock: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = folder.path().join("clock");
        let machine = Self { folder, clock };
        machine.set_clock(0);
        machine
    }

    /// The clock of a running server is so many seconds ahead from now on.
    fn set_clock(&self, ahead_s: i64) {
        // Never half written: the server reads it at every look at its clock.
        let next = self.folder.path().join("next-clock");
        fs::write(&next, format!("{ahead_s:+}\n")).unwrap();
        fs::rename(next, &self.clock).unwrap();
    }

    async fn serve(&self, settings: &[(&str, &str)]) -> Program {
        let (library, clock) = (library(), self.clock.to_str().unwrap().to_owned());
        let mut all = vec![
            SCRIPTED,
            NO_SEED,
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_RESET", "1"),
        ];
        all.extend(settings);
        Program::serve(self.folder.path(), &all).await
    }

    /// `switchboard user …` in a shell whose clock is so many seconds ahead.
    fn user_command(&self, ahead_s: i64, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.arg("user").args(arguments).current_dir(self.folder.path()).stdout(Stdio::null());
        command.env("LD_PRELOAD", library()).env("FAKETIME", format!("{ahead_s:+}"));
        assert!(command.status().unwrap().success(), "{arguments:?}");
    }
}

async fn code_of_me(program: &Program, user: &TestUser) -> Option<String> {
    let (status, me) = program.get("/api/v1/auth/me", user).await;
    (status != 200).then(|| me["code"].as_str().unwrap().to_owned())
}

async fn refresh(program: &Program, user: &TestUser) -> (u16, Value) {
    program.post("/api/v1/auth/refresh", None, &json!({"refresh_token": user.refresh_token})).await
}

async fn login(program: &Program, email: &str, password: &str) -> u16 {
    program.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await.0
}

/// Waits until the token is refused, which takes as long as the server takes to look at the database.
async fn refused_in_time(program: &Program, user: &TestUser) {
    eventually(async || holds(code_of_me(program, user).await.is_some(), "the token is still good")).await;
}

#[tokio::test]
async fn a_fresh_token_is_good_while_the_clock_is_set_back() {
    let machine = Machine::new();
    let program = machine.serve(&[]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    for back_s in [0, 3, 30, 50] {
        machine.set_clock(-back_s);
        assert_eq!(code_of_me(&program, &user).await, None, "{back_s} s");
        let mut socket = program.socket().signed_in(&user).await;
        assert_eq!(socket.ask("Hi").await.terminal["type"], "complete");
        socket.close().await;
    }
    // From further back a client gets out by renewing its token.
    machine.set_clock(-10 * HOUR_S);
    assert_eq!(code_of_me(&program, &user).await.as_deref(), Some("INVALID_TOKEN"));
    let (status, renewed) = refresh(&program, &user).await;
    assert_eq!((status, code_of_me(&program, &TestUser::from_answer(&renewed)).await), (200, None));
}

#[tokio::test]
async fn clock_that_is_ahead_restores_no_token_and_deletes_no_entry() {
    let machine = Machine::new();
    let settings = [("SWITCHBOARD__AUTH__ACCESS_TOKEN_TTL_S", "86400")];
    let mut program = machine.serve(&settings).await;
    let signed_out = program.sign_in("register", "ada@example.org").await;
    let locked = program.sign_in("register", "bob@example.org").await;
    let stays = program.sign_in("register", "eve@example.org").await;
    program.sign_in("register", "op@example.org").await;
    machine.user_command(0, &["set-role", "op@example.org", "operator"]);
    let operator = program.sign_in("login", "op@example.org").await;
    let notice = json!({"message": "This is recorded."});
    assert_eq!(program.post("/api/v1/notices", Some(&operator), &notice).await.0, 200);
    let token = json!({"refresh_token": signed_out.refresh_token});
    let logout = reqwest::Client::new().post(format!("{}/api/v1/auth/logout", program.url)).json(&token);
    assert_eq!(logout.send().await.unwrap().status(), 204);
    machine.user_command(0, &["lock", &locked.email]);
    refused_in_time(&program, &locked).await;
    assert!(code_of_me(&program, &signed_out).await.is_some());

    for ahead_s in [25 * HOUR_S, 500 * DAY_S] {
        // While it runs, and when it starts: then it looks at once what is too old.
        machine.set_clock(ahead_s);
        let newcomer = format!("{ahead_s}@example.org");
        program.sign_in("register", &newcomer).await;
        program.child.kill().await.unwrap();
        program = machine.serve(&settings).await;
        program.sign_in("login", &newcomer).await;
        // Time for everything that deletes what is old.
        tokio::time::sleep(Duration::from_secs(3)).await;
        machine.set_clock(0);
        for revoked in [&signed_out, &locked] {
            assert_eq!(code_of_me(&program, revoked).await.as_deref(), Some("EXPIRED_TOKEN"), "{}", revoked.email);
        }
        assert_eq!(code_of_me(&program, &stays).await, None);
        let (_, audit) = program.get("/api/v1/audit", &operator).await;
        assert_eq!(audit["entries"].as_array().unwrap().len(), 1, "{audit}");
    }
    assert_eq!(refresh(&program, &stays).await.0, 200);
}

#[tokio::test]
async fn commands_under_a_wrong_clock_take_effect_and_can_be_undone() {
    let machine = Machine::new();
    let program = machine.serve(&[]).await;
    for (number, ahead_s) in [30 * DAY_S, -30 * DAY_S].into_iter().enumerate() {
        let user = program.sign_in("register", &format!("user{number}@example.org")).await;
        machine.user_command(ahead_s, &["lock", &user.email]);
        refused_in_time(&program, &user).await;
        assert_eq!(login(&program, &user.email, PASSWORD).await, 403);
        machine.user_command(0, &["unlock", &user.email]);
        assert_eq!(login(&program, &user.email, PASSWORD).await, 200, "{ahead_s}");
        let again = program.sign_in("login", &user.email).await;
        assert_eq!(code_of_me(&program, &again).await, None, "{ahead_s}");
        assert_eq!(refresh(&program, &again).await.0, 200);
    }
}

#[tokio::test]
async fn a_used_refresh_token_returns_the_same_pair_after_a_restart_too_but_not_for_long() {
    let machine = Machine::new();
    let mut program = machine.serve(&[]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let (_, first) = refresh(&program, &user).await;
    let exchanged = Instant::now();
    program.child.kill().await.unwrap();
    program = machine.serve(&[]).await;
    // However long the start took, the clock says that the exchange was just now.
    let elapsed = || i64::try_from(exchanged.elapsed().as_secs()).unwrap();
    machine.set_clock(-elapsed());
    let (status, again) = refresh(&program, &user).await;
    assert_eq!(status, 200, "{again}");
    for name in ["access_token", "refresh_token"] {
        assert_eq!(again[name], first[name], "{name}");
    }
    program.child.kill().await.unwrap();
    program = machine.serve(&[]).await;
    machine.set_clock(HOUR_S);
    assert_eq!(refresh(&program, &user).await.1["code"], "EXPIRED_TOKEN");
    let successor = TestUser::from_answer(&first);
    assert_eq!(refresh(&program, &successor).await.1["code"], "EXPIRED_TOKEN", "the sign-in has ended");
}
