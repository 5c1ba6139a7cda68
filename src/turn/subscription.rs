//! One subscription to one turn: a cursor in its log, and the encoding of entries into frames.
//!
//! Pure: events and the log go in, encoded frames come out. WebSocket sessions and server-sent events both use it.

use super::{
    Backlog, Cursor, Progress, Subscriber, Tokens, TurnEnd, TurnEvent, TurnEventKind, TurnFailure, TurnLog, TurnSubject,
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

/// The text of several tokens that one frame may join, in bytes. A single longer token still gets a frame of its own.
const MAX_JOINED_BYTES: usize = 32 * 1024;

/// A frame on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub frame: ByteString,
    /// The number of tokens in it, for statistics.
    pub tokens: u32,
    /// The seq of the last token in a `token` frame, used as the event id of an SSE stream.
    pub seq: Option<u32>,
}

impl From<ServerFrame<'_>> for Outgoing {
    /// Encodes a frame without tokens.
    fn from(frame: ServerFrame<'_>) -> Self {
        Self { frame: frame.encode(), tokens: 0, seq: None }
    }
}

/// A sink for frames with a credit in bytes. The frame that uses up the credit may exceed it.
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

/// Maps a failure of a turn to the error that clients receive.
pub type FailureMapping = fn(&TurnFailure) -> ApiError;

/// The form of a subscriber's frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameOptions {
    pub dialect: Dialect,
    pub names: FieldNames,
    /// Time after a frame during which new tokens are collected for the next one; only in `chat.v2`. Zero disables it.
    pub coalesce: Duration,
    pub failures: FailureMapping,
}

/// A turn and one of its subscribers, for connection statistics.
#[derive(Clone)]
pub struct SubscribedTurn {
    pub turn: Arc<TurnLog>,
    pub subscriber: Subscriber,
}

pub struct Subscription {
    turn: Arc<TurnLog>,
    subscriber: Subscriber,
    options: FrameOptions,
    cursor: Cursor,
    /// Set while tokens are collected in the log for one frame: the time at which that frame is due.
    flush_at: Option<Instant>,
}

impl Subscription {
    /// Subscribes at `cursor`, and writes the backlog to `outbox` as far as the credit allows.
    pub fn start(
        turn: Arc<TurnLog>,
        subscriber: Subscriber,
        options: FrameOptions,
        cursor: Cursor,
        outbox: &mut Outbox<'_>,
    ) -> Self {
        subscriber.start_at(cursor.next_seq);
        let mut subscription =
            Self { turn: Arc::clone(&turn), subscriber: subscriber.clone(), options, cursor, flush_at: None };
        turn.subscribe(&cursor, &subscriber, |backlog| subscription.write(backlog, outbox));
        subscription
    }

    /// Handles an event from the mailbox. An event that is not the next one makes the subscription read the log: entries that
    /// were read before write nothing, and missing ones are written first.
    pub fn on_event(&mut self, event: TurnEvent, outbox: &mut Outbox<'_>) {
        let is_token = matches!(event.kind, TurnEventKind::Token { .. });
        if is_token && self.flush_at.is_some_and(|until| outbox.now < until) {
            return;
        }
        if self.flush_at.is_some() || self.subscriber.is_lagging() || !self.is_next(&event.kind) {
            return self.catch_up(outbox);
        }
        if outbox.is_full() {
            return self.subscriber.mark_lagging();
        }
        match event.kind {
            TurnEventKind::Progress { progress, .. } => self.write_progress(&progress, outbox),
            TurnEventKind::Token { seq } => {
                event.turn.with_tokens(|tokens| self.write_tokens(tokens, seq..seq + 1, outbox));
                self.start_coalescing(outbox.now);
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

    /// Records that a ping was sent after everything written so far.
    pub fn pinged(&self) {
        self.subscriber.pinged();
    }

    /// Records that the ping was answered.
    pub fn acknowledged(&self) {
        self.subscriber.acknowledged();
    }

    /// Whether a backlog is waiting in the log. Call [`Subscription::catch_up`] then, once there is credit.
    pub fn is_lagging(&self) -> bool {
        self.subscriber.is_lagging()
    }

    /// When the collected tokens are due; call [`Subscription::catch_up`] then.
    pub fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    fn is_next(&self, kind: &TurnEventKind) -> bool {
        match kind {
            TurnEventKind::Progress { index, .. } => *index == self.cursor.progress,
            TurnEventKind::Token { seq, .. } => *seq == self.cursor.next_seq,
            TurnEventKind::Ended => true,
        }
    }

    /// Writes the backlog, as far as the credit allows.
    pub fn catch_up(&mut self, outbox: &mut Outbox<'_>) {
        self.flush_at = None;
        let (turn, subscriber, cursor) = (Arc::clone(&self.turn), self.subscriber.clone(), self.cursor);
        turn.catch_up(&cursor, &subscriber, |backlog| self.write(backlog, outbox));
        if self.cursor.next_seq > cursor.next_seq {
            self.start_coalescing(outbox.now);
        }
    }

    /// Called after a frame with tokens: collects the next tokens for one frame.
    fn start_coalescing(&mut self, now: Instant) {
        let is_live = !self.cursor.ended && !self.subscriber.is_lagging();
        if is_live && self.options.dialect == Dialect::V2 && !self.options.coalesce.is_zero() {
            self.flush_at = Some(now + self.options.coalesce);
            self.subscriber.start_coalescing();
        }
    }

    /// Writes the backlog; returns whether the credit sufficed for all of it.
    fn write(&mut self, backlog: Backlog<'_>, outbox: &mut Outbox<'_>) -> bool {
        for progress in backlog.progress {
            if outbox.is_full() {
                return false;
            }
            self.write_progress(progress, outbox);
        }
        let mut seqs = backlog.seqs.clone();
        while !seqs.is_empty() {
            if outbox.is_full() {
                return false;
            }
            let part = seqs.start..end_of_frame(&backlog, &seqs);
            seqs.start = part.end;
            self.write_tokens(backlog.tokens, part, outbox);
        }
        if let Some(end) = backlog.end {
            if outbox.is_full() {
                return false;
            }
            self.cursor.ended = true;
            outbox.put(end_frame(&self.turn.subject, end, backlog.tokens, self.options));
        }
        true
    }

    fn write_progress(&mut self, progress: &Progress, outbox: &mut Outbox<'_>) {
        self.cursor.progress += 1;
        let names = self.options.names;
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
        self.subscriber.advance_to(seqs.end);
        let seq = seqs.end - 1;
        let conversation = self.options.names.conversation(self.turn.subject.conversation_id);
        let frame = ServerFrame::Token(TokenFrame {
            token: tokens.joined(seqs.clone()),
            partial_response: (self.options.dialect == Dialect::V1).then(|| tokens.text_before(seqs.end)),
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

/// Returns the end of a frame that starts with the first of `seqs`: at least one token, then as many as
/// [`MAX_JOINED_BYTES`] allows.
fn end_of_frame(backlog: &Backlog<'_>, seqs: &Range<u32>) -> u32 {
    let ends = &backlog.tokens.ends()[seqs.start as usize..seqs.end as usize];
    let limit = backlog.tokens.text_before(seqs.start).len() + MAX_JOINED_BYTES;
    let fitting = ends.partition_point(|end| *end as usize <= limit).max(1);
    seqs.start + u32::try_from(fitting).expect("bounded by the number of tokens")
}

fn end_frame(subject: &TurnSubject, end: &TurnEnd, tokens: &Tokens, options: FrameOptions) -> Outgoing {
    match end {
        TurnEnd::Complete { message_id, finish_reason, metadata, sha256 } => {
            let conversation = options.names.conversation(subject.conversation_id);
            Outgoing::from(ServerFrame::Complete(CompleteFrame {
                response: tokens.text(),
                session_id: conversation.v1,
                conversation_id: conversation.v2,
                metadata: MetadataView::new(metadata, options.names),
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
            Outgoing::from(ServerFrame::Error(ErrorFrame::new(&(options.failures)(failure), &about, options.names)))
        }
    }
}

#[cfg(test)]
mod tests;
