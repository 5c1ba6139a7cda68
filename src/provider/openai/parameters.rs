//! The parameters of a request that some servers refuse, and which of them this server refuses.
//!
//! Current models of OpenAI take no `max_tokens` and no `temperature`, Mistral and older servers no `stream_options`, many no
//! `response_format`. A request that is refused for one of them is sent again without it; what the server refused is remembered, so
//! that it costs one request once. `max_tokens` is first replaced by `max_completion_tokens`.

use std::sync::atomic::{AtomicU8, Ordering};

/// A parameter that a request can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Parameter {
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    ResponseFormat,
    Logprobs,
    TopLogprobs,
}

impl Parameter {
    pub const ALL: [Self; 8] = [
        Self::Stream,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::Temperature,
        Self::ResponseFormat,
        Self::Logprobs,
        Self::TopLogprobs,
    ];

    /// The name in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::Temperature => "temperature",
            Self::ResponseFormat => "response_format",
            Self::Logprobs => "logprobs",
            Self::TopLogprobs => "top_logprobs",
        }
    }

    /// Words of a message that mean this parameter. "Stream" is too common a word to mean it.
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Stream => &[],
            Self::StreamOptions => &["stream_options"],
            Self::MaxTokens => &["max_tokens"],
            Self::MaxCompletionTokens => &["max_completion_tokens"],
            Self::Temperature => &["temperature"],
            Self::ResponseFormat => &["response_format", "json_schema", "guided_json"],
            Self::Logprobs => &["logprobs"],
            Self::TopLogprobs => &["top_logprobs"],
        }
    }
}

/// A set of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(u8);

impl Parameters {
    pub const NONE: Self = Self(0);

    pub fn of(parameters: &[Parameter]) -> Self {
        Self(parameters.iter().fold(0, |set, parameter| set | 1 << *parameter as u8))
    }

    pub fn all_where(is_in: impl Fn(Parameter) -> bool) -> Self {
        Self(Parameter::ALL.iter().filter(|parameter| is_in(**parameter)).fold(0, |set, one| set | 1 << *one as u8))
    }

    pub fn has(self, parameter: Parameter) -> bool {
        self.0 & 1 << parameter as u8 != 0
    }

    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Their names, for the log.
    pub fn names(self) -> String {
        let names: Vec<_> = Parameter::ALL.iter().filter(|one| self.has(**one)).map(|one| one.name()).collect();
        names.join(", ")
    }
}

/// The parameters that a server refuses, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct RefusedParameters(AtomicU8);

impl RefusedParameters {
    pub fn known(&self) -> Parameters {
        Parameters(self.0.load(Ordering::Relaxed))
    }

    /// These parameters have no effect: it is not worth sending them.
    pub fn skip(&self, useless: Parameters) -> bool {
        let before = Parameters(self.0.fetch_or(useless.0, Ordering::Relaxed));
        before.with(useless) != before
    }

    /// The server took a request without these parameters after it had refused one with them.
    pub fn learn(&self, refused: Parameters) {
        if self.skip(refused) {
            log::warn!(parameters = refused.names();
                "the model server refuses parameters; they are left out of requests from now on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let set = Parameters::of(&[Parameter::Temperature, Parameter::TopLogprobs]);
        assert!(set.has(Parameter::Temperature) && !set.has(Parameter::Stream) && !set.is_none());
        assert_eq!(set.names(), "temperature, top_logprobs");
        assert_eq!(set.and(Parameters::of(&[Parameter::Temperature])).names(), "temperature");
        assert_eq!(Parameters::all_where(|_| true).names().split(", ").count(), Parameter::ALL.len());
    }

    #[test]
    fn what_was_learnt_is_known() {
        let refused = RefusedParameters::default();
        assert!(refused.known().is_none());
        refused.learn(Parameters::of(&[Parameter::Stream]));
        refused.learn(Parameters::of(&[Parameter::MaxTokens]));
        assert_eq!(refused.known().names(), "stream, max_tokens");
    }
}
