//! Counts of ratings by specialist and model. Names of models come from the configuration and from model servers, so their number
//! is bounded here.

use crate::domain::Rating;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Models with series of their own; further ones share [`OTHER_MODEL`].
const MAX_MODELS: usize = 32;
/// Longest name of a model with a series of its own, in bytes.
const MAX_MODEL_BYTES: usize = 100;
const OTHER_MODEL: &str = "other";

/// Counts by model, and for each model by specialist, which is an index, and rating.
type Counts = BTreeMap<String, BTreeMap<(usize, Rating), u64>>;

/// Ratings by specialist and model.
#[derive(Debug)]
pub(super) struct RatingCounts {
    specialists: usize,
    counts: Mutex<Counts>,
}

impl RatingCounts {
    pub(super) fn new(specialists: usize) -> Self {
        let counts = Counts::from([(OTHER_MODEL.to_owned(), zeros(specialists))]);
        Self { specialists, counts: Mutex::new(counts) }
    }

    pub(super) fn increment(&self, specialist: usize, model: &str, rating: Rating) {
        let mut counts = self.lock();
        let has_space = model.len() <= MAX_MODEL_BYTES && counts.len() <= MAX_MODELS;
        let model = if has_space || counts.contains_key(model) { model } else { OTHER_MODEL };
        let of_model = counts.entry(model.to_owned()).or_insert_with(|| zeros(self.specialists));
        *of_model.entry((specialist, rating)).or_default() += 1;
    }

    /// Calls `read` with the counts.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Counts) -> T) -> T {
        read(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every series starts at zero, so that its first event is visible as an increase.
fn zeros(specialists: usize) -> BTreeMap<(usize, Rating), u64> {
    (0..specialists).flat_map(|specialist| Rating::ALL.map(|rating| ((specialist, rating), 0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_models_is_bounded() {
        let counts = RatingCounts::new(3);
        for n in 0..MAX_MODELS + 5 {
            counts.increment(n % 3, &format!("model-{n}"), Rating::Up);
        }
        counts.increment(0, "model-0", Rating::Up);
        counts.increment(0, &"x".repeat(MAX_MODEL_BYTES + 1), Rating::Down);
        counts.with(|counts| {
            let of = |model: &str| counts.get(model).map(|counts| counts.values().sum::<u64>());
            assert_eq!((of("model-0"), of("model-31"), of("model-32")), (Some(2), Some(1), None));
            assert_eq!((of(OTHER_MODEL), counts.len()), (Some(6), MAX_MODELS + 1));
            assert!(counts.values().all(|counts| counts.len() == 6));
        });
    }
}
