//! Tests of `resume` and announcements, in every order in which they may arrive.

use super::*;

/// Creates a turn of another connection, with its first step.
fn other_turn(session: &Session, conversation_id: ConversationId, question: &str) -> Arc<TurnLog> {
    let turn = TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: session.user.id });
    let (client_message_id, question) = (Some("theirs".to_owned()), Some(question.to_owned()));
    turn.announce(Progress { client_message_id, question, ..starting() });
    turn
}

fn resume_of(session: &mut Session, fields: &Value) -> ResumeTicket {
    let mut frame = json!({"type": "resume"});
    frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    session.receive(&frame);
    let asked = session.effects.drain(..).find_map(|effect| match effect {
        Effect::Resume { ticket, .. } => Some(ticket),
        _ => None,
    });
    asked.expect("a lookup starts")
}

fn answer(session: &mut Session, resume: ResumeTicket, found: ResumedConversation) {
    session.state.on_resumed(resume, Ok(Resumed::Turns(found)), session.now, &mut session.effects);
}

#[test]
fn idle_conversation_is_reported_and_later_turns_are_shown() {
    let mut session = Session::signed_in(900);
    let conversation = ConversationId::new();
    let resume = resume_of(&mut session, &json!({"conversation_id": conversation}));
    answer(&mut session, resume, ResumedConversation::default());
    assert_eq!(session.frames(), [json!({"type": "resumed", "conversation_id": conversation, "state": "idle"})]);
    let turn = other_turn(&session, conversation, "Why?");
    session.state.on_subscribe(Arc::clone(&turn), session.now, &mut session.effects);
    let frames = session.frames();
    assert_eq!((&frames[0]["step"], &frames[0]["question"]), (&json!("starting"), &json!("Why?")));
    assert_eq!(frames[0]["client_message_id"], "theirs");
}

/// A turn that starts around a `resume` may be announced at any point, running or ended, and be found or not.
#[test]
fn turn_started_around_a_resume_is_shown_once() {
    for announced_at in 0..4 {
        for ends_at in 0..5 {
            for is_found in [true, false] {
                let mut session = Session::signed_in(900);
                let conversation = ConversationId::new();
                let (known, new) =
                    (other_turn(&session, conversation, "One"), other_turn(&session, conversation, "Two"));
                known.append("first");
                complete(&known);
                new.append("second");
                let mut frames = Vec::new();
                let mut resume = None;
                for step in 0..5 {
                    if ends_at == step {
                        complete(&new);
                    }
                    match step {
                        1 => {
                            let fields =
                                json!({"session_id": conversation, "turn_id": known.subject.turn_id, "last_seq": 0});
                            resume = Some(resume_of(&mut session, &fields));
                        }
                        3 => {
                            let later = is_found.then(|| Arc::clone(&new)).into_iter().collect();
                            let found = ResumedConversation { turn: Some(Arc::clone(&known)), later, has_more: false };
                            answer(&mut session, resume.unwrap(), found);
                        }
                        _ => {}
                    }
                    // An announcement before the subscription does not reach this connection; the turn is found instead.
                    if announced_at == step && (step > 0 || !is_found) {
                        session.state.on_subscribe(Arc::clone(&new), session.now, &mut session.effects);
                    }
                    session.read_events();
                    frames.extend(session.frames());
                }
                let case = format!("announced at {announced_at}, ends at {ends_at}, found: {is_found}");
                assert_eq!(text_of(&frames, &new), "second", "{case}");
                let of_new = |frame: &&Value| frame["turn_id"] == json!(new.subject.turn_id);
                let ends = frames.iter().filter(of_new).filter(|frame| frame["type"] == "complete").count();
                let questions = frames.iter().filter(of_new).filter(|frame| frame["question"] == "Two").count();
                assert_eq!((ends, questions), (1, 1), "{case}");
                assert_eq!(text_of(&frames, &known), "", "{case}");
                assert!(session.state.subscriptions.is_empty(), "{case}");
            }
        }
    }
}

#[test]
fn announcement_waits_for_the_answer_to_resume() {
    let mut session = Session::signed_in(900);
    let conversation = ConversationId::new();
    let known = other_turn(&session, conversation, "One");
    complete(&known);
    let resume = resume_of(&mut session, &json!({"session_id": conversation, "turn_id": known.subject.turn_id}));
    let new = other_turn(&session, conversation, "Two");
    session.state.on_subscribe(new, session.now, &mut session.effects);
    assert!(session.effects.is_empty());
    let found = ResumedConversation { turn: Some(known), later: Vec::new(), has_more: true };
    answer(&mut session, resume, found);
    let frames = session.frames();
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["resumed", "progress", "complete", "progress"]);
    assert_eq!((&frames[0]["reload_history"], &frames[3]["question"]), (&json!(true), &json!("Two")));
}

#[test]
fn resumes_are_answered_in_the_order_of_their_frames() {
    let mut session = Session::signed_in(900);
    let conversation = ConversationId::new();
    let turn = other_turn(&session, conversation, "One");
    for token in ["a", "b", "c"] {
        turn.append(token);
    }
    let ask = |last_seq| json!({"session_id": conversation, "turn_id": turn.subject.turn_id, "last_seq": last_seq});
    let [first, second, third] = [1, 2, -1].map(|last_seq| resume_of(&mut session, &ask(last_seq)));
    for resume in [first, third, second] {
        answer(&mut session, resume, ResumedConversation { turn: Some(Arc::clone(&turn)), ..Default::default() });
    }
    let frames = session.frames();
    let resumed = frames.iter().filter(|frame| frame["type"] == "resumed").map(|frame| frame["from_seq"].clone());
    assert_eq!(resumed.collect::<Vec<_>>(), [2, 3, 0]);
    assert_eq!(frames.last().unwrap()["token"], "abc");
}

#[test]
fn announcement_survives_a_refused_resume() {
    let mut session = Session::signed_in(900);
    let conversation = ConversationId::new();
    let resume = resume_of(&mut session, &json!({"session_id": conversation, "turn_id": TurnId::new()}));
    session.state.on_subscribe(other_turn(&session, conversation, "Two"), session.now, &mut session.effects);
    let refused = Err(ApiError::new(ErrorCode::ResumeUnavailable, "unknown"));
    session.state.on_resumed(resume, refused, session.now, &mut session.effects);
    let frames = session.frames();
    assert_eq!((&frames[0]["code"], &frames[1]["question"]), (&json!("RESUME_UNAVAILABLE"), &json!("Two")));
}
