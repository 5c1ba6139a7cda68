//! Messages and the turns they start.

use crate::harness::{TestApp, Transcript, conversation_of};
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn answer_arrives_as_progress_steps_then_tokens() {
    let app = TestApp::scripted(20, 1).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    assert_eq!(turn.steps, ["starting", "agent_routing", "rag_retrieval", "generating"]);
    // Later steps add what the earlier ones found.
    let found: Vec<_> =
        turn.progress.iter().map(|frame| (frame["agent"].as_str(), frame["sources"].is_array())).collect();
    assert_eq!(found, [(None, false), (None, false), (Some("specs"), false), (Some("specs"), true)]);
    assert_eq!(turn.tokens.len(), 20);
    assert_eq!(turn.terminal["finish_reason"], "stop");
    assert_eq!(turn.terminal["metadata"]["agent"], "specs");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_empty_message_is_refused() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    for nothing in ["", " \n\t", "\u{3000}\u{a0}"] {
        socket.send(json!({"type": "message", "message": nothing})).await;
        socket.expect_error("EMPTY_MESSAGE").await;
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn message_length_limit_counts_characters() {
    let app = TestApp::with(|config| config.session.max_message_chars = 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(socket.ask(&"ü🚗".repeat(5)).await.terminal["finish_reason"], "stop");
    socket.send(json!({"type": "message", "message": format!("{}x", "ü🚗".repeat(5))})).await;
    let error = socket.expect_error("MESSAGE_TOO_LONG").await;
    assert!(error["error"].as_str().unwrap().contains("10"), "{error}");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn error_for_invalid_json_names_the_position() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let id = "0190c0de-0000-7000-8000-000000000000";
    let message = |fields: Value| {
        let mut frame = json!({"type": "message", "message": "Hi"});
        frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        frame.to_string()
    };
    let wrong = [
        ("{\"type\":\n  nonsense}".to_owned(), "INVALID_JSON", "line 2, column 4"),
        (String::new(), "INVALID_JSON", "line 1"),
        ("{}{}".to_owned(), "INVALID_JSON", "column 3"),
        ("[]".to_owned(), "INVALID_JSON", "object"),
        ("\"ping\"".to_owned(), "INVALID_JSON", "object"),
        ("[".repeat(10_000), "INVALID_JSON", "nested"),
        ("{}".to_owned(), "INVALID_FIELD", "`type`"),
        (json!({"type": 7}).to_string(), "INVALID_FIELD", "`type`"),
        (json!({"type": "shout"}).to_string(), "UNKNOWN_TYPE", "shout"),
        // Taken for later, and not spoken yet.
        (json!({"type": "typing"}).to_string(), "UNKNOWN_TYPE", "typing"),
        (json!({"type": "message"}).to_string(), "INVALID_FIELD", "`message`"),
        (json!({"type": "message", "message": 7}).to_string(), "INVALID_FIELD", "`message`"),
        (message(json!({"session_id": "nonsense"})), "INVALID_FIELD", "`session_id`"),
        (message(json!({"client_message_id": ""})), "INVALID_FIELD", "`client_message_id`"),
        (message(json!({"client_message_id": "x".repeat(201)})), "INVALID_FIELD", "`client_message_id`"),
        (message(json!({"customer_id": "x".repeat(201)})), "INVALID_FIELD", "`customer_id`"),
        (message(json!({"attachments": [{"name": "photo.jpg"}]})), "INVALID_FIELD", "`attachments`"),
        (message(json!({"attachments": "photo.jpg"})), "INVALID_FIELD", "`attachments`"),
        (message(json!({"metadata": []})), "INVALID_FIELD", "`metadata`"),
        (message(json!({"metadata": {"script": {"tokens": -1}}})), "INVALID_FIELD", "`metadata.script.tokens`"),
        (message(json!({"metadata": {"script": {"tokens": 100_001}}})), "INVALID_FIELD", "`metadata.script.tokens`"),
        (message(json!({"metadata": {"script": {"speed": 9}}})), "INVALID_FIELD", "speed"),
        (json!({"type": "auth"}).to_string(), "INVALID_FIELD", "`token`"),
        (json!({"type": "resume"}).to_string(), "INVALID_FIELD", "`session_id`"),
        (json!({"type": "resume", "session_id": id, "last_seq": -2}).to_string(), "INVALID_FIELD", "`last_seq`"),
        (json!({"type": "resume", "session_id": id, "last_seq": 1.5}).to_string(), "INVALID_FIELD", "`last_seq`"),
        (json!({"type": "resume", "session_id": id, "last_seq": u64::MAX}).to_string(), "INVALID_FIELD", "`last_seq`"),
        (json!({"type": "cancel"}).to_string(), "INVALID_FIELD", "`turn_id`"),
        (json!({"type": "ping", "id": "x".repeat(300)}).to_string(), "INVALID_FIELD", "`id`"),
    ];
    for (frame, code, place) in wrong {
        socket.send_text(frame.clone()).await;
        let error = socket.expect_error(code).await;
        assert!(error["error"].as_str().unwrap().contains(place), "{frame:.200}: {error}");
        assert_eq!(error["retryable"], false);
    }
    // None of it harmed the socket.
    socket.ask("Hi").await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unknown_fields_are_ignored() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let frame = json!({"type": "message", "message": "Hi", "color": "red", "attachments": [],
        "metadata": {"page": 7}, "customer_id": "c-1"});
    assert_eq!(socket.turn(frame).await.terminal["finish_reason"], "stop");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn ping_is_answered_before_authentication() {
    let app = TestApp::start().await;
    let mut socket = app.socket().connect().await;
    for id in [json!("a"), json!(7), json!({"n": [1, null]})] {
        socket.send(json!({"type": "ping", "id": id})).await;
        assert_eq!(socket.expect("pong").await, json!({"type": "pong", "id": id}));
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.expect("pong").await, json!({"type": "pong"}));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_conversation_belongs_to_one_user() {
    let app = TestApp::start().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("Hi").await;
    let mut other = app.socket().signed_in(&stranger).await;
    other.send(json!({"type": "message", "message": "Hi", "session_id": turn.conversation_id})).await;
    let error = other.expect_error("FORBIDDEN").await;
    assert_eq!(*conversation_of(&error), turn.conversation_id);
    other.send(json!({"type": "message", "message": "Hi", "session_id": uuid::Uuid::now_v7()})).await;
    other.expect_error("NOT_FOUND").await;
    // Nothing of it came to the owner, or into the history.
    socket.expect_nothing().await;
    assert_eq!(app.history(&user, &turn.conversation_id).await.len(), 2);
    socket.close().await;
    other.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn consecutive_messages_continue_the_conversation() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.ask("One").await;
    let second = socket.turn(json!({"type": "message", "message": "Two", "session_id": first.conversation_id})).await;
    let third = socket.turn(json!({"type": "message", "message": "Three", "session_id": first.conversation_id})).await;
    assert_eq!([&second.conversation_id, &third.conversation_id], [&first.conversation_id; 2]);
    let history = app.history(&user, &first.conversation_id).await;
    let said: Vec<_> = history.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(said, ["user", "assistant", "user", "assistant", "user", "assistant"]);
    let asked: Vec<_> = history.iter().step_by(2).map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(asked, ["One", "Two", "Three"]);
    assert_eq!(history[5]["content"], third.text);
    assert_eq!(history[5]["message_id"], third.terminal["message_id"]);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_conversation_runs_one_turn_at_a_time() {
    let app = TestApp::scripted(30, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "One"})).await;
    let frames = socket.read_tokens(first.clone(), 1).await;
    socket
        .send(
            json!({"type": "message", "message": "Two", "session_id": conversation_of(&first), "client_message_id": "m2"}),
        )
        .await;
    let mut rest = frames;
    let refusal = loop {
        let frame = socket.next().await;
        if frame["type"] == "error" {
            break frame;
        }
        rest.push(frame);
    };
    assert_eq!((&refusal["code"], &refusal["retryable"]), (&json!("TURN_IN_PROGRESS"), &json!(true)));
    assert_eq!((&refusal["client_message_id"], refusal.get("turn_id")), (&json!("m2"), None));
    let turn = socket.rest_of_turn(rest).await;
    assert_eq!(turn.tokens.len(), 30);
    // What was refused may be sent again, and is a new turn then.
    let again = json!({"type": "message", "message": "Two", "session_id": turn.conversation_id, "client_message_id": "m2",
        "metadata": {"script": {"tokens": 2, "interval_ms": 0}}});
    assert_ne!(socket.turn(again).await.turn_id, turn.turn_id);
    assert_eq!(app.history(&user, &turn.conversation_id).await.len(), 4);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn conversations_stream_concurrently_on_one_connection() {
    let app = TestApp::scripted(20, 10).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    for text in ["One", "Two", "Three"] {
        socket.send(json!({"type": "message", "message": text})).await;
    }
    let frames = socket.frames_of_turns(3).await;
    let mut ids: Vec<_> = frames.iter().map(|frame| &frame["turn_id"]).collect();
    let changes = ids.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // On a busy machine tokens share frames.
    assert!(changes > 6, "{changes} changes of turn in {} frames", frames.len());
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 3);
    for id in ids {
        let turn = Transcript::of_turn(&frames, id);
        assert_eq!((&turn.terminal["seq"], turn.steps.len()), (&json!(19), 4));
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn failing_turn_ends_in_one_error_and_keeps_its_partial_answer() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let frame = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 9, "fail_after": 4}}});
    let turn = socket.turn(frame).await;
    assert_eq!((&turn.terminal["type"], &turn.terminal["code"]), (&json!("error"), &json!("TURN_INTERRUPTED")));
    assert_eq!(turn.terminal["retryable"], true);
    assert_eq!(turn.text, "w0000 w0001 w0002 w0003 ");
    socket.expect_nothing().await;
    let history = app.history(&user, &turn.conversation_id).await;
    assert_eq!(history.len(), 2);
    assert_eq!(history[1]["content"], turn.text);
    assert_eq!((&history[1]["finish_reason"], &history[1]["turn_id"]), (&json!("error"), &json!(turn.turn_id)));
    // The conversation goes on.
    socket.turn(json!({"type": "message", "message": "Again", "session_id": turn.conversation_id})).await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_failing_before_its_first_token_ends_in_one_error() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let frame = json!({"type": "message", "message": "Hi", "metadata": {"script": {"fail_after": 0}}});
    let turn = socket.turn(frame).await;
    assert_eq!((&turn.terminal["code"], turn.tokens.len()), (&json!("UPSTREAM_UNAVAILABLE"), 0));
    assert!(!turn.turn_id.is_empty());
    socket.expect_nothing().await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_answer_without_tokens_is_complete() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.turn(json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 0}}})).await;
    assert_eq!((&turn.terminal["seq"], &turn.terminal["response"]), (&json!(-1), &json!("")));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn burst_larger_than_the_mailbox_arrives_completely() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for dialect in ["chat.v1", "chat.v2"] {
        let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
        for id in 0..3 {
            socket
                .send(json!({"type": "message", "message": format!("Go {id}"), "metadata":
                {"script": {"tokens": 2_000, "interval_ms": 0}}}))
                .await;
        }
        let frames = socket.frames_of_turns(3).await;
        let ends: Vec<_> = frames.iter().filter(|frame| frame["type"] == "complete").collect();
        assert_eq!(ends.len(), 3);
        for end in ends {
            let turn = Transcript::of_turn(&frames, &end["turn_id"]);
            assert_eq!(turn.terminal["seq"], 1_999);
            assert_eq!(turn.steps.len(), 4);
        }
        socket.close().await;
    }
}
