//! Rotation of refresh tokens in SQLite.

use super::{
    parse,
    revocations::end_family,
    schema::{refresh_families, used_refresh_tokens, users},
    serving_clock::advance_running_time,
    user_row::UserRow,
};
use crate::{
    domain::{UnixMillis, UserId},
    store::{Grace, RefreshFamily, Rotation, StoreError, TokenIssue},
};
use diesel::prelude::*;
use uuid::Uuid;

pub(super) fn rotate_family(
    conn: &mut SqliteConnection,
    used_jti: Uuid,
    next: RefreshFamily,
    grace: Grace,
) -> Result<Rotation, StoreError> {
    let (family_id, used) = (next.id.to_string(), used_jti.to_string());
    let found = refresh_families::table
        .inner_join(users::table)
        .filter(refresh_families::id.eq(&family_id))
        .filter(refresh_families::user_id.eq(next.user_id.to_string()))
        .select((refresh_families::current_jti, UserRow::as_select(), users::token_generation))
        .first::<(String, UserRow, i64)>(conn)
        .optional()?;
    let Some((current_jti, user, generation)) = found else { return Ok(Rotation::Unknown) };
    if current_jti != used {
        return match issue_in_exchange_for(conn, &used, &family_id)? {
            Some(issue) if grace.covers(&issue) => Ok(Rotation::Rotated { user: user.try_into()?, generation, issue }),
            _ => end_family(conn, next.id).map(|_| Rotation::Reused),
        };
    }
    store_exchange(conn, used, family_id, &next.issue, grace)?;
    let last_use = next_use(conn, next.user_id)?;
    diesel::update(refresh_families::table.find(next.id.to_string()))
        .set((
            refresh_families::current_jti.eq(next.issue.jti.to_string()),
            refresh_families::expires_at_ms.eq(next.issue.expires_at.0),
            refresh_families::last_use.eq(last_use),
        ))
        .execute(conn)?;
    Ok(Rotation::Rotated { user: user.try_into()?, generation, issue: next.issue })
}

/// Returns the next value of `last_use`, after all families of a user.
pub(super) fn next_use(conn: &mut SqliteConnection, user_id: UserId) -> Result<i64, StoreError> {
    let latest: Option<i64> = refresh_families::table
        .filter(refresh_families::user_id.eq(user_id.to_string()))
        .select(diesel::dsl::max(refresh_families::last_use))
        .first(conn)?;
    Ok(latest.unwrap_or(0) + 1)
}

fn issue_in_exchange_for(
    conn: &mut SqliteConnection,
    used: &str,
    family_id: &str,
) -> Result<Option<TokenIssue>, StoreError> {
    let found = used_refresh_tokens::table
        .find(used)
        .filter(used_refresh_tokens::family_id.eq(family_id))
        .select((
            used_refresh_tokens::next_jti,
            used_refresh_tokens::issued_at_ms,
            used_refresh_tokens::running_ms,
            used_refresh_tokens::expires_at_ms,
        ))
        .first::<(String, i64, i64, i64)>(conn)
        .optional()?;
    found
        .map(|(jti, issued_at_ms, running_ms, expires_at_ms)| {
            let (issued_at, expires_at) = (UnixMillis(issued_at_ms), UnixMillis(expires_at_ms));
            Ok(TokenIssue { jti: parse(&jti)?, issued_at, running_ms, expires_at })
        })
        .transpose()
}

/// Stores an exchange and deletes the family's exchanges before the grace period.
fn store_exchange(
    conn: &mut SqliteConnection,
    used: String,
    family_id: String,
    issue: &TokenIssue,
    grace: Grace,
) -> Result<(), StoreError> {
    let past = used_refresh_tokens::table
        .filter(used_refresh_tokens::family_id.eq(&family_id))
        .filter(used_refresh_tokens::running_ms.lt(grace.earliest_running_ms()));
    diesel::delete(past).execute(conn)?;
    diesel::insert_into(used_refresh_tokens::table)
        .values((
            used_refresh_tokens::jti.eq(used),
            used_refresh_tokens::family_id.eq(family_id),
            used_refresh_tokens::next_jti.eq(issue.jti.to_string()),
            used_refresh_tokens::issued_at_ms.eq(issue.issued_at.0),
            used_refresh_tokens::running_ms.eq(issue.running_ms),
            used_refresh_tokens::expires_at_ms.eq(issue.expires_at.0),
        ))
        .execute(conn)?;
    advance_running_time(conn, issue.running_ms)
}
