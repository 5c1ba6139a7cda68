//! [`UserList`] in SQLite.

use super::{
    SqliteStore,
    page::rowid_of,
    schema::{refresh_families, users},
    user_row::UserRow,
};
use crate::{
    domain::{UnixMillis, User},
    store::{Listed, ListedUser, StoreError, UserList, UserQuery},
};
use async_trait::async_trait;
use diesel::{
    dsl::{count_star, max},
    prelude::*,
};
use std::collections::HashMap;

/// Whether a user's id, e-mail address or name contains a lower-case text. Not done in SQL, since SQLite folds only ASCII.
fn matches(user: &User, text: &str) -> bool {
    user.email.as_str().contains(text)
        || user.name.as_str().to_lowercase().contains(text)
        || user.id.to_string().contains(text)
}

/// Returns the number of active sign-ins of each user, and when the last one expires.
fn sign_ins(
    conn: &mut SqliteConnection,
    ids: Vec<String>,
    now: UnixMillis,
) -> Result<HashMap<String, (i64, Option<i64>)>, StoreError> {
    let found = refresh_families::table
        .filter(refresh_families::user_id.eq_any(ids))
        .filter(refresh_families::expires_at_ms.gt(now.0))
        .group_by(refresh_families::user_id)
        .select((refresh_families::user_id, count_star(), max(refresh_families::expires_at_ms)))
        .load::<(String, i64, Option<i64>)>(conn)?;
    Ok(found.into_iter().map(|(id, count, until)| (id, (count, until))).collect())
}

#[async_trait]
impl UserList for SqliteStore {
    async fn list_users(&self, query: UserQuery, now: UnixMillis) -> Result<Listed<ListedUser>, StoreError> {
        self.read(move |conn| {
            let text = query.text.map(|text| text.to_lowercase());
            let limit = usize::try_from(query.page.limit).unwrap_or_default();
            let mut rows = users::table.order(users::rowid.desc()).select(UserRow::as_select()).into_boxed();
            if let Some(before) = query.page.before {
                rows = rows.filter(users::rowid.lt(rowid_of!(users, conn, before)));
            }
            if let Some(role) = query.role {
                rows = rows.filter(users::role.eq(role.as_str()));
            }
            if let Some(is_locked) = query.is_locked {
                rows = rows.filter(users::is_locked.eq(is_locked));
            }
            let (mut found, mut has_more) = (Vec::<User>::new(), false);
            // Reads row by row until the page is full, so that only the page is in memory.
            for row in rows.load_iter::<UserRow, _>(conn)? {
                let user = User::try_from(row?)?;
                if text.as_ref().is_some_and(|text| !matches(&user, text)) {
                    continue;
                }
                if found.len() >= limit {
                    has_more = true;
                    break;
                }
                found.push(user);
            }
            let mut sign_ins = sign_ins(conn, found.iter().map(|user| user.id.to_string()).collect(), now)?;
            let listed = found.into_iter().map(|user| {
                let (count, until) = sign_ins.remove(&user.id.to_string()).unwrap_or_default();
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                ListedUser { user, sign_ins: count, signed_in_until: until.map(UnixMillis) }
            });
            Ok(Listed { items: listed.collect(), has_more })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::DatabaseConfig,
        domain::{DisplayName, Email, Role, UserId},
        store::{Page, PasswordHash, RefreshFamily, TokenIssue, UserStore},
    };
    use std::collections::HashSet;
    use tempfile::TempDir;
    use uuid::Uuid;

    fn store() -> (SqliteStore, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        (SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap(), folder)
    }

    async fn add(store: &SqliteStore, email: &str, name: &str, role: Role) -> UserId {
        let user = User {
            id: UserId::new(),
            email: Email::parse(email).unwrap(),
            name: DisplayName::parse(name).unwrap(),
            role,
            is_locked: false,
            created_at: UnixMillis::now(),
        };
        let id = user.id;
        store.add_user(user, PasswordHash::new("none".to_owned())).await.unwrap();
        id
    }

    fn all() -> UserQuery {
        UserQuery { text: None, role: None, is_locked: None, page: Page { before: None, limit: 100 } }
    }

    async fn listed(store: &SqliteStore, query: UserQuery) -> Vec<UserId> {
        let found = store.list_users(query, UnixMillis::now()).await.unwrap();
        found.items.into_iter().map(|listed| listed.user.id).collect()
    }

    #[actix::test]
    async fn accounts_are_listed_newest_first_in_pages() {
        let (store, _folder) = store();
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(add(&store, &format!("user{n}@example.org"), "Ada", Role::User).await);
        }
        ids.reverse();
        let page = |before, limit| UserQuery { page: Page { before, limit }, ..all() };
        assert_eq!(listed(&store, page(None, 2)).await, ids[..2]);
        assert_eq!(listed(&store, page(Some(ids[1]), 2)).await, ids[2..4]);
        assert_eq!(listed(&store, page(Some(ids[3]), 2)).await, ids[4..]);
        assert!(listed(&store, page(Some(ids[4]), 2)).await.is_empty());
    }

    #[actix::test]
    async fn filters_match_e_mail_name_and_id_case_insensitively() {
        let (store, _folder) = store();
        let ada = add(&store, "ada@example.org", "Ada ÅNGSTRÖM", Role::User).await;
        let bob = add(&store, "bob@example.net", "Bob 100%_", Role::Operator).await;
        store.lock_user(ada).await.unwrap();
        for (text, wanted) in [
            ("ADA@EXAMPLE", vec![ada]),
            ("ångström", vec![ada]),
            ("Ångström", vec![ada]),
            ("example", vec![bob, ada]),
            ("0%_", vec![bob]),
            ("%", vec![bob]),
            (&bob.to_string().to_uppercase(), vec![bob]),
            ("nobody", vec![]),
        ] {
            let found = listed(&store, UserQuery { text: Some(text.to_owned()), ..all() }).await;
            assert_eq!(found.into_iter().collect::<HashSet<_>>(), wanted.into_iter().collect(), "{text}");
        }
        // Only matching accounts count towards the page size.
        let page = Page { before: None, limit: 1 };
        assert_eq!(listed(&store, UserQuery { text: Some("ada".to_owned()), page, ..all() }).await, [ada]);
        assert_eq!(listed(&store, UserQuery { role: Some(Role::Operator), ..all() }).await, [bob]);
        assert_eq!(listed(&store, UserQuery { is_locked: Some(true), ..all() }).await, [ada]);
        assert_eq!(listed(&store, UserQuery { is_locked: Some(false), ..all() }).await, [bob]);
        assert!(
            listed(&store, UserQuery { role: Some(Role::Operator), is_locked: Some(true), ..all() }).await.is_empty()
        );
    }

    #[actix::test]
    async fn active_sign_ins_are_counted() {
        let (store, _folder) = store();
        let (ada, bob) = (
            add(&store, "ada@example.org", "Ada", Role::User).await,
            add(&store, "bob@example.org", "Bob", Role::User).await,
        );
        let now = UnixMillis::now();
        for ends_in_ms in [5_000, 9_000, 7_000] {
            let expires_at = UnixMillis(now.0 + ends_in_ms);
            let issue = TokenIssue { jti: Uuid::new_v4(), issued_at: now, running_ms: 0, expires_at };
            let family = RefreshFamily { id: Uuid::new_v4(), user_id: ada, issue };
            assert!(store.start_family(family, 0).await.unwrap());
        }
        let at = |later_ms: i64| {
            let (store, now) = (store.clone(), UnixMillis(now.0 + later_ms));
            async move {
                let found = store.list_users(all(), now).await.unwrap();
                let of = |id| found.items.iter().find(|listed| listed.user.id == id).unwrap();
                assert_eq!((of(bob).sign_ins, of(bob).signed_in_until), (0, None));
                (of(ada).sign_ins, of(ada).signed_in_until)
            }
        };
        assert_eq!(at(0).await, (3, Some(UnixMillis(now.0 + 9_000))));
        assert_eq!(at(5_000).await, (2, Some(UnixMillis(now.0 + 9_000))));
        assert_eq!(at(9_000).await, (0, None));
    }
}
