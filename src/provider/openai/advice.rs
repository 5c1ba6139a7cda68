//! Advice to the operator about permanent failures, which last until a setting changes. Logged at most once per kind and
//! interval, however many turns fail.

use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Minimum time between two log lines with the same advice.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Rate-limited log of advice.
#[derive(Debug, Default)]
pub(super) struct AdviceLog {
    logged: Mutex<Vec<(Kind, Instant)>>,
}

impl AdviceLog {
    /// Logs advice about `error`, unless the same advice was logged within the last [`INTERVAL`].
    pub fn log(&self, error: &ProviderError, model: &str, section: &str) {
        let Some(advice) = advice(error.kind) else { return };
        if self.is_due(error.kind, Instant::now()) {
            log::error!(kind = error.kind.as_str(), model, section, detail = error.detail; "{advice}");
        }
    }

    fn is_due(&self, kind: Kind, now: Instant) -> bool {
        let Ok(mut logged) = self.logged.lock() else { return false };
        logged.retain(|(_, at)| now.saturating_duration_since(*at) < INTERVAL);
        let is_due = logged.iter().all(|(earlier, _)| *earlier != kind);
        if is_due {
            logged.push((kind, now));
        }
        is_due
    }
}

/// Returns the advice for a permanent failure; `None` for a transient one.
fn advice(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Unauthorized => {
            "the model server rejected the API key; set provider.api_key to a key that is valid at provider.base_url"
        }
        Kind::OutOfCredit => {
            "the account at the model server is out of credit; add credit, or change provider.api_key or provider.base_url"
        }
        Kind::UnknownModel => {
            "the model server does not know the model or the URL; check provider.model and provider.base_url"
        }
        Kind::ContextTooLong => {
            "a prompt exceeded the model's context window; lower workflow.context_token_budget, knowledge.max_passages or \
             provider.max_answer_tokens, or load the model with a larger context window"
        }
        Kind::Rejected => "the model server rejected a request; check the settings under provider",
        Kind::Unavailable | Kind::Timeout | Kind::RateLimited | Kind::Broken => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_for_each_permanent_failure_names_a_setting() {
        for kind in Kind::ALL {
            assert_eq!(
                advice(*kind).is_some_and(|advice| advice.contains("provider")),
                kind.is_permanent(),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_same_advice_is_not_repeated_within_the_interval() {
        let advice = AdviceLog::default();
        let now = Instant::now();
        assert!(advice.is_due(Kind::Unauthorized, now));
        assert!(!advice.is_due(Kind::Unauthorized, now + INTERVAL / 2));
        assert!(advice.is_due(Kind::OutOfCredit, now + INTERVAL / 2));
        assert!(advice.is_due(Kind::Unauthorized, now + INTERVAL));
    }
}
