//! Incremental parser of an answer: bytes in, text and outcome out, without I/O or time.
//!
//! Text is parsed leniently: unexpected members, unknown events and invalid UTF-8 are skipped without affecting the rest. The
//! outcome is strict: an answer succeeds only with a known finish reason, or with `[DONE]` after some text. Error events fail
//! it, and so do unreadable frames, since their text would be missing. Nothing after the end changes the outcome.

use super::{
    chunk::{self, ChoiceSelector, Chunk, Finish, TokenCounts},
    citations::citations,
    failure::Failure,
    framing::{EventName, Frame, Framing},
    json::Json,
    reasoning::{Divided, ReasoningFilter},
    retry::Retry,
    surrogates::SurrogateJoiner,
};
use crate::domain::{FinishReason, Part};
use std::collections::VecDeque;

/// Maximum length of an answer, in bytes. A longer answer ends there with the finish reason `length`.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Maximum length of a response body, including reasoning, in bytes.
pub(super) const MAX_STREAM_BYTES: usize = 256 * 1024 * 1024;

/// Maximum number of parts of an answer; further ones are dropped.
const MAX_PARTS: usize = 100;

/// Progress of an answer before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Text to show; never empty.
    Text(String),
    /// Text of the model's reasoning; never empty.
    Reasoning(String),
    /// Part of the answer that is not text.
    Part(Part),
    /// Activity without text to show, such as a call of a tool.
    Working,
}

/// Successful end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub reason: FinishReason,
    pub token_counts: TokenCounts,
    /// Length of the text, without reasoning.
    pub text_bytes: usize,
}

/// Parser of one response body.
#[derive(Debug, Default)]
pub(super) struct Parser {
    framing: Framing,
    answer: AnswerState,
    bytes: usize,
}

/// State of the answer so far.
#[derive(Debug, Default)]
struct AnswerState {
    progress: VecDeque<Progress>,
    choice: ChoiceSelector,
    surrogates: SurrogateJoiner,
    surrogates_of_reasoning: SurrogateJoiner,
    reasoning: ReasoningFilter,
    /// Parts so far.
    parts: Vec<Part>,
    text_bytes: usize,
    token_counts: TokenCounts,
    finish: Option<FinishReason>,
    /// A chunk with text had no finish reason, so this server sends it only at the end and not in every chunk.
    finishes_once: bool,
    called_tool: bool,
    /// A complete message has arrived, rather than deltas.
    is_complete: bool,
    outcome: Option<Result<Ending, Failure>>,
}

impl Parser {
    /// Parses bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { framing, answer, bytes: total } = self;
        *total += bytes.len();
        if *total > MAX_STREAM_BYTES {
            answer.close(Failure::broken("the response body is too long", Retry::Never));
        }
        if let Err(failure) = framing.push(bytes, &mut |frame| answer.read_frame(frame)) {
            answer.close(failure);
        }
    }

    /// Parses the regular end of the body.
    pub fn finish(&mut self) {
        let Self { framing, answer, .. } = self;
        framing.finish(&mut |frame| answer.read_frame(frame));
        // A complete JSON document needs no end marker.
        if framing.is_json() && answer.is_complete {
            answer.read_end_marker();
        }
        self.stop(Failure::broken("the stream ended before the answer was complete", Retry::AfterBackoff));
    }

    /// Ends parsing because of `failure`, which is the outcome unless the answer has already ended.
    pub fn stop(&mut self, failure: Failure) {
        self.answer.close(failure);
    }

    /// Returns the progress since the last call, in order.
    pub fn next(&mut self) -> Option<Progress> {
        self.answer.progress.pop_front()
    }

    /// Whether the model has ended its answer, so that only the usage can follow.
    pub fn has_ended(&self) -> bool {
        self.answer.finish.is_some()
    }

    /// Returns the outcome once parsing has ended. Call it after [`Parser::next`] has returned `None`.
    pub fn outcome(&mut self) -> Option<Result<Ending, Failure>> {
        self.answer.outcome.take()
    }
}

impl AnswerState {
    fn read_frame(&mut self, frame: Frame<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let data = frame.data.trim();
        if data == "[DONE]" {
            return self.read_end_marker();
        }
        match Json::parse(data).filter(|event| event.is_object()) {
            Some(event) => self.read_event(event, frame.name),
            None if self.finish.is_some() => {}
            None if frame.name == EventName::Error => self.close(Failure::within_answer(data)),
            // A truncated frame is reported as the missing end of the stream.
            None if frame.is_unterminated || is_keep_alive(data, frame.name) => {}
            None => self.close(Failure::broken("an event is not a chat completion chunk", Retry::Never)),
        }
    }

    fn read_event(&mut self, event: Json<'_>, name: EventName) {
        let chunk = match chunk::read(event, name, &mut self.choice) {
            Ok(chunk) => chunk,
            Err(_) if self.finish.is_some() => return,
            Err(failure) => return self.close(failure),
        };
        self.token_counts = chunk.usage.or(self.token_counts);
        // Some servers send a finish reason in every chunk; it then does not end the answer.
        let continues = !self.finishes_once && matches!(chunk.finish, Finish::Reason(_) | Finish::ToolCall);
        if self.finish.is_some() && !continues {
            return;
        }
        self.read_text(&chunk);
        match chunk.finish {
            Finish::Absent | Finish::Unknown => {
                self.finishes_once |= chunk.text.is_some();
                self.is_complete |= chunk.is_complete;
            }
            Finish::Reason(reason) => self.finish = Some(reason),
            Finish::ToolCall => {
                self.called_tool = true;
                self.finish = Some(FinishReason::Stop);
            }
            Finish::Failed(failure) if self.finish.is_none() => self.close(failure),
            Finish::Failed(_) => {}
        }
        if self.text_bytes > MAX_ANSWER_BYTES && self.outcome.is_none() {
            self.finish = self.finish.or(Some(FinishReason::Length));
            self.read_end_marker();
        }
    }

    fn read_text(&mut self, chunk: &Chunk<'_>) {
        let count = self.progress.len();
        if let Some(reasoning) = &chunk.reasoning {
            let reasoning = self.surrogates_of_reasoning.join(reasoning);
            self.show_divided(Divided { reasoning: Some(reasoning).filter(|text| !text.is_empty()), text: None });
        }
        if let Some(text) = &chunk.text {
            let text = self.surrogates.join(text);
            let divided = self.reasoning.push(text);
            self.show_divided(divided);
        }
        for part in chunk.annotations.into_iter().flat_map(citations) {
            // Some servers repeat all citations in each event.
            if self.parts.len() < MAX_PARTS && !self.parts.contains(&part) {
                self.parts.push(part.clone());
                self.progress.push_back(Progress::Part(part));
            }
        }
        // Coalesces consecutive signs of activity.
        let is_idle = self.progress.len() == count && self.progress.back() != Some(&Progress::Working);
        if is_idle && (chunk.is_working || chunk.text.is_some()) {
            self.progress.push_back(Progress::Working);
        }
    }

    fn show_divided(&mut self, Divided { reasoning, text }: Divided) {
        self.progress.extend(reasoning.map(Progress::Reasoning));
        if let Some(text) = text {
            self.show(text);
        }
    }

    fn show(&mut self, text: String) {
        self.text_bytes += text.len();
        self.progress.push_back(Progress::Text(text));
    }

    /// Ends the answer at `[DONE]`: successfully if there is text or a finish reason.
    fn read_end_marker(&mut self) {
        self.flush();
        if self.finish.is_none() && self.text_bytes > 0 {
            self.finish = Some(FinishReason::Stop);
        }
        self.close(Failure::broken("the stream ended without an answer", Retry::AfterBackoff));
    }

    /// Sets the outcome: success if there is a finish reason, otherwise `failure`.
    fn close(&mut self, failure: Failure) {
        if self.outcome.is_some() {
            return;
        }
        self.flush();
        self.outcome = Some(match self.finish {
            Some(_) if self.called_tool && self.text_bytes == 0 => {
                Err(Failure::broken("the model called a tool instead of answering", Retry::Never))
            }
            Some(reason) => Ok(Ending { reason, token_counts: self.token_counts, text_bytes: self.text_bytes }),
            None => Err(failure),
        });
    }

    /// Shows the text that was held back.
    fn flush(&mut self) {
        if let Some(replacement) = self.surrogates.finish() {
            let divided = self.reasoning.push(replacement.to_string());
            self.show_divided(divided);
        }
        let held = self.reasoning.finish();
        self.show_divided(Divided { reasoning: None, text: held });
    }
}

/// Whether an event other than a JSON object is a keep-alive: no data, an event name such as `ping`, another JSON value, or a
/// comment or keyword sent as an event.
fn is_keep_alive(data: &str, name: EventName) -> bool {
    const WORDS: &[&str] = &["ping", "[ping]", "keep-alive", "keepalive", "keep_alive", "heartbeat", "processing"];
    data.is_empty()
        || name == EventName::Other
        || data.starts_with(':')
        || Json::parse(data).is_some()
        || WORDS.iter().any(|word| data.eq_ignore_ascii_case(word))
        || data.eq_ignore_ascii_case("OPENROUTER PROCESSING")
}

#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod tests;
