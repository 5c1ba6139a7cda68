//! Tests with accounts stored by earlier versions.

use super::*;
use crate::{auth::test_support::user, config::DatabaseConfig};
use tempfile::TempDir;

const COMPOSED: &str = "caf\u{e9}@example.org";
const DECOMPOSED: &str = "cafe\u{301}@example.org";

fn store() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", folder.path().display());
    (SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap(), folder)
}

/// Stores an account with exactly this address, as an earlier version did.
async fn earlier_account(store: &SqliteStore, stored: &'static str) -> UserId {
    let account = user("placeholder@example.org", Role::User);
    store.add_user(account.clone(), PasswordHash::new(format!("hash of {stored}"))).await.unwrap();
    let row = account.id.to_string();
    store
        .write(move |conn| Ok(diesel::update(users::table.find(row)).set(users::email.eq(stored)).execute(conn)?))
        .await
        .unwrap();
    account.id
}

async fn found(store: &SqliteStore, typed: &str) -> Option<UserId> {
    match store.credentials(Email::parse(typed).unwrap()).await {
        Ok(credentials) => Some(credentials.user.id),
        Err(StoreError::NotFound(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn stored_addresses_are_converted_to_canonical_form() {
    let (store, _folder) = store();
    let cafe = earlier_account(&store, DECOMPOSED).await;
    let wide = earlier_account(&store, "ａda@example.org").await;
    let odd = earlier_account(&store, "a＠b@example.org").await;
    assert_eq!((found(&store, COMPOSED).await, found(&store, DECOMPOSED).await), (None, Some(cafe)));
    store.write(normalize_emails).await.unwrap();
    store.write(normalize_emails).await.unwrap();
    assert_eq!((found(&store, COMPOSED).await, found(&store, DECOMPOSED).await), (Some(cafe), Some(cafe)));
    assert_eq!(
        (found(&store, "ada@example.org").await, found(&store, "ＡDA@example.org").await),
        (Some(wide), Some(wide))
    );
    assert_eq!(found(&store, "A＠b@example.org").await, Some(odd), "an address without a canonical form");
    assert_eq!(store.user(cafe).await.unwrap().email.as_str(), COMPOSED);
    let second = store.add_user(user(DECOMPOSED, Role::User), PasswordHash::new("x".to_owned())).await;
    assert!(matches!(second, Err(StoreError::Conflict("e-mail"))), "{second:?}");
}

#[tokio::test]
async fn two_accounts_with_the_same_canonical_address_are_unchanged() {
    let (store, _folder) = store();
    let decomposed = earlier_account(&store, DECOMPOSED).await;
    let composed = earlier_account(&store, COMPOSED).await;
    store.write(normalize_emails).await.unwrap();
    assert_eq!(found(&store, DECOMPOSED).await, Some(decomposed));
    assert_eq!(found(&store, "CAFE\u{301}@example.org").await, Some(decomposed));
    assert_eq!(found(&store, COMPOSED).await, Some(composed));
    let stored: Vec<_> =
        store.users(None, 9).await.unwrap().into_iter().map(|user| user.email.as_str().to_owned()).collect();
    assert_eq!(stored, [DECOMPOSED, COMPOSED]);
    store.set_role(Email::parse(DECOMPOSED).unwrap(), Role::Agent).await.unwrap();
    assert_eq!(store.user(decomposed).await.unwrap().role, Role::Agent);
    assert_eq!(store.user(composed).await.unwrap().role, Role::User);
}

#[tokio::test]
async fn a_hash_is_replaced_only_while_it_is_the_current_one() {
    let (store, _folder) = store();
    let id = earlier_account(&store, COMPOSED).await;
    let hash = |text: &str| PasswordHash::new(text.to_owned());
    let current = async || store.credentials(Email::parse(COMPOSED).unwrap()).await.unwrap().password_hash;
    let first = current().await;
    store.replace_password_hash(id, first.clone(), hash("canonical")).await.unwrap();
    assert_eq!(current().await, hash("canonical"));
    // As after a sign-in that read the hash before the password was changed.
    store.replace_password_hash(id, first, hash("late")).await.unwrap();
    assert_eq!(current().await, hash("canonical"));
}
