//! Interpretation of one event of an answer: text, usage, finish reason or error.
//!
//! Text is read leniently: no member is required, and members of unexpected types are ignored. Finish reasons and errors,
//! which decide whether the answer succeeded, are read strictly; see [`Finish`] and [`read`].

use super::{failure::Failure, framing::EventName, json::Json, retry::Retry};
use crate::{
    domain::{FinishReason, Usage},
    provider::{CallUsage, ProviderErrorKind as Kind, estimate_tokens},
};
use std::borrow::Cow;

/// Contents of an event.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    /// WTF-8, not empty.
    pub text: Option<Cow<'a, [u8]>>,
    /// Text of the model's reasoning. WTF-8, not empty.
    pub reasoning: Option<Cow<'a, [u8]>>,
    /// Annotations of the text, such as citations.
    pub annotations: Option<Json<'a>>,
    /// Whether the model is active without producing text: reasoning or calling a tool.
    pub is_working: bool,
    pub finish: Finish,
    pub usage: TokenCounts,
    /// Whether the event holds a complete message rather than a delta.
    pub is_complete: bool,
}

/// Finish reason of an event.
#[derive(Debug, Default)]
pub(super) enum Finish {
    /// Absent, empty, or the string `null`.
    #[default]
    Absent,
    Reason(FinishReason),
    /// The model calls a tool although none is offered.
    ToolCall,
    /// Unknown; does not end the answer.
    Unknown,
    Failed(Failure),
}

/// Token counts and cost reported by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenCounts {
    /// With the cached tokens.
    pub prompt: Option<u32>,
    pub cached: Option<u32>,
    /// With the reasoning.
    pub completion: Option<u32>,
    /// Trillionths of the currency.
    pub cost: Option<u64>,
}

impl TokenCounts {
    /// Fills the missing counts from `earlier`.
    pub fn or(self, earlier: Self) -> Self {
        Self {
            prompt: self.prompt.or(earlier.prompt),
            cached: self.cached.or(earlier.cached),
            completion: self.completion.or(earlier.completion),
            cost: self.cost.or(earlier.cost),
        }
    }

    fn read(usage: Json<'_>) -> Self {
        let [prompt, input, completion, output, prompt_details, input_details, cache_hits, cost] = usage.members([
            "prompt_tokens",
            "input_tokens",
            "completion_tokens",
            "output_tokens",
            "prompt_tokens_details",
            "input_tokens_details",
            // DeepSeek.
            "prompt_cache_hit_tokens",
            // OpenRouter.
            "cost",
        ]);
        let cached = prompt_details.or(input_details).and_then(|details| details.member("cached_tokens"));
        Self {
            prompt: prompt.or(input).and_then(count),
            cached: cached.or(cache_hits).and_then(count),
            completion: completion.or(output).and_then(count),
            cost: cost.and_then(trillionths),
        }
    }

    /// Returns the consumption of a request; missing counts are estimated from the length of the texts.
    pub fn usage(self, prompt_bytes: usize, text_bytes: usize) -> CallUsage {
        CallUsage {
            tokens: Usage {
                prompt_tokens: self.prompt.unwrap_or_else(|| estimate_tokens(prompt_bytes)),
                completion_tokens: self.completion.unwrap_or_else(|| estimate_tokens(text_bytes)),
            },
            cached_tokens: self.cached.unwrap_or(0),
            reported_cost: self.cost,
            is_estimated: self.prompt.is_none() || self.completion.is_none(),
        }
    }
}

/// Reads an amount of the currency. The precision of a number in JSON suffices for nine thousand of it.
fn trillionths(amount: Json<'_>) -> Option<u64> {
    const MAX: f64 = 9e15;
    let amount = amount.number().map(|amount| (amount * 1e12).round());
    amount.filter(|amount| (0.0..=MAX).contains(amount)).map(|amount| amount as u64)
}

/// Reads a token count. Zero and negative numbers are placeholders of servers that do not count tokens.
fn count(number: Json<'_>) -> Option<u32> {
    let number = number.number().filter(|number| (0.5..=f64::from(u32::MAX)).contains(number))?;
    Some(number.round() as u32)
}

/// Selects the choice to read from each event: some servers send several although one is requested.
#[derive(Debug, Default)]
pub(super) struct ChoiceSelector {
    seen_first: bool,
}

impl ChoiceSelector {
    /// Selects the choice with index 0. Other indexes denote other choices only once index 0 has been seen, since some servers
    /// count tokens in `index` (huggingface/text-generation-inference#1648).
    fn select<'a>(&mut self, choices: Json<'a>) -> Option<Choice<'a>> {
        if choices.is_object() {
            return Some(Choice::of(choices.members(Choice::MEMBERS)));
        }
        let mut other = None;
        for choice in choices.members_of_each(Choice::MEMBERS).into_iter().map(Choice::of) {
            if choice.index.and_then(Json::number).is_none_or(|index| index <= 0.0) {
                self.seen_first = true;
                return Some(choice);
            }
            other = other.or(Some(choice));
        }
        other.filter(|_| !self.seen_first)
    }
}

struct Choice<'a> {
    index: Option<Json<'a>>,
    delta: Option<Json<'a>>,
    message: Option<Json<'a>>,
    text: Option<Json<'a>>,
    finish_reason: Option<Json<'a>>,
    error: Option<Json<'a>>,
}

impl<'a> Choice<'a> {
    const MEMBERS: [&'static str; 6] = ["index", "delta", "message", "text", "finish_reason", "error"];

    fn of([index, delta, message, text, finish_reason, error]: [Option<Json<'a>>; 6]) -> Self {
        Self { index, delta, message, text, finish_reason, error }
    }

    fn read(self) -> Chunk<'a> {
        let mut chunk = match (self.delta, self.message, self.text) {
            (Some(delta), message, _) if message.is_none() || delta.raw() != "{}" => read_message(delta),
            (_, Some(message), _) => Chunk { is_complete: true, ..read_message(message) },
            (None, None, Some(text)) => {
                Chunk { text: text.string().filter(|text| !text.is_empty()), ..Chunk::default() }
            }
            _ => Chunk::default(),
        };
        chunk.finish = self.finish_reason.map_or(Finish::Absent, read_reason);
        chunk
    }
}

/// Reads an event.
///
/// # Errors
/// When the event reports an error in any of the known formats.
pub(super) fn read<'a>(event: Json<'a>, name: EventName, selector: &mut ChoiceSelector) -> Result<Chunk<'a>, Failure> {
    let [choices, usage, error, object, kind, error_code, base_resp, x_groq, done] =
        event.members(["choices", "usage", "error", "object", "type", "error_code", "base_resp", "x_groq", "done"]);
    let choice = choices.and_then(|choices| selector.select(choices));
    let has_content = |member: Option<Json<'_>>| member.is_some_and(Json::has_content);
    let says_error =
        |member: Option<Json<'_>>| member.is_some_and(|member| member.raw().eq_ignore_ascii_case("\"error\""));
    let is_error = name == EventName::Error
        || has_content(error)
        || says_error(object)
        || says_error(kind)
        || has_content(error_code)
        || has_content(base_resp.and_then(|base_resp| base_resp.member("status_code")))
        // Groq reports a string there; OpenRouter an error within the choice.
        || has_content(x_groq.and_then(|x_groq| x_groq.member("error")))
        || has_content(choice.as_ref().and_then(|choice| choice.error));
    if is_error || (choice.is_none() && name == EventName::Message && done.is_none() && is_error_without_choice(event))
    {
        return Err(Failure::within_answer(event.raw()));
    }
    let mut chunk = match choice {
        Some(choice) => choice.read(),
        None if choices.is_none() && done.is_some() => read_ollama(event),
        None => Chunk::default(),
    };
    for usage in [x_groq.and_then(|x_groq| x_groq.member("usage")), usage].into_iter().flatten() {
        chunk.usage = TokenCounts::read(usage).or(chunk.usage);
    }
    Ok(chunk)
}

/// Whether an event without choices is an error: `{"detail": …}`, `{"message": "…", "code": …}`, `{"errors": […]}`.
fn is_error_without_choice(event: Json<'_>) -> bool {
    let [detail, message, errors, code, error_type, success] =
        event.members(["detail", "message", "errors", "code", "error_type", "success"]);
    let has_content = |member: Option<Json<'_>>| member.is_some_and(Json::has_content);
    let code = code.and_then(Json::number);
    // `{"code": 0, "message": "success"}` is not an error.
    let has_message = message.is_some_and(|message| message.is_string() && message.has_content());
    has_content(detail)
        || has_content(errors)
        || has_content(error_type)
        || (has_message && code.is_none_or(|code| code >= 400.0))
        || code.is_some_and(|code| code >= 400.0)
        || success.is_some_and(|success| success.raw() == "false")
}

/// Reads a message or a delta.
fn read_message(message: Json<'_>) -> Chunk<'_> {
    let [content, refusal, reasoning_content, reasoning, thinking, details, tool_calls, function_call, annotations] =
        message.members([
            "content",
            "refusal",
            "reasoning_content",
            "reasoning",
            "thinking",
            "reasoning_details",
            "tool_calls",
            "function_call",
            "annotations",
        ]);
    let mut chunk = match content {
        Some(content) => read_content(content),
        None if message.is_string() => read_content(message),
        None => Chunk::default(),
    };
    if chunk.text.is_none() {
        chunk.text = refusal.and_then(Json::string).filter(|text| !text.is_empty());
    }
    let activity = [reasoning_content, reasoning, thinking, details, tool_calls, function_call];
    chunk.is_working |= activity.into_iter().flatten().any(Json::has_content);
    // A server that sends the reasoning under several names repeats it.
    let named = [reasoning_content, reasoning, thinking].into_iter().flatten();
    let mut texts = named.filter_map(Json::string).filter(|text| !text.is_empty());
    chunk.reasoning = chunk.reasoning.or_else(|| texts.next());
    chunk.annotations = annotations;
    chunk
}

/// Reads content that is a string, one part, or an array of parts.
fn read_content(content: Json<'_>) -> Chunk<'_> {
    if content.is_string() {
        return Chunk { text: content.string().filter(|text| !text.is_empty()), ..Chunk::default() };
    }
    let parts = if content.is_object() { vec![content] } else { content.elements() };
    let mut chunk = Chunk::default();
    let (mut text, mut reasoning) = (Vec::new(), Vec::new());
    for part in parts {
        let [kind, part_text, refusal, thinking] = part.members(["type", "text", "refusal", "thinking"]);
        let is_reasoning = thinking.is_some()
            || kind
                .and_then(Json::lossy_string)
                .is_some_and(|kind| kind.contains("thinking") || kind.contains("reasoning"));
        if is_reasoning {
            chunk.is_working = true;
            reasoning.extend(reasoning_of(thinking.or(part_text)));
        } else if let Some(part) = part.string().or_else(|| part_text.or(refusal)?.string()) {
            text.extend_from_slice(&part);
        }
    }
    let unless_empty = |text: Vec<u8>| Some(Cow::Owned(text)).filter(|text: &Cow<'_, [u8]>| !text.is_empty());
    chunk.text = unless_empty(text);
    chunk.reasoning = unless_empty(reasoning);
    chunk
}

/// Reads the reasoning in a part of the content: a string, or an array of parts with a `text`.
fn reasoning_of(thinking: Option<Json<'_>>) -> Vec<u8> {
    let Some(thinking) = thinking else { return Vec::new() };
    let texts = thinking.elements().into_iter().filter_map(|part| part.member("text")?.string());
    thinking.string().into_iter().chain(texts).flat_map(Cow::into_owned).collect()
}

/// Reads an event of Ollama's own protocol: one object per line.
fn read_ollama(event: Json<'_>) -> Chunk<'_> {
    let [message, response, thinking, done, reason, prompt, completion] =
        event.members(["message", "response", "thinking", "done", "done_reason", "prompt_eval_count", "eval_count"]);
    let mut chunk = match (message, response) {
        (Some(message), _) => read_message(message),
        (None, Some(response)) => read_content(response),
        (None, None) => Chunk::default(),
    };
    chunk.is_working |= thinking.is_some_and(Json::has_content);
    chunk.reasoning = chunk.reasoning.or_else(|| thinking.and_then(Json::string).filter(|text| !text.is_empty()));
    if done.is_some_and(|done| done.raw() == "true") {
        chunk.finish = match reason.map_or(Finish::Absent, read_reason) {
            Finish::Absent => Finish::Reason(FinishReason::Stop),
            reason => reason,
        };
        let (prompt, completion) = (prompt.and_then(count), completion.and_then(count));
        chunk.usage = TokenCounts { prompt, completion, ..TokenCounts::default() };
    }
    chunk
}

/// Maps the finish reasons of all known servers. SGLang's own protocol has an object with a `type` here.
fn read_reason(reason: Json<'_>) -> Finish {
    let reason = if reason.is_object() { reason.member("type") } else { Some(reason) };
    let Some(reason) = reason.and_then(Json::lossy_string) else { return Finish::Absent };
    let failed = |kind| Finish::Failed(Failure::new(kind, "the model server aborted the answer", Retry::AfterBackoff));
    match reason.trim().to_ascii_lowercase().as_str() {
        "" | "null" | "none" => Finish::Absent,
        "stop" | "eos" | "eos_token" | "end_turn" | "end" | "stop_sequence" | "stop_token" | "stop_str"
        | "complete" | "completed" | "finish" | "finished" | "done" => Finish::Reason(FinishReason::Stop),
        "length"
        | "max_tokens"
        | "max_length"
        | "max_new_tokens"
        | "max_output_tokens"
        | "model_length"
        | "model_context_window_exceeded" => Finish::Reason(FinishReason::Length),
        // Stopped by a content filter.
        "content_filter" | "content_filtered" | "safety" | "recitation" | "blocklist" | "prohibited_content"
        | "refusal" => Finish::Reason(FinishReason::Error),
        "tool_calls" | "tool_call" | "tool_use" | "function_call" => Finish::ToolCall,
        "insufficient_system_resource" | "overloaded" | "server_error" => failed(Kind::Unavailable),
        "error" | "abort" | "aborted" | "cancel" | "cancelled" | "canceled" | "failed" | "timeout"
        | "network_error" | "internal_error" | "unexpected_error" | "load" | "unload" => failed(Kind::Broken),
        _ => Finish::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> (String, bool, Finish, TokenCounts) {
        let chunk = read(Json::parse(text).unwrap(), EventName::Message, &mut ChoiceSelector::default()).unwrap();
        let text = chunk.text.map(|text| String::from_utf8_lossy(&text).into_owned());
        (text.unwrap_or_default(), chunk.is_working, chunk.finish, chunk.usage)
    }

    fn text(delta: &str) -> String {
        chunk(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)).0
    }

    #[test]
    fn text_is_found_in_every_format() {
        for (delta, want) in [
            (r#"{"content":"a"}"#, "a"),
            (r#"{"content":null,"refusal":"no"}"#, "no"),
            (
                r#"{"role":null,"content":[{"type":"text","text":"a"},{"type":"thinking","thinking":[{"type":"text","text":"x"}]},"b"]}"#,
                "ab",
            ),
            (r#"{"content":{"type":"text","text":"a"}}"#, "a"),
            (r#"{"content":7}"#, ""),
            (r#""a""#, "a"),
            ("null", ""),
            ("{}", ""),
        ] {
            assert_eq!(text(delta), want, "{delta}");
        }
        for (event, want) in [
            (r#"{"choices":[{"message":{"role":"assistant","content":"a"}}]}"#, "a"),
            (r#"{"choices":[{"delta":{},"message":{"content":"a"}}]}"#, "a"),
            (r#"{"choices":[{"text":"a","delta":{"content":"a"}}]}"#, "a"),
            (r#"{"choices":[{"text":"a"}]}"#, "a"),
            (r#"{"choices":{"delta":{"content":"a"}}}"#, "a"),
            (r#"{"choices":[{"index":"0","delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#, "a"),
            (r#"{"choices":[{"index":3,"delta":{"content":"a"}}]}"#, "a"),
            (r#"{"message":{"content":"a"},"done":false}"#, "a"),
            (r#"{"response":"a","done":false}"#, "a"),
            (r#"{"choices":null}"#, ""),
            (r#"{"choices":[null, 3, {}]}"#, ""),
        ] {
            assert_eq!(chunk(event).0, want, "{event}");
        }
    }

    #[test]
    fn reasoning_and_tool_calls_count_as_activity() {
        for delta in [
            r#"{"reasoning_content":"hm"}"#,
            r#"{"reasoning":"hm"}"#,
            r#"{"reasoning":{"text":"hm"}}"#,
            r#"{"thinking":"hm"}"#,
            r#"{"reasoning_details":[{"type":"reasoning.text"}]}"#,
            r#"{"content":[{"type":"thinking","thinking":[]}]}"#,
            r#"{"tool_calls":[{"index":0}]}"#,
        ] {
            assert!(chunk(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#)).1, "{delta}");
        }
        for delta in [r#"{"role":"assistant"}"#, r#"{"reasoning_content":"","content":""}"#, r#"{"reasoning":null}"#] {
            assert!(!chunk(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#)).1, "{delta}");
        }
    }

    #[test]
    fn finish_reasons_of_all_servers_are_mapped() {
        let finish = |reason: &str| chunk(&format!(r#"{{"choices":[{{"finish_reason":{reason}}}]}}"#)).2;
        for (reasons, want) in [
            (
                &["\"stop\"", "\"STOP\"", "\"eos\"", "\"eos_token\"", "\"end_turn\"", r#"{"type":"stop","matched":1}"#]
                    [..],
                FinishReason::Stop,
            ),
            (&["\"length\"", "\"max_tokens\"", "\"model_length\""], FinishReason::Length),
            (&["\"content_filter\"", "\"SAFETY\""], FinishReason::Error),
        ] {
            for reason in reasons {
                assert!(matches!(finish(reason), Finish::Reason(got) if got == want), "{reason}");
            }
        }
        for reason in ["null", "\"\"", "\"null\"", "\" \"", "{}", "7", "[]"] {
            assert!(matches!(finish(reason), Finish::Absent), "{reason}");
        }
        for (reason, kind) in
            [("error", Kind::Broken), ("abort", Kind::Broken), ("insufficient_system_resource", Kind::Unavailable)]
        {
            assert!(
                matches!(finish(&format!("{reason:?}")), Finish::Failed(failure) if failure.error.kind == kind),
                "{reason}"
            );
        }
        assert!(matches!(finish("\"tool_calls\""), Finish::ToolCall));
        assert!(matches!(finish("\"repetition\""), Finish::Unknown));
    }

    #[test]
    fn plausible_token_counts_are_read_and_others_ignored() {
        let usage = |usage: &str| chunk(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).3;
        let counted = |prompt, completion| TokenCounts { prompt, completion, ..TokenCounts::default() };
        assert_eq!(usage(r#"{"prompt_tokens":7,"completion_tokens":1}"#), counted(Some(7), Some(1)));
        assert_eq!(usage(r#"{"prompt_tokens":7.0,"completion_tokens":null}"#), counted(Some(7), None));
        assert_eq!(usage(r#"{"prompt_tokens":"7","completion_tokens":-1}"#), counted(Some(7), None));
        assert_eq!(usage(r#"{"input_tokens":7,"output_tokens":1}"#), counted(Some(7), Some(1)));
        assert_eq!(usage(r#"{"prompt_tokens":1e30,"completion_tokens":{}}"#), counted(None, None));
        for none in ["null", "[]", "\"many\"", "3"] {
            assert_eq!(usage(none), counted(None, None), "{none}");
        }
        assert_eq!(chunk(r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":7}}}"#).3.prompt, Some(7));
        assert_eq!(chunk(r#"{"done":true,"prompt_eval_count":7,"eval_count":2}"#).3, counted(Some(7), Some(2)));
    }

    #[test]
    fn cached_tokens_and_costs_are_read() {
        let usage = |usage: &str| chunk(&format!(r#"{{"choices":[],"usage":{usage}}}"#)).3;
        assert_eq!(usage(r#"{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":7}}"#).cached, Some(7));
        assert_eq!(usage(r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":7}}"#).cached, Some(7));
        assert_eq!(usage(r#"{"prompt_tokens":9,"prompt_cache_hit_tokens":7}"#).cached, Some(7));
        assert_eq!(usage(r#"{"prompt_tokens":9,"prompt_tokens_details":null}"#).cached, None);
        for (cost, want) in [
            ("0.00014", Some(140_000_000)),
            ("1.5e-7", Some(150_000)),
            ("0", Some(0)),
            ("-1", None),
            ("1e9", None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(usage(&format!(r#"{{"prompt_tokens":9,"cost":{cost}}}"#)).cost, want, "{cost}");
        }
    }

    fn error(event: &str, name: EventName) -> Option<Kind> {
        read(Json::parse(event).unwrap(), name, &mut ChoiceSelector::default()).err().map(|failure| failure.error.kind)
    }

    #[test]
    fn errors_are_found_in_every_format() {
        for event in [
            r#"{"error":{"message":"x","code":503}}"#,
            r#"{"error":"x"}"#,
            r#"{"object":"error","message":"x"}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            r#"{"text":"x","error_code":50001}"#,
            r#"{"detail":"x"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"x"}]}"#,
            r#"{"message":"x","code":400}"#,
            r#"{"message":"x"}"#,
            r#"{"errors":[{"message":"x"}],"success":false}"#,
            r#"{"code":500}"#,
            r#"{"error":{"code":502},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
            r#"{"choices":[{"delta":{},"error":{"code":502}}]}"#,
            r#"{"choices":[],"x_groq":{"error":"over capacity"}}"#,
            r#"{"base_resp":{"status_code":1004,"status_msg":"x"}}"#,
        ] {
            assert!(error(event, EventName::Message).is_some(), "{event}");
        }
        assert!(error("{}", EventName::Error).is_some());
    }

    #[test]
    fn empty_error_members_are_not_errors() {
        for event in [
            r#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"error":"","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"error":{},"choices":[{"delta":{"content":"a"}}],"detail":"x","message":"x","code":500}"#,
            r#"{"error":{"message":"","code":0}}"#,
            r#"{"error_code":0,"choices":[]}"#,
            r#"{"error_code":"0"}"#,
            r#"{"code":0,"message":"Success","choices":[]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"message":{"role":"assistant","content":"a"},"done":false}"#,
            r#"{"base_resp":{"status_code":0}}"#,
            "null",
            "{}",
        ] {
            assert_eq!(error(event, EventName::Message), None, "{event}");
        }
        assert_eq!(error(r#"{"message":"still here"}"#, EventName::Other), None);
    }
}
