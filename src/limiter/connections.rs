//! Permits for a limited number of connections of each key, which is an address or a user. A key without connections takes no
//! memory.

use crate::domain::UserId;
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

pub(super) struct Permits<K> {
    /// 0: no limit.
    max: AtomicUsize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A permit, returned on drop.
pub(super) struct Permit<K: Eq + Hash> {
    permits: Arc<Permits<K>>,
    key: K,
}

/// Permit of a connection under the limit of its address.
pub struct AddressPermit(#[expect(dead_code, reason = "held for its drop")] Option<Permit<IpAddr>>);
/// Permit of a connection under the limit of its user.
pub struct UserPermit(#[expect(dead_code, reason = "held for its drop")] Option<Permit<UserId>>);

impl AddressPermit {
    pub(super) const fn unlimited() -> Self {
        Self(None)
    }
}

impl UserPermit {
    pub(super) const fn unlimited() -> Self {
        Self(None)
    }
}

impl From<Permit<IpAddr>> for AddressPermit {
    fn from(permit: Permit<IpAddr>) -> Self {
        Self(Some(permit))
    }
}

impl From<Permit<UserId>> for UserPermit {
    fn from(permit: Permit<UserId>) -> Self {
        Self(Some(permit))
    }
}

impl<K: Copy + Eq + Hash> Permits<K> {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: Mutex::default() })
    }

    /// Changes the limit. Permits that were granted stay valid.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// Returns `None` when all permits of this key are in use.
    pub(super) fn acquire(self: &Arc<Self>, key: K) -> Option<Permit<K>> {
        let mut taken = self.lock();
        let max = self.max.load(Relaxed);
        let count = taken.get(&key).copied().unwrap_or_default();
        if max > 0 && count >= max {
            return None;
        }
        taken.insert(key, count + 1);
        Some(Permit { permits: Arc::clone(self), key })
    }
}

impl<K> Permits<K> {
    /// Ignores poisoning: the counts are consistent at any time.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_permits_leave_no_entry() {
        let permits = Permits::new(2);
        let held: Vec<_> = (0..1_000).filter_map(|key| permits.acquire(key)).collect();
        assert_eq!((held.len(), permits.lock().len()), (1_000, 1_000));
        let more = permits.acquire(7);
        assert!(more.is_some() && permits.acquire(7).is_none());
        drop((held, more));
        assert!(permits.lock().is_empty());
    }
}
