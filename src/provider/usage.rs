//! Consumption of requests to models.

use crate::domain::Usage;
use std::sync::{Arc, Mutex, PoisonError};

/// Consumption of one request, as far as the model server reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallUsage {
    /// The prompt with its cached tokens, and the answer with its reasoning.
    pub tokens: Usage,
    /// Tokens of the prompt that the model server had cached.
    pub cached_tokens: u32,
    /// Cost that the model server reported, in trillionths of the currency.
    pub reported_cost: Option<u64>,
    /// Whether tokens were estimated from the length of the texts.
    pub is_estimated: bool,
}

impl CallUsage {
    /// Adds another request's consumption. The reported cost remains known only if both report one.
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: u32, other: u32| one.saturating_add(other);
        Self {
            tokens: Usage {
                prompt_tokens: sum(self.tokens.prompt_tokens, other.tokens.prompt_tokens),
                completion_tokens: sum(self.tokens.completion_tokens, other.tokens.completion_tokens),
            },
            cached_tokens: sum(self.cached_tokens, other.cached_tokens),
            reported_cost: self.reported_cost.zip(other.reported_cost).map(|(one, other)| one.saturating_add(other)),
            is_estimated: self.is_estimated || other.is_estimated,
        }
    }
}

/// Consumption of a task, which the provider adds to with each request that the model server answers. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Option<CallUsage>>>);

impl Meter {
    pub fn add(&self, usage: CallUsage) {
        let mut total = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *total = Some(total.map_or(usage, |before| before.plus(usage)));
    }

    /// Returns the consumption of all requests; `None` if none was answered.
    pub fn total(&self) -> Option<CallUsage> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Usage> for CallUsage {
    fn from(tokens: Usage) -> Self {
        Self { tokens, ..Self::default() }
    }
}
