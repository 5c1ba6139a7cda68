//! Tells the operator what to do about a failure that lasts until somebody changes a setting: one line for each kind of failure and
//! interval, however many turns fail.

use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Interval within which the same advice is not repeated.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Remembers what was said.
#[derive(Debug, Default)]
pub(super) struct Advice {
    said: Mutex<Vec<(Kind, Instant)>>,
}

impl Advice {
    /// Logs what to do about `error`, unless that was said a short time ago.
    pub fn tell(&self, error: &ProviderError, model: &str) {
        let Some(advice) = advice(error.kind) else { return };
        if self.is_due(error.kind, Instant::now()) {
            log::error!(kind = error.kind.as_str(), model, detail = error.detail; "{advice}");
        }
    }

    fn is_due(&self, kind: Kind, now: Instant) -> bool {
        let Ok(mut said) = self.said.lock() else { return false };
        said.retain(|(_, at)| now.saturating_duration_since(*at) < INTERVAL);
        let is_due = said.iter().all(|(before, _)| *before != kind);
        if is_due {
            said.push((kind, now));
        }
        is_due
    }
}

/// Advice to the operator; `None` for failures that pass by themselves.
fn advice(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Unauthorized => {
            "the model server refuses the key; set provider.api_key to a key that is valid at provider.base_url"
        }
        Kind::OutOfCredit => {
            "the account at the model server has no credit left; pay for more, or change provider.api_key or provider.base_url"
        }
        Kind::UnknownModel => {
            "the model server does not know the model or the address; check provider.model and provider.base_url"
        }
        Kind::ContextTooLong => {
            "a prompt is longer than the model's context; lower workflow.context_token_budget, knowledge.max_passages or \
             provider.max_answer_tokens, or load the model with a longer context"
        }
        Kind::Rejected => "the model server rejects a request; check the settings under provider",
        Kind::Unavailable | Kind::Timeout | Kind::RateLimited | Kind::Broken => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permanent_failure_has_an_advice_that_names_a_setting() {
        for kind in Kind::ALL {
            assert_eq!(
                advice(*kind).is_some_and(|advice| advice.contains("provider")),
                kind.is_permanent(),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_same_is_not_said_again_for_a_while() {
        let advice = Advice::default();
        let now = Instant::now();
        assert!(advice.is_due(Kind::Unauthorized, now));
        assert!(!advice.is_due(Kind::Unauthorized, now + INTERVAL / 2));
        assert!(advice.is_due(Kind::OutOfCredit, now + INTERVAL / 2));
        assert!(advice.is_due(Kind::Unauthorized, now + INTERVAL));
    }
}
