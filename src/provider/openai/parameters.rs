//! Optional request parameters, and the set of those that the server rejects.
//!
//! Current OpenAI models reject `max_tokens` and `temperature`, Mistral and older servers `stream_options`, many servers
//! `response_format`. A request rejected because of a parameter is repeated without it. The rejection is remembered until the
//! process ends, so that it costs only one extra request. `max_tokens` is first replaced by `max_completion_tokens`.

use std::sync::atomic::{AtomicU8, Ordering};

/// Optional parameter of a request.
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

    /// Returns the name used in the request body.
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

    /// Returns the words that identify this parameter in an error message. `Stream` has none, since "stream" is too common.
    pub const fn keywords(self) -> &'static [&'static str] {
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

/// Set of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(u8);

impl Parameters {
    pub const EMPTY: Self = Self(0);

    pub fn of(parameters: &[Parameter]) -> Self {
        Self(parameters.iter().fold(0, |set, parameter| set | 1 << *parameter as u8))
    }

    /// Returns the set of all parameters that satisfy `predicate`.
    pub fn filter(predicate: impl Fn(Parameter) -> bool) -> Self {
        Self(Parameter::ALL.iter().filter(|one| predicate(**one)).fold(0, |set, one| set | 1 << *one as u8))
    }

    pub fn contains(self, parameter: Parameter) -> bool {
        self.0 & 1 << parameter as u8 != 0
    }

    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the names, separated by commas, for the log.
    pub fn names(self) -> String {
        let names: Vec<_> = Parameter::ALL.iter().filter(|one| self.contains(**one)).map(|one| one.name()).collect();
        names.join(", ")
    }
}

/// Parameters to omit from every request, because the server is known to reject or ignore them.
#[derive(Debug, Default)]
pub(super) struct RejectedParameters(AtomicU8);

impl RejectedParameters {
    pub fn get(&self) -> Parameters {
        Parameters(self.0.load(Ordering::Relaxed))
    }

    /// Adds parameters to omit. Returns whether any of them is new.
    pub fn insert(&self, parameters: Parameters) -> bool {
        let before = Parameters(self.0.fetch_or(parameters.0, Ordering::Relaxed));
        before.union(parameters) != before
    }

    /// Adds parameters that the server rejected and logs a warning if any of them is new. Call it only after the server has
    /// accepted the request without them.
    pub fn learn(&self, rejected: Parameters) {
        if self.insert(rejected) {
            log::warn!(parameters = rejected.names();
                "model server rejects parameters; omitting them from further requests");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_exactly_its_parameters() {
        let set = Parameters::of(&[Parameter::Temperature, Parameter::TopLogprobs]);
        assert!(set.contains(Parameter::Temperature) && !set.contains(Parameter::Stream) && !set.is_empty());
        assert_eq!(set.names(), "temperature, top_logprobs");
        assert_eq!(set.intersection(Parameters::of(&[Parameter::Temperature])).names(), "temperature");
        assert_eq!(Parameters::filter(|_| true).names().split(", ").count(), Parameter::ALL.len());
    }

    #[test]
    fn rejections_accumulate() {
        let rejected = RejectedParameters::default();
        assert!(rejected.get().is_empty());
        rejected.learn(Parameters::of(&[Parameter::Stream]));
        rejected.learn(Parameters::of(&[Parameter::MaxTokens]));
        assert_eq!(rejected.get().names(), "stream, max_tokens");
    }
}
