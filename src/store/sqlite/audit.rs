//! [`AuditStore`] in SQLite.

use super::{
    SqliteStore,
    page::{json_bytes, listed, rowid_of},
    parse,
    schema::audit_entries,
};
use crate::{
    domain::{AuditEntry, AuditId, AuditedOperator, Email, UnixMillis},
    store::{AuditStore, Listed, Page, StoreError},
};
use async_trait::async_trait;
use diesel::{connection::DefaultLoadingMode, prelude::*};

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_entries)]
struct AuditRow {
    id: String,
    at_ms: i64,
    operator_id: String,
    operator_email: String,
    action: String,
    target: Option<String>,
    detail: String,
    outcome: String,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: AuditRow) -> Result<Self, StoreError> {
        let corrupt = |column: &str| StoreError::Corrupt(format!("audit_entries.{column}"));
        let email = Email::parse(&row.operator_email).map_err(|_| corrupt("operator_email"))?;
        Ok(Self {
            id: parse(&row.id)?,
            at_ms: UnixMillis(row.at_ms),
            operator: AuditedOperator { id: parse(&row.operator_id)?, email },
            action: row.action,
            target: row.target,
            detail: serde_json::from_str(&row.detail).map_err(|_| corrupt("detail"))?,
            outcome: row.outcome,
        })
    }
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn add_audit_entry(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(move |conn| {
            diesel::insert_into(audit_entries::table)
                .values((
                    audit_entries::id.eq(entry.id.to_string()),
                    audit_entries::at_ms.eq(entry.at_ms.0),
                    audit_entries::operator_id.eq(entry.operator.id.to_string()),
                    audit_entries::operator_email.eq(entry.operator.email.as_str()),
                    audit_entries::action.eq(entry.action),
                    audit_entries::target.eq(entry.target),
                    audit_entries::detail.eq(entry.detail.to_string()),
                    audit_entries::outcome.eq(entry.outcome),
                ))
                .execute(conn)?;
            Ok(())
        })
        .await
    }

    async fn set_audit_outcome(&self, id: AuditId, outcome: String) -> Result<(), StoreError> {
        self.write(move |conn| {
            let changed = diesel::update(audit_entries::table.find(id.to_string()))
                .set(audit_entries::outcome.eq(outcome))
                .execute(conn)?;
            if changed == 0 { Err(StoreError::NotFound("audit entry")) } else { Ok(()) }
        })
        .await
    }

    async fn audit_entries(&self, page: Page<AuditId>) -> Result<Listed<AuditEntry>, StoreError> {
        self.read(move |conn| {
            let mut query = audit_entries::table
                .order(audit_entries::rowid.desc())
                .limit(page.limit.saturating_add(1))
                .into_boxed();
            if let Some(before) = page.before {
                query = query.filter(audit_entries::rowid.lt(rowid_of!(audit_entries, conn, before)));
            }
            let rows = query.select(AuditRow::as_select()).load_iter::<AuditRow, DefaultLoadingMode>(conn)?;
            let bytes = |row: &AuditRow| row.detail.len() + row.target.as_deref().map_or(0, json_bytes);
            listed(rows, page.limit, bytes, AuditEntry::try_from)
        })
        .await
    }

    async fn forget_audit_entries(&self, before: UnixMillis) -> Result<usize, StoreError> {
        self.write(move |conn| {
            let old = audit_entries::table.filter(audit_entries::at_ms.lt(before.0));
            Ok(diesel::delete(old).execute(conn)?)
        })
        .await
    }
}
