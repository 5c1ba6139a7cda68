//! Accounts on a real database.

use super::*;
use crate::{
    auth::{
        argon2id::Argon2id,
        test_support::{access_token, code, service, service_by, tokens},
    },
    config::AuthConfig,
    store::{MAX_FAMILIES_PER_USER, ServedTime, TurnedClock},
};
use argon2::PasswordHasher;
use futures_util::future::join_all;
use std::time::Duration;
use switchboard_protocol::ErrorCode;
use tempfile::TempDir;

const PASSWORD: &str = "quiet-otter-paints-thursday";
const OTHER_PASSWORD: &str = "seven-lamps-beside-a-canal";

fn ada() -> Email {
    Email::parse("ada@example.org").unwrap()
}

async fn registered(accounts: &Accounts) -> SignIn {
    accounts.register(ada(), PASSWORD.into(), None).await.unwrap()
}

fn identity(sign_in: &SignIn) -> Identity {
    tokens().verify_access(&sign_in.access.token).unwrap()
}

#[tokio::test]
async fn registration_signs_in_and_allows_later_sign_ins() {
    let (accounts, _folder) = service();
    let name = DisplayName::parse("Ada Lovelace").unwrap();
    let first = accounts.register(ada(), PASSWORD.into(), Some(name.clone())).await.unwrap();
    let again = accounts.login(ada(), PASSWORD.into()).await.unwrap();
    for sign_in in [&first, &again] {
        let identity = identity(sign_in);
        assert_eq!((identity.user_id, identity.role), (first.user.id, Role::User));
        assert_eq!((&identity.email, &identity.name), (&ada(), &name));
    }
    assert_eq!(accounts.me(&identity(&again)).await.unwrap(), first.user);
}

#[tokio::test]
async fn an_account_without_a_name_is_named_by_its_address() {
    let (accounts, _folder) = service();
    assert_eq!(registered(&accounts).await.user.name.as_str(), "ada");
    let long = Email::parse(&format!("{}@example.org", "x".repeat(200))).unwrap();
    let user = accounts.add_user(long, PASSWORD.into(), None, Role::User).await.unwrap();
    assert_eq!(user.name.as_str().len(), DisplayName::MAX_CHARS);
}

#[tokio::test]
async fn concurrent_registrations_of_an_address_create_one_account() {
    let (accounts, _folder) = service();
    let outcomes = join_all((0..4).map(|_| accounts.register(ada(), PASSWORD.into(), None))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes {
        assert!(outcome.is_ok() || code(outcome) == ErrorCode::EmailTaken);
    }
    assert_eq!(code(accounts.register(ada(), PASSWORD.into(), None).await), ErrorCode::EmailTaken);
    assert_eq!(accounts.users(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_with_misleading_characters_is_refused() {
    let (accounts, _folder) = service();
    for text in ["ad\u{200b}a@example.org", "\u{202e}ada@example.org", "ada@example.org\u{2060}"] {
        let email = Email::parse(text).unwrap();
        let refused = accounts.register(email, PASSWORD.into(), None).await;
        assert_eq!(code(refused), ErrorCode::InvalidField, "{text:?}");
    }
    assert!(accounts.users(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_weak_password_creates_no_account() {
    let (accounts, _folder) = service();
    assert_eq!(code(accounts.register(ada(), "password1".into(), None).await), ErrorCode::WeakPassword);
    assert!(accounts.users(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_address_costs_as_much_as_a_wrong_password() {
    let (accounts, _folder) = service();
    registered(&accounts).await;
    let cost = async |email: &str| {
        let before = accounts.passwords.hashes();
        let outcome = accounts.login(Email::parse(email).unwrap(), "not the password".into()).await;
        let error = outcome.err().unwrap();
        (error, accounts.passwords.hashes() - before)
    };
    let wrong_password = cost("ada@example.org").await;
    assert_eq!(wrong_password, (AuthError::WrongCredentials, 1));
    assert_eq!(cost("nobody@example.org").await, wrong_password);
}

/// The stored hash of the account.
async fn stored_hash(accounts: &Accounts) -> PasswordHash {
    accounts.store.credentials(ada()).await.unwrap().password_hash
}

#[tokio::test]
async fn a_password_hashed_in_another_form_signs_in_and_is_rehashed() {
    let (accounts, _folder) = service();
    registered(&accounts).await;
    let (composed, decomposed) = ("Gr\u{fc}n aus K\u{f6}ln", "Gru\u{308}n aus Ko\u{308}ln");
    let phc = Argon2id::default().hash_password(decomposed.as_bytes()).unwrap();
    let earlier = PasswordHash::new(phc.to_string());
    accounts.store.set_password(ada(), earlier.clone()).await.unwrap();
    assert_eq!(code(accounts.login(ada(), "Grun aus Koln".into()).await), ErrorCode::InvalidCredentials);
    assert_eq!(stored_hash(&accounts).await, earlier, "a wrong password changed the hash");

    let first = accounts.login(ada(), composed.into()).await.unwrap();
    let canonical = stored_hash(&accounts).await;
    assert_ne!(canonical, earlier);
    assert!(accounts.login(ada(), decomposed.into()).await.is_ok());
    assert_eq!(stored_hash(&accounts).await, canonical, "it was canonical already");
    assert!(accounts.refresh(&first.refresh.token).await.is_ok(), "nobody was signed out");
}

fn pair(sign_in: &SignIn) -> (&str, &str) {
    (&sign_in.access.token, &sign_in.refresh.token)
}

#[tokio::test]
async fn a_used_refresh_token_returns_the_same_pair_for_ten_seconds_and_then_ends_the_sign_in() {
    let (accounts, turned, _folder) = service_with_turned_clock();
    let first = registered(&accounts).await;
    let elsewhere = accounts.login(ada(), PASSWORD.into()).await.unwrap();
    let second = accounts.refresh(&first.refresh.token).await.unwrap();
    assert_ne!(pair(&first), pair(&second));
    // The wall clock does not matter.
    for jump_h in [0, 25, -50, 25] {
        turned.set_by(jump_h * 3_600_000);
        turned.pass(Duration::from_millis(2_500));
        assert_eq!(pair(&accounts.refresh(&first.refresh.token).await.unwrap()), pair(&second), "{jump_h}");
    }
    let third = accounts.refresh(&second.refresh.token).await.unwrap();
    assert_eq!(
        pair(&accounts.refresh(&first.refresh.token).await.unwrap()),
        pair(&second),
        "of before the last one, too"
    );
    assert!(accounts.tokens.verify_access(&third.access.token).is_ok());

    turned.pass(Duration::from_millis(1));
    assert_eq!(code(accounts.refresh(&first.refresh.token).await), ErrorCode::ExpiredToken);
    assert_eq!(code(accounts.refresh(&third.refresh.token).await), ErrorCode::ExpiredToken);
    accounts.learn_revocations().await.unwrap();
    assert_eq!(code(accounts.tokens.verify_access(&third.access.token)), ErrorCode::ExpiredToken);
    assert!(accounts.refresh(&elsewhere.refresh.token).await.is_ok(), "another sign-in ended with it");
}

#[tokio::test]
async fn the_store_keeps_no_usable_data_of_a_used_refresh_token() {
    let (accounts, folder) = service();
    let first = registered(&accounts).await;
    let second = accounts.refresh(&first.refresh.token).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for token in [&first.refresh.token, &second.refresh.token, &second.access.token] {
            let signature = token.rsplit('.').next().unwrap().as_bytes();
            assert!(!bytes.windows(signature.len()).any(|window| window == signature));
        }
    }
}

#[tokio::test]
async fn concurrent_refreshes_get_one_pair() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let outcomes = join_all((0..16).map(|_| accounts.refresh(&first.refresh.token))).await;
    let signed_in: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|error| panic!("{error:?}"))).collect();
    assert!(signed_in.iter().all(|sign_in| pair(sign_in) == pair(&signed_in[0])));
    assert!(accounts.refresh(&signed_in[0].refresh.token).await.is_ok());
}

#[tokio::test]
async fn the_grace_period_does_not_reopen_an_ended_sign_in() {
    type End = fn(&Accounts, UserId, String) -> futures_util::future::LocalBoxFuture<'_, ()>;
    let ends: [End; 4] = [
        |accounts, _, token| Box::pin(async move { assert!(accounts.logout(&token).await.unwrap().is_some()) }),
        |accounts, id, _| Box::pin(async move { accounts.lock(id).await.unwrap() }),
        |accounts, id, _| Box::pin(async move { accounts.revoke_tokens(id).await.unwrap() }),
        |accounts, _, _| Box::pin(async move { accounts.set_password(ada(), OTHER_PASSWORD.into()).await.unwrap() }),
    ];
    for end in ends {
        let (accounts, _folder) = service();
        let first = registered(&accounts).await;
        let second = accounts.refresh(&first.refresh.token).await.unwrap();
        end(&accounts, first.user.id, second.refresh.token.clone()).await;
        assert_eq!(code(accounts.refresh(&first.refresh.token).await), ErrorCode::ExpiredToken);
        assert_eq!(code(accounts.refresh(&second.refresh.token).await), ErrorCode::ExpiredToken);
    }
}

#[tokio::test]
async fn a_repeated_pair_has_the_current_role() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    accounts.set_role(ada(), Role::Operator).await.unwrap();
    let operator = accounts.refresh(&first.refresh.token).await.unwrap();
    accounts.set_role(ada(), Role::User).await.unwrap();
    accounts.learn_revocations().await.unwrap();
    assert!(accounts.tokens.verify_access(&operator.access.token).is_err());
    let again = accounts.refresh(&first.refresh.token).await.unwrap();
    assert_eq!(accounts.tokens.verify_access(&again.access.token).unwrap().role, Role::User);
    assert_eq!(again.refresh.token, operator.refresh.token);
}

#[tokio::test]
async fn an_access_token_does_not_refresh() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    assert_eq!(code(accounts.refresh(&first.access.token).await), ErrorCode::InvalidToken);
    assert!(accounts.refresh(&first.refresh.token).await.is_ok());
}

#[tokio::test]
async fn signing_out_ends_the_family_and_is_idempotent() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let second = accounts.refresh(&first.refresh.token).await.unwrap();
    // A used token also signs out.
    assert!(accounts.logout(&first.refresh.token).await.unwrap().is_some());
    assert_eq!(accounts.logout(&second.refresh.token).await, Ok(None), "the revocation is known already");
    assert_eq!(code(accounts.refresh(&second.refresh.token).await), ErrorCode::ExpiredToken);
    assert_eq!(code(accounts.logout(&first.access.token).await), ErrorCode::InvalidToken);
}

#[tokio::test]
async fn signing_out_ends_the_access_tokens_of_that_sign_in() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let renewed = accounts.refresh(&first.refresh.token).await.unwrap();
    let elsewhere = accounts.login(ada(), PASSWORD.into()).await.unwrap();
    accounts.logout(&renewed.refresh.token).await.unwrap();
    for over in [&first, &renewed] {
        assert_eq!(code(accounts.tokens.verify_access(&over.access.token)), ErrorCode::ExpiredToken);
    }
    assert!(accounts.tokens.verify_access(&elsewhere.access.token).is_ok());
}

#[tokio::test]
async fn a_new_role_is_visible_in_me_and_in_the_next_token() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    accounts.set_role(ada(), Role::Operator).await.unwrap();
    assert_eq!(accounts.me(&identity(&first)).await.unwrap().role, Role::Operator);
    assert_eq!(identity(&first).role, Role::User);
    assert_eq!(identity(&accounts.refresh(&first.refresh.token).await.unwrap()).role, Role::Operator);
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_signs_out_everywhere() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let second = accounts.login(ada(), PASSWORD.into()).await.unwrap();
    assert_eq!(code(accounts.set_password(ada(), "short".into()).await), ErrorCode::WeakPassword);
    accounts.set_password(ada(), OTHER_PASSWORD.into()).await.unwrap();
    for sign_in in [first, second] {
        assert_eq!(code(accounts.refresh(&sign_in.refresh.token).await), ErrorCode::ExpiredToken);
    }
    assert_eq!(code(accounts.login(ada(), PASSWORD.into()).await), ErrorCode::InvalidCredentials);
    assert!(accounts.login(ada(), OTHER_PASSWORD.into()).await.is_ok());
}

#[tokio::test]
async fn changes_of_an_unknown_account_are_refused() {
    let (accounts, _folder) = service();
    assert_eq!(code(accounts.set_role(ada(), Role::Agent).await), ErrorCode::NotFound);
    assert_eq!(code(accounts.set_password(ada(), PASSWORD.into()).await), ErrorCode::NotFound);
    let stranger = crate::auth::test_support::user("eve@example.org", Role::User);
    let eve = tokens().verify_access(&access_token(&stranger)).unwrap();
    assert_eq!(code(accounts.me(&eve).await), ErrorCode::InvalidToken);
}

#[tokio::test]
async fn accounts_are_listed_in_pages() {
    let (accounts, _folder) = service();
    let mut made = Vec::new();
    for (name, role) in [("zoe", Role::Operator), ("ada", Role::User), ("mia", Role::Agent)] {
        let email = Email::parse(&format!("{name}@example.org")).unwrap();
        made.push(accounts.add_user(email, PASSWORD.into(), None, role).await.unwrap());
    }
    let first_page = accounts.users(None, 2).await.unwrap();
    assert_eq!(first_page, made[..2]);
    assert_eq!(accounts.users(Some(first_page[1].id), 2).await.unwrap(), made[2..]);
}

#[tokio::test]
async fn beyond_the_limit_of_sign_ins_the_longest_idle_one_ends() {
    let (accounts, _folder) = service();
    let user = accounts.add_user(ada(), PASSWORD.into(), None, Role::User).await.unwrap();
    // The order of use does not depend on the clock.
    let mut families = Vec::new();
    for number in 0..=i64::try_from(MAX_FAMILIES_PER_USER).unwrap() {
        let issued_at = UnixMillis(UnixMillis::now().0 - 60_000 * number);
        let family = family_of(user.id, TokenIssue { issued_at, ..accounts.tokens.new_issue() });
        accounts.store.start_family(family, 0).await.unwrap();
        families.push(family);
    }
    let grace = accounts.tokens.clock().grace();
    let rotate = async |family: RefreshFamily| {
        let next = RefreshFamily { issue: accounts.tokens.new_issue(), ..family };
        match accounts.store.rotate_family(family.issue.jti, next, grace).await.unwrap() {
            Rotation::Rotated { .. } => true,
            Rotation::Unknown => false,
            Rotation::Reused => panic!("{family:?}"),
        }
    };
    assert!(!rotate(families[0]).await && rotate(families[1]).await && rotate(families[MAX_FAMILIES_PER_USER]).await);
    // The second one was used, so the third one ends next.
    accounts.store.start_family(family_of(families[1].user_id, accounts.tokens.new_issue()), 0).await.unwrap();
    assert!(!rotate(families[2]).await && rotate(families[1]).await);
}

fn family_of(user_id: UserId, issue: TokenIssue) -> RefreshFamily {
    RefreshFamily { id: Uuid::new_v4(), user_id, issue }
}

#[tokio::test]
async fn expired_sign_ins_are_deleted_by_a_confirmed_date() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let expires_at = UnixMillis(first.refresh.expires_at * 1_000);
    assert_eq!(accounts.store.forget_families(expires_at).await.unwrap(), 0);
    accounts.forget_expired().await.unwrap();
    assert_eq!(accounts.store.forget_families(UnixMillis(expires_at.0 + 1)).await.unwrap(), 1);
    assert_eq!(code(accounts.refresh(&first.refresh.token).await), ErrorCode::ExpiredToken);
}

/// Accounts with a clock that the test sets.
fn service_with_turned_clock() -> (Accounts, TurnedClock, TempDir) {
    let turned = TurnedClock::at(UnixMillis::now());
    let began = ServedTime { previous_offset_ms: Some(turned.wall().0), ..ServedTime::default() };
    let (accounts, folder) = service_by(&AuthConfig::default(), turned.serve(began));
    turned.pass(Duration::from_secs(1));
    (accounts, turned, folder)
}

#[tokio::test]
async fn a_clock_that_was_ahead_neither_restores_revoked_tokens_nor_ends_sign_ins() {
    let (accounts, turned, _folder) = service_with_turned_clock();
    let (signed_out, elsewhere) = (registered(&accounts).await, accounts.login(ada(), PASSWORD.into()).await.unwrap());
    accounts.logout(&signed_out.refresh.token).await.unwrap();
    for ahead_h in [25, 40 * 24, 400 * 24] {
        turned.set_by(ahead_h * 3_600_000);
        accounts.forget_expired().await.unwrap();
        accounts.learn_revocations().await.unwrap();
        turned.set_by(-ahead_h * 3_600_000);
        let refused = accounts.tokens.verify_access(&signed_out.access.token);
        assert_eq!(code(refused), ErrorCode::ExpiredToken, "after {ahead_h} h");
        assert!(accounts.tokens.verify_access(&elsewhere.access.token).is_ok());
    }
    assert_eq!(accounts.store.revocations(0).await.unwrap().len(), 1);
    assert!(accounts.refresh(&elsewhere.refresh.token).await.is_ok());
    // After the lifetime of the token in running time, the revocation is deleted, and the token has expired.
    for _ in 0..26 {
        turned.pass(Duration::from_secs(3_600));
        accounts.forget_expired().await.unwrap();
    }
    assert!(accounts.store.revocations(0).await.unwrap().is_empty());
    for (back_h, refusal) in
        [(0, ErrorCode::ExpiredToken), (26, ErrorCode::ExpiredToken), (30, ErrorCode::InvalidToken)]
    {
        turned.set_by(-back_h * 3_600_000);
        assert_eq!(code(accounts.tokens.verify_access(&signed_out.access.token)), refusal);
    }
}

#[tokio::test]
async fn a_revocation_while_the_clock_is_ahead_does_not_affect_later_sign_ins() {
    let (accounts, turned, _folder) = service_with_turned_clock();
    let user = registered(&accounts).await.user;
    turned.set_by(30 * 24 * 3_600_000);
    accounts.lock(user.id).await.unwrap();
    let ahead = code(accounts.login(ada(), PASSWORD.into()).await);
    turned.set_by(-30 * 24 * 3_600_000);
    assert_eq!(
        (ahead, code(accounts.login(ada(), PASSWORD.into()).await)),
        (ErrorCode::AccountLocked, ErrorCode::AccountLocked)
    );
    accounts.unlock(user.id).await.unwrap();
    let unlocked = accounts.login(ada(), PASSWORD.into()).await.unwrap();
    accounts.set_password(ada(), OTHER_PASSWORD.into()).await.unwrap();
    accounts.learn_revocations().await.unwrap();
    assert!(accounts.tokens.verify_access(&unlocked.access.token).is_err());
    let again = accounts.login(ada(), OTHER_PASSWORD.into()).await.unwrap();
    accounts.revoke_tokens(user.id).await.unwrap();
    assert!(accounts.tokens.verify_access(&again.access.token).is_err());
    let last = accounts.login(ada(), OTHER_PASSWORD.into()).await.unwrap();
    assert!(accounts.tokens.verify_access(&last.access.token).is_ok());
    assert!(accounts.refresh(&last.refresh.token).await.is_ok());
}

#[tokio::test]
async fn tokens_issued_while_the_clock_was_ahead_can_be_renewed() {
    let (accounts, turned, _folder) = service_with_turned_clock();
    turned.set_by(25 * 3_600_000);
    let first = registered(&accounts).await;
    turned.set_by(-25 * 3_600_000);
    assert_eq!(code(accounts.tokens.verify_access(&first.access.token)), ErrorCode::InvalidToken);
    let renewed = accounts.refresh(&first.refresh.token).await.unwrap();
    assert!(accounts.tokens.verify_access(&renewed.access.token).is_ok());
}

#[tokio::test]
async fn a_family_belongs_to_one_user() {
    let (accounts, _folder) = service();
    let first = registered(&accounts).await;
    let grant = tokens().verify_refresh(&first.refresh.token).unwrap();
    let stolen = RefreshFamily { id: grant.family_id, ..family_of(UserId::new(), accounts.tokens.new_issue()) };
    let grace = accounts.tokens.clock().grace();
    assert_eq!(accounts.store.rotate_family(grant.jti, stolen, grace).await.unwrap(), Rotation::Unknown);
    assert!(accounts.refresh(&first.refresh.token).await.is_ok());
}
