//! `[provider]`: the service that generates answers, and `[providers.NAME]`: others that answer instead of it or after it.

use super::{
    declare::{choices, settings},
    redacted,
    setting::{HOUR_MS, HOUR_S},
};
use secrecy::SecretString;

settings! {
    /// The service that generates answers. Its name in lists of providers is `default`.
    ProviderConfig [provider] {
        /// Source of the answers.
        kind: ProviderKind = ProviderKind::Extractive;
        /// For `openai`: the URL of the API without `/chat/completions`.
        base_url: String = "http://127.0.0.1:8080/v1".to_owned();
        /// For `openai`: the API key; set it with `SWITCHBOARD__PROVIDER__API_KEY` rather than in a file. Absent: none is sent.
        #[serde(serialize_with = "redacted")]
        api_key: Option<SecretString>, example "\"…\"";
        /// For `openai`: the name of the model on that server.
        model: String = "default".to_owned();
        /// Longest answer, in tokens; 0 leaves the limit to the model server.
        max_answer_tokens: u32 = 1_024, in 0..=10_000_000;
        /// Randomness of the answers; 0 is the most predictable.
        temperature: f64 = 0.2, fraction in 0.0..=2.0;
        /// Time limit for connecting to the model server.
        connect_timeout_ms: u64 = 5_000, in 1..=HOUR_MS;
        /// Time limit from the request to the first token.
        first_token_timeout_ms: u64 = 30_000, in 1..=HOUR_MS;
        /// Time limit between two tokens.
        idle_timeout_ms: u64 = 15_000, in 1..=HOUR_MS;
        /// Time limit for a whole answer; at least each of the three above.
        total_timeout_ms: u64 = 300_000, in 1..=24 * HOUR_MS;
        /// Failures within a minute after which no request is sent to the provider for a while (its circuit opens); 0 never
        /// opens it.
        breaker_failures: u32 = 5, in 0..=1_000_000;
        /// Share of the requests of that minute that must have failed as well.
        breaker_share: f64 = 0.5, fraction in 0.0..=1.0;
        /// Time for which the circuit stays open, unless the model server asks for more with `Retry-After`. After it, a single
        /// request probes whether the provider has recovered.
        breaker_cooldown_s: u64 = 30, in 30..=HOUR_S;
    }
    sections { extractive: ExtractiveConfig, scripted: ScriptedConfig }
}

choices! {
    /// Source of the answers.
    ProviderKind {
        /// quotes the best passages; needs no model
        Extractive = "extractive",
        /// any server with an OpenAI-compatible API
        Openai = "openai",
        /// deterministic text, for tests and load
        Scripted = "scripted",
    }
}

settings! {
    /// The `extractive` provider.
    #[derive(Copy, PartialEq, Eq)]
    ExtractiveConfig [provider.extractive] {
        /// Pause between two words, for a readable pace; 0 does not pause.
        interval_ms: u64 = 15, in 0..=1_000;
    }
}

settings! {
    /// The `scripted` provider. A message overrides these settings for its own turn with `metadata.script`.
    #[derive(Copy, PartialEq, Eq)]
    ScriptedConfig [provider.scripted] {
        /// Tokens of an answer; 0 gives an empty answer.
        tokens: u32 = 20, in 0..=100_000;
        /// Pause between two tokens; 0 does not pause.
        interval_ms: u64 = 20, in 0..=60_000;
        /// Size of a token.
        token_bytes: u32 = 6, in 1..=1_024;
        /// Tokens after which an answer fails; 0 fails before the first. Absent: never.
        fail_after: Option<u32>, in 0..=100_000, example "5";
        /// Pieces of reasoning before the answer.
        reasoning_tokens: u32 = 0, in 0..=100_000;
    }
}
