//! Tests of subscriptions: live and lagging readers, credit, coalescing, and random interleavings.

use super::*;
use crate::{
    domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, TurnId, UserId},
    encode::encoder_of,
    turn::{Mailbox, Progress, TurnEnd, TurnFailure, TurnSubject, entry::MAX_JOINED_BYTES},
};
use proptest::prelude::*;
use serde_json::Value;
use switchboard_protocol::{Dialect, Step};
use tokio::sync::mpsc;

const UNLIMITED: usize = usize::MAX;

fn options(dialect: Dialect, coalesce_ms: u64) -> SubscriptionOptions {
    SubscriptionOptions { encoder: encoder_of(dialect), coalesce: Duration::from_millis(coalesce_ms) }
}

/// A reader with a mailbox of `capacity` events, and all the frames it was sent.
struct Reader {
    subscription: Subscription,
    mailbox: mpsc::Receiver<TurnEvent>,
    frames: Vec<Value>,
    elapsed_ms: u64,
    started_at: Instant,
}

impl Reader {
    fn new(turn: &Arc<TurnLog>, dialect: Dialect, capacity: usize, cursor: Cursor) -> Self {
        Self::with(turn, options(dialect, 0), capacity, cursor, UNLIMITED)
    }

    fn with(
        turn: &Arc<TurnLog>,
        options: SubscriptionOptions,
        capacity: usize,
        cursor: Cursor,
        mut credit: usize,
    ) -> Self {
        let (sender, mailbox) = mpsc::channel(capacity);
        let (mut frames, started_at) = (Vec::new(), Instant::now());
        let subscriber = Mailbox::new(sender).subscriber();
        let put = &mut |outgoing| frames.push(parsed(&outgoing));
        let mut outbox = Outbox { now: started_at, credit: &mut credit, put };
        let subscription = Subscription::begin(Arc::clone(turn), subscriber, options, 1, cursor, &mut outbox);
        Self { subscription, mailbox, frames, elapsed_ms: 0, started_at }
    }

    fn write(&mut self, mut credit: usize, write: impl FnOnce(&mut Subscription, &mut Outbox<'_>)) {
        let (frames, now) = (&mut self.frames, self.started_at + Duration::from_millis(self.elapsed_ms));
        let put = &mut |outgoing| frames.push(parsed(&outgoing));
        write(&mut self.subscription, &mut Outbox { now, credit: &mut credit, put });
    }

    fn read_events(&mut self, max: usize) {
        self.read_events_with_credit(max, UNLIMITED);
    }

    fn read_events_with_credit(&mut self, max: usize, credit: usize) {
        for _ in 0..max {
            let Ok(event) = self.mailbox.try_recv() else { return };
            self.write(credit, |subscription, outbox| subscription.on_event(&event, outbox));
        }
    }

    /// Advances the clock, and flushes collected tokens that are due.
    fn wait(&mut self, ms: u64) {
        self.elapsed_ms += ms;
        let now = self.started_at + Duration::from_millis(self.elapsed_ms);
        if self.subscription.flush_at().is_some_and(|until| until <= now) {
            self.write(UNLIMITED, |subscription, outbox| subscription.catch_up(outbox));
        }
    }

    fn tokens(&self) -> String {
        self.frames.iter().filter_map(|frame| frame["token"].as_str()).collect()
    }
}

fn parsed(outgoing: &Outgoing) -> Value {
    serde_json::from_str(&outgoing.frame).unwrap()
}

fn turn() -> Arc<TurnLog> {
    TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id: UserId::new() })
}

fn complete(turn: &Arc<TurnLog>) {
    turn.end(TurnEnd::Complete {
        message_id: MessageId::new(),
        finish_reason: FinishReason::Stop,
        metadata: Box::new(AnswerMetadata::default()),
        sha256: turn.with_tokens(crate::turn::Tokens::sha256),
    });
}

fn starting() -> Progress {
    Progress {
        step: Step::Starting,
        message: "…".to_owned(),
        specialist: None,
        confidence: None,
        sources: None,
        client_message_id: None,
        question: None,
    }
}

#[test]
fn live_reader_receives_one_frame_per_token() {
    let turn = turn();
    let mut reader = Reader::new(&turn, Dialect::V1, 16, Cursor::default());
    turn.announce(starting());
    for token in ["Hel", "lo"] {
        turn.append(token);
        reader.read_events(16);
    }
    complete(&turn);
    reader.read_events(16);
    let types: Vec<_> = reader.frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["progress", "token", "token", "complete"]);
    assert_eq!((&reader.frames[2]["seq"], &reader.frames[2]["partial_response"]), (&1.into(), &"Hello".into()));
    assert_eq!(reader.frames[3]["seq"], 1);
}

#[test]
fn chat_v2_omits_partial_response() {
    let turn = turn();
    let mut reader = Reader::new(&turn, Dialect::V2, 16, Cursor::default());
    turn.append("Hi");
    reader.read_events(16);
    assert!(reader.frames[0].get("partial_response").is_none());
}

#[test]
fn lagging_reader_receives_the_rest_joined() {
    let turn = turn();
    let mut reader = Reader::new(&turn, Dialect::V2, 2, Cursor::default());
    for n in 0..10 {
        turn.append(&n.to_string());
    }
    complete(&turn);
    reader.read_events(usize::MAX);
    assert_eq!(reader.tokens(), "0123456789");
    assert_eq!((&reader.frames[0]["first_seq"], &reader.frames[0]["seq"]), (&0.into(), &9.into()));
    assert_eq!(reader.frames.iter().filter(|frame| frame["type"] == "complete").count(), 1);
}

#[test]
fn failed_turn_ends_with_an_error_frame() {
    let turn = turn();
    turn.end(TurnEnd::Failed(TurnFailure::TimedOut));
    let reader = Reader::new(&turn, Dialect::V1, 2, Cursor::default());
    assert_eq!(reader.frames[0]["code"], "UPSTREAM_TIMEOUT");
    assert_eq!(reader.frames[0]["turn_id"], turn.subject.turn_id.to_string());
}

#[test]
fn large_backlog_is_split_into_bounded_frames() {
    let turn = turn();
    for _ in 0..100 {
        turn.append(&"x".repeat(1000));
    }
    let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
    assert!(reader.frames.iter().all(|frame| frame["token"].as_str().unwrap().len() <= MAX_JOINED_BYTES));
    assert_eq!(reader.tokens().len(), 100_000);
}

#[test]
fn backlog_is_written_as_credit_allows() {
    let turn = turn();
    for _ in 0..100 {
        turn.append(&"x".repeat(1000));
    }
    let options = options(Dialect::V2, 0);
    let mut reader = Reader::with(&turn, options, 16, Cursor::default(), 1);
    assert_eq!((reader.frames.len(), reader.subscription.is_lagging()), (1, true));
    let subscribed = reader.subscription.subscribed();
    assert_eq!(turn.bytes_waiting_for(&subscribed.subscriber), 100_000 - reader.tokens().len());
    // Live tokens come after the backlog.
    turn.append("y");
    assert!(reader.mailbox.is_empty());
    while reader.subscription.is_lagging() {
        let before = reader.frames.len();
        reader.write(1, |subscription, outbox| subscription.catch_up(outbox));
        assert!(reader.frames.len() <= before + 1);
    }
    assert_eq!(reader.tokens().len(), 100_001);
    assert_eq!(turn.bytes_waiting_for(&subscribed.subscriber), 0);
    turn.append("z");
    reader.read_events(1);
    assert!(reader.tokens().ends_with("yz"));
}

#[test]
fn first_token_is_sent_immediately_and_later_ones_share_a_frame() {
    let turn = turn();
    let options = options(Dialect::V2, 50);
    let mut reader = Reader::with(&turn, options, 16, Cursor::default(), UNLIMITED);
    for token in ["a", "b", "c"] {
        turn.append(token);
        reader.read_events(16);
        reader.wait(10);
    }
    assert_eq!(reader.tokens(), "a");
    assert!(reader.mailbox.is_empty(), "a collected token costs no event");
    reader.wait(20);
    assert_eq!(reader.tokens(), "abc");
    assert_eq!((&reader.frames[1]["first_seq"], &reader.frames[1]["seq"]), (&1.into(), &2.into()));
    turn.append("d");
    complete(&turn);
    reader.read_events(16);
    assert_eq!(reader.tokens(), "abcd", "the end does not wait");
    assert_eq!(reader.frames.last().unwrap()["response"], "abcd");
}

#[test]
fn token_after_a_pause_is_sent_immediately() {
    let turn = turn();
    let options = options(Dialect::V2, 50);
    let mut reader = Reader::with(&turn, options, 16, Cursor::default(), UNLIMITED);
    for token in ["a", "b"] {
        turn.append(token);
        reader.read_events(16);
        reader.wait(50);
        assert!(reader.tokens().ends_with(token));
    }
}

#[test]
fn log_tracks_whether_it_has_subscribers() {
    let turn = turn();
    assert!(turn.without_subscribers_for().is_some());
    let readers = [(); 2].map(|()| Reader::new(&turn, Dialect::V2, 1, Cursor::default()));
    assert!(turn.without_subscribers_for().is_none());
    let [first, second] = readers;
    drop(first.subscription);
    assert!(turn.without_subscribers_for().is_none());
    drop(second.subscription);
    assert!(turn.without_subscribers_for().is_some());
}

#[test]
fn dropped_subscription_receives_no_events() {
    let turn = turn();
    let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
    drop(reader.subscription);
    turn.append("x");
    assert!(reader.mailbox.is_empty());
}

proptest! {
    /// Any order of writing, reading, waiting and reconnecting, with any credit: each token once, in order, and one end.
    #[test]
    fn each_token_is_delivered_exactly_once(
        steps in prop::collection::vec((0usize..6, 0usize..6, prop::bool::weighted(0.1), 0u64..9), 1..60),
        capacity in 1usize..5,
        credit in prop::sample::select(vec![0usize, 1, 200, UNLIMITED]),
        v2 in any::<bool>(),
        coalesce_ms in prop::sample::select(vec![0u64, 5, 20]),
    ) {
        let dialect = if v2 { Dialect::V2 } else { Dialect::V1 };
        let options = options(dialect, coalesce_ms);
        let turn = turn();
        turn.announce(starting());
        let mut reader = Reader::with(&turn, options, capacity, Cursor::default(), credit);
        let mut frames = Vec::new();
        let mut written = 0;
        for (write, read, reconnect, ms) in steps {
            for _ in 0..write {
                turn.append(&format!("{written},é "));
                written += 1;
            }
            reader.read_events_with_credit(read, credit);
            reader.wait(ms);
            if reconnect {
                let cursor = reader.subscription.cursor();
                frames.append(&mut reader.frames);
                reader = Reader::with(&turn, options, capacity, cursor, credit);
            }
        }
        complete(&turn);
        reader.read_events_with_credit(usize::MAX, credit);
        reader.wait(coalesce_ms);
        // As the session does each time that its connection grants credit.
        for _ in 0..1_000 {
            if reader.subscription.is_lagging() {
                reader.write(1, |subscription, outbox| subscription.catch_up(outbox));
            }
        }
        frames.append(&mut reader.frames);

        let tokens: String = frames.iter().filter_map(|frame| frame["token"].as_str()).collect();
        let last = frames.last().unwrap();
        prop_assert_eq!(&last["type"], "complete");
        prop_assert_eq!(last["response"].as_str().unwrap(), tokens);
        let mut next = 0;
        for frame in frames.iter().filter(|frame| frame["type"] == "token") {
            prop_assert_eq!(frame["first_seq"].as_u64().unwrap_or(frame["seq"].as_u64().unwrap()), next);
            next = frame["seq"].as_u64().unwrap() + 1;
        }
        prop_assert_eq!(frames.iter().filter(|frame| frame["type"] == "complete").count(), 1);
        prop_assert_eq!(frames.iter().filter(|frame| frame["type"] == "progress").count(), 1);
    }
}
