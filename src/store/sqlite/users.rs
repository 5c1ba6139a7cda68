//! Accounts in SQLite.

use super::{
    SqliteStore, parse,
    schema::{family_revocations, refresh_families, token_revocations, users},
};
use crate::{
    domain::{DisplayName, Email, Role, UnixMillis, User, UserId},
    limits::MAX_ACCESS_TOKEN_LIFE_S,
    store::{
        Credentials, MAX_FAMILIES_PER_USER, PasswordHash, RefreshFamily, Revocation, Revoked, Rotation, StoreError,
        UserStore,
    },
};
use async_trait::async_trait;
use diesel::{dsl::sql, prelude::*, sql_types::Bool};
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    role: String,
    created_at_ms: i64,
    is_locked: bool,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt("id"))?,
            email: Email::stored(&row.email).map_err(|_| corrupt("email"))?,
            name: DisplayName::cleaned(&row.name).map_err(|_| corrupt("name"))?,
            role: row.role.parse().map_err(|_| corrupt("role"))?,
            is_locked: row.is_locked,
            created_at: UnixMillis(row.created_at_ms),
        })
    }
}

fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt(format!("users.{column}"))
}

fn found(row: Option<UserRow>) -> Result<User, StoreError> {
    row.ok_or(StoreError::NotFound("user"))?.try_into()
}

fn user_with(conn: &mut SqliteConnection, id: UserId) -> Result<User, StoreError> {
    found(users::table.find(id.to_string()).select(UserRow::as_select()).first(conn).optional()?)
}

fn set_locked(conn: &mut SqliteConnection, id: UserId, is_locked: bool) -> Result<(), StoreError> {
    let changed =
        diesel::update(users::table.find(id.to_string())).set(users::is_locked.eq(is_locked)).execute(conn)?;
    if changed == 0 { Err(StoreError::NotFound("user")) } else { Ok(()) }
}

/// Two accounts may have the same address in different forms, which an earlier version did not notice: the form that was typed
/// goes first.
fn credentials_of(conn: &mut SqliteConnection, email: &Email) -> Result<Credentials, StoreError> {
    for form in email.stored_forms() {
        let account = users::table
            .filter(users::email.eq(form))
            .select((UserRow::as_select(), users::password_hash))
            .first::<(UserRow, String)>(conn)
            .optional()?;
        if let Some((row, phc)) = account {
            return Ok(Credentials { user: row.try_into()?, password_hash: PasswordHash::new(phc) });
        }
    }
    Err(StoreError::NotFound("user"))
}

fn user_of(conn: &mut SqliteConnection, email: &Email) -> Result<User, StoreError> {
    credentials_of(conn, email).map(|credentials| credentials.user)
}

/// Brings the addresses that an earlier version stored to canonical form. Where another account has it, both stay as they are and
/// sign in with the form that they registered.
pub(super) fn normalise_emails(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    // Addresses in printable ASCII are canonical, since they are in lower case.
    let suspects = users::table
        .filter(sql::<Bool>("email GLOB '*[^ -~]*'"))
        .order(users::id)
        .select((users::id, users::email))
        .load::<(String, String)>(conn)?;
    let mut changed = 0;
    for (id, stored) in suspects {
        let canonical = Email::parse(&stored).map_err(|_| corrupt("email"))?;
        if canonical.as_str() == stored {
            continue;
        }
        let holder = users::table.filter(users::email.eq(canonical.as_str())).select(users::id);
        if let Some(other) = holder.first::<String>(conn).optional()? {
            log::warn!(user_id = id, other; "two accounts have the same e-mail address in different Unicode forms; \
                each can sign in with the form that was registered");
        } else {
            diesel::update(users::table.find(id)).set(users::email.eq(canonical.as_str())).execute(conn)?;
            changed += 1;
        }
    }
    if changed > 0 {
        log::info!(accounts = changed; "brought e-mail addresses to canonical form");
    }
    Ok(())
}

/// Also ends the sign-ins that access tokens come from.
fn revoke_tokens(conn: &mut SqliteConnection, id: UserId) -> Result<Revocation, StoreError> {
    // Read in the transaction: nothing is issued behind it.
    let at = UnixMillis::now();
    diesel::delete(refresh_families::table.filter(refresh_families::user_id.eq(id.to_string()))).execute(conn)?;
    revoke_access_tokens(conn, id, at)?;
    Ok(Revocation { whose: Revoked::User(id), at })
}

/// One that has ended keeps its moment, since nothing was issued behind it: to end it again is no news.
fn end_family(conn: &mut SqliteConnection, id: Uuid) -> Result<Revocation, StoreError> {
    // Read in the transaction: what was issued with a refresh token of the family is older.
    let now = UnixMillis::now();
    diesel::delete(family_revocations::table.filter(family_revocations::revoked_at_ms.lt(no_token_is_as_old(now))))
        .execute(conn)?;
    let known = family_revocations::table
        .find(id.to_string())
        .select(family_revocations::revoked_at_ms)
        .first::<i64>(conn)
        .optional()?;
    if let Some(at) = known {
        return Ok(Revocation { whose: Revoked::Family(id), at: UnixMillis(at) });
    }
    diesel::delete(refresh_families::table.find(id.to_string())).execute(conn)?;
    diesel::insert_into(family_revocations::table)
        .values((family_revocations::family_id.eq(id.to_string()), family_revocations::revoked_at_ms.eq(now.0)))
        .execute(conn)?;
    Ok(Revocation { whose: Revoked::Family(id), at: now })
}

/// In milliseconds: of what was revoked before, every token has ended.
fn no_token_is_as_old(now: UnixMillis) -> i64 {
    now.0.saturating_sub(MAX_ACCESS_TOKEN_LIFE_S.saturating_mul(1_000))
}

pub(super) fn revoke_access_tokens(conn: &mut SqliteConnection, id: UserId, at: UnixMillis) -> Result<(), StoreError> {
    diesel::delete(token_revocations::table.filter(token_revocations::revoked_at_ms.lt(no_token_is_as_old(at))))
        .execute(conn)?;
    let known = token_revocations::table
        .find(id.to_string())
        .select(token_revocations::revoked_at_ms)
        .first::<i64>(conn)
        .optional()?;
    let revoked_at_ms = known.map_or(at.0, |known| known.max(at.0));
    diesel::replace_into(token_revocations::table)
        .values((token_revocations::user_id.eq(id.to_string()), token_revocations::revoked_at_ms.eq(revoked_at_ms)))
        .execute(conn)?;
    Ok(())
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn add_user(&self, user: User, password_hash: PasswordHash) -> Result<(), StoreError> {
        self.write(move |conn| {
            let added = diesel::insert_into(users::table)
                .values((
                    users::id.eq(user.id.to_string()),
                    users::email.eq(user.email.as_str()),
                    users::name.eq(user.name.as_str()),
                    users::role.eq(user.role.as_str()),
                    users::password_hash.eq(password_hash.as_str()),
                    users::created_at_ms.eq(user.created_at.0),
                ))
                .on_conflict(users::email)
                .do_nothing()
                .execute(conn)?;
            if added == 0 { Err(StoreError::Conflict("e-mail")) } else { Ok(()) }
        })
        .await
    }

    async fn user(&self, id: UserId) -> Result<User, StoreError> {
        self.read(move |conn| user_with(conn, id)).await
    }

    async fn credentials(&self, email: Email) -> Result<Credentials, StoreError> {
        self.read(move |conn| credentials_of(conn, &email)).await
    }

    async fn replace_password_hash(
        &self,
        id: UserId,
        known: PasswordHash,
        hash: PasswordHash,
    ) -> Result<(), StoreError> {
        self.write(move |conn| {
            let unchanged = users::table.find(id.to_string()).filter(users::password_hash.eq(known.as_str()));
            diesel::update(unchanged).set(users::password_hash.eq(hash.as_str())).execute(conn)?;
            Ok(())
        })
        .await
    }

    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.read(move |conn| {
            // Ids sort by the time they were made; every id sorts after the empty text.
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            users::table
                .filter(users::id.gt(after))
                .order(users::id)
                .limit(i64::from(limit))
                .select(UserRow::as_select())
                .load(conn)?
                .into_iter()
                .map(User::try_from)
                .collect()
        })
        .await
    }

    async fn set_role(&self, email: Email, role: Role) -> Result<(), StoreError> {
        self.write(move |conn| {
            let known = user_of(conn, &email)?;
            diesel::update(users::table.find(known.id.to_string())).set(users::role.eq(role.as_str())).execute(conn)?;
            if role < known.role { revoke_access_tokens(conn, known.id, UnixMillis::now()) } else { Ok(()) }
        })
        .await
    }

    async fn set_password(&self, email: Email, password_hash: PasswordHash) -> Result<(), StoreError> {
        self.write(move |conn| {
            let id = user_of(conn, &email)?.id;
            diesel::update(users::table.find(id.to_string()))
                .set(users::password_hash.eq(password_hash.as_str()))
                .execute(conn)?;
            revoke_tokens(conn, id).map(drop)
        })
        .await
    }

    async fn revoke_tokens(&self, id: UserId) -> Result<Revocation, StoreError> {
        self.write(move |conn| {
            user_with(conn, id)?;
            revoke_tokens(conn, id)
        })
        .await
    }

    async fn lock_user(&self, id: UserId) -> Result<Revocation, StoreError> {
        self.write(move |conn| {
            set_locked(conn, id, true)?;
            revoke_tokens(conn, id)
        })
        .await
    }

    async fn unlock_user(&self, id: UserId) -> Result<(), StoreError> {
        self.write(move |conn| set_locked(conn, id, false)).await
    }

    async fn revocations(&self, since: UnixMillis) -> Result<Vec<Revocation>, StoreError> {
        self.read(move |conn| {
            let users = token_revocations::table
                .filter(token_revocations::revoked_at_ms.ge(since.0))
                .select((token_revocations::user_id, token_revocations::revoked_at_ms))
                .load::<(String, i64)>(conn)?;
            let families = family_revocations::table
                .filter(family_revocations::revoked_at_ms.ge(since.0))
                .select((family_revocations::family_id, family_revocations::revoked_at_ms))
                .load::<(String, i64)>(conn)?;
            let users = users.into_iter().map(|(id, at)| Ok((Revoked::User(parse(&id)?), at)));
            let families = families.into_iter().map(|(id, at)| Ok((Revoked::Family(parse(&id)?), at)));
            let revoked = users.chain(families);
            revoked.map(|found| found.map(|(whose, at)| Revocation { whose, at: UnixMillis(at) })).collect()
        })
        .await
    }

    async fn start_family(&self, family: RefreshFamily, now: UnixMillis) -> Result<bool, StoreError> {
        self.write(move |conn| {
            diesel::delete(refresh_families::table.filter(refresh_families::expires_at_ms.le(now.0))).execute(conn)?;
            let user_id = family.user_id.to_string();
            let revoked_at = token_revocations::table
                .find(&user_id)
                .select(token_revocations::revoked_at_ms)
                .first::<i64>(conn)
                .optional()?;
            if revoked_at.is_some_and(|revoked_at| now.0 <= revoked_at) || user_with(conn, family.user_id)?.is_locked {
                return Ok(false);
            }
            let idle_longest = refresh_families::table
                .filter(refresh_families::user_id.eq(&user_id))
                // Each use moves the end of a family on.
                .order(refresh_families::expires_at_ms.desc())
                .offset(i64::try_from(MAX_FAMILIES_PER_USER - 1).unwrap_or(i64::MAX))
                .limit(i64::MAX)
                .select(refresh_families::id)
                .load::<String>(conn)?;
            diesel::delete(refresh_families::table.filter(refresh_families::id.eq_any(idle_longest))).execute(conn)?;
            diesel::insert_into(refresh_families::table)
                .values((
                    refresh_families::id.eq(family.id.to_string()),
                    refresh_families::user_id.eq(user_id),
                    refresh_families::current_jti.eq(family.current_jti.to_string()),
                    refresh_families::expires_at_ms.eq(family.expires_at.0),
                ))
                .execute(conn)?;
            Ok(true)
        })
        .await
    }

    async fn rotate_family(&self, used_jti: Uuid, next: RefreshFamily) -> Result<Rotation, StoreError> {
        self.write(move |conn| {
            let family_id = next.id.to_string();
            let found = refresh_families::table
                .inner_join(users::table)
                .filter(refresh_families::id.eq(&family_id))
                .filter(refresh_families::user_id.eq(next.user_id.to_string()))
                .select((refresh_families::current_jti, UserRow::as_select()))
                .first::<(String, UserRow)>(conn)
                .optional()?;
            let Some((current_jti, user)) = found else { return Ok(Rotation::Unknown) };
            let family = refresh_families::table.find(&family_id);
            if current_jti != used_jti.to_string() {
                end_family(conn, next.id)?;
                return Ok(Rotation::Reused);
            }
            diesel::update(family)
                .set((
                    refresh_families::current_jti.eq(next.current_jti.to_string()),
                    refresh_families::expires_at_ms.eq(next.expires_at.0),
                ))
                .execute(conn)?;
            Ok(Rotation::Rotated(user.try_into()?))
        })
        .await
    }

    async fn end_family(&self, id: Uuid) -> Result<Revocation, StoreError> {
        self.write(move |conn| end_family(conn, id)).await
    }
}

#[cfg(test)]
mod tests;
