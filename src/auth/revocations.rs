//! Revoked access tokens that have not expired: those of earlier generations of a user, and those of ended sign-ins.
//!
//! Kept in memory, because every presented token is checked; the store has a copy for restarts and other processes. Clocks do
//! not matter: a revocation names generations and sign-ins, not times.

use super::Identity;
use crate::{
    domain::{UnixMillis, UserId},
    store::{Revocation, Revoked},
};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use uuid::Uuid;

/// The revocations of the server: one for each user or sign-in whose tokens were revoked within the lifetime of a token.
#[derive(Default)]
pub struct Revocations {
    known: RwLock<Known>,
}

/// Each entry holds the number of its revocation.
#[derive(Default)]
struct Known {
    /// The first generation of a user's tokens that is valid.
    users: HashMap<UserId, (i64, i64)>,
    families: HashMap<Uuid, i64>,
    /// The time up to which tokens without a generation are revoked.
    untagged: HashMap<UserId, (UnixMillis, i64)>,
}

impl Revocations {
    /// Whether a revocation applies to this identity.
    pub fn cover(&self, identity: &Identity) -> bool {
        let known = self.read();
        known.users.get(&identity.user_id).is_some_and(|(generation, _)| identity.generation < *generation)
            || identity.family_id.is_some_and(|family_id| known.families.contains_key(&family_id))
    }

    /// Whether a token without a generation, which version 0.1.0 issued at this time, was revoked by that version.
    pub fn cover_untagged(&self, user_id: UserId, issued_at_ms: i64) -> bool {
        self.read().untagged.get(&user_id).is_some_and(|(until, _)| issued_at_ms <= until.0)
    }

    /// Adds a revocation. Returns whether it was not known.
    pub fn add(&self, revocation: Revocation) -> bool {
        let Revocation { number, revoked } = revocation;
        let mut known = self.write();
        match revoked {
            Revoked::User { user_id, generation } => {
                let entry = known.users.entry(user_id).or_default();
                let is_new = entry.0 < generation;
                *entry = (*entry).max((generation, number));
                is_new
            }
            Revoked::Family(family_id) => known.families.insert(family_id, number).is_none(),
            Revoked::Untagged { user_id, until } => {
                let entry = known.untagged.entry(user_id).or_insert((UnixMillis(i64::MIN), number));
                let is_new = entry.0 < until;
                *entry = (entry.0.max(until), entry.1.max(number));
                is_new
            }
        }
    }

    /// Removes the revocations up to this number, whose tokens have all expired.
    pub fn forget(&self, up_to: i64) {
        let mut known = self.write();
        known.users.retain(|_, (_, number)| *number > up_to);
        known.families.retain(|_, number| *number > up_to);
        known.untagged.retain(|_, (_, number)| *number > up_to);
    }

    /// Ignores poisoning: every change leaves the tables consistent.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::test_support::user, domain::Role};

    fn identity(user_id: UserId, family_id: Option<Uuid>, generation: i64) -> Identity {
        let ada = user("ada@example.org", Role::User);
        Identity {
            user_id,
            email: ada.email,
            name: ada.name,
            role: ada.role,
            family_id,
            generation,
            issued_at_ms: 0,
            expires_at: 0,
        }
    }

    fn of_user(number: i64, user_id: UserId, generation: i64) -> Revocation {
        Revocation { number, revoked: Revoked::User { user_id, generation } }
    }

    fn of_family(number: i64, family_id: Uuid) -> Revocation {
        Revocation { number, revoked: Revoked::Family(family_id) }
    }

    #[test]
    fn only_tokens_of_earlier_generations_are_covered() {
        let (revocations, ada, bob) = (Revocations::default(), UserId::new(), UserId::new());
        let covers = |user_id, generation| revocations.cover(&identity(user_id, Some(Uuid::new_v4()), generation));
        assert!(!covers(ada, 0));
        assert!(revocations.add(of_user(1, ada, 2)));
        assert!(covers(ada, 0) && covers(ada, 1) && !covers(ada, 2) && !covers(ada, 3));
        assert!(!covers(bob, 0));
        // A known or older revocation changes nothing.
        assert!(!revocations.add(of_user(1, ada, 2)) && !revocations.add(of_user(0, ada, 1)));
        assert!(covers(ada, 1));
        assert!(revocations.add(of_user(3, ada, 4)) && revocations.add(of_user(2, bob, 1)));
        assert!(covers(ada, 3) && !covers(ada, 4) && covers(bob, 0) && !covers(bob, 1));
    }

    #[test]
    fn an_ended_sign_in_covers_only_its_own_tokens() {
        let (revocations, ada) = (Revocations::default(), UserId::new());
        let (ended, other) = (Uuid::new_v4(), Uuid::new_v4());
        let revocation = of_family(1, ended);
        assert!(revocations.add(revocation) && !revocations.add(revocation));
        // Tokens of version 0.1.0 have no family.
        for (family_id, is_revoked) in [(Some(ended), true), (Some(other), false), (None, false)] {
            let identity = identity(ada, family_id, 7);
            assert_eq!(revocations.cover(&identity), is_revoked, "{identity:?}");
            assert_eq!(identity.is_revoked_by(&revocation), is_revoked, "{identity:?}");
        }
    }

    #[test]
    fn tokens_without_a_generation_are_covered_by_the_time_of_their_issue() {
        let (revocations, ada) = (Revocations::default(), UserId::new());
        let revoked = Revoked::Untagged { user_id: ada, until: UnixMillis(1_000) };
        assert!(
            revocations.add(Revocation { number: 1, revoked }) && !revocations.add(Revocation { number: 1, revoked })
        );
        assert!(revocations.cover_untagged(ada, 1_000) && !revocations.cover_untagged(ada, 1_001));
        assert!(!revocations.cover_untagged(UserId::new(), 1_000));
        assert!(!revocations.cover(&identity(ada, None, 0)), "a token with a generation");
        revocations.forget(1);
        assert!(!revocations.cover_untagged(ada, 1_000));
    }

    #[test]
    fn revocations_are_removed_in_the_order_of_their_numbers() {
        let (revocations, ada, bob, family) = (Revocations::default(), UserId::new(), UserId::new(), Uuid::new_v4());
        revocations.add(of_user(1, ada, 1));
        revocations.add(of_family(2, family));
        revocations.add(of_user(3, bob, 1));
        // A second revocation of the same user keeps the entry.
        revocations.add(of_user(4, ada, 2));
        revocations.forget(3);
        assert!(revocations.cover(&identity(ada, None, 1)));
        assert!(!revocations.cover(&identity(bob, None, 0)) && !revocations.cover(&identity(bob, Some(family), 0)));
    }
}
