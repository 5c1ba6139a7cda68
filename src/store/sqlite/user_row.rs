//! Conversion of a row of `users` to a [`User`].

use super::schema::users;
use crate::{
    domain::{DisplayName, Email, UnixMillis, User},
    store::StoreError,
};
use diesel::prelude::*;

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(super) struct UserRow {
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

pub(super) fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt(format!("users.{column}"))
}
