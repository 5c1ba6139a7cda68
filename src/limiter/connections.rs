//! How many there are of each key at once. A key without any takes no memory.

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

pub(super) struct Places<K> {
    /// 0 is no limit.
    max: AtomicUsize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A place that is taken; dropping it gives it back.
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

/// A socket's place among those of its address.
pub struct AddressPermit(#[expect(dead_code, reason = "held for its drop")] Option<Place<IpAddr>>);
/// A socket's place among those of its user.
pub struct UserPermit(#[expect(dead_code, reason = "held for its drop")] Option<Place<UserId>>);

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

impl From<Place<IpAddr>> for AddressPermit {
    fn from(place: Place<IpAddr>) -> Self {
        Self(Some(place))
    }
}

impl From<Place<UserId>> for UserPermit {
    fn from(place: Place<UserId>) -> Self {
        Self(Some(place))
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), taken: Mutex::default() })
    }

    /// Those who have a place keep it.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// `None` when all places of this key are taken.
    pub(super) fn claim(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.lock();
        let max = self.max.load(Relaxed);
        let count = taken.get(&key).copied().unwrap_or_default();
        if max > 0 && count >= max {
            return None;
        }
        taken.insert(key, count + 1);
        Some(Place { places: Arc::clone(self), key })
    }
}

impl<K> Places<K> {
    /// A count is whole at any time, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
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
    fn nothing_is_kept_of_those_who_left() {
        let places = Places::new(2);
        let held: Vec<_> = (0..1_000).filter_map(|key| places.claim(key)).collect();
        assert_eq!((held.len(), places.lock().len()), (1_000, 1_000));
        let more = places.claim(7);
        assert!(more.is_some() && places.claim(7).is_none());
        drop((held, more));
        assert!(places.lock().is_empty());
    }
}
