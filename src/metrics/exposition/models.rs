//! Families about requests to models.

use super::{Families, Labels, Ours, count};
use crate::{
    domain::ModelTask,
    metrics::{EmbeddedPassages, Label, SearchTask},
};
use std::fmt;

impl Ours {
    pub(super) fn models(&self, families: &mut Families<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let tokens = metrics.model_tokens.each();
        let tokens = tokens.map(|(task, kind, count)| (vec![("task", task.value()), ("kind", kind.value())], count));
        families.counter("model_tokens", "Tokens of requests to models, each of one kind.", tokens)?;
        let of_task = |(task, count): (ModelTask, u64)| (vec![("task", task.value())], count);
        families.counter(
            "model_cost_trillionths",
            "Known costs of requests to models, in trillionths of budgets.currency.",
            metrics.model_cost.each().map(of_task),
        )?;
        families.counter(
            "model_calls_without_price",
            "Requests to models whose price is unknown.",
            metrics.unpriced_calls.each().map(of_task),
        )?;
        self.search(families)
    }

    fn search(&self, families: &mut Families<'_>) -> fmt::Result {
        let requests = self.metrics.search_requests.each();
        let requests =
            requests.map(|(task, outcome, count)| (vec![("task", task.value()), ("outcome", outcome.value())], count));
        families.counter("search_requests", "Requests to the models of the search.", requests)?;
        let times = SearchTask::ALL.iter().zip(&self.metrics.search_request_times);
        let times = times.map(|(task, histogram)| (vec![("task", task.value())], histogram.snapshot()));
        families.histogram("search_request", "One request to a model of the search.", times)?;
        let embedded = self.live.embedded;
        let of = |number: fn(EmbeddedPassages) -> usize| {
            embedded.into_iter().map(move |embedded| (Labels::new(), count(number(embedded))))
        };
        families.gauge("passages", None, "Passages that are to have a vector.", of(|it| it.passages))?;
        let without = of(|it| it.without_vector);
        families.gauge("passages_without_vector", None, "Passages that the embedding model has yet to embed.", without)
    }
}
