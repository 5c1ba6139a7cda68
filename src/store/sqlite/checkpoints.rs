//! Journal of running turns, from which their answers are recovered after a crash.
//!
//! A row holds the new tokens of all running turns since the previous row. This costs little more than the bytes themselves, and
//! the cost of an answer is linear in its length. Rows are deleted when no running turn needs them. The parts of a turn are joined
//! only during recovery.

use super::{
    end_turn::{end_fenced, end_turn},
    events::LoggedKinds,
    parse,
    schema::{checkpoints, conversations, turns},
    turn_rows::RUNNING,
};
use crate::{
    domain::{AnswerMetadata, FinishReason, MessageId, TurnId, UnixMillis},
    store::{Answer, Charge, Checkpoint, EndedTurn, StoreError},
};
use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl, SqliteConnection};
use std::collections::HashMap;

/// Appends a row; returns its id.
pub(super) fn append(connection: &mut SqliteConnection, new: &[Checkpoint]) -> Result<i64, StoreError> {
    let json = serde_json::to_string(new).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let row = diesel::insert_into(checkpoints::table).values(checkpoints::turns.eq(json));
    Ok(row.returning(checkpoints::id).get_result(connection)?)
}

pub(super) fn forget(connection: &mut SqliteConnection, before: i64) -> Result<(), StoreError> {
    diesel::delete(checkpoints::table.filter(checkpoints::id.lt(before))).execute(connection)?;
    Ok(())
}

/// Answer of one turn, recovered from the journal.
#[derive(Default)]
struct RecoveredAnswer {
    /// Epoch under which the turn writes.
    epoch: i64,
    text: String,
    token_ends: Vec<u32>,
    metadata: Option<AnswerMetadata>,
    items: Option<String>,
    charge: Option<Charge>,
}

impl RecoveredAnswer {
    /// Applies a part, which replaces everything from its first token on: a part whose write has failed or is uncertain is
    /// repeated with more tokens.
    fn apply(&mut self, part: Checkpoint) {
        let first = usize::try_from(part.first_seq).unwrap_or(usize::MAX);
        self.metadata = part.metadata.or_else(|| self.metadata.take());
        self.items = part.items.or_else(|| self.items.take());
        self.charge = part.charge.or(self.charge);
        let start = match first.checked_sub(1) {
            None => Some(0),
            Some(before) => self.token_ends.get(before).copied(),
        };
        // A part after a gap is useless.
        if let Some(start) = start {
            self.text.truncate(start as usize);
            self.text.push_str(&part.text);
            self.token_ends.truncate(first);
            self.token_ends.extend(part.token_ends);
        }
    }
}

/// Ends all running turns with the answers recovered from the journal, and charges them for what they are known to have consumed. The caller's transaction makes this atomic.
pub(super) fn interrupt_running(
    connection: &mut SqliteConnection,
    code: &str,
    message: &str,
    logged: &LoggedKinds,
) -> Result<usize, StoreError> {
    let running: Vec<(String, String, i64, i64)> = turns::table
        .inner_join(conversations::table)
        .filter(turns::state.eq(RUNNING))
        .select((turns::id, turns::conversation_id, turns::epoch, conversations::epoch))
        .load(connection)?;
    let mut recovered: HashMap<TurnId, RecoveredAnswer> = HashMap::with_capacity(running.len());
    for (turn_id, _, epoch, _) in &running {
        recovered.insert(parse(turn_id)?, RecoveredAnswer { epoch: *epoch, ..RecoveredAnswer::default() });
    }
    let rows: Vec<i64> = checkpoints::table.order(checkpoints::id).select(checkpoints::id).load(connection)?;
    for id in rows {
        let json: String = checkpoints::table.find(id).select(checkpoints::turns).first(connection)?;
        let parts: Vec<Checkpoint> =
            serde_json::from_str(&json).map_err(|error| StoreError::Corrupt(format!("checkpoint {id}: {error}")))?;
        for part in parts {
            // A part of another epoch is from a writer that was replaced.
            if let Some(answer) = recovered.get_mut(&part.turn_id).filter(|answer| answer.epoch == part.epoch) {
                answer.apply(part);
            }
        }
    }
    for (turn_id, conversation_id, epoch, current_epoch) in &running {
        let turn_id = parse(turn_id)?;
        let RecoveredAnswer { text, token_ends, metadata, items, charge, .. } =
            recovered.remove(&turn_id).unwrap_or_default();
        let end = EndedTurn {
            turn_id,
            epoch: *epoch,
            conversation_id: parse(conversation_id)?,
            answer: Answer {
                message_id: MessageId::new(),
                text,
                token_ends,
                finish_reason: FinishReason::Error,
                metadata: metadata.unwrap_or_default(),
                items,
                reasoning: None,
            },
            error: Some((code.to_owned(), message.to_owned())),
            at: UnixMillis::now(),
            charge,
        };
        if epoch == current_epoch {
            end_turn(connection, end, logged)?;
        } else {
            end_fenced(connection, end)?;
        }
    }
    diesel::delete(checkpoints::table).execute(connection)?;
    Ok(running.len())
}
