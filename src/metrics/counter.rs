//! Counters with no, one or two labels. Every series starts at zero, so that its first event is visible as an increase.

use super::Label;
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct Counters<L> {
    counters: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub fn increment(&self, label: L) {
        add(&self.counters, label.index(), 1);
    }

    pub fn add(&self, label: L, amount: u64) {
        add(&self.counters, label.index(), amount);
    }

    pub fn get(&self, label: L) -> u64 {
        self.counters[label.index()].get()
    }

    pub fn each(&self) -> impl Iterator<Item = (L, u64)> {
        L::ALL.iter().map(|label| (*label, self.get(*label)))
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { counters: counters(L::ALL.len()), label: PhantomData }
    }
}

/// One counter for each pair of values of two labels.
#[derive(Debug)]
pub struct CounterPairs<A, B> {
    counters: Box<[Counter]>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label> CounterPairs<A, B> {
    pub fn increment(&self, first: A, second: B) {
        add(&self.counters, Self::index(first, second), 1);
    }

    pub fn add(&self, first: A, second: B, amount: u64) {
        add(&self.counters, Self::index(first, second), amount);
    }

    pub fn get(&self, first: A, second: B) -> u64 {
        self.counters[Self::index(first, second)].get()
    }

    pub fn each(&self) -> impl Iterator<Item = (A, B, u64)> {
        A::ALL.iter().flat_map(|first| B::ALL.iter().map(|second| (*first, *second, self.get(*first, *second))))
    }

    fn index(first: A, second: B) -> usize {
        first.index() * B::ALL.len() + second.index()
    }
}

impl<A: Label, B: Label> Default for CounterPairs<A, B> {
    fn default() -> Self {
        Self { counters: counters(A::ALL.len() * B::ALL.len()), labels: PhantomData }
    }
}

/// A value missing from `Label::ALL` is a bug, but must not end a connection.
fn add(counters: &[Counter], index: usize, amount: u64) {
    debug_assert!(index < counters.len(), "a label has a value that is not in its list");
    if let Some(counter) = counters.get(index) {
        counter.add(amount);
    }
}

fn counters(count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{FinishReason, ProviderErrorKind},
        metrics::ModelTask,
    };

    #[test]
    fn values_are_counted_separately() {
        let (one, pairs) = (Counters::default(), CounterPairs::default());
        one.increment(FinishReason::Length);
        pairs.increment(ModelTask::Generate, ProviderErrorKind::Timeout);
        pairs.increment(ModelTask::Generate, ProviderErrorKind::Timeout);
        assert_eq!(one.each().map(|(_, count)| count).collect::<Vec<_>>(), [0, 1, 0, 0]);
        for (task, kind, count) in pairs.each() {
            let expected = u64::from(task == ModelTask::Generate && kind == ProviderErrorKind::Timeout) * 2;
            assert_eq!(count, expected, "{task:?} {kind:?}");
        }
        assert_eq!(pairs.each().count(), ModelTask::ALL.len() * ProviderErrorKind::ALL.len());
    }
}
