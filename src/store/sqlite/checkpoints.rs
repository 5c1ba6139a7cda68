//! What running turns have said so far, and what becomes of it after a crash.
//!
//! A checkpoint is a row of its own and not a longer answer in place of a shorter one: an answer then costs its length,
//! not its square. The rows of a turn are put together once, when it ends without its server.

use super::{
    conversations::{RUNNING, bytes_of, end_turn, ends_of, json_of, metadata},
    parse,
    schema::{turn_checkpoints, turns},
};
use crate::{
    domain::{FinishReason, MessageId, UnixMillis},
    store::{Answer, Checkpoint, EndedTurn, StoreError},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, IntoSql, QueryDsl, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Binary, Text},
};

/// Keeps what is new. A turn that has ended meanwhile, or was deleted, is passed over by the statement itself.
pub(super) fn keep(connection: &mut SqliteConnection, checkpoints: Vec<Checkpoint>) -> Result<(), StoreError> {
    for checkpoint in checkpoints {
        let turn_id = checkpoint.turn_id.to_string();
        if let Some(metadata) = &checkpoint.metadata {
            diesel::update(turns::table.filter(turns::id.eq(&turn_id).and(turns::state.eq(RUNNING))))
                .set(turns::metadata.eq(json_of(metadata)?))
                .execute(connection)?;
        }
        if checkpoint.token_ends.is_empty() {
            continue;
        }
        let row = turns::table.filter(turns::id.eq(turn_id).and(turns::state.eq(RUNNING))).select((
            turns::id,
            i64::from(checkpoint.first_seq).into_sql::<BigInt>(),
            checkpoint.text.into_sql::<Text>(),
            bytes_of(&checkpoint.token_ends).into_sql::<Binary>(),
        ));
        // A checkpoint whose fate was unknown comes again, with more in it.
        diesel::replace_into(turn_checkpoints::table)
            .values(row)
            .into_columns((
                turn_checkpoints::turn_id,
                turn_checkpoints::first_seq,
                turn_checkpoints::text,
                turn_checkpoints::token_ends,
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// The answer has taken the place of its checkpoints.
pub(super) fn drop_of(connection: &mut SqliteConnection, turn_id: &str) -> Result<(), StoreError> {
    diesel::delete(turn_checkpoints::table.filter(turn_checkpoints::turn_id.eq(turn_id))).execute(connection)?;
    Ok(())
}

/// Ends what ran when the server stopped, all of it or, when this is cut short as well, nothing.
pub(super) fn interrupt_running(
    connection: &mut SqliteConnection,
    code: &str,
    message: &str,
) -> Result<usize, StoreError> {
    let running: Vec<(String, String, Option<String>)> = turns::table
        .filter(turns::state.eq(RUNNING))
        .select((turns::id, turns::conversation_id, turns::metadata))
        .load(connection)?;
    for (turn_id, conversation_id, json) in &running {
        let rows: Vec<(String, Vec<u8>)> = turn_checkpoints::table
            .filter(turn_checkpoints::turn_id.eq(turn_id))
            .order(turn_checkpoints::first_seq)
            .select((turn_checkpoints::text, turn_checkpoints::token_ends))
            .load(connection)?;
        let (texts, ends): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        end_turn(
            connection,
            EndedTurn {
                turn_id: parse(turn_id)?,
                conversation_id: parse(conversation_id)?,
                answer: Answer {
                    message_id: MessageId::new(),
                    text: texts.concat(),
                    token_ends: ends_of(&ends.concat())?,
                    finish_reason: FinishReason::Error,
                    metadata: metadata(json.as_deref())?.unwrap_or_default(),
                },
                error: Some((code.to_owned(), message.to_owned())),
                at: UnixMillis::now(),
            },
        )?;
    }
    Ok(running.len())
}
