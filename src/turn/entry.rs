//! The entries of a turn's log, and views of them for readers.
//!
//! Every entry has an `index`, from 0 and without gaps; tokens of the answer also have a `seq` of their own. Text is stored
//! joined ([`Tokens`]), everything else as an [`Item`] that records how many tokens precede it. The index of an item is
//! therefore the number of items plus the number of tokens before it.

use super::{Cursor, Tokens, TurnFailure};
use crate::domain::{AnswerMetadata, FinishReason, MessageId, Part, Source};
use std::{ops::Range, sync::Arc};
use switchboard_protocol::Step;

/// The text of several tokens that one entry may join, in bytes. A single longer token still gets an entry of its own.
pub(super) const MAX_JOINED_BYTES: usize = 32 * 1024;

/// The start of a step, with the findings of the steps before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub step: Step,
    pub message: String,
    pub specialist: Option<String>,
    pub confidence: Option<f64>,
    pub sources: Option<Arc<[Source]>>,
    /// The id that the client gave the user's message; only in the first step.
    pub client_message_id: Option<String>,
    /// The user's message; only in the first step.
    pub question: Option<String>,
}

/// The end of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    Complete { message_id: MessageId, finish_reason: FinishReason, metadata: Box<AnswerMetadata>, sha256: String },
    Failed(TurnFailure),
}

/// An entry that is neither text of the answer nor the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Progress(Box<Progress>),
    /// Text of the model's reasoning; never part of the answer.
    Reasoning(Box<str>),
    Part(Box<Part>),
    /// An item that the store does not keep. It has an index, and nothing to show.
    Skipped,
}

/// An entry as readers see it.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    Progress(&'a Progress),
    /// One or several tokens.
    Text {
        seqs: Range<u32>,
        tokens: &'a Tokens,
    },
    Reasoning(&'a str),
    Part(&'a Part),
    /// An item that the store does not keep; never in the log of a running turn.
    Skipped,
    End {
        end: &'a TurnEnd,
        tokens: &'a Tokens,
    },
}

/// An item and its place among the tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlacedItem {
    /// The number of tokens before it.
    pub tokens_before: u32,
    pub item: Item,
}

/// The entries of a log, for reading under its lock.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    pub(super) items: &'a [PlacedItem],
    pub(super) tokens: &'a Tokens,
    pub(super) end: Option<&'a TurnEnd>,
}

impl<'a> Entries<'a> {
    /// Returns the entry at `cursor` and the cursor after it; `None` if nothing follows. Adjacent tokens are joined, up to
    /// `max_tokens`.
    pub fn next(&self, cursor: Cursor, max_tokens: u32) -> Option<(Entry<'a>, Cursor)> {
        let next_item = self.items.get(cursor.items as usize);
        if let Some(PlacedItem { item, .. }) = next_item.filter(|item| item.tokens_before <= cursor.next_seq) {
            let entry = match item {
                Item::Progress(progress) => Entry::Progress(progress),
                Item::Reasoning(delta) => Entry::Reasoning(delta),
                Item::Part(part) => Entry::Part(part),
                Item::Skipped => Entry::Skipped,
            };
            return Some((entry, Cursor { items: cursor.items + 1, ..cursor }));
        }
        let text_end = next_item.map_or(self.tokens.count(), |item| item.tokens_before);
        if cursor.next_seq < text_end {
            let end = self.tokens.end_of_joined(cursor.next_seq..text_end, MAX_JOINED_BYTES);
            let end = end.min(cursor.next_seq.saturating_add(max_tokens));
            let entry = Entry::Text { seqs: cursor.next_seq..end, tokens: self.tokens };
            return Some((entry, Cursor { next_seq: end, ..cursor }));
        }
        let end = self.end.filter(|_| !cursor.ended)?;
        Some((Entry::End { end, tokens: self.tokens }, Cursor { ended: true, ..cursor }))
    }

    /// Returns the position of a client that has every token before `next_seq`, and every other entry up to `last_index` or, if
    /// that is unknown, those before its last token. The end always follows.
    pub fn position(&self, next_seq: u32, last_index: Option<u32>) -> Cursor {
        let next_seq = next_seq.min(self.tokens.count());
        let before_text = self.items.partition_point(|item| item.tokens_before < next_seq);
        let up_to_index = last_index.map_or(0, |last| {
            let mut indices = (0..).zip(self.items).map(|(number, item): (u32, _)| number + item.tokens_before);
            indices.position(|index| index > last).unwrap_or(self.items.len())
        });
        let items = u32::try_from(before_text.max(up_to_index)).expect("a log has fewer than 2³² entries");
        Cursor { next_seq, items, ended: false }
    }
}
