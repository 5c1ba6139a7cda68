//! Conversation events: `resume` with `last_position`, and the live stream after it.

use crate::harness::{TestApp, TestSocket, TestUser, Transcript};
use serde_json::{Value, json};

async fn v2(app: &TestApp, user: &TestUser) -> TestSocket {
    app.socket().subprotocols("chat.v2").signed_in(user).await
}

fn resume(conversation_id: &str, last_position: i64) -> Value {
    json!({"type": "resume", "conversation_id": conversation_id, "last_position": last_position})
}

fn ask_in(conversation_id: &str, text: &str) -> Value {
    json!({"type": "message", "message": text, "conversation_id": conversation_id})
}

/// Reads until the event at this position and the end of so many turns are there.
async fn read_until(socket: &mut TestSocket, position: i64, turns: usize) -> Vec<Value> {
    let mut frames: Vec<Value> = Vec::new();
    let has_event = |frames: &[Value]| frames.iter().any(|frame| frame["position"] == position);
    let ended = |frames: &[Value]| frames.iter().filter(|frame| frame["type"] == "complete").count();
    while !has_event(&frames) || ended(&frames) < turns {
        frames.push(socket.next().await);
    }
    frames
}

/// The events among frames, which must be those after `from`, in order.
fn events(frames: &[Value], from: i64) -> Vec<Value> {
    let events: Vec<_> = frames.iter().filter(|frame| frame["type"] == "event").cloned().collect();
    let positions: Vec<_> = events.iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (from + 1..).take(events.len()).collect::<Vec<_>>());
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

const TURN: [&str; 4] = ["message", "turn_started", "message", "turn_ended"];

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_resumed_conversation_replays_its_events_and_goes_on_live() {
    let app = TestApp::scripted(5, 1).await;
    let user = app.user().await;
    let (mut asking, mut reading) = (v2(&app, &user).await, v2(&app, &user).await);
    let first = asking.turn(json!({"type": "message", "message": "One", "client_message_id": "m-1"})).await;
    let id = &first.conversation_id;
    reading.send(resume(id, 0)).await;
    let resumed = reading.expect("resumed").await;
    let expected = json!({"type": "resumed", "conversation_id": id, "from_position": 0, "head": 4});
    assert_eq!(resumed, expected);
    let frames = read_until(&mut reading, 4, 0).await;
    let replayed = events(&frames, 0);
    assert_eq!((frames.len(), kinds(&replayed)), (4, TURN.to_vec()));
    let [question, started, answer, ended] = replayed.try_into().unwrap();
    assert_eq!((&question["text"], &question["client_message_id"]), (&json!("One"), &json!("m-1")));
    assert_eq!(question["actor"], json!({"kind": "user", "user_id": user.id}));
    assert_eq!((&started["message_id"], &started["turn_id"]), (&question["message_id"], &json!(first.turn_id)));
    assert_eq!((&answer["text"], &answer["actor"]), (&json!(first.text), &json!({"kind": "assistant"})));
    assert_eq!((&ended["message_id"], &ended["finish_reason"]), (&answer["message_id"], &json!("stop")));
    assert_eq!(answer["message_id"], first.terminal["message_id"]);

    // The next turn of the other connection: its events, and its frames.
    let second = asking.turn(ask_in(id, "Two")).await;
    let frames = read_until(&mut reading, 8, 1).await;
    assert_eq!(kinds(&events(&frames, 4)), TURN);
    let turn: Vec<_> = frames.into_iter().filter(|frame| frame["type"] != "event").collect();
    assert_eq!(Transcript::check(turn).text, second.text);
    // Another resume from the middle.
    reading.send(resume(id, 6)).await;
    let resumed = reading.expect("resumed").await;
    assert_eq!((&resumed["from_position"], &resumed["head"]), (&json!(6), &json!(8)));
    events(&read_until(&mut reading, 8, 0).await, 6);
    // A connection that did not ask for events gets none.
    asking.expect_nothing().await;
    reading.expect_nothing().await;
    asking.close().await;
    reading.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_running_turn_is_announced_after_the_events() {
    let app = TestApp::scripted(60, 20).await;
    let user = app.user().await;
    let (mut asking, mut reading) = (v2(&app, &user).await, v2(&app, &user).await);
    let started = asking.start(json!({"type": "message", "message": "One"})).await;
    let id = started["conversation_id"].as_str().unwrap().to_owned();
    let first = asking.read_tokens(started, 5).await;
    reading.send(resume(&id, 0)).await;
    let frames = read_until(&mut reading, 4, 1).await;
    let types: Vec<_> = frames.iter().take(4).map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["resumed", "event", "event", "resumed"]);
    let turn = &frames[3];
    assert_eq!((&turn["turn_id"], &turn["from_seq"]), (&first[0]["turn_id"], &json!(0)));
    assert!(turn["turn"].is_u64(), "{turn}");
    assert_eq!(kinds(&events(&frames, 0)), TURN);
    let turn = frames.into_iter().skip(4).filter(|frame| frame["type"] != "event").collect();
    let (seen, asked) = (Transcript::check(turn), asking.rest_of_turn(first).await);
    assert_eq!(seen.text, asked.text);
    reading.expect_nothing().await;
    asking.close().await;
    reading.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn reconnecting_during_turns_loses_and_repeats_no_event() {
    const TURNS: i64 = 30;
    let app = TestApp::scripted(3, 1).await;
    let user = app.user().await;
    let mut asking = v2(&app, &user).await;
    let id = asking.ask("Begin").await.conversation_id;
    let (mut last, head) = (0, 4 * (TURNS + 1));
    let asks = async {
        for n in 0..TURNS {
            asking.turn(ask_in(&id, &format!("Question {n}"))).await;
        }
    };
    let reads = async {
        for round in 1.. {
            let mut reading = v2(&app, &user).await;
            reading.send(resume(&id, last)).await;
            // A different number of frames each time.
            let mut frames = Vec::new();
            while frames.len() < round % 23 + 1 && !frames.iter().any(|frame: &Value| frame["position"] == head) {
                frames.push(reading.next().await);
            }
            let seen = events(&frames, last);
            last = seen.last().map_or(last, |event| event["position"].as_i64().unwrap());
            reading.close().await;
            if last == head {
                break;
            }
        }
    };
    tokio::join!(asks, reads);
    asking.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_client_that_missed_too_much_starts_near_the_head() {
    let app = TestApp::scripted(1, 0).await;
    let user = app.user().await;
    let mut socket = v2(&app, &user).await;
    let id = socket.ask("Begin").await.conversation_id;
    for n in 0..250 {
        socket.turn(ask_in(&id, &n.to_string())).await;
    }
    socket.send(resume(&id, 4)).await;
    assert_eq!(socket.expect("resumed").await["from_position"], 4);
    events(&read_until(&mut socket, 1_004, 0).await, 4);
    socket.send(resume(&id, 3)).await;
    let resumed = socket.expect("resumed").await;
    assert_eq!((&resumed["from_position"], &resumed["head"]), (&json!(804), &json!(1_004)));
    assert_eq!(resumed["snapshot"], true);
    events(&read_until(&mut socket, 1_004, 0).await, 804);
    // Older events over REST.
    let path = format!("/api/v1/conversations/{id}/events");
    let (_, page) = app.get(&format!("{path}?before=805&limit=200"), Some(&user)).await;
    let positions = page["events"].as_array().unwrap().iter().map(|event| event["position"].as_i64().unwrap());
    assert_eq!(positions.collect::<Vec<_>>(), (605..805).collect::<Vec<_>>());
    assert_eq!(page["next"], 605);
    let (_, page) = app.get(&format!("{path}?before=3"), Some(&user)).await;
    assert_eq!((page["events"].as_array().unwrap().len(), page.get("next")), (2, None));
    assert_eq!(page["events"][0]["kind"], "message");
    let stranger = app.user().await;
    assert_eq!(app.get(&path, Some(&stranger)).await.1["code"], "FORBIDDEN");
    // A client of a server that was restored from a backup.
    socket.send(resume(&id, 5_000)).await;
    assert_eq!(socket.expect("resumed").await["snapshot"], true);
    events(&read_until(&mut socket, 1_004, 0).await, 804);
    socket.expect_nothing().await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_and_forbidden_requests_are_refused() {
    let app = TestApp::scripted(2, 0).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = v2(&app, &user).await;
    let first = socket.ask("One").await;
    let id = &first.conversation_id;
    for (field, value) in [("turn_id", json!(first.turn_id)), ("last_seq", json!(-1)), ("last_position", json!(-1))] {
        let mut frame = resume(id, 0);
        frame[field] = value;
        socket.send(frame).await;
        let error = socket.expect_error("INVALID_FIELD").await;
        assert!(error["error"].as_str().unwrap().contains("last_position"), "{error}");
    }
    socket.send(resume("01890a5d-ac96-774b-bcce-b302099a8057", 0)).await;
    socket.expect_error("NOT_FOUND").await;
    let mut classic = app.socket().signed_in(&user).await;
    classic.send(resume(id, 0)).await;
    let error = classic.expect_error("INVALID_FIELD").await;
    assert!(error["error"].as_str().unwrap().contains("chat.v2"), "{error}");
    let mut other = v2(&app, &stranger).await;
    other.send(resume(id, 0)).await;
    other.expect_error("FORBIDDEN").await;
    // Nothing of the conversation reaches a connection that was refused.
    socket.turn(ask_in(id, "Two")).await;
    for mut socket in [other, classic] {
        socket.send(json!({"type": "ping", "id": 1})).await;
        while socket.next().await["type"] != "pong" {}
        socket.close().await;
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_subscriber_learns_that_the_conversation_was_deleted() {
    let app = TestApp::scripted(2, 0).await;
    let user = app.user().await;
    let mut socket = v2(&app, &user).await;
    let [deleted, kept] = [socket.ask("One").await.conversation_id, socket.ask("Two").await.conversation_id];
    for id in [&deleted, &kept] {
        socket.send(resume(id, 4)).await;
        socket.expect("resumed").await;
    }
    assert_eq!(app.delete(&format!("/api/v1/conversations/{deleted}"), Some(&user)).await.0, 204);
    let error = socket.expect_error("NOT_FOUND").await;
    assert_eq!((&error["conversation_id"], &error["retryable"]), (&json!(deleted), &json!(false)));
    socket.expect_nothing().await;
    // Events of the other conversation still arrive.
    let mut asking = v2(&app, &user).await;
    asking.turn(ask_in(&kept, "Three")).await;
    events(&read_until(&mut socket, 8, 1).await, 4);
    asking.close().await;
    socket.close().await;
}
