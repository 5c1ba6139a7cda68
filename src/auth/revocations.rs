//! Access tokens that are good no more before their time: those of a user that were issued up to some moment.
//!
//! In memory, for every token that somebody brings; the store has the same, for the next start and for other processes.

use crate::{
    domain::{UnixMillis, UserId},
    store::Revocation,
};
use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, Ordering},
    },
};

/// What was revoked. One for the whole server; as large as there are users whose tokens were revoked within the longest life
/// of a token.
#[derive(Default)]
pub struct Revocations {
    /// The latest of all, in milliseconds: a token that is younger needs no look at the table.
    newest_ms: AtomicI64,
    by_user: RwLock<HashMap<UserId, UnixMillis>>,
}

impl Revocations {
    /// Whether a token of this user that was issued then is revoked.
    pub fn cover(&self, user_id: UserId, issued_at_ms: i64) -> bool {
        issued_at_ms <= self.newest_ms.load(Ordering::Acquire)
            && self.read().get(&user_id).is_some_and(|revoked_at| issued_at_ms <= revoked_at.0)
    }

    /// Takes a revocation in. Whether it is news.
    pub fn add(&self, revocation: Revocation) -> bool {
        let Revocation { user_id, at } = revocation;
        let mut by_user = self.write();
        let known = by_user.entry(user_id).or_insert(UnixMillis(i64::MIN));
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
    fn read(&self) -> RwLockReadGuard<'_, HashMap<UserId, UnixMillis>> {
        self.by_user.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<UserId, UnixMillis>> {
        self.by_user.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_issued_up_to_then_is_covered_and_nothing_else() {
        let (revocations, ada, bob) = (Revocations::default(), UserId::new(), UserId::new());
        assert!(!revocations.cover(ada, 0));
        let at = |user_id, ms| Revocation { user_id, at: UnixMillis(ms) };
        assert!(revocations.add(at(ada, 1_000)));
        assert!(revocations.cover(ada, 999) && revocations.cover(ada, 1_000) && !revocations.cover(ada, 1_001));
        assert!(!revocations.cover(bob, 1_000));
        // What is older, or known, is no news and takes nothing back.
        assert!(!revocations.add(at(ada, 1_000)) && !revocations.add(at(ada, 500)));
        assert!(revocations.cover(ada, 1_000));
        assert!(revocations.add(at(ada, 3_000)) && revocations.add(at(bob, 2_000)));
        assert!(revocations.cover(ada, 3_000) && revocations.cover(bob, 2_000) && !revocations.cover(bob, 2_001));
    }

    #[test]
    fn what_no_token_can_be_as_old_as_is_forgotten() {
        let (revocations, ada, bob) = (Revocations::default(), UserId::new(), UserId::new());
        revocations.add(Revocation { user_id: ada, at: UnixMillis(1_000) });
        revocations.add(Revocation { user_id: bob, at: UnixMillis(2_000) });
        revocations.forget_before(UnixMillis(2_000));
        assert!(!revocations.cover(ada, 1_000) && revocations.cover(bob, 2_000));
        assert_eq!(revocations.read().len(), 1);
    }
}
