//! `[budgets]`: prices of models, and what each user may consume per day.

use super::declare::settings;
use std::path::PathBuf;

settings! {
    /// Prices of models, from which the cost of each turn is computed, and daily budgets of users. A day begins at 00:00 UTC. A
    /// user whose budget is used up gets `BUDGET_EXCEEDED` until the next day.
    BudgetsConfig [budgets] {
        /// TOML file of the prices; absent: only costs that a model server reports are known.
        prices_file: Option<PathBuf>, example "\"config/prices.toml\"";
        /// Currency of the prices, and of the costs that model servers report.
        currency: String = "USD".to_owned();
        /// Tokens of all requests to models that a user's turns may consume in a day; 0 is no budget.
        tokens_per_user_per_day: u64 = 0, in 0..=1_000_000_000_000;
        /// Cost in `currency` of all requests to models that a user's turns may cause in a day; 0 is no budget. Requests with an
        /// unknown price do not count.
        cost_per_user_per_day: f64 = 0.0, fraction in 0.0..=1_000_000.0;
    }
}
