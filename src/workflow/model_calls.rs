//! Summary of a turn's requests to providers: for the metadata of its answer, and for the metrics.

use super::stages::millis;
use crate::{
    domain::{AnswerMetadata, ModelTask},
    metrics::{Metrics, TokenKind},
    provider::{Call, CallUsage},
};
use switchboard_protocol::{Attempt, Cost};

/// Completes the metadata of an answer, and counts its tokens and costs.
pub(super) fn account(metadata: &mut AnswerMetadata, calls: &[Call], currency: &str, metrics: &Metrics) {
    describe(metadata, calls, currency);
    count(metrics, calls);
}

fn describe(metadata: &mut AnswerMetadata, calls: &[Call], currency: &str) {
    metadata.attempts = attempts(calls);
    let used: Vec<_> = calls.iter().filter_map(|call| Some((call, call.usage?))).collect();
    metadata.cost = total_cost(&used).map(|trillionths| Cost { currency: currency.to_owned(), trillionths });
    let says_more = match &used[..] {
        [] => false,
        [(call, usage)] => {
            call.task != ModelTask::Generate || call.cost.is_some() || usage.cached_tokens > 0 || usage.is_estimated
        }
        _ => true,
    };
    metadata.calls.clear();
    for (call, usage) in used.iter().filter(|_| says_more) {
        let is_first = !metadata.calls.contains_key(call.task.as_str());
        let sum = metadata.calls.entry(call.task.as_str().to_owned()).or_default();
        sum.calls += 1;
        sum.prompt_tokens += u64::from(usage.tokens.prompt_tokens);
        sum.cached_tokens += u64::from(usage.cached_tokens.min(usage.tokens.prompt_tokens));
        sum.completion_tokens += u64::from(usage.tokens.completion_tokens);
        sum.estimated |= usage.is_estimated;
        let before = if is_first { Some(0) } else { sum.cost_trillionths };
        sum.cost_trillionths = before.zip(call.cost).map(|(before, cost)| before.saturating_add(cost));
    }
}

/// Lists the attempts to answer, in order. Empty if the first provider answered or failed alone: the metadata's model says all.
fn attempts(calls: &[Call]) -> Vec<Attempt> {
    let attempts = calls.iter().filter(|call| call.task == ModelTask::Generate);
    let attempts: Vec<_> = attempts
        .map(|call| Attempt {
            provider: call.provider.as_ref().to_owned(),
            model: call.model.as_ref().to_owned(),
            outcome: call.outcome.as_str().to_owned(),
            ms: millis(call.took),
        })
        .collect();
    if attempts.len() > 1 { attempts } else { Vec::new() }
}

/// Returns the cost of all requests; `None` without any, or if the price of one is unknown.
fn total_cost(used: &[(&Call, CallUsage)]) -> Option<u64> {
    let costs = used.iter().map(|(call, _)| call.cost);
    costs.fold(None, |sum: Option<Option<u64>>, cost| match sum {
        None => Some(cost),
        Some(sum) => Some(sum.zip(cost).map(|(sum, cost)| sum.saturating_add(cost))),
    })?
}

/// Counts the tokens and costs of requests.
pub(super) fn count(metrics: &Metrics, calls: &[Call]) {
    for (call, usage) in calls.iter().filter_map(|call| Some((call, call.usage?))) {
        let cached = usage.cached_tokens.min(usage.tokens.prompt_tokens);
        for (kind, tokens) in [
            (TokenKind::Prompt, usage.tokens.prompt_tokens - cached),
            (TokenKind::CachedPrompt, cached),
            (TokenKind::Completion, usage.tokens.completion_tokens),
        ] {
            metrics.model_tokens.add(call.task, kind, tokens.into());
        }
        match call.cost {
            Some(cost) => metrics.model_cost.add(call.task, cost),
            None => metrics.unpriced_calls.increment(call.task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Usage, provider::CallOutcome};
    use proptest::prelude::*;
    use std::time::Duration;

    fn call(task: ModelTask, usage: Option<(u32, u32, u32)>, cost: Option<u64>) -> Call {
        let usage = usage.map(|(prompt_tokens, cached_tokens, completion_tokens)| CallUsage {
            tokens: Usage { prompt_tokens, completion_tokens },
            cached_tokens,
            ..CallUsage::default()
        });
        Call {
            task,
            provider: "default".into(),
            model: "m".into(),
            outcome: CallOutcome::Answered,
            took: Duration::from_millis(5),
            usage,
            cost,
        }
    }

    fn described(calls: &[Call]) -> AnswerMetadata {
        let mut metadata = AnswerMetadata::default();
        describe(&mut metadata, calls, "EUR");
        metadata
    }

    #[test]
    fn a_single_answer_without_a_price_adds_nothing() {
        let plain = described(&[call(ModelTask::Generate, Some((9, 0, 3)), None)]);
        assert!(plain.calls.is_empty() && plain.cost.is_none() && plain.attempts.is_empty());
        assert!(described(&[]).calls.is_empty() && described(&[]).cost.is_none());
    }

    #[test]
    fn requests_are_summed_by_task() {
        let metadata = described(&[
            call(ModelTask::Classify, Some((50, 0, 2)), Some(10)),
            call(ModelTask::Generate, None, None),
            call(ModelTask::Generate, Some((100, 40, 7)), Some(100)),
            call(ModelTask::Classify, Some((50, 50, 2)), Some(5)),
        ]);
        assert_eq!(metadata.cost, Some(Cost { currency: "EUR".to_owned(), trillionths: 115 }));
        assert_eq!(metadata.attempts.len(), 2);
        let classify = metadata.calls["classify"];
        assert_eq!((classify.calls, classify.prompt_tokens, classify.cached_tokens), (2, 100, 50));
        assert_eq!((classify.completion_tokens, classify.cost_trillionths), (4, Some(15)));
        assert_eq!((metadata.calls["generate"].calls, metadata.calls["generate"].cost_trillionths), (1, Some(100)));
    }

    #[test]
    fn an_unknown_price_makes_the_sum_unknown() {
        let known = call(ModelTask::Classify, Some((1, 0, 1)), Some(0));
        let unknown = call(ModelTask::Generate, Some((1, 0, 1)), None);
        for calls in [[known.clone(), unknown.clone()], [unknown, known]] {
            let metadata = described(&calls);
            assert_eq!(metadata.cost, None);
            assert_eq!(metadata.calls["classify"].cost_trillionths, Some(0));
            assert_eq!(metadata.calls["generate"].cost_trillionths, None);
        }
        let twice =
            [call(ModelTask::Generate, Some((1, 0, 1)), None), call(ModelTask::Generate, Some((1, 0, 1)), Some(3))];
        assert_eq!(described(&twice).calls["generate"].cost_trillionths, None);
    }

    #[test]
    fn metrics_count_each_token_once() {
        let metrics = Metrics::default();
        count(
            &metrics,
            &[
                call(ModelTask::Generate, Some((100, 40, 7)), Some(99)),
                call(ModelTask::Generate, Some((10, 20, 1)), None),
                call(ModelTask::Generate, None, None),
            ],
        );
        let tokens = |kind| metrics.model_tokens.get(ModelTask::Generate, kind);
        assert_eq!([TokenKind::Prompt, TokenKind::CachedPrompt, TokenKind::Completion].map(tokens), [60, 50, 8]);
        assert_eq!(metrics.model_cost.get(ModelTask::Generate), 99);
        assert_eq!(metrics.unpriced_calls.get(ModelTask::Generate), 1);
    }

    proptest! {
        #[test]
        fn tasks_and_total_agree(
            calls in prop::collection::vec((any::<bool>(), 0_u32..9_000, 0_u32..9_000, 0_u64..1_000_000_000_000), 1..8)
        ) {
            let task = |classifies| if classifies { ModelTask::Classify } else { ModelTask::Generate };
            let calls: Vec<_> = calls
                .into_iter()
                .map(|(classifies, prompt, cached, cost)| call(task(classifies), Some((prompt, cached, 1)), Some(cost)))
                .collect();
            let metadata = described(&calls);
            let total = metadata.cost.map(|cost| cost.trillionths);
            prop_assert_eq!(total, metadata.calls.values().map(|task| task.cost_trillionths).sum::<Option<u64>>());
            prop_assert_eq!(total, Some(calls.iter().filter_map(|call| call.cost).sum()));
            prop_assert!(metadata.calls.values().all(|task| task.cached_tokens <= task.prompt_tokens));
        }
    }
}
