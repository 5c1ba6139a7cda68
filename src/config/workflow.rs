//! `[workflow]`: turns and specialists.

use super::{
    declare::{choices, live_settings, settings},
    setting::{DAY_S, HOUR_MS, HOUR_S},
};
use std::path::PathBuf;

settings! {
    /// Turns and specialists.
    WorkflowConfig [workflow], live WorkflowInForce WorkflowChange {
        /// TOML file of the specialists; absent: the built-in ones.
        agents_file: Option<PathBuf>, example "\"config/agents.toml\"";
        /// Providers that answer, in the order in which they are tried: `default` is `[provider]`, `extractive` the built-in
        /// answerer, others are sections `[providers.NAME]`. A specialist may have a list of its own. The next one is tried
        /// only before the first token.
        providers: Vec<String> = vec!["default".to_owned()];
        /// Time from a question to the first token after which no further provider is tried. Without effect beyond
        /// `stall_timeout_s`.
        fallback_timeout_ms: u64 = 60_000, in 1_000..=HOUR_MS;
        /// Name of a provider of the kind `openai` that writes titles and summaries of conversations after the end of a turn, as
        /// in `providers`. Absent: a title is the start of the question, and messages that do not fit into `context_token_budget`
        /// are left out.
        task_provider: Option<String>, example "\"default\"";
        /// Folder of language files, such as `fr.toml`: each replaces or adds a language. Absent: English and German, built in.
        languages_dir: Option<PathBuf>, example "\"config/languages\"";
        /// Turns that may run at once on this server; further ones wait or are answered `OVERLOADED`.
        max_running_turns: usize = 20_000, in 1..=10_000_000, live "Live: running turns go on.";
        /// Turns of one user that may run at once; further ones are answered `OVERLOADED`. 0 disables this limit.
        max_running_turns_per_user: usize = 100, in 0..=10_000_000, live "Live: running turns go on.";
        /// Turns that may wait for a permit, in FIFO order; further ones are answered `OVERLOADED`.
        max_waiting_turns: usize = 1_000, in 0..=10_000_000;
        /// Time that a turn waits for a permit before it is answered `OVERLOADED`.
        admission_wait_ms: u64 = 2_000, in 0..=600_000;
        /// Confidence of the router below which the default specialist answers; 0 always takes the best match.
        confidence_threshold: f64 = 0.2, fraction in 0.0..=1.0;
        /// Choice of the specialist. With a single specialist, or a provider without a model, the model is never asked.
        routing: Routing = Routing::Auto;
        /// Whether the model rewrites a follow-up ("and the diesel?") into a question that can be searched for. It is asked once, and
        /// only for follow-ups. Without it, or when it fails, the search includes the words of the question before.
        rewrite_follow_ups: bool = true;
        /// Follow-ups that are suggested after an answer, at most; 0 suggests none.
        max_suggestions: usize = 3, in 0..=3;
        /// Tokens of earlier messages to send to the model, counting four bytes as one token; 0 sends none.
        context_token_budget: usize = 2_000, in 0..=10_000_000;
        /// Time for which a finished turn can be resumed; 0 allows it only while the turn runs.
        turn_retention_s: u64 = 300, in 0..=7 * DAY_S;
        /// Time without progress after which a turn ends with `UPSTREAM_TIMEOUT`. The timeouts of the provider, which report
        /// the cause more precisely, should be shorter.
        stall_timeout_s: u64 = 120, in 1..=HOUR_S;
        /// Duration after which a turn ends with `UPSTREAM_TIMEOUT`; at least `stall_timeout_s`.
        turn_timeout_s: u64 = 600, in 1..=DAY_S;
        /// Time without a subscriber after which a running turn counts as abandoned.
        abandon_after_s: u64 = 60, in 1..=DAY_S;
        /// Treatment of an abandoned turn.
        abandoned: Abandoned = Abandoned::Continue;
        /// Treatment of the text in which a model reasons before it answers. It is never part of an answer or of later requests.
        reasoning: Reasoning = Reasoning::Hidden;
        /// Whether the reasoning is stored with the answer.
        keep_reasoning: bool = false;
    }
}

choices! {
    /// Treatment of a model's reasoning.
    Reasoning {
        /// clients only receive the step `thinking`
        Hidden = "hidden",
        /// clients that offer `chat.v2`, and event streams, receive it as `reasoning`
        Shown = "shown",
    }
}

choices! {
    /// Choice of the specialist.
    Routing {
        /// the model is asked, once, if the question is not clearly similar to the examples of one specialist
        Auto = "auto",
        /// the model is asked, once, for each question
        Model = "model",
        /// the model is never asked
        Similarity = "similarity",
    }
}

choices! {
    /// Treatment of an abandoned turn.
    Abandoned {
        /// it runs to its end and is stored
        Continue = "continue",
        /// it ends as if the user had cancelled it
        Stop = "stop",
    }
}
