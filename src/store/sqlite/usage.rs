//! [`UsageStore`] in SQLite.

use super::{
    SqliteStore, parse,
    schema::{daily_usage, users},
};
use crate::{
    domain::{UserId, UtcDay},
    store::{Charge, Consumption, StoreError, UsageStore, UsersOfDay},
};
use diesel::{dsl::exists, prelude::*, select};
use std::collections::HashMap;

#[async_trait::async_trait]
impl UsageStore for SqliteStore {
    async fn usage_on(&self, day: UtcDay, users: Vec<UserId>) -> Result<HashMap<UserId, Consumption>, StoreError> {
        self.read(move |connection| {
            let rows: Vec<(String, i64, i64)> = daily_usage::table
                .filter(daily_usage::user_id.eq_any(users.iter().map(UserId::to_string)))
                .filter(daily_usage::day.eq(day.0))
                .select((daily_usage::user_id, daily_usage::tokens, daily_usage::cost))
                .load(connection)?;
            rows.into_iter().map(|(user, tokens, cost)| Ok((parse(&user)?, consumption(tokens, cost)))).collect()
        })
        .await
    }

    async fn users_on(&self, day: UtcDay, limits: Consumption) -> Result<UsersOfDay, StoreError> {
        // The maximum stands for no limit: only a consumption that has overflowed reaches it.
        let limit = |limit: u64| i64::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(i64::MAX);
        let (tokens, cost) = (limit(limits.tokens), limit(limits.cost));
        self.read(move |connection| {
            let of_day = daily_usage::table.filter(daily_usage::day.eq(day.0));
            let users: i64 = of_day.count().get_result(connection)?;
            let at_limit = of_day.filter(daily_usage::tokens.ge(tokens).or(daily_usage::cost.ge(cost)));
            let at_limit: i64 = at_limit.count().get_result(connection)?;
            Ok(UsersOfDay { users: positive(users), at_limit: positive(at_limit) })
        })
        .await
    }

    async fn charge(&self, charge: Charge) -> Result<(), StoreError> {
        self.write(move |connection| add(connection, charge)).await
    }

    async fn forget_usage(&self, day: UtcDay) -> Result<usize, StoreError> {
        self.write(move |connection| {
            Ok(diesel::delete(daily_usage::table.filter(daily_usage::day.lt(day.0))).execute(connection)?)
        })
        .await
    }
}

/// Adds to the consumption of a user within the caller's transaction. Only this connection writes, so that the sum is exact.
pub(super) fn add(connection: &mut SqliteConnection, charge: Charge) -> Result<(), StoreError> {
    let Charge { user_id, day, consumption: new } = charge;
    let user_id = user_id.to_string();
    if !select(exists(users::table.find(&user_id))).get_result(connection)? {
        return Ok(());
    }
    let before: Option<(i64, i64)> = daily_usage::table
        .find((&user_id, day.0))
        .select((daily_usage::tokens, daily_usage::cost))
        .first(connection)
        .optional()?;
    let (tokens, cost) = before.unwrap_or_default();
    let sum = |before: i64, new: u64| before.saturating_add(i64::try_from(new).unwrap_or(i64::MAX));
    diesel::replace_into(daily_usage::table)
        .values((
            daily_usage::user_id.eq(user_id),
            daily_usage::day.eq(day.0),
            daily_usage::tokens.eq(sum(tokens, new.tokens)),
            daily_usage::cost.eq(sum(cost, new.cost)),
        ))
        .execute(connection)?;
    Ok(())
}

fn consumption(tokens: i64, cost: i64) -> Consumption {
    Consumption { tokens: positive(tokens), cost: positive(cost) }
}

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
