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

/// Number of ratings of one kind.
#[derive(Debug)]
pub(super) struct RatingCount {
    /// Index of the specialist.
    pub specialist: usize,
    model: String,
    rating: Rating,
    pub count: u64,
}

impl RatingCount {
    /// Returns the labels of the series; `specialist` is the name.
    pub fn labels<'a>(&'a self, specialist: &'a str) -> Vec<(&'static str, &'a str)> {
        vec![("specialist", specialist), ("model", &self.model), ("rating", self.rating.as_str())]
    }
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

    /// Returns all counts, by model, specialist and rating.
    pub(super) fn each(&self) -> Vec<RatingCount> {
        let mut each = Vec::new();
        for (model, counts) in &*self.lock() {
            for ((specialist, rating), count) in counts {
                let (specialist, rating, count) = (*specialist, *rating, *count);
                each.push(RatingCount { specialist, model: model.clone(), rating, count });
            }
        }
        each
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
        let each = counts.each();
        let of = |name: &str| each.iter().filter(|rated| rated.model == name).map(|rated| rated.count).sum::<u64>();
        assert_eq!((of("model-0"), of("model-31"), of("model-32"), of(OTHER_MODEL)), (2, 1, 0, 6));
        assert_eq!(each.len(), (MAX_MODELS + 1) * 6, "each specialist with each rating");
    }
}
