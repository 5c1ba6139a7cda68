//! Access tokens that are good no more before their time: those of a user or of a sign-in that were issued up to some moment.
//!
//! In memory, for every token that somebody brings; the store has the same, for the next start and for other processes.

use super::Identity;
use crate::{
    domain::UnixMillis,
    store::{Revocation, Revoked},
};
use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, Ordering},
    },
};

/// What was revoked. One for the whole server; as large as there are users and sign-ins whose tokens were revoked within the
/// longest life of a token.
#[derive(Default)]
pub struct Revocations {
    /// The latest of all, in milliseconds: a token that is younger needs no look at the table.
    newest_ms: AtomicI64,
    revoked_at: RwLock<HashMap<Revoked, UnixMillis>>,
}

impl Revocations {
    /// Whether this proof is revoked.
    pub fn cover(&self, identity: &Identity) -> bool {
        if identity.issued_at_ms > self.newest_ms.load(Ordering::Acquire) {
            return false;
        }
        let whose = [Some(Revoked::User(identity.user_id)), identity.family_id.map(Revoked::Family)];
        let revoked_at = self.read();
        whose.iter().flatten().any(|whose| revoked_at.get(whose).is_some_and(|at| identity.issued_at_ms <= at.0))
    }

    /// Takes a revocation in. Whether it is news.
    pub fn add(&self, revocation: Revocation) -> bool {
        let Revocation { whose, at } = revocation;
        let mut revoked_at = self.write();
        let known = revoked_at.entry(whose).or_insert(UnixMillis(i64::MIN));
        let is_news = *known < at;
        *known = (*known).max(at);
        self.newest_ms.fetch_max(at.0, Ordering::Release);
        is_news
    }

    /// Lets go of what was revoked before: no token is as old.
    pub fn forget_before(&self, moment: UnixMillis) {
        self.write().retain(|_, revoked_at| *revoked_at >= moment);
    }

    /// A moment is whole at any time, so a panic elsewhere does not spoil it.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Revoked, UnixMillis>> {
        self.revoked_at.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Revoked, UnixMillis>> {
        self.revoked_at.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::user,
        domain::{Role, UserId},
    };
    use uuid::Uuid;

    fn identity(user_id: UserId, family_id: Option<Uuid>, issued_at_ms: i64) -> Identity {
        let ada = user("ada@example.org", Role::User);
        Identity { user_id, email: ada.email, name: ada.name, role: ada.role, family_id, issued_at_ms, expires_at: 0 }
    }

    fn of_user(user_id: UserId, ms: i64) -> Revocation {
        Revocation { whose: Revoked::User(user_id), at: UnixMillis(ms) }
    }

    fn of_family(family_id: Uuid, ms: i64) -> Revocation {
        Revocation { whose: Revoked::Family(family_id), at: UnixMillis(ms) }
    }

    #[test]
    fn what_was_issued_up_to_then_is_covered_and_nothing_else() {
        let (revocations, ada, bob) = (Revocations::default(), UserId::new(), UserId::new());
        let covers = |user_id, ms| revocations.cover(&identity(user_id, Some(Uuid::new_v4()), ms));
        assert!(!covers(ada, 0));
        assert!(revocations.add(of_user(ada, 1_000)));
        assert!(covers(ada, 999) && covers(ada, 1_000) && !covers(ada, 1_001));
        assert!(!covers(bob, 1_000));
        // What is older, or known, is no news and takes nothing back.
        assert!(!revocations.add(of_user(ada, 1_000)) && !revocations.add(of_user(ada, 500)));
        assert!(covers(ada, 1_000));
        assert!(revocations.add(of_user(ada, 3_000)) && revocations.add(of_user(bob, 2_000)));
        assert!(covers(ada, 3_000) && covers(bob, 2_000) && !covers(bob, 2_001));
    }

    #[test]
    fn a_sign_in_that_ended_takes_only_its_own_tokens() {
        let (revocations, ada) = (Revocations::default(), UserId::new());
        let (ended, other) = (Uuid::new_v4(), Uuid::new_v4());
        let revocation = of_family(ended, 1_000);
        assert!(revocations.add(revocation) && !revocations.add(revocation));
        for (family_id, ms, is_revoked) in [
            (Some(ended), 1_000, true),
            (Some(ended), 1_001, false),
            (Some(other), 1_000, false),
            // A token that does not say where it came from.
            (None, 1_000, false),
        ] {
            let identity = identity(ada, family_id, ms);
            assert_eq!(revocations.cover(&identity), is_revoked, "{identity:?}");
            assert_eq!(identity.is_revoked_by(&revocation), is_revoked, "{identity:?}");
        }
    }

    #[test]
    fn what_no_token_can_be_as_old_as_is_forgotten() {
        let (revocations, ada, bob) = (Revocations::default(), UserId::new(), UserId::new());
        revocations.add(of_user(ada, 1_000));
        revocations.add(of_family(Uuid::new_v4(), 1_999));
        revocations.add(of_user(bob, 2_000));
        revocations.forget_before(UnixMillis(2_000));
        assert!(!revocations.cover(&identity(ada, None, 1_000)) && revocations.cover(&identity(bob, None, 2_000)));
        assert_eq!(revocations.read().len(), 1);
    }
}
