//! Daily budgets of users: the check before a turn or task, and its charge.
//!
//! The store has the consumption of each day in UTC, so that it survives a restart. It is checked once a turn counts as one of its
//! user's, and charged when the turn ends. A budget can therefore be exceeded by what the turns consume that one user may run at once,
//! and by no more.

use super::error::TurnError;
use crate::{
    config::BudgetsConfig,
    domain::{UnixMillis, UserId, UtcDay},
    limits::USAGE_LIFE_DAYS,
    provider::{Call, Calls},
    store::{Charge, Consumption, ConversationStore, UsageStore, UsersOfDay},
};
use serde::Serialize;
use std::sync::Arc;

/// Trillionths in one unit of the currency.
const TRILLION: f64 = 1e12;

/// Limits on the consumption of each user per day. Zero is no budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DailyLimits {
    pub tokens: u64,
    /// Trillionths of the currency.
    pub cost: u64,
}

impl From<&BudgetsConfig> for DailyLimits {
    fn from(config: &BudgetsConfig) -> Self {
        let cost = (config.cost_per_user_per_day * TRILLION).round() as u64;
        Self { tokens: config.tokens_per_user_per_day, cost }
    }
}

impl DailyLimits {
    fn are_none(self) -> bool {
        self == Self::default()
    }

    fn are_exceeded(self, used: Consumption) -> bool {
        (self.tokens > 0 && used.tokens >= self.tokens) || (self.cost > 0 && used.cost >= self.cost)
    }

    /// Checks that the user has budget left. Without a budget, the store is not asked.
    ///
    /// # Errors
    /// `BudgetExceeded`, or an error of the store.
    pub(super) async fn check(self, store: &dyn UsageStore, user: UserId, now: UnixMillis) -> Result<(), TurnError> {
        if self.are_none() {
            return Ok(());
        }
        let used = store.usage_on(now.day(), vec![user]).await?.remove(&user).unwrap_or_default();
        match self.are_exceeded(used) {
            true => Err(TurnError::BudgetExceeded { now, resets_at: now.day().end() }),
            false => Ok(()),
        }
    }

    /// Returns the charge for requests that ended by `at`; `None` without a budget, or if no model was used.
    pub(super) fn charge(self, user_id: UserId, calls: &[Call], at: UnixMillis) -> Option<Charge> {
        let consumption = consumption(calls);
        let is_charged = !self.are_none() && consumption != Consumption::default();
        is_charged.then(|| Charge { user_id, day: at.day(), consumption })
    }
}

/// Use of the daily budgets by all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BudgetUse {
    /// Users that consumed something today.
    pub users: u64,
    /// Users whose budget is used up.
    pub users_at_limit: u64,
    /// Time at which all budgets are renewed.
    pub resets_at_ms: UnixMillis,
}

/// The daily budgets with the consumption of all users.
pub struct Budgets {
    limits: DailyLimits,
    store: Arc<dyn ConversationStore>,
}

impl Budgets {
    pub fn new(limits: DailyLimits, store: Arc<dyn ConversationStore>) -> Self {
        Self { limits, store }
    }

    /// Returns the use of the budgets today; `None` without a budget, or if the store is unavailable: the other numbers matter most
    /// then.
    pub async fn use_today(&self) -> Option<BudgetUse> {
        let DailyLimits { tokens, cost } = self.limits;
        if self.limits.are_none() {
            return None;
        }
        let today = UnixMillis::now().day();
        match self.store.users_on(today, Consumption { tokens, cost }).await {
            Ok(UsersOfDay { users, at_limit }) => {
                Some(BudgetUse { users, users_at_limit: at_limit, resets_at_ms: today.end() })
            }
            Err(error) => {
                log::warn!("the use of the daily budgets could not be read: {error}");
                None
            }
        }
    }
}

/// Consumption of one turn, for the budget of its user.
pub struct Spending {
    limits: DailyLimits,
    user_id: UserId,
    calls: Arc<Calls>,
}

impl Spending {
    pub fn new(limits: DailyLimits, user_id: UserId, calls: &Arc<Calls>) -> Self {
        Self { limits, user_id, calls: Arc::clone(calls) }
    }

    /// Returns the charge if the turn ended now, at `at`: requests that have not ended are estimated.
    pub fn charge(&self, at: UnixMillis) -> Option<Charge> {
        if self.limits.are_none() {
            return None;
        }
        self.limits.charge(self.user_id, &self.calls.so_far(), at)
    }
}

/// Charges what is not charged with the end of a turn: a task, or a turn whose end the store has rejected, for example because
/// the conversation was handed over.
pub(super) async fn charge_apart(store: &dyn UsageStore, charge: Option<Charge>) {
    let Some(charge) = charge else { return };
    if let Err(error) = store.charge(charge).await {
        log::error!("requests to models could not be charged to the budget of their user: {error}");
    }
}

/// Deletes the consumption of days that are no longer of interest.
pub(super) async fn forget_old(store: &dyn UsageStore, today: UtcDay) {
    if let Err(error) = store.forget_usage(UtcDay(today.0 - USAGE_LIFE_DAYS)).await {
        log::error!("old daily usage could not be deleted: {error}");
    }
}

/// Sums what requests to models consumed. A cost that is unknown adds nothing.
fn consumption(calls: &[Call]) -> Consumption {
    calls.iter().fold(Consumption::default(), |sum, call| {
        let tokens = call
            .usage
            .map_or(0, |usage| u64::from(usage.tokens.prompt_tokens) + u64::from(usage.tokens.completion_tokens));
        Consumption { tokens: sum.tokens.saturating_add(tokens), cost: sum.cost.saturating_add(call.cost.unwrap_or(0)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ModelTask, Usage},
        provider::{CallOutcome, CallUsage},
    };
    use std::time::Duration;

    fn call(tokens: Option<(u32, u32)>, cost: Option<u64>) -> Call {
        let usage = tokens.map(|(prompt_tokens, completion_tokens)| CallUsage {
            tokens: Usage { prompt_tokens, completion_tokens },
            // Part of the prompt.
            cached_tokens: prompt_tokens / 2,
            ..CallUsage::default()
        });
        Call {
            task: ModelTask::Generate,
            provider: "default".into(),
            model: "m".into(),
            outcome: CallOutcome::Cancelled,
            took: Duration::ZERO,
            usage,
            cost,
        }
    }

    #[test]
    fn a_budget_in_the_currency_becomes_trillionths() {
        let config = BudgetsConfig { cost_per_user_per_day: 0.1, tokens_per_user_per_day: 9, ..Default::default() };
        assert_eq!(DailyLimits::from(&config), DailyLimits { tokens: 9, cost: 100_000_000_000 });
        assert!(DailyLimits::from(&BudgetsConfig::default()).are_none());
    }

    #[test]
    fn either_budget_is_exceeded_once_it_is_used_up() {
        let limits = DailyLimits { tokens: 10, cost: 100 };
        for (tokens, cost, exceeded) in [(0, 0, false), (9, 99, false), (10, 0, true), (0, 100, true), (11, 101, true)]
        {
            assert_eq!(limits.are_exceeded(Consumption { tokens, cost }), exceeded, "{tokens} {cost}");
        }
        let tokens_only = DailyLimits { tokens: 10, cost: 0 };
        assert!(!tokens_only.are_exceeded(Consumption { tokens: 9, cost: u64::MAX }));
    }

    #[test]
    fn all_requests_of_a_turn_are_charged_however_they_ended() {
        let (user, at) = (UserId::new(), UnixMillis(86_400_000 * 3 + 5));
        let calls = [call(Some((100, 5)), Some(7)), call(Some((50, 1)), None), call(None, None)];
        let charge = DailyLimits { tokens: 1, cost: 0 }.charge(user, &calls, at).unwrap();
        assert_eq!((charge.user_id, charge.day.0), (user, 3));
        assert_eq!(charge.consumption, Consumption { tokens: 156, cost: 7 });
        assert_eq!(DailyLimits::default().charge(user, &calls, at), None, "without a budget nothing is stored");
        assert_eq!(DailyLimits { tokens: 1, cost: 0 }.charge(user, &[call(None, None)], at), None);
    }
}
