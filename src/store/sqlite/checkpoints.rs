//! What running turns have said so far, and what becomes of it after a crash.
//!
//! A journal: a row holds what all running turns have said since the row before. One row for all of them costs little more
//! than its bytes, and an answer costs its length, not its square. Rows go when no running turn needs them; the parts of
//! a turn are put together once, when it ends without its server.

use super::{
    end_turn::end_turn,
    parse,
    schema::{checkpoints, turns},
    turn_rows::RUNNING,
};
use crate::{
    domain::{AnswerMetadata, FinishReason, MessageId, TurnId, UnixMillis},
    store::{Answer, Checkpoint, EndedTurn, StoreError},
};
use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl, SqliteConnection};
use std::collections::HashMap;

/// Keeps what is new; returns the row's id.
pub(super) fn keep(connection: &mut SqliteConnection, new: &[Checkpoint]) -> Result<i64, StoreError> {
    let json = serde_json::to_string(new).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let row = diesel::insert_into(checkpoints::table).values(checkpoints::turns.eq(json));
    Ok(row.returning(checkpoints::id).get_result(connection)?)
}

pub(super) fn forget(connection: &mut SqliteConnection, before: i64) -> Result<(), StoreError> {
    diesel::delete(checkpoints::table.filter(checkpoints::id.lt(before))).execute(connection)?;
    Ok(())
}

/// What the journal holds of one turn.
#[derive(Default)]
struct Kept {
    text: String,
    token_ends: Vec<u32>,
    metadata: Option<AnswerMetadata>,
}

impl Kept {
    /// A part takes the place of what stands at its first token and behind it: one whose fate was unknown comes again, with
    /// more in it.
    fn take(&mut self, part: Checkpoint) {
        let first = usize::try_from(part.first_seq).unwrap_or(usize::MAX);
        self.metadata = part.metadata.or_else(|| self.metadata.take());
        let begins = match first.checked_sub(1) {
            None => Some(0),
            Some(before) => self.token_ends.get(before).copied(),
        };
        // Of a part that does not join on, nothing can be made.
        if let Some(begins) = begins {
            self.text.truncate(begins as usize);
            self.text.push_str(&part.text);
            self.token_ends.truncate(first);
            self.token_ends.extend(part.token_ends);
        }
    }
}

/// Ends what ran when the server stopped, all of it or, when this is cut short as well, nothing.
pub(super) fn interrupt_running(
    connection: &mut SqliteConnection,
    code: &str,
    message: &str,
) -> Result<usize, StoreError> {
    let running: Vec<(String, String)> =
        turns::table.filter(turns::state.eq(RUNNING)).select((turns::id, turns::conversation_id)).load(connection)?;
    let mut kept: HashMap<TurnId, Kept> = HashMap::with_capacity(running.len());
    for (turn_id, _) in &running {
        kept.insert(parse(turn_id)?, Kept::default());
    }
    let rows: Vec<i64> = checkpoints::table.order(checkpoints::id).select(checkpoints::id).load(connection)?;
    for id in rows {
        let json: String = checkpoints::table.find(id).select(checkpoints::turns).first(connection)?;
        let parts: Vec<Checkpoint> = serde_json::from_str(&json)
            .map_err(|error| StoreError::Corrupt(format!("the checkpoint {id}: {error}")))?;
        for part in parts {
            if let Some(kept) = kept.get_mut(&part.turn_id) {
                kept.take(part);
            }
        }
    }
    for (turn_id, conversation_id) in &running {
        let turn_id = parse(turn_id)?;
        let Kept { text, token_ends, metadata } = kept.remove(&turn_id).unwrap_or_default();
        end_turn(
            connection,
            EndedTurn {
                turn_id,
                conversation_id: parse(conversation_id)?,
                answer: Answer {
                    message_id: MessageId::new(),
                    text,
                    token_ends,
                    finish_reason: FinishReason::Error,
                    metadata: metadata.unwrap_or_default(),
                },
                error: Some((code.to_owned(), message.to_owned())),
                at: UnixMillis::now(),
            },
        )?;
    }
    diesel::delete(checkpoints::table).execute(connection)?;
    Ok(running.len())
}
