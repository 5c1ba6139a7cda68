//! [`ClockStore`] in SQLite: a single row.

use super::{SqliteStore, schema::serving_clock};
use crate::store::{ClockStore, ServedTime, StoreError};
use async_trait::async_trait;
use diesel::prelude::*;

/// Stores a running time unless a later one is stored, so that no run begins before a timestamp of an earlier run.
pub(super) fn advance_running_time(conn: &mut SqliteConnection, running_ms: i64) -> Result<(), StoreError> {
    diesel::update(serving_clock::table.filter(serving_clock::running_ms.lt(running_ms)))
        .set(serving_clock::running_ms.eq(running_ms))
        .execute(conn)?;
    Ok(())
}

#[async_trait]
impl ClockStore for SqliteStore {
    async fn served_time(&self) -> Result<ServedTime, StoreError> {
        self.read(|conn| {
            let (running_ms, period_began_ms, lowest_offset_ms, previous_offset_ms) = serving_clock::table
                .select((
                    serving_clock::running_ms,
                    serving_clock::period_began_ms,
                    serving_clock::lowest_offset_ms,
                    serving_clock::previous_offset_ms,
                ))
                .first(conn)?;
            Ok(ServedTime { running_ms, period_began_ms, lowest_offset_ms, previous_offset_ms })
        })
        .await
    }

    async fn keep_served_time(&self, time: ServedTime) -> Result<(), StoreError> {
        self.write(move |conn| {
            diesel::update(serving_clock::table)
                .set((
                    serving_clock::period_began_ms.eq(time.period_began_ms),
                    serving_clock::lowest_offset_ms.eq(time.lowest_offset_ms),
                    serving_clock::previous_offset_ms.eq(time.previous_offset_ms),
                ))
                .execute(conn)?;
            advance_running_time(conn, time.running_ms)
        })
        .await
    }
}
