//! Revocations of access tokens in SQLite.

use super::{
    parse,
    schema::{refresh_families, revocations, users},
};
use crate::{
    domain::{UnixMillis, UserId},
    store::{Revocation, Revoked, StoreError},
};
use diesel::prelude::*;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = revocations)]
struct RevocationRow {
    number: i64,
    user_id: Option<String>,
    generation: Option<i64>,
    family_id: Option<String>,
    untagged_until_ms: Option<i64>,
}

impl TryFrom<RevocationRow> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Self, StoreError> {
        let revoked = match (row.user_id, row.generation, row.family_id, row.untagged_until_ms) {
            (Some(id), Some(generation), None, None) => Revoked::User { user_id: parse(&id)?, generation },
            (None, None, Some(id), None) => Revoked::Family(parse(&id)?),
            (Some(id), None, None, Some(until)) => Revoked::Untagged { user_id: parse(&id)?, until: UnixMillis(until) },
            _ => return Err(StoreError::Corrupt(format!("revocations.number {}", row.number))),
        };
        Ok(Self { number: row.number, revoked })
    }
}

/// Revokes a user's access tokens and ends all sign-ins.
pub(super) fn revoke_tokens(conn: &mut SqliteConnection, id: UserId) -> Result<Revocation, StoreError> {
    diesel::delete(refresh_families::table.filter(refresh_families::user_id.eq(id.to_string()))).execute(conn)?;
    revoke_access_tokens(conn, id)
}

pub(super) fn revoke_access_tokens(conn: &mut SqliteConnection, id: UserId) -> Result<Revocation, StoreError> {
    let user_id = id.to_string();
    let generation: i64 = diesel::update(users::table.find(&user_id))
        .set(users::token_generation.eq(users::token_generation + 1))
        .returning(users::token_generation)
        .get_result(conn)
        .optional()?
        .ok_or(StoreError::NotFound("user"))?;
    // The new revocation covers all tokens of the older ones.
    let older =
        revocations::table.filter(revocations::user_id.eq(&user_id)).filter(revocations::generation.is_not_null());
    diesel::delete(older).execute(conn)?;
    let number = diesel::insert_into(revocations::table)
        .values((revocations::user_id.eq(&user_id), revocations::generation.eq(generation)))
        .returning(revocations::number)
        .get_result(conn)?;
    Ok(Revocation { number, revoked: Revoked::User { user_id: id, generation } })
}

/// Ends a sign-in and revokes its access tokens. A sign-in that has ended before keeps its revocation.
pub(super) fn end_family(conn: &mut SqliteConnection, id: Uuid) -> Result<Revocation, StoreError> {
    let revoked = Revoked::Family(id);
    let known = revocations::table.filter(revocations::family_id.eq(id.to_string())).select(revocations::number);
    if let Some(number) = known.first(conn).optional()? {
        return Ok(Revocation { number, revoked });
    }
    diesel::delete(refresh_families::table.find(id.to_string())).execute(conn)?;
    let number = diesel::insert_into(revocations::table)
        .values(revocations::family_id.eq(id.to_string()))
        .returning(revocations::number)
        .get_result(conn)?;
    Ok(Revocation { number, revoked })
}

pub(super) fn list(conn: &mut SqliteConnection, after: i64) -> Result<Vec<Revocation>, StoreError> {
    let rows = revocations::table
        .filter(revocations::number.gt(after))
        .order(revocations::number)
        .select(RevocationRow::as_select())
        .load(conn)?;
    rows.into_iter().map(Revocation::try_from).collect()
}

/// Marks new rows as seen now, and deletes those seen before `before_ms`.
pub(super) fn forget(conn: &mut SqliteConnection, now_ms: i64, before_ms: i64) -> Result<Option<i64>, StoreError> {
    diesel::update(revocations::table.filter(revocations::seen_at_running_ms.is_null()))
        .set(revocations::seen_at_running_ms.eq(now_ms))
        .execute(conn)?;
    let old = revocations::table.filter(revocations::seen_at_running_ms.lt(before_ms));
    let last: Option<i64> = old.select(diesel::dsl::max(revocations::number)).first(conn)?;
    if let Some(last) = last {
        diesel::delete(revocations::table.filter(revocations::number.le(last))).execute(conn)?;
    }
    Ok(last)
}
