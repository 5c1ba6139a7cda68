//! [`UserStore`] in SQLite.

use super::{
    SqliteStore,
    page::rowid_of,
    refresh::{self, next_use},
    revocations::{self, end_family, revoke_access_tokens, revoke_tokens},
    schema::{refresh_families, users},
    user_row::{UserRow, corrupt},
};
use crate::{
    domain::{Email, Role, UnixMillis, User, UserId},
    store::{
        Credentials, Grace, MAX_FAMILIES_PER_USER, PasswordHash, RefreshFamily, Revocation, Rotation, StoreError,
        UserStore,
    },
};
use async_trait::async_trait;
use diesel::{dsl::sql, prelude::*, sql_types::Bool};
use uuid::Uuid;

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

/// Finds an account by address. An earlier version allowed two accounts with different Unicode forms of one address; the form
/// that was entered takes precedence.
fn credentials_of(conn: &mut SqliteConnection, email: &Email) -> Result<Credentials, StoreError> {
    for form in email.stored_forms() {
        let account = users::table
            .filter(users::email.eq(form))
            .select((UserRow::as_select(), users::password_hash, users::token_generation))
            .first::<(UserRow, String, i64)>(conn)
            .optional()?;
        if let Some((row, phc, generation)) = account {
            return Ok(Credentials { user: row.try_into()?, password_hash: PasswordHash::new(phc), generation });
        }
    }
    Err(StoreError::NotFound("user"))
}

fn user_of(conn: &mut SqliteConnection, email: &Email) -> Result<User, StoreError> {
    credentials_of(conn, email).map(|credentials| credentials.user)
}

/// Converts addresses stored by an earlier version to canonical form. If another account has the canonical form, both remain
/// unchanged and sign in with the form that they registered.
pub(super) fn normalize_emails(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    // ASCII addresses are canonical, since they are stored in lower case.
    let suspects = users::table
        .filter(sql::<Bool>("email GLOB '*[^ -~]*'"))
        .order(users::rowid)
        .select((users::id, users::email))
        .load::<(String, String)>(conn)?;
    let mut changed = 0;
    for (id, stored) in suspects {
        let canonical = Email::parse(&stored).map_err(|_| corrupt("email"))?;
        if canonical.as_str() == stored {
            continue;
        }
        let owner = users::table.filter(users::email.eq(canonical.as_str())).select(users::id);
        if let Some(other) = owner.first::<String>(conn).optional()? {
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
            let mut rows = users::table.into_boxed();
            if let Some(after) = after {
                rows = rows.filter(users::rowid.gt(rowid_of!(users, conn, after)));
            }
            rows.order(users::rowid)
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
            if role < known.role { revoke_access_tokens(conn, known.id).map(drop) } else { Ok(()) }
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

    async fn revocations(&self, after: i64) -> Result<Vec<Revocation>, StoreError> {
        self.read(move |conn| revocations::list(conn, after)).await
    }

    async fn forget_revocations(&self, running_ms: i64, before_ms: i64) -> Result<Option<i64>, StoreError> {
        self.write(move |conn| revocations::forget(conn, running_ms, before_ms)).await
    }

    async fn start_family(&self, family: RefreshFamily, generation: i64) -> Result<bool, StoreError> {
        self.write(move |conn| {
            let user_id = family.user_id.to_string();
            let current = users::table
                .find(&user_id)
                .select((users::token_generation, users::is_locked))
                .first::<(i64, bool)>(conn)
                .optional()?
                .ok_or(StoreError::NotFound("user"))?;
            if current != (generation, false) {
                return Ok(false);
            }
            let longest_idle = refresh_families::table
                .filter(refresh_families::user_id.eq(&user_id))
                .order(refresh_families::last_use.desc())
                .offset(i64::try_from(MAX_FAMILIES_PER_USER - 1).unwrap_or(i64::MAX))
                .limit(i64::MAX)
                .select(refresh_families::id)
                .load::<String>(conn)?;
            diesel::delete(refresh_families::table.filter(refresh_families::id.eq_any(longest_idle))).execute(conn)?;
            let last_use = next_use(conn, family.user_id)?;
            diesel::insert_into(refresh_families::table)
                .values((
                    refresh_families::id.eq(family.id.to_string()),
                    refresh_families::user_id.eq(user_id),
                    refresh_families::current_jti.eq(family.issue.jti.to_string()),
                    refresh_families::expires_at_ms.eq(family.issue.expires_at.0),
                    refresh_families::last_use.eq(last_use),
                ))
                .execute(conn)?;
            Ok(true)
        })
        .await
    }

    async fn forget_families(&self, expired_before: UnixMillis) -> Result<usize, StoreError> {
        self.write(move |conn| {
            let expired = refresh_families::table.filter(refresh_families::expires_at_ms.lt(expired_before.0));
            Ok(diesel::delete(expired).execute(conn)?)
        })
        .await
    }

    async fn rotate_family(&self, used_jti: Uuid, next: RefreshFamily, grace: Grace) -> Result<Rotation, StoreError> {
        self.write(move |conn| refresh::rotate_family(conn, used_jti, next, grace)).await
    }

    async fn end_family(&self, id: Uuid) -> Result<Revocation, StoreError> {
        self.write(move |conn| end_family(conn, id)).await
    }
}

#[cfg(test)]
mod tests;
