//! One follower's way through one turn: what it has seen, and the frames of what it has not.
//!
//! Pure: events and the log go in, encoded frames come out. WebSocket sessions and SSE answers both use it.

use super::{Follower, Missed, Progress, TurnEnd, TurnEvent, TurnEventKind, TurnLog, TurnSubject};
use crate::protocol::{CompleteFrame, Dialect, ErrorFrame, ErrorSubject, ProgressFrame, ServerFrame, TokenFrame};
use bytestring::ByteString;
use std::{ops::Range, sync::Arc};

/// The most text in one frame that joins tokens, in bytes, as far as single tokens allow.
const MAX_JOINED_BYTES: usize = 32 * 1024;

/// How far a follower has come in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The progress entries it has seen.
    pub progress: usize,
    /// The seq of the token it sees next.
    pub next_seq: u32,
    /// Whether it has seen the end.
    pub ended: bool,
}

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

pub struct Following {
    turn: Arc<TurnLog>,
    follower: Follower,
    dialect: Dialect,
    cursor: Cursor,
}

impl Following {
    /// Follows a turn from `cursor` on; what is there already goes to `out`.
    pub fn start(
        turn: Arc<TurnLog>,
        follower: Follower,
        dialect: Dialect,
        cursor: Cursor,
        out: &mut impl FnMut(Outgoing),
    ) -> Self {
        let mut following = Self { turn: Arc::clone(&turn), follower: follower.clone(), dialect, cursor };
        turn.follow(&cursor, &follower, |missed| following.write(missed, out));
        following
    }

    /// Takes an event from the mailbox. What the follower has seen already writes nothing; what it missed is read from
    /// the log first.
    pub fn on_event(&mut self, event: TurnEvent, out: &mut impl FnMut(Outgoing)) {
        if self.follower.is_behind() || !self.is_next(&event.kind) {
            return self.catch_up(out);
        }
        match event.kind {
            TurnEventKind::Progress { progress, .. } => self.write_progress(&progress, out),
            TurnEventKind::Token { seq, text } => match self.dialect {
                Dialect::V2 => self.write_token(&text, None, seq..seq + 1, out),
                Dialect::V1 => Arc::clone(&self.turn).with_tokens(|tokens| {
                    self.write_token(&text, Some(tokens.text_before(seq + 1)), seq..seq + 1, out);
                }),
            },
            TurnEventKind::Ended => self.catch_up(out),
        }
    }

    pub fn has_ended(&self) -> bool {
        self.cursor.ended
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        &self.turn
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether news was left in the log; the reader of a mailbox that overflowed asks.
    pub fn is_behind(&self) -> bool {
        self.follower.is_behind()
    }

    fn is_next(&self, kind: &TurnEventKind) -> bool {
        match kind {
            TurnEventKind::Progress { index, .. } => *index == self.cursor.progress,
            TurnEventKind::Token { seq, .. } => *seq == self.cursor.next_seq,
            TurnEventKind::Ended => true,
        }
    }

    /// Reads from the log what is not seen yet.
    pub fn catch_up(&mut self, out: &mut impl FnMut(Outgoing)) {
        let (turn, follower, cursor) = (Arc::clone(&self.turn), self.follower.clone(), self.cursor);
        turn.catch_up(&cursor, &follower, |missed| self.write(missed, out));
    }

    fn write(&mut self, missed: Missed<'_>, out: &mut impl FnMut(Outgoing)) {
        for progress in missed.progress {
            self.write_progress(progress, out);
        }
        let mut seqs = missed.seqs.clone();
        while !seqs.is_empty() {
            let part = seqs.start..end_of_frame(&missed, &seqs);
            let partial = (self.dialect == Dialect::V1).then(|| missed.tokens.text_before(part.end));
            self.write_token(missed.tokens.joined(part.clone()), partial, part.clone(), out);
            seqs.start = part.end;
        }
        if let Some(end) = missed.end {
            self.cursor.ended = true;
            out(end_frame(&self.turn.subject, end, missed.tokens.text(), missed.tokens.count()));
        }
    }

    fn write_progress(&mut self, progress: &Progress, out: &mut impl FnMut(Outgoing)) {
        self.cursor.progress += 1;
        out(Outgoing::from(ServerFrame::Progress(ProgressFrame {
            step: progress.step,
            message: &progress.message,
            session_id: self.turn.subject.conversation_id,
            turn_id: self.turn.subject.turn_id,
            agent: progress.agent.as_deref(),
            confidence: progress.confidence,
            sources: progress.sources.as_deref(),
            client_message_id: progress.client_message_id.as_deref(),
        })));
    }

    fn write_token(
        &mut self,
        token: &str,
        partial_response: Option<&str>,
        seqs: Range<u32>,
        out: &mut impl FnMut(Outgoing),
    ) {
        self.cursor.next_seq = seqs.end;
        let seq = seqs.end - 1;
        let frame = ServerFrame::Token(TokenFrame {
            token,
            partial_response,
            turn_id: self.turn.subject.turn_id,
            session_id: self.turn.subject.conversation_id,
            seq,
            first_seq: (seqs.start != seq).then_some(seqs.start),
        });
        let tokens = seqs.end - seqs.start;
        out(Outgoing { frame: frame.encode(), tokens, seq: Some(seq) });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if !self.cursor.ended {
            self.turn.unfollow(&self.follower);
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

fn end_frame(subject: &TurnSubject, end: &TurnEnd, response: &str, count: u32) -> Outgoing {
    match end {
        TurnEnd::Complete { message_id, finish_reason, metadata, sha256 } => {
            Outgoing::from(ServerFrame::Complete(CompleteFrame {
                response,
                session_id: subject.conversation_id,
                metadata,
                turn_id: subject.turn_id,
                message_id: *message_id,
                seq: i64::from(count) - 1,
                finish_reason: *finish_reason,
                sha256,
            }))
        }
        TurnEnd::Failed(error) => {
            let about = ErrorSubject {
                turn_id: Some(subject.turn_id),
                session_id: Some(subject.conversation_id),
                client_message_id: None,
            };
            Outgoing::from(ServerFrame::Error(ErrorFrame::new(error, &about)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, TurnId, UserId},
        protocol::{ApiError, ErrorCode, Step},
        turn::Mailbox,
    };
    use proptest::prelude::*;
    use serde_json::Value;
    use tokio::sync::mpsc;

    /// A reader whose mailbox takes `room` events, and all it was sent.
    struct Reader {
        following: Following,
        mailbox: mpsc::Receiver<TurnEvent>,
        frames: Vec<Value>,
    }

    impl Reader {
        fn new(turn: &Arc<TurnLog>, dialect: Dialect, room: usize, cursor: Cursor) -> Self {
            let (sender, mailbox) = mpsc::channel(room);
            let mut frames = Vec::new();
            let follower = Mailbox::new(sender).follower();
            let following = Following::start(Arc::clone(turn), follower, dialect, cursor, &mut |outgoing| {
                frames.push(parsed(&outgoing));
            });
            Self { following, mailbox, frames }
        }

        fn read_mail(&mut self, most: usize) {
            for _ in 0..most {
                let Ok(event) = self.mailbox.try_recv() else { return };
                let frames = &mut self.frames;
                self.following.on_event(event, &mut |outgoing| frames.push(parsed(&outgoing)));
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
            agent: None,
            confidence: None,
            sources: None,
            client_message_id: None,
        }
    }

    #[test]
    fn a_live_reader_gets_a_frame_for_each_token() {
        let turn = turn();
        let mut reader = Reader::new(&turn, Dialect::V1, 16, Cursor::default());
        turn.announce(starting());
        for token in ["Hel", "lo"] {
            turn.append(token.to_owned());
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
        turn.append("Hi".to_owned());
        reader.read_mail(16);
        assert!(reader.frames[0].get("partial_response").is_none());
    }

    #[test]
    fn a_reader_that_fell_behind_gets_the_rest_joined() {
        let turn = turn();
        let mut reader = Reader::new(&turn, Dialect::V2, 2, Cursor::default());
        for n in 0..10 {
            turn.append(n.to_string());
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
        turn.end(TurnEnd::Failed(ApiError::new(ErrorCode::UpstreamTimeout, "silent")));
        let reader = Reader::new(&turn, Dialect::V1, 2, Cursor::default());
        assert_eq!(reader.frames[0]["code"], "UPSTREAM_TIMEOUT");
        assert_eq!(reader.frames[0]["turn_id"], turn.subject.turn_id.to_string());
    }

    #[test]
    fn large_backlogs_come_in_bounded_frames() {
        let turn = turn();
        for _ in 0..100 {
            turn.append("x".repeat(1000));
        }
        let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
        assert!(reader.frames.iter().all(|frame| frame["token"].as_str().unwrap().len() <= MAX_JOINED_BYTES));
        assert_eq!(reader.tokens().len(), 100_000);
    }

    #[test]
    fn who_leaves_is_not_kept() {
        let turn = turn();
        let reader = Reader::new(&turn, Dialect::V2, 1, Cursor::default());
        drop(reader.following);
        turn.append("x".to_owned());
        assert!(reader.mailbox.is_empty());
    }

    proptest! {
        /// Whatever the order of writing, reading, and coming back: every token once, in order, and one end.
        #[test]
        fn exactly_once(
            steps in prop::collection::vec((0usize..6, 0usize..6, prop::bool::weighted(0.1)), 1..60),
            room in 1usize..5,
            v2 in any::<bool>(),
        ) {
            let dialect = if v2 { Dialect::V2 } else { Dialect::V1 };
            let turn = turn();
            turn.announce(starting());
            let mut reader = Reader::new(&turn, dialect, room, Cursor::default());
            let mut frames = Vec::new();
            let mut written = 0;
            for (write, read, reconnect) in steps {
                for _ in 0..write {
                    turn.append(format!("{written},é "));
                    written += 1;
                }
                reader.read_mail(read);
                if reconnect {
                    let cursor = reader.following.cursor();
                    frames.append(&mut reader.frames);
                    reader = Reader::new(&turn, dialect, room, cursor);
                }
            }
            complete(&turn);
            reader.read_mail(usize::MAX);
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
