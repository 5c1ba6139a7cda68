//! Property tests: random sequences of frames, workflow answers, turn events and clock steps.

use super::{
    tests::{TurnIds, named, starting},
    *,
};
use crate::{
    auth::Identity,
    domain::{AnswerMetadata, ConversationId, DisplayName, Email, FinishReason, MessageId, Role},
    limiter::Limiter,
    session::{authenticator::Authenticator, pending_resumes::ResumeTicket},
    turn::{Progress, TurnEnd, TurnLog, TurnSubject},
    workflow::StartedTurn,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    net::Ipv4Addr,
};
use switchboard_protocol::{ErrorCode, ResumeFrame, Step};
use tokio::sync::mpsc;

/// The lifetime of a token, in seconds.
const TOKEN_LIFE_S: i64 = 300;

/// An input to the session. Numbers select among the existing turns.
#[derive(Clone, Debug)]
enum Event {
    Auth {
        stranger: bool,
        valid: bool,
    },
    Message {
        conversation: Option<usize>,
        text: &'static str,
    },
    Resume {
        turn: usize,
        last_seq: i64,
        latest: bool,
    },
    Cancel {
        turn: usize,
    },
    Text(String),
    Started {
        oldest: bool,
        outcome: Outcome,
    },
    Resumed {
        oldest: bool,
        found: bool,
    },
    Announce {
        turn: usize,
    },
    Append {
        turn: usize,
        tokens: usize,
    },
    End {
        turn: usize,
        failed: bool,
    },
    /// Another tab starts a turn.
    OtherTab,
    Deliver {
        max: usize,
    },
    Wait {
        seconds: u64,
    },
    /// The connection polls for more.
    GrantCredit {
        bytes: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    New,
    Duplicate,
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (prop::bool::weighted(0.1), prop::bool::weighted(0.8)).prop_map(|(stranger, valid)| Event::Auth { stranger, valid }),
        6 => (prop::option::of(any::<usize>()), prop::sample::select(vec!["Hi", "Hello", " ", ""]))
            .prop_map(|(conversation, text)| Event::Message { conversation, text }),
        3 => (any::<usize>(), -2_i64..20, any::<bool>())
            .prop_map(|(turn, last_seq, latest)| Event::Resume { turn, last_seq, latest }),
        1 => any::<usize>().prop_map(|turn| Event::Cancel { turn }),
        1 => r#"\{"type":"(auth|message|resume|cancel|ping|typing)"(,"(token|message|id|turn_id|last_seq)":("x"|-?[0-9]{1,20}|\[\]|null)){0,3}\}?"#
            .prop_map(Event::Text),
        4 => (any::<bool>(), prop::sample::select(vec![Outcome::New, Outcome::New, Outcome::Duplicate, Outcome::Refused]))
            .prop_map(|(oldest, outcome)| Event::Started { oldest, outcome }),
        3 => (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(oldest, found)| Event::Resumed { oldest, found }),
        2 => any::<usize>().prop_map(|turn| Event::Announce { turn }),
        8 => (any::<usize>(), 1_usize..12).prop_map(|(turn, tokens)| Event::Append { turn, tokens }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(turn, failed)| Event::End { turn, failed }),
        1 => Just(Event::OtherTab),
        8 => (0_usize..20).prop_map(|max| Event::Deliver { max }),
        1 => prop::sample::select(vec![1_u64, 10, 19, 61, 240]).prop_map(|seconds| Event::Wait { seconds }),
        4 => prop::sample::select(vec![1, 300, 1_000]).prop_map(|bytes| Event::GrantCredit { bytes }),
    ]
}

/// Maps tokens to users.
struct FakeAuthenticator {
    identities: HashMap<&'static str, Identity>,
}

impl Authenticator for FakeAuthenticator {
    fn admit(&self, user: UserId) -> Result<UserPermit, ApiError> {
        Ok(Limiter::new(&LimitsConfig::default()).sign_in_socket(user, Ipv4Addr::LOCALHOST.into())?)
    }

    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        let known = self.identities.get(token).cloned();
        known.ok_or_else(|| ApiError::new(ErrorCode::InvalidToken, "unknown token"))
    }
}

/// A client's view of one turn.
#[derive(Default)]
struct Reading {
    /// The seq of the next token.
    next_seq: i64,
    ends: usize,
    /// Number of times that the session may have started to send the turn, each with one end.
    starts: usize,
}

struct Simulation {
    state: SessionState,
    now: Now,
    authenticator: FakeAuthenticator,
    mailbox: mpsc::Receiver<TurnEvent>,
    /// All turns, including those that are not accepted yet.
    turns: Vec<Arc<TurnLog>>,
    starting: VecDeque<Arc<TurnLog>>,
    resuming: VecDeque<(ResumeTicket, ResumeFrame)>,
    accepted: Vec<TurnId>,
    readings: HashMap<String, Reading>,
    turn_ids: TurnIds,
    is_signed_in: bool,
    is_closed: bool,
}

impl Simulation {
    fn new(credit: usize, dialect: Dialect, coalesce_ms: u64) -> Self {
        let now = Now::read();
        let (sender, mailbox) = mpsc::channel(credit);
        let config =
            SessionConfig { max_running_turns: 4, heartbeat_timeout_s: 60, coalesce_ms, ..SessionConfig::default() };
        let rules = Arc::new(QuestionRules { max_message_chars: 4, script: None });
        let identity = |email: &str| Identity {
            user_id: UserId::new(),
            email: Email::parse(email).unwrap(),
            name: DisplayName::parse("Ada").unwrap(),
            role: Role::User,
            family_id: None,
            generation: 0,
            issued_at_ms: now.unix.0,
            expires_at: now.unix.seconds() + TOKEN_LIFE_S,
        };
        Self {
            state: SessionState::new(
                Arc::new(config),
                &LimitsConfig::default(),
                rules,
                dialect,
                Mailbox::new(sender),
                now,
            ),
            now,
            authenticator: FakeAuthenticator {
                identities: [("ada", identity("ada@example.org")), ("eve", identity("eve@example.org"))].into(),
            },
            mailbox,
            turns: Vec::new(),
            starting: VecDeque::new(),
            resuming: VecDeque::new(),
            accepted: Vec::new(),
            readings: HashMap::new(),
            turn_ids: TurnIds::new(),
            is_signed_in: false,
            is_closed: false,
        }
    }

    fn turn(&self, choice: usize) -> Option<Arc<TurnLog>> {
        let index = choice.checked_rem(self.turns.len())?;
        self.turns.get(index).cloned()
    }

    fn text(&mut self, text: &str, effects: &mut Vec<Effect>) {
        self.state.on_text(text, self.now, &self.authenticator, effects);
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        match event {
            Event::Auth { stranger, valid } => {
                let token = if !valid {
                    "nobody"
                } else if stranger {
                    "eve"
                } else {
                    "ada"
                };
                self.text(&json!({"type": "auth", "token": token}).to_string(), &mut effects);
            }
            Event::Message { conversation, text } => {
                let session_id =
                    conversation.and_then(|choice| self.turn(choice)).map(|turn| turn.subject.conversation_id);
                let frame =
                    json!({"type": "message", "message": text, "session_id": session_id, "client_message_id": "m"});
                self.text(&frame.to_string(), &mut effects);
            }
            Event::Resume { turn, last_seq, latest } => {
                let Some(turn) = self.turn(turn) else { return };
                let turn_id = (!latest).then_some(turn.subject.turn_id);
                let session_id = turn.subject.conversation_id;
                let frame =
                    json!({"type": "resume", "session_id": session_id, "turn_id": turn_id, "last_seq": last_seq});
                self.text(&frame.to_string(), &mut effects);
            }
            Event::Cancel { turn } => {
                let Some(turn) = self.turn(turn) else { return };
                self.text(&json!({"type": "cancel", "turn_id": turn.subject.turn_id}).to_string(), &mut effects);
            }
            Event::Text(text) => self.text(&text, &mut effects),
            Event::Started { oldest, outcome } => {
                let turn = if oldest { self.starting.pop_front() } else { self.starting.pop_back() };
                let Some(turn) = turn else { return };
                let turn_id = turn.subject.turn_id;
                let first = self.turns.iter().find(|known| known.subject.turn_id != turn_id).cloned();
                let outcome = match (outcome, first) {
                    (Outcome::Refused, _) => Err(ApiError::overloaded("busy", 1)),
                    (Outcome::Duplicate, Some(first)) => {
                        self.expect_start(&first);
                        Ok(StartedTurn::Duplicate(first))
                    }
                    _ => {
                        self.accepted.push(turn_id);
                        turn.announce(starting());
                        self.turns.push(turn);
                        Ok(StartedTurn::New)
                    }
                };
                self.state.on_started(turn_id, outcome, self.now, &mut effects);
            }
            Event::Resumed { oldest, found } => {
                let resume = if oldest { self.resuming.pop_front() } else { self.resuming.pop_back() };
                let Some((ticket, resume)) = resume else { return };
                let turn = self.turns.iter().find(|turn| {
                    resume.turn_id.is_none_or(|id| id == turn.subject.turn_id)
                        && turn.subject.conversation_id == resume.conversation_id
                });
                let outcome = match turn.filter(|_| found).cloned() {
                    Some(turn) => {
                        self.expect_start(&turn);
                        let later = self.turns.iter().filter(|other| {
                            other.subject.turn_id > turn.subject.turn_id
                                && other.subject.conversation_id == turn.subject.conversation_id
                        });
                        let later: Vec<_> = later.cloned().collect();
                        later.iter().for_each(|turn| self.expect_start(turn));
                        Ok(Resumed::Turns(ResumedConversation { turn: Some(turn), later, has_more: false }))
                    }
                    None => Err(ApiError::new(ErrorCode::ResumeUnavailable, "unknown")),
                };
                self.state.on_resumed(ticket, outcome, self.now, &mut effects);
            }
            Event::Announce { turn } => {
                let Some(turn) = self.turn(turn).filter(|turn| !turn.has_ended()) else { return };
                turn.announce(Progress { step: Step::Generating, ..starting() });
            }
            Event::Append { turn, tokens } => {
                let Some(turn) = self.turn(turn).filter(|turn| !turn.has_ended()) else { return };
                for n in 0..tokens {
                    turn.append(&format!("{n}é "));
                }
            }
            Event::End { turn, failed } => {
                if let Some(turn) = self.turn(turn) {
                    end(&turn, failed);
                }
            }
            Event::OtherTab => {
                let user_id = self.authenticator.identities["ada"].user_id;
                let subject = TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id };
                let turn = TurnLog::new(subject);
                turn.announce(starting());
                self.turns.push(Arc::clone(&turn));
                self.expect_start(&turn);
                self.state.on_subscribe(turn, self.now, &mut effects);
            }
            Event::Deliver { max } => {
                for _ in 0..max {
                    let Ok(event) = self.mailbox.try_recv() else { break };
                    self.state.on_turn_event(event, self.now, &mut effects);
                }
            }
            Event::Wait { seconds } => self.wait(seconds, &mut effects),
            Event::GrantCredit { bytes } => {
                self.state.subscriptions.grant_credit(bytes);
                self.state.send_more(self.now, &mut effects);
            }
        }
        self.check(effects);
    }

    /// Allows one more end of this turn: the session may start to send it.
    fn expect_start(&mut self, turn: &Arc<TurnLog>) {
        self.readings.entry(turn.subject.turn_id.to_string()).or_default().starts += 1;
    }

    fn wait(&mut self, seconds: u64, effects: &mut Vec<Effect>) {
        let until = self.now.instant + Duration::from_secs(seconds);
        let mut alarms = 0;
        while self.state.next_alarm() <= until && !effects.iter().any(|effect| matches!(effect, Effect::Close(_))) {
            self.advance(self.state.next_alarm());
            self.state.on_alarm(self.now, effects);
            alarms += 1;
            assert!(alarms < 100, "an alarm that goes off endlessly");
        }
        self.advance(until);
    }

    fn advance(&mut self, to: Instant) {
        let passed = to.saturating_duration_since(self.now.instant);
        self.now.instant += passed;
        self.now.unix.0 += i64::try_from(passed.as_millis()).unwrap();
    }

    /// Checks the effects against the invariants.
    fn check(&mut self, effects: Vec<Effect>) {
        let entries: usize = self.turns.iter().map(|turn| turn.position().1 as usize + 64).sum();
        assert!(effects.len() <= 64 + 2 * entries, "{} effects of one event", effects.len());
        for effect in effects {
            assert!(!self.is_closed, "an effect after the close");
            match effect {
                Effect::Send(outgoing) => {
                    let frame = named(serde_json::from_str(&outgoing.frame).unwrap(), &mut self.turn_ids);
                    self.read(&frame);
                }
                Effect::Authenticated(_) => self.is_signed_in = true,
                Effect::Start(new) => {
                    assert!(self.is_signed_in);
                    self.expect_start(&new.turn);
                    self.starting.push_back(new.turn);
                }
                Effect::Resume { ticket, resume, .. } => {
                    assert!(self.is_signed_in);
                    self.resuming.push_back((ticket, resume));
                }
                Effect::Cancel { .. } | Effect::Subscribed(_) | Effect::KeepEvents(_) | Effect::ReadEvents { .. } => {
                    assert!(self.is_signed_in)
                }
                // The actor stops here and drops later effects.
                Effect::Close(_) => {
                    self.is_closed = true;
                    return;
                }
                Effect::Ping(_)
                | Effect::RoundTrip(_)
                | Effect::Unsubscribed(_)
                | Effect::UnsubscribeFromEvents(_)
                | Effect::LimitHit(_)
                | Effect::ErrorSent(_)
                | Effect::AuthFailed(_) => {}
            }
        }
    }

    fn read(&mut self, frame: &Value) {
        let kind = frame["type"].as_str().unwrap();
        let is_of_turn = ["progress", "token", "complete", "resumed"].contains(&kind);
        assert!(self.is_signed_in || !is_of_turn || kind == "auth_success", "before authentication: {frame}");
        let Some(turn_id) = frame["turn_id"].as_str() else { return };
        // Answers to a failed cancel or resume; only the failure code of the tests ends a turn.
        if kind == "error" && frame["code"] != "UPSTREAM_TIMEOUT" {
            return;
        }
        let reading = self.readings.get_mut(turn_id).expect("a turn of this session");
        match kind {
            "resumed" => reading.next_seq = frame["from_seq"].as_i64().unwrap(),
            "token" => {
                let seq = frame["seq"].as_i64().unwrap();
                assert_eq!(frame["first_seq"].as_i64().unwrap_or(seq), reading.next_seq, "{frame}");
                reading.next_seq = seq + 1;
            }
            "complete" | "error" => {
                reading.ends += 1;
                assert!(reading.ends <= reading.starts, "one end too many: {frame}");
                assert!(kind == "error" || frame["seq"].as_i64().unwrap() == reading.next_seq - 1, "{frame}");
            }
            _ => {}
        }
    }

    /// Ends all turns and delivers all events, then checks that every accepted turn has an end and no subscription is left.
    fn finish(mut self) {
        if self.is_closed {
            return;
        }
        for turn in self.turns.clone() {
            end(&turn, false);
        }
        while !self.starting.is_empty() && !self.is_closed {
            self.handle(Event::Started { oldest: true, outcome: Outcome::Refused });
        }
        self.handle(Event::Deliver { max: usize::MAX });
        while self.state.subscriptions.waits_for_credit() && !self.is_closed {
            self.handle(Event::GrantCredit { bytes: 1 });
        }
        if !self.is_closed {
            assert!(self.state.subscriptions.is_empty(), "{} subscriptions never end", self.state.subscriptions.len());
            for turn_id in &self.accepted {
                assert!(self.readings[&turn_id.to_string()].ends > 0, "{turn_id} has no end");
            }
        }
    }
}

fn end(turn: &Arc<TurnLog>, failed: bool) {
    turn.end(if failed {
        TurnEnd::Failed(crate::turn::TurnFailure::TimedOut)
    } else {
        TurnEnd::Complete {
            message_id: MessageId::new(),
            finish_reason: FinishReason::Stop,
            metadata: Box::new(AnswerMetadata::default()),
            sha256: turn.with_tokens(crate::turn::Tokens::sha256),
        }
    });
}

proptest! {
    #[test]
    fn invariants_hold_in_any_order(
        events in prop::collection::vec(event(), 1..120),
        credit in 1_usize..17,
        v2 in any::<bool>(),
        signed_in in prop::bool::weighted(0.8),
        coalesce_ms in prop::sample::select(vec![0_u64, 0, 50, 5_000]),
    ) {
        let mut simulation = Simulation::new(credit, if v2 { Dialect::V2 } else { Dialect::V1 }, coalesce_ms);
        if signed_in {
            simulation.handle(Event::Auth { stranger: false, valid: true });
        }
        for event in events {
            if simulation.is_closed {
                break;
            }
            simulation.handle(event);
        }
        simulation.finish();
    }
}
