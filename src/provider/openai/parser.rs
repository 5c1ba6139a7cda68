//! Reads an answer: bytes in, parts out. Knows neither sockets nor time.
//!
//! Lenient about what users see: odd members, unknown events and bytes that are no text cost nothing else. Strict about what decides
//! success: an answer ends well with a known finish reason, or with `[DONE]` after some text. No text and no known end is an error,
//! and so are errors within the answer and frames that cannot be read, since their text would be missing. Nothing after the end
//! changes how the answer ended.

use super::{
    chunk::{self, ChoiceIndex, Chunk, Counted, Finish},
    failure::{Failure, Retry},
    framing::{EventName, Frame, Framing},
    json::Json,
    surrogates::Surrogates,
    thinking::Thinking,
};
use crate::domain::FinishReason;
use std::collections::VecDeque;

/// The longest answer, in bytes. It ends there as one that reached its limit of tokens does.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The most that is read of one answer with its reasoning, in bytes.
pub(super) const MAX_STREAM_BYTES: usize = 256 * 1024 * 1024;

/// Progress of an answer before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Text to show; never empty.
    Text(String),
    /// The model is at work on something that is not shown.
    Working,
}

/// Successful end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub reason: FinishReason,
    /// As far as the server counted.
    pub counted: Counted,
    /// Bytes of the text that was shown.
    pub text_bytes: usize,
}

/// An answer that is being read.
#[derive(Debug, Default)]
pub(super) struct Parser {
    framing: Framing,
    answer: Reading,
    bytes: usize,
}

/// State of the answer so far.
#[derive(Debug, Default)]
struct Reading {
    progress: VecDeque<Progress>,
    index: ChoiceIndex,
    surrogates: Surrogates,
    thinking: Thinking,
    text_bytes: usize,
    counted: Counted,
    finish: Option<FinishReason>,
    /// A chunk with text had no finish reason: this server writes one at the end, not into every chunk.
    finishes_once: bool,
    called_tool: bool,
    /// A whole message came, rather than parts of one.
    is_whole: bool,
    outcome: Option<Result<Ending, Failure>>,
}

impl Parser {
    /// Takes in bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { framing, answer, bytes: total } = self;
        *total += bytes.len();
        if *total > MAX_STREAM_BYTES {
            answer.close(Failure::broken("the answer is too long", Retry::Never));
        }
        if let Err(failure) = framing.push(bytes, &mut |frame| answer.take(frame)) {
            answer.close(failure);
        }
    }

    /// The body is over, as it should be.
    pub fn finish(&mut self) {
        let Self { framing, answer, .. } = self;
        framing.finish(&mut |frame| answer.take(frame));
        // A complete JSON document needs no other end.
        if framing.is_objects() && answer.is_whole {
            answer.done();
        }
        self.stop(Failure::broken("the stream ended before the answer did", Retry::AfterBackoff));
    }

    /// No more will come, because of `failure`; it counts unless the answer ended before.
    pub fn stop(&mut self, failure: Failure) {
        self.answer.close(failure);
    }

    /// Returns the progress since the last call, in order.
    pub fn next(&mut self) -> Option<Progress> {
        self.answer.progress.pop_front()
    }

    /// Whether the model ended its answer: only its usage can follow.
    pub fn has_ended(&self) -> bool {
        self.answer.finish.is_some()
    }

    /// Returns the outcome, once nothing more can come. Call it when [`Parser::next`] has nothing.
    pub fn outcome(&mut self) -> Option<Result<Ending, Failure>> {
        self.answer.outcome.take()
    }
}

impl Reading {
    fn take(&mut self, frame: Frame<'_>) {
        if self.outcome.is_some() {
            return;
        }
        let data = frame.data.trim();
        if data == "[DONE]" {
            return self.done();
        }
        match Json::parse(data).filter(|event| event.is_object()) {
            Some(event) => self.event(event, frame.name),
            None if self.finish.is_some() => {}
            None if frame.name == EventName::Error => self.close(Failure::within_answer(data)),
            // It may be cut off; then the missing end is the error.
            None if frame.is_last || is_keep_alive(data, frame.name) => {}
            None => self.close(Failure::broken("an event is not a chunk of a chat completion", Retry::Never)),
        }
    }

    fn event(&mut self, event: Json<'_>, name: EventName) {
        let chunk = match chunk::read(event, name, &mut self.index) {
            Ok(chunk) => chunk,
            Err(_) if self.finish.is_some() => return,
            Err(failure) => return self.close(failure),
        };
        self.counted = chunk.usage.or(self.counted);
        // Servers that write a finish reason into every chunk say nothing with it until no more chunks come.
        let goes_on = !self.finishes_once && matches!(chunk.finish, Finish::Reason(_) | Finish::ToolCall);
        if self.finish.is_some() && !goes_on {
            return;
        }
        self.text(&chunk);
        match chunk.finish {
            Finish::No | Finish::Unknown => {
                self.finishes_once |= chunk.text.is_some();
                self.is_whole |= chunk.is_whole;
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
            self.done();
        }
    }

    fn text(&mut self, chunk: &Chunk<'_>) {
        let shown = chunk.text.as_ref().and_then(|text| {
            let text = self.surrogates.join(text);
            self.thinking.read(text)
        });
        match shown {
            Some(text) => self.show(text),
            // Once is enough, however much of it came at once.
            None if self.progress.back() == Some(&Progress::Working) => {}
            None if chunk.is_working || chunk.text.is_some() => self.progress.push_back(Progress::Working),
            None => {}
        }
    }

    fn show(&mut self, text: String) {
        self.text_bytes += text.len();
        self.progress.push_back(Progress::Text(text));
    }

    /// The end mark of a stream, which ends well unless nothing was said.
    fn done(&mut self) {
        self.flush();
        if self.finish.is_none() && self.text_bytes > 0 {
            self.finish = Some(FinishReason::Stop);
        }
        self.close(Failure::broken("the stream ended without an answer", Retry::AfterBackoff));
    }

    /// Nothing more comes: the answer ended, or else `failure` is why not.
    fn close(&mut self, failure: Failure) {
        if self.outcome.is_some() {
            return;
        }
        self.flush();
        self.outcome = Some(match self.finish {
            Some(_) if self.called_tool && self.text_bytes == 0 => {
                Err(Failure::broken("the model called a tool instead of answering", Retry::Never))
            }
            Some(reason) => Ok(Ending { reason, counted: self.counted, text_bytes: self.text_bytes }),
            None => Err(failure),
        });
    }

    /// Shows what was held back, which is complete now.
    fn flush(&mut self) {
        let half = self.surrogates.finish().and_then(|half| self.thinking.read(half.to_string()));
        let held = self.thinking.finish();
        for text in [half, held].into_iter().flatten() {
            self.show(text);
        }
    }
}

/// Whether an event that is no object keeps the connection open: no data, an event of its own name such as `ping`, a JSON value
/// without members, or a comment or word that a proxy put into an event.
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
