//! A replay from any point equals the live stream, on every surface.

use super::*;
use crate::{
    domain::{FinishReason, MessageId, Part, TurnId, UserId},
    turn::{Cursor, Progress, SubscribedAs, TurnEnd, TurnFailure, TurnLog, TurnSubject},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc};
use switchboard_protocol::Step;

const ENCODERS: [(&str, &dyn Encoder); 4] =
    [("chat.v1", &ChatV1), ("chat.v2", &ChatV2), ("sse", &Sse), ("json", &Json)];

#[derive(Clone, Debug)]
enum Append {
    Progress,
    Token(String),
    Reasoning(String),
    Part,
    Complete,
    Failed,
}

fn appends() -> impl Strategy<Value = Vec<Append>> {
    let entry = prop_oneof![
        1 => Just(Append::Progress),
        4 => "[a-zé\"\\\\\n]{1,4}".prop_map(Append::Token),
        1 => "[a-zé]{1,4}".prop_map(Append::Reasoning),
        1 => Just(Append::Part),
    ];
    let end = prop_oneof![Just(None), Just(Some(Append::Complete)), Just(Some(Append::Failed))];
    (prop::collection::vec(entry, 0..30), end).prop_map(|(mut appends, end)| {
        appends.extend(end);
        appends
    })
}

fn log_of(appends: &[Append]) -> Arc<TurnLog> {
    let log = TurnLog::new(TurnSubject {
        turn_id: TurnId::new(),
        conversation_id: ConversationId::new(),
        user_id: UserId::new(),
    });
    for append in appends {
        match append {
            Append::Progress => log.announce(Progress {
                step: Step::Retrieval,
                message: "Looking…".to_owned(),
                specialist: Some("engine".to_owned()),
                confidence: Some(0.5),
                sources: None,
                client_message_id: None,
                question: None,
            }),
            Append::Token(text) => drop(log.append(text)),
            Append::Reasoning(text) => log.append_reasoning(text),
            Append::Part => log.append_part(Part {
                kind: "url_citation".to_owned(),
                fields: json!({"url": "https://example.com/"}).as_object().cloned().unwrap(),
            }),
            Append::Complete => log.end(TurnEnd::Complete {
                message_id: MessageId::new(),
                finish_reason: FinishReason::Stop,
                metadata: Box::default(),
                sha256: log.with_tokens(crate::turn::Tokens::sha256),
            }),
            Append::Failed => log.end(TurnEnd::Failed(TurnFailure::TimedOut)),
        }
    }
    log
}

/// An entry with the position behind it and its frame.
type Sent = (Cursor, Option<ByteString>);

/// Encodes the entries from `cursor` on.
fn sent_from(log: &Arc<TurnLog>, encoder: &dyn Encoder, mut cursor: Cursor, max_tokens: u32) -> Vec<Sent> {
    let turn = SubscribedAs { subject: &log.subject, number: 7 };
    log.with_entries(|entries| {
        let mut sent = Vec::new();
        while let Some((entry, after)) = entries.next(cursor, max_tokens) {
            cursor = after;
            sent.push((after, encoder.entry(turn, &entry, after)));
        }
        sent
    })
}

fn parsed(frame: &str) -> Value {
    let json = frame.split_once("data: ").map_or(frame, |(_, json)| json);
    serde_json::from_str(json).unwrap()
}

proptest! {
    #[test]
    fn replay_from_any_point_equals_the_live_stream(appends in appends()) {
        let log = log_of(&appends);
        for (surface, encoder) in ENCODERS {
            let live = sent_from(&log, encoder, Cursor::default(), 1);
            prop_assert_eq!(live.len(), appends.len(), "{}", surface);
            let mut last_index = None;
            for received in 0..=live.len() {
                let at = received.checked_sub(1).map_or(Cursor::default(), |last| live[last].0);
                if let Some(last) = received.checked_sub(1)
                    && !matches!(appends[last], Append::Token(_))
                {
                    last_index = Some(live[last].0.index() - 1);
                }
                // The end is always sent again.
                let missing = if at.ended { &live[received - 1..] } else { &live[received..] };
                let exact = log.position_after(at.next_seq, last_index);
                prop_assert_eq!(sent_from(&log, encoder, exact, 1), missing, "{} after {}", surface, received);

                // Without the index, what follows the last token comes again, and its index tells.
                let from_token = sent_from(&log, encoder, log.position_after(at.next_seq, None), 1);
                let again = from_token.len() - missing.len();
                prop_assert!(appends[received - again.min(received)..received].iter().all(|append| !matches!(append, Append::Token(_))));
                prop_assert_eq!(&from_token[again..], missing, "{} after {}", surface, received);
            }
        }
    }

    #[test]
    fn joined_tokens_hold_the_same_text(appends in appends()) {
        let log = log_of(&appends);
        for (surface, encoder) in ENCODERS {
            let text = |sent: Vec<Sent>| {
                let frames = sent.into_iter().filter_map(|(_, frame)| frame).map(|frame| parsed(&frame));
                frames.filter_map(|frame| frame["token"].as_str().map(str::to_owned)).collect::<String>()
            };
            let joined = sent_from(&log, encoder, Cursor::default(), u32::MAX);
            let single = sent_from(&log, encoder, Cursor::default(), 1);
            prop_assert!(joined.len() <= single.len());
            prop_assert_eq!(text(joined), text(single), "{}", surface);
        }
    }

    #[test]
    fn indices_have_no_gaps(appends in appends()) {
        let log = log_of(&appends);
        for encoder in [&ChatV2 as &dyn Encoder, &Sse] {
            let mut next = 0;
            for (_, frame) in sent_from(&log, encoder, Cursor::default(), u32::MAX) {
                let frame = parsed(&frame.unwrap());
                match frame["index"].as_u64() {
                    Some(index) => {
                        prop_assert_eq!(index, next);
                        next += 1;
                    }
                    None => {
                        let seq = frame["seq"].as_u64().unwrap();
                        next += seq - frame["first_seq"].as_u64().unwrap_or(seq) + 1;
                    }
                }
            }
            prop_assert_eq!(next, appends.len() as u64);
        }
    }
}

#[test]
fn every_encoder_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/encode");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let implementations: usize = files.map(|text| text.matches("\nimpl Encoder for ").count()).sum();
    assert_eq!(implementations, ENCODERS.len(), "an encoder is missing in ENCODERS");
}

#[test]
fn only_chat_v1_hides_reasoning_and_parts() {
    let log = log_of(&[Append::Reasoning("Hm.".to_owned()), Append::Part, Append::Token("Yes".to_owned())]);
    let types = |encoder| {
        let sent = sent_from(&log, encoder, Cursor::default(), 1);
        let frames = sent.into_iter().filter_map(|(_, frame)| frame).map(|frame| parsed(&frame)["type"].clone());
        frames.collect::<Vec<_>>()
    };
    assert_eq!(types(&ChatV1), ["token"]);
    assert_eq!(types(&ChatV2), ["reasoning", "part", "token"]);
    assert_eq!(types(&Sse), ["reasoning", "part", "token"]);
}

#[test]
fn event_ids_are_parsed_with_and_without_an_index() {
    let id = TurnId::new();
    assert_eq!(parse_event_id(&format!("{id}:-1:2")), Some((id, 0, Some(2))));
    assert_eq!(parse_event_id(&format!("{id}:41")), Some((id, 42, None)));
    for invalid in ["", "x:1", &format!("{id}"), &format!("{id}:-2"), &format!("{id}:1:-1"), &format!("{id}:1:2:3")] {
        assert_eq!(parse_event_id(invalid), None, "{invalid}");
    }
}
