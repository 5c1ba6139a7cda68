//! One follower's way through one turn: what it has seen, and the frames of what it has not.
//!
//! Pure: events and the log go in, encoded frames come out. WebSocket sessions and SSE answers both use it.

use super::{
    Cursor, Missed, Progress, Subscriber, Tokens, TurnEnd, TurnEvent, TurnEventKind, TurnFailure, TurnLog, TurnSubject,
};
use crate::domain::TurnId;
use bytestring::ByteString;
use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{
    ApiError, CompleteFrame, Dialect, ErrorFrame, ErrorSubject, FieldNames, MetadataView, Named, ProgressFrame,
    ServerFrame, TokenFrame,
};

/// The most text in one frame that joins tokens, in bytes, as far as single tokens allow.
const MAX_JOINED_BYTES: usize = 32 * 1024;

/// A frame on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub frame: ByteString,
    /// The tokens in it, for the statistics.
    pub tokens: u32,
    /// Where it stands in its turn, for the ids of an SSE stream: the last token's seq, in a `token` frame.
    pub seq: Option<u32>,
}

impl From<ServerFrame<'_>> for Outgoing {
    /// A frame without tokens.
    fn from(frame: ServerFrame<'_>) -> Self {
        Self { frame: frame.encode(), tokens: 0, seq: None }
    }
}

/// Where frames go, and how many bytes of them may go there now. One frame may be larger than the room that is left.
pub struct Outbox<'a> {
    pub now: Instant,
    pub credit: &'a mut usize,
    pub put: &'a mut dyn FnMut(Outgoing),
}

impl Outbox<'_> {
    fn is_full(&self) -> bool {
        *self.credit == 0
    }

    fn put(&mut self, outgoing: Outgoing) {
        *self.credit = self.credit.saturating_sub(outgoing.frame.len());
        (self.put)(outgoing);
    }
}

/// The mapping from a failure of a turn to the error that clients receive.
pub type FailureMapping = fn(&TurnFailure) -> ApiError;

/// How a follower wants its frames.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub dialect: Dialect,
    pub names: FieldNames,
    /// Tokens that come so soon after a frame share the next one; only in `chat.v2`. Zero: none do.
    pub coalesce: Duration,
    pub failures: FailureMapping,
}

/// A turn, and one who follows it, as others see them.
#[derive(Clone)]
pub struct SubscribedTurn {
    pub turn: Arc<TurnLog>,
    pub subscriber: Subscriber,
}

pub struct Subscription {
    turn: Arc<TurnLog>,
    subscriber: Subscriber,
    style: Style,
    cursor: Cursor,
    /// Until then tokens are collected in the log.
    hold_until: Option<Instant>,
}

impl Subscription {
    /// Follows a turn from `cursor` on; what is there already goes to `outbox`, as far as there is room.
    pub fn start(
        turn: Arc<TurnLog>,
        subscriber: Subscriber,
        style: Style,
        cursor: Cursor,
        outbox: &mut Outbox<'_>,
    ) -> Self {
        subscriber.begins_at(cursor.next_seq);
        let mut subscription =
            Self { turn: Arc::clone(&turn), subscriber: subscriber.clone(), style, cursor, hold_until: None };
        turn.subscribe(&cursor, &subscriber, |missed| subscription.write(missed, outbox));
        subscription
    }

    /// Takes an event from the mailbox. What the follower has seen already writes nothing; what it missed is read from
    /// the log first.
    pub fn on_event(&mut self, event: TurnEvent, outbox: &mut Outbox<'_>) {
        let is_token = matches!(event.kind, TurnEventKind::Token { .. });
        if is_token && self.hold_until.is_some_and(|until| outbox.now < until) {
            return;
        }
        if self.hold_until.is_some() || self.subscriber.is_lagging() || !self.is_next(&event.kind) {
            return self.catch_up(outbox);
        }
        if outbox.is_full() {
            return self.subscriber.mark_lagging();
        }
        match event.kind {
            TurnEventKind::Progress { progress, .. } => self.write_progress(&progress, outbox),
            TurnEventKind::Token { seq } => {
                event.turn.with_tokens(|tokens| self.write_tokens(tokens, seq..seq + 1, outbox));
                self.hold(outbox.now);
            }
            TurnEventKind::Ended => self.catch_up(outbox),
        }
    }

    pub fn has_ended(&self) -> bool {
        self.cursor.ended
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        &self.turn
    }

    pub fn is_of(&self, turn_id: TurnId) -> bool {
        self.turn.subject.turn_id == turn_id
    }

    pub fn subscribed(&self) -> SubscribedTurn {
        SubscribedTurn { turn: Arc::clone(&self.turn), subscriber: self.subscriber.clone() }
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The peer is asked for a sign of life, behind all that was written so far.
    pub fn pinged(&self) {
        self.subscriber.pinged();
    }

    /// The sign has come.
    pub fn acknowledged(&self) {
        self.subscriber.acknowledged();
    }

    /// Whether news was left in the log; the reader of a mailbox that overflowed, or that has room again, asks.
    pub fn is_lagging(&self) -> bool {
        self.subscriber.is_lagging()
    }

    /// When the tokens that are being collected have to go out: the reader calls [`Subscription::catch_up`] then.
    pub fn hold_until(&self) -> Option<Instant> {
        self.hold_until
    }

    fn is_next(&self, kind: &TurnEventKind) -> bool {
        match kind {
            TurnEventKind::Progress { index, .. } => *index == self.cursor.progress,
            TurnEventKind::Token { seq, .. } => *seq == self.cursor.next_seq,
            TurnEventKind::Ended => true,
        }
    }

    /// Reads from the log what is not seen yet, as far as there is room.
    pub fn catch_up(&mut self, outbox: &mut Outbox<'_>) {
        self.hold_until = None;
        let (turn, subscriber, cursor) = (Arc::clone(&self.turn), self.subscriber.clone(), self.cursor);
        turn.catch_up(&cursor, &subscriber, |missed| self.write(missed, outbox));
        if self.cursor.next_seq > cursor.next_seq {
            self.hold(outbox.now);
        }
    }

    /// A frame with tokens went out: the next ones may share one.
    fn hold(&mut self, now: Instant) {
        let is_live = !self.cursor.ended && !self.subscriber.is_lagging();
        if is_live && self.style.dialect == Dialect::V2 && !self.style.coalesce.is_zero() {
            self.hold_until = Some(now + self.style.coalesce);
            self.subscriber.hold();
        }
    }

    /// Returns whether there was room for all of it.
    fn write(&mut self, missed: Missed<'_>, outbox: &mut Outbox<'_>) -> bool {
        for progress in missed.progress {
            if outbox.is_full() {
                return false;
            }
            self.write_progress(progress, outbox);
        }
        let mut seqs = missed.seqs.clone();
        while !seqs.is_empty() {
            if outbox.is_full() {
                return false;
            }
            let part = seqs.start..end_of_frame(&missed, &seqs);
            seqs.start = part.end;
            self.write_tokens(missed.tokens, part, outbox);
        }
        if let Some(end) = missed.end {
            if outbox.is_full() {
                return false;
            }
            self.cursor.ended = true;
            outbox.put(end_frame(&self.turn.subject, end, missed.tokens, self.style));
        }
        true
    }

    fn write_progress(&mut self, progress: &Progress, outbox: &mut Outbox<'_>) {
        self.cursor.progress += 1;
        let names = self.style.names;
        let conversation = names.conversation(self.turn.subject.conversation_id);
        let specialist = progress.specialist.as_deref().map_or(Named::NONE, |name| names.specialist(name));
        outbox.put(Outgoing::from(ServerFrame::Progress(ProgressFrame {
            step: progress.step.name(names),
            message: &progress.message,
            session_id: conversation.v1,
            conversation_id: conversation.v2,
            turn_id: self.turn.subject.turn_id,
            agent: specialist.v1,
            specialist: specialist.v2,
            confidence: progress.confidence,
            sources: progress.sources.as_deref(),
            client_message_id: progress.client_message_id.as_deref(),
            question: progress.question.as_deref(),
        })));
    }

    fn write_tokens(&mut self, tokens: &Tokens, seqs: Range<u32>, outbox: &mut Outbox<'_>) {
        self.cursor.next_seq = seqs.end;
        self.subscriber.came_to(seqs.end);
        let seq = seqs.end - 1;
        let conversation = self.style.names.conversation(self.turn.subject.conversation_id);
        let frame = ServerFrame::Token(TokenFrame {
            token: tokens.joined(seqs.clone()),
            partial_response: (self.style.dialect == Dialect::V1).then(|| tokens.text_before(seqs.end)),
            turn_id: self.turn.subject.turn_id,
            session_id: conversation.v1,
            conversation_id: conversation.v2,
            seq,
            first_seq: (seqs.start != seq).then_some(seqs.start),
        });
        outbox.put(Outgoing { frame: frame.encode(), tokens: seqs.end - seqs.start, seq: Some(seq) });
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.cursor.ended {
            self.turn.unsubscribe(&self.subscriber);
        }
    }
}

/// Where a frame that starts with the first of `seqs` ends: at least one token, then as many as the limit allows.
fn end_of_frame(missed: &Missed<'_>, seqs: &Range<u32>) -> u32 {
    let ends = &missed.tokens.ends()[seqs.start as usize..seqs.end as usize];
    let limit = missed.tokens.text_before(seqs.start).len() + MAX_JOINED_BYTES;
    let fitting = ends.partition_point(|end| *end as usize <= limit).max(1);
    seqs.start + u32::try_from(fitting).expect("no more than there are seqs")
}

fn end_frame(subject: &TurnSubject, end: &TurnEnd, tokens: &Tokens, style: Style) -> Outgoing {
    match end {
        TurnEnd::Complete { message_id, finish_reason, metadata, sha256 } => {
            let conversation = style.names.conversation(subject.conversation_id);
            Outgoing::from(ServerFrame::Complete(CompleteFrame {
                response: tokens.text(),
                session_id: conversation.v1,
                conversation_id: conversation.v2,
                metadata: MetadataView::new(metadata, style.names),
                turn_id: subject.turn_id,
                message_id: *message_id,
                seq: i64::from(tokens.count()) - 1,
                finish_reason: *finish_reason,
                sha256,
            }))
        }
        TurnEnd::Failed(failure) => {
            let about = ErrorSubject {
                turn_id: Some(subject.turn_id),
                conversation_id: Some(subject.conversation_id),
                client_message_id: None,
            };
            Outgoing::from(ServerFrame::Error(ErrorFrame::new(&(style.failures)(failure), &about, style.names)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, TurnId, UserId},
        turn::Mailbox,
    };
    use proptest::prelude::*;
    use serde_json::Value;
    use switchboard_protocol::{ApiError, ErrorCode, Step};
    use tokio::sync::mpsc;

    const MANY: usize = usize::MAX;

    fn failures(failure: &TurnFailure) -> ApiError {
        ApiError::new(ErrorCode::UpstreamTimeout, failure.to_string())
    }

    /// A reader whose mailbox takes `mails` events, and all it was sent.
    struct Reader {
        subscription: Subscription,
        mailbox: mpsc::Receiver<TurnEvent>,
        frames: Vec<Value>,
        /// In milliseconds.
        time: u64,
        began: Instant,
    }

    impl Reader {
        fn new(turn: &Arc<TurnLog>, dialect: Dialect, mails: usize, cursor: Cursor) -> Self {
            Self::with(
                turn,
                Style { dialect, names: dialect.into(), coalesce: Duration::ZERO, failures },
                mails,
                cursor,
                MANY,
            )
        }

        fn with(turn: &Arc<TurnLog>, style: Style, mails: usize, cursor: Cursor, mut credit: usize) -> Self {
            let (sender, mailbox) = mpsc::channel(mails);
            let (mut frames, began) = (Vec::new(), Instant::now());
            let subscriber = Mailbox::new(sender).subscriber();
            let put = &mut |outgoing| frames.push(parsed(&outgoing));
            let mut outbox = Outbox { now: began, credit: &mut credit, put };
            let subscription = Subscription::start(Arc::clone(turn), subscriber, style, cursor, &mut outbox);
            Self { subscription, mailbox, frames, time: 0, began }
        }

        fn write(&mut self, mut credit: usize, write: impl FnOnce(&mut Subscription, &mut Outbox<'_>)) {
            let (frames, now) = (&mut self.frames, self.began + Duration::from_millis(self.time));
            let put = &mut |outgoing| frames.push(parsed(&outgoing));
            write(&mut self.subscription, &mut Outbox { now, credit: &mut credit, put });
        }

        fn read_mail(&mut self, most: usize) {
            self.read_mail_with_credit(most, MANY);
        }

        fn read_mail_with_credit(&mut self, most: usize, credit: usize) {
            for _ in 0..most {
                let Ok(event) = self.mailbox.try_recv() else { return };
                self.write(credit, |subscription, outbox| subscription.on_event(event, outbox));
            }
        }

        /// Time passes; what was collected so far goes out when it is due.
        fn wait(&mut self, ms: u64) {
            self.time += ms;
            let now = self.began + Duration::from_millis(self.time);
            if self.subscription.hold_until().is_some_and(|until| until <= now) {
                self.write(MANY, |subscription, outbox| subscription.catch_up(outbox));
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
        TurnLog::new(TurnSubject {
            turn_id: TurnId::new(),
            conversation_id: ConversationId::new(),
            user_id: UserId::new(),
        })
    }

    fn complete(turn: &Arc<TurnLog>) {
        turn.end(TurnEnd::Complete {
            message_id: MessageId::new(),
            finish_reason: FinishReason::Stop,
            metadata: Box::new(AnswerMetadata::default()),
            sha256: turn.with_tokens(super::super::Tokens::sha256),
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
    fn a_live_reader_gets_a_frame_for_each_token() {
        let turn = turn();
        let mut reader = Reader::new(&turn, Dialect::V1, 16, Cursor::default());
        turn.announce(starting());
        for token in ["Hel", "lo"] {
            turn.append(token);
            reader.read_mail(16);
        }
        complete(&turn);
        reader.read_mail(16);
        let types: Vec<_> = reader.frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["progress", "token", "token", "complete"]);
        assert_eq!((&reader.frames[2]["seq"], &reader.frames[2]["partial_response"]), (&1.into(), &"Hello".into()));
        assert_eq!(reader.frames[3]["seq"], 1);
    }

    #[test]
    fn chat_v2_has_no_partial_response() {
        let turn = turn();
        let mut reader = Reader::new(&turn, Dialect::V2, 16, Cursor::default());
        turn.append("Hi");
        reader.read_mail(16);
        assert!(reader.frames[0].get("partial_response").is_none());
    }

    #[test]
    fn a_reader_that_fell_behind_gets_the_rest_joined() {
        let turn = turn();
        let mut reader = Reader::new(&turn, Dialect::V2, 2, Cursor::default());
        for n in 0..10 {
            turn.append(&n.to_string());
        }
        complete(&turn);
        reader.read_mail(usize::MAX);
        assert_eq!(reader.tokens(), "0123456789");
        assert_eq!((&reader.frames[0]["first_seq"], &reader.frames[0]["seq"]), (&0.into(), &9.into()));
        assert_eq!(reader.frames.iter().filter(|frame| frame["type"] == "complete").count(), 1);
    }

    #[test]
    fn a_failed_turn_ends_in_its_error() {
        let turn = turn();
        turn.end(TurnEnd::Failed(TurnFailure::TimedOut));
        let reader = Reader::new(&turn, Dialect::V1, 2, Cursor::default());
        assert_eq!(reader.frames[0]["code"], "UPSTREAM_TIMEOUT");
        assert_eq!(reader.frames[0]["turn_id"], turn.subject.turn_id.to_string());
    }

    #[test]
    fn large_backlogs_come_in_bounded_frames() {
        let turn = turn();
        for _ in 0..100 {
            turn.append(&"x".repeat(1000));
        }
        let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
        assert!(reader.frames.iter().all(|frame| frame["token"].as_str().unwrap().len() <= MAX_JOINED_BYTES));
        assert_eq!(reader.tokens().len(), 100_000);
    }

    #[test]
    fn a_backlog_comes_in_parts_as_there_is_room() {
        let turn = turn();
        for _ in 0..100 {
            turn.append(&"x".repeat(1000));
        }
        let style = Style { dialect: Dialect::V2, names: FieldNames::V2, coalesce: Duration::ZERO, failures };
        let mut reader = Reader::with(&turn, style, 16, Cursor::default(), 1);
        assert_eq!((reader.frames.len(), reader.subscription.is_lagging()), (1, true));
        let subscribed = reader.subscription.subscribed();
        assert_eq!(turn.bytes_waiting_for(&subscribed.subscriber), 100_000 - reader.tokens().len());
        // Live tokens wait behind the backlog.
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
        reader.read_mail(1);
        assert!(reader.tokens().ends_with("yz"));
    }

    #[test]
    fn the_first_token_goes_out_at_once_and_the_next_ones_share_a_frame() {
        let turn = turn();
        let style =
            Style { dialect: Dialect::V2, names: FieldNames::V2, coalesce: Duration::from_millis(50), failures };
        let mut reader = Reader::with(&turn, style, 16, Cursor::default(), MANY);
        for token in ["a", "b", "c"] {
            turn.append(token);
            reader.read_mail(16);
            reader.wait(10);
        }
        assert_eq!(reader.tokens(), "a");
        assert!(reader.mailbox.is_empty(), "tokens that are collected cost no event");
        reader.wait(20);
        assert_eq!(reader.tokens(), "abc");
        assert_eq!((&reader.frames[1]["first_seq"], &reader.frames[1]["seq"]), (&1.into(), &2.into()));
        turn.append("d");
        complete(&turn);
        reader.read_mail(16);
        assert_eq!(reader.tokens(), "abcd", "the end does not wait");
        assert_eq!(reader.frames.last().unwrap()["response"], "abcd");
    }

    #[test]
    fn after_a_pause_a_token_goes_out_at_once() {
        let turn = turn();
        let style =
            Style { dialect: Dialect::V2, names: FieldNames::V2, coalesce: Duration::from_millis(50), failures };
        let mut reader = Reader::with(&turn, style, 16, Cursor::default(), MANY);
        for token in ["a", "b"] {
            turn.append(token);
            reader.read_mail(16);
            reader.wait(50);
            assert!(reader.tokens().ends_with(token));
        }
    }

    #[test]
    fn the_log_knows_whether_somebody_follows() {
        let turn = turn();
        assert!(turn.alone_for().is_some());
        let readers = [(); 2].map(|()| Reader::new(&turn, Dialect::V2, 1, Cursor::default()));
        assert!(turn.alone_for().is_none());
        let [first, second] = readers;
        drop(first.subscription);
        assert!(turn.alone_for().is_none());
        drop(second.subscription);
        assert!(turn.alone_for().is_some());
    }

    #[test]
    fn who_leaves_is_not_kept() {
        let turn = turn();
        let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
        drop(reader.subscription);
        turn.append("x");
        assert!(reader.mailbox.is_empty());
    }

    proptest! {
        /// Whatever the order of writing, reading, waiting, and coming back, with whatever room: every token once, in order,
        /// and one end.
        #[test]
        fn exactly_once(
            steps in prop::collection::vec((0usize..6, 0usize..6, prop::bool::weighted(0.1), 0u64..9), 1..60),
            mails in 1usize..5,
            credit in prop::sample::select(vec![0usize, 1, 200, MANY]),
            v2 in any::<bool>(),
            coalesce_ms in prop::sample::select(vec![0u64, 5, 20]),
        ) {
            let dialect = if v2 { Dialect::V2 } else { Dialect::V1 };
            let style = Style { dialect, names: dialect.into(), coalesce: Duration::from_millis(coalesce_ms), failures };
            let turn = turn();
            turn.announce(starting());
            let mut reader = Reader::with(&turn, style, mails, Cursor::default(), credit);
            let mut frames = Vec::new();
            let mut written = 0;
            for (write, read, reconnect, ms) in steps {
                for _ in 0..write {
                    turn.append(&format!("{written},é "));
                    written += 1;
                }
                reader.read_mail_with_credit(read, credit);
                reader.wait(ms);
                if reconnect {
                    let cursor = reader.subscription.cursor();
                    frames.append(&mut reader.frames);
                    reader = Reader::with(&turn, style, mails, cursor, credit);
                }
            }
            complete(&turn);
            reader.read_mail_with_credit(usize::MAX, credit);
            reader.wait(coalesce_ms);
            // As the session does each time that its connection asks for more.
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
}
