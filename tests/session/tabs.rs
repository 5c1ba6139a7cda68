//! Several sockets of one user, and those of others.

use crate::harness::{TestApp, TestUser, Transcript, conversation_of, in_v2_names};
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use serde_json::{Value, json};
use std::time::Duration;
use switchboard::config::ScriptedConfig;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_subscribed_connection_of_a_user_gets_every_frame() {
    let app = TestApp::scripted(20, 5).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut one = app.socket().signed_in(&user).await;
    let mut two = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let elsewhere = app.socket().signed_in(&user).await;
    let mut other = app.socket().signed_in(&stranger).await;
    let first = one.ask("One").await;
    // The second tab opens the conversation; the stranger tries to.
    let open = json!({"type": "resume", "session_id": first.conversation_id, "last_seq": 19});
    two.send(open.clone()).await;
    two.expect("resumed").await;
    two.expect("complete").await;
    other.send(open).await;
    other.expect_error("FORBIDDEN").await;

    for (asking, following) in [(true, "Two"), (false, "Three")] {
        let message = json!({"type": "message", "message": following, "session_id": first.conversation_id});
        if asking {
            one.send(message).await
        } else {
            two.send(message).await
        }
        let (seen_by_one, seen_by_two) = (one.rest_of_turn(Vec::new()).await, two.rest_of_turn(Vec::new()).await);
        assert_eq!(in_v2_names(&seen_by_one.terminal), in_v2_names(&seen_by_two.terminal));
        assert_eq!((seen_by_one.steps.len(), seen_by_two.steps.len()), (4, 4));
        assert_eq!(seen_by_one.text, seen_by_two.text);
    }
    for mut socket in [one, two, elsewhere, other] {
        socket.expect_nothing().await;
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn another_user_cannot_block_a_conversation() {
    let app = TestApp::scripted(30, 10).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut other = app.socket().signed_in(&stranger).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    // Not even that it is busy is a stranger's to know.
    other.send(json!({"type": "message", "message": "Hi", "session_id": conversation_of(&first)})).await;
    other.expect_error("FORBIDDEN").await;
    socket.rest_of_turn(vec![first]).await;
    socket.close().await;
    other.close().await;
}

/// State of a client that opens a conversation: the messages, and the turn to resume.
struct Opened {
    messages: Vec<Value>,
    resume: Value,
}

async fn open(app: &TestApp, user: &TestUser, conversation_id: &str) -> Opened {
    let messages = app.history(user, conversation_id).await;
    let last = messages.last().unwrap();
    let last_seq = last.get("last_seq").cloned().unwrap_or(json!(-1));
    let resume =
        json!({"type": "resume", "session_id": conversation_id, "turn_id": last["turn_id"], "last_seq": last_seq});
    Opened { messages, resume }
}

/// Starts a turn, over each of the ways there are.
async fn ask_in(app: &TestApp, user: &TestUser, way: usize, question: &str, conversation_id: &str) {
    let message = json!({"message": question, "session_id": conversation_id});
    match way % 3 {
        0 => {
            let mut socket = app.socket().signed_in(user).await;
            let mut frame = message;
            frame["type"] = json!("message");
            socket.turn(frame).await;
            socket.close().await;
        }
        1 => {
            let (status, answer) = app.post("/api/v1/chat", Some(user), &message).await;
            assert_eq!(status, 200, "{answer}");
        }
        _ => {
            let request = app.http.post(format!("{}/api/v1/chat", app.url)).header("Accept", "text/event-stream");
            let answer = request.bearer_auth(&user.access_token).json(&message).send().await.unwrap();
            assert!(answer.text().await.unwrap().contains("complete"));
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_starting_while_a_tab_subscribes_is_delivered_once() {
    let app = TestApp::with(|config| {
        config.server.workers = 4;
        config.provider.scripted = ScriptedConfig { tokens: 8, interval_ms: 1, ..ScriptedConfig::default() };
    })
    .await;
    let user = app.user().await;
    for dialect in ["chat.v1", "chat.v2"] {
        let mut asking = app.socket().signed_in(&user).await;
        let conversation_id = asking.ask("One").await.conversation_id;
        asking.close().await;
        for round in 0..36_u64 {
            let question = format!("Question {round}");
            let asked = async {
                tokio::time::sleep(Duration::from_micros(round * 700 % 9_000)).await;
                ask_in(&app, &user, usize::try_from(round).unwrap(), &question, &conversation_id).await;
            };
            let opening = async {
                tokio::time::sleep(Duration::from_micros(round * 1_100 % 7_000)).await;
                let opened = open(&app, &user, &conversation_id).await;
                let mut tab = app.socket().subprotocols(dialect).signed_in(&user).await;
                tab.send(opened.resume.clone()).await;
                (opened, tab)
            };
            let ((), (opened, mut tab)) = tokio::join!(asked, opening);
            let in_history = opened.messages.iter().filter(|message| message["content"] == question).count();
            let resumed = tab.expect("resumed").await;
            assert_eq!(resumed["turn_id"], opened.resume["turn_id"]);
            // The answer to the resume, and the new turn unless the history had it already.
            let named_is_new = in_history == 1;
            let frames = tab.frames_of_turns(if named_is_new { 1 } else { 2 }).await;
            tab.expect_nothing().await;
            tab.close().await;
            if opened.resume["last_seq"] == -1 {
                assert!(named_is_new, "only a turn that runs has no answer yet");
            }
            let (named, new): (Vec<_>, Vec<_>) =
                frames.into_iter().partition(|frame| frame["turn_id"] == opened.resume["turn_id"]);
            let shown = if named_is_new { named } else { new };
            if opened.resume["last_seq"] == -1 || !named_is_new {
                assert_eq!(shown[0]["question"], json!(question), "round {round}");
                Transcript::check(shown);
            } else {
                assert_eq!(shown.len(), 1, "the history had the answer: {shown:?}");
            }
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn missed_turns_are_replayed_once_with_their_questions() {
    for retention_s in [300, 0] {
        let app = TestApp::with(|config| config.workflow.turn_retention_s = retention_s).await;
        let user = app.user().await;
        let mut asking = app.socket().signed_in(&user).await;
        let conversation_id = asking.ask("One").await.conversation_id;
        let opened = open(&app, &user, &conversation_id).await;
        let mut missed = Vec::new();
        for question in ["Two", "Three", "Four"] {
            let frame = json!({"type": "message", "message": question, "session_id": conversation_id, "client_message_id": question});
            missed.push(asking.turn(frame).await);
        }
        for dialect in ["chat.v1", "chat.v2"] {
            let mut tab = app.socket().subprotocols(dialect).signed_in(&user).await;
            tab.send(opened.resume.clone()).await;
            let resumed = tab.expect("resumed").await;
            assert_eq!((&resumed["state"], resumed.get("reload_history")), (&json!("complete"), None));
            let frames = tab.frames_of_turns(4).await;
            for (turn, question) in missed.iter().zip(["Two", "Three", "Four"]) {
                let shown = Transcript::of_turn(&frames, &json!(turn.turn_id));
                assert_eq!((&shown.text, in_v2_names(&shown.terminal)), (&turn.text, in_v2_names(&turn.terminal)));
                assert_eq!(
                    (&shown.progress[0]["question"], &shown.progress[0]["client_message_id"]),
                    (&json!(question), &json!(question))
                );
            }
            tab.expect_nothing().await;
            tab.close().await;
        }
        // With more than are replayed, the history is to be read.
        for n in 0..14 {
            asking.turn(json!({"type": "message", "message": format!("{n}"), "session_id": conversation_id})).await;
        }
        let mut tab = app.socket().signed_in(&user).await;
        tab.send(opened.resume.clone()).await;
        assert_eq!(tab.expect("resumed").await["reload_history"], true);
        tab.expect("complete").await;
        tab.expect_nothing().await;
        tab.close().await;
        asking.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn empty_conversation_resumes_as_idle_and_deleted_one_is_refused() {
    let app = TestApp::start().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut asking = app.socket().signed_in(&user).await;
    let conversation_id = asking.ask("One").await.conversation_id;
    app.turns().forget_conversation(conversation_id.parse().unwrap());
    let path = app.database_url().strip_prefix("sqlite://").unwrap().to_owned();
    let mut database = SqliteConnection::establish(&path).unwrap();
    diesel::sql_query("DELETE FROM turns").execute(&mut database).unwrap();

    for dialect in ["chat.v1", "chat.v2"] {
        let mut tab = app.socket().subprotocols(dialect).signed_in(&user).await;
        tab.send(json!({"type": "resume", "conversation_id": conversation_id})).await;
        let idle = json!({"type": "resumed", "conversation_id": conversation_id, "state": "idle"});
        assert_eq!(in_v2_names(&tab.next().await), idle);
        let asked = asking.turn(json!({"type": "message", "message": "Two", "session_id": conversation_id})).await;
        let shown = tab.rest_of_turn(Vec::new()).await;
        assert_eq!(shown.progress[0]["question"], "Two");
        assert_eq!(in_v2_names(&shown.terminal), in_v2_names(&asked.terminal));
        tab.close().await;
        app.turns().forget_conversation(conversation_id.parse().unwrap());
        diesel::sql_query("DELETE FROM turns").execute(&mut database).unwrap();
    }

    let mut other = app.socket().signed_in(&stranger).await;
    other.send(json!({"type": "resume", "session_id": conversation_id})).await;
    other.expect_error("FORBIDDEN").await;
    other.close().await;
    assert_eq!(app.delete(&format!("/api/v1/conversations/{conversation_id}"), Some(&user)).await.0, 204);
    asking.send(json!({"type": "resume", "session_id": conversation_id})).await;
    asking.expect_error("RESUME_UNAVAILABLE").await;
    asking.close().await;
}
