//! One streamed answer: events in, parts out, each within its time.

use super::{
    events::Events,
    failure::{Failure, Retry},
};
use crate::{
    domain::{FinishReason, Usage},
    provider::{AnswerPart, estimate_tokens},
};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The longest answer, in bytes. It ends there as one that reached its limit of tokens does.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How long to wait for the usage once the answer's text is over.
const TRAILER_WAIT: Duration = Duration::from_secs(2);
/// How long to wait for the end of the body behind `[DONE]`.
const END_WAIT: Duration = Duration::from_millis(20);

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub first_token_at: Instant,
    pub total_at: Instant,
    /// Between two tokens.
    pub idle: Duration,
}

/// An answer that is being read.
pub(super) struct Answer {
    events: Events,
    deadlines: Deadlines,
    /// When the next token is due. Tokens of reasoning count: the model is at work, though nobody is shown them.
    next_due: Instant,
    prompt_bytes: usize,
    answer_bytes: usize,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
}

/// The parts of an event that are read. Everything is optional somewhere.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
}

impl Answer {
    pub fn new(events: Events, prompt_bytes: usize, deadlines: Deadlines) -> Self {
        let next_due = deadlines.first_token_at;
        Self { events, deadlines, next_due, prompt_bytes, answer_bytes: 0, usage: None, finish: None }
    }

    /// The next part; `Finished` is the last one, as is a failure.
    pub async fn next(&mut self) -> Result<AnswerPart, Failure> {
        loop {
            let deadline = self.next_due.min(self.deadlines.total_at);
            // A server that floods us with events without a token never lets the timer below have its turn.
            let event =
                if Instant::now() < deadline { timeout_at(deadline, self.events.next()).await.ok() } else { None };
            let data = match event {
                Some(Some(Ok(data))) => data,
                // The text is complete: what fails behind it costs only the usage.
                None | Some(None | Some(Err(_))) if self.finish.is_some() => return Ok(self.finished()),
                Some(Some(Err(failure))) => return Err(failure),
                Some(None) => {
                    return Err(Failure::broken("the stream ended before the answer did", Retry::AfterBackoff));
                }
                None if Instant::now() >= self.deadlines.total_at => {
                    return Err(Failure::timeout("the answer took longer than provider.total_timeout_ms"));
                }
                None if self.next_due == self.deadlines.first_token_at => {
                    return Err(Failure::timeout("no token within provider.first_token_timeout_ms"));
                }
                None => return Err(Failure::timeout("no token for provider.idle_timeout_ms")),
            };
            if data.trim() == "[DONE]" {
                // Only a body read to its end leaves a connection that the next request can use.
                let _ = timeout(END_WAIT, self.events.next()).await;
                return Ok(self.finished());
            }
            if let Some(token) = self.read(&data)? {
                return Ok(AnswerPart::Token(token));
            }
        }
    }

    /// Takes in an event; the text it brought, if any.
    fn read(&mut self, data: &str) -> Result<Option<String>, Failure> {
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|_| Failure::broken("an event is not a chunk of a chat completion", Retry::Never))?;
        if let Some(error) = chunk.error {
            return Err(Failure::from_error_member(&error));
        }
        if let Some(usage) = chunk.usage {
            let WireUsage { prompt_tokens, completion_tokens } = usage;
            self.usage = Some(Usage { prompt_tokens, completion_tokens });
        }
        let Some(choice) = chunk.choices.into_iter().flatten().find(|choice| choice.index == 0) else {
            return Ok(None);
        };
        if self.finish.is_some() {
            return Ok(None);
        }
        let mut text = None;
        if let Some(delta) = choice.delta {
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            text = some(delta.content).or(some(delta.refusal));
            if text.is_some() || some(delta.reasoning_content).or(some(delta.reasoning)).is_some() {
                self.next_due = Instant::now() + self.deadlines.idle;
            }
        }
        if let Some(reason) = choice.finish_reason {
            self.finish(match reason.as_str() {
                "length" | "max_tokens" => FinishReason::Length,
                // Somebody's rules stopped the answer half-way.
                "content_filter" => FinishReason::Error,
                "error" => return Err(Failure::broken("the model broke off", Retry::AfterBackoff)),
                _ => FinishReason::Stop,
            });
        }
        self.answer_bytes += text.as_ref().map_or(0, String::len);
        if self.answer_bytes > MAX_ANSWER_BYTES && self.finish.is_none() {
            self.finish(FinishReason::Length);
        }
        Ok(text)
    }

    fn finish(&mut self, reason: FinishReason) {
        self.finish = Some(reason);
        self.next_due = Instant::now() + self.deadlines.idle.min(TRAILER_WAIT);
    }

    /// The last part. Usage that the server did not send is estimated: four bytes are counted as one token.
    fn finished(&self) -> AnswerPart {
        let estimate = || Usage {
            prompt_tokens: estimate_tokens(self.prompt_bytes),
            completion_tokens: estimate_tokens(self.answer_bytes),
        };
        AnswerPart::Finished {
            reason: self.finish.unwrap_or(FinishReason::Stop),
            usage: self.usage.unwrap_or_else(estimate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderErrorKind;
    use futures_util::{FutureExt, stream};

    fn deadlines() -> Deadlines {
        let now = Instant::now();
        Deadlines {
            first_token_at: now + Duration::from_secs(10),
            total_at: now + Duration::from_secs(60),
            idle: Duration::from_secs(5),
        }
    }

    fn answer(events: &[&str]) -> Answer {
        let events: Vec<_> = events.iter().map(|event| Ok((*event).to_owned())).collect();
        Answer::new(Box::pin(stream::iter(events)), 40, deadlines())
    }

    async fn read_all(mut answer: Answer) -> Result<(String, FinishReason, Usage), ProviderErrorKind> {
        let mut text = String::new();
        loop {
            match answer.next().await.map_err(|failure| failure.error.kind)? {
                AnswerPart::Token(token) => text.push_str(&token),
                AnswerPart::Finished { reason, usage } => return Ok((text, reason, usage)),
            }
        }
    }

    const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
    const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
    const COUNTED: Usage = Usage { prompt_tokens: 7, completion_tokens: 1 };
    const ESTIMATED: Usage = Usage { prompt_tokens: 10, completion_tokens: 1 };

    #[tokio::test]
    async fn the_end_is_done_or_a_finish_reason() {
        let hi = |reason, usage| Ok(("Hi".to_owned(), reason, usage));
        assert_eq!(read_all(answer(&[HI, STOP, USAGE, "[DONE]"])).await, hi(FinishReason::Stop, COUNTED));
        assert_eq!(read_all(answer(&[HI, STOP])).await, hi(FinishReason::Stop, ESTIMATED));
        assert_eq!(read_all(answer(&[HI, "[DONE]"])).await, hi(FinishReason::Stop, ESTIMATED));
        assert_eq!(read_all(answer(&[HI])).await, Err(ProviderErrorKind::Broken));
        assert_eq!(read_all(answer(&[])).await, Err(ProviderErrorKind::Broken));
    }

    #[tokio::test]
    async fn finish_reasons_map() {
        for (wire, want) in [
            ("stop", Ok(FinishReason::Stop)),
            ("length", Ok(FinishReason::Length)),
            ("content_filter", Ok(FinishReason::Error)),
            ("eos", Ok(FinishReason::Stop)),
            ("error", Err(ProviderErrorKind::Broken)),
        ] {
            let end = format!(r#"{{"choices":[{{"delta":{{"content":null}},"finish_reason":"{wire}"}}]}}"#);
            assert_eq!(read_all(answer(&[HI, &end])).await.map(|(_, reason, _)| reason), want, "{wire}");
        }
    }

    #[tokio::test]
    async fn text_beside_the_finish_reason_is_not_lost_and_text_behind_it_is() {
        let both = r#"{"choices":[{"delta":{"content":"!"},"finish_reason":"length"}]}"#;
        let (text, reason, _) = read_all(answer(&[HI, both, HI, "[DONE]"])).await.unwrap();
        assert_eq!((text.as_str(), reason), ("Hi!", FinishReason::Length));
    }

    #[tokio::test]
    async fn reasoning_and_other_choices_are_not_shown() {
        let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hmm","content":""}}]}"#;
        let second = r#"{"choices":[{"index":1,"delta":{"content":"no"}}]}"#;
        let (text, ..) = read_all(answer(&[reasoning, second, HI, "[DONE]"])).await.unwrap();
        assert_eq!(text, "Hi");
    }

    #[tokio::test]
    async fn garbage_and_errors_end_it() {
        assert_eq!(read_all(answer(&[HI, "<html>"])).await, Err(ProviderErrorKind::Broken));
        assert_eq!(read_all(answer(&[HI, r#"{"error":{"code":429}}"#])).await, Err(ProviderErrorKind::RateLimited));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut() {
        let long = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(100_000));
        let events = stream::repeat_with(move || Ok(long.clone()));
        let answer = Answer::new(Box::pin(events.take(1_000)), 0, deadlines());
        let (text, reason, _) = read_all(answer).await.unwrap();
        assert_eq!(reason, FinishReason::Length);
        assert!(text.len() <= MAX_ANSWER_BYTES + 100_000, "{}", text.len());
    }

    /// How long `events`, then silence, is waited for.
    async fn waited(events: &[&str]) -> (Result<FinishReason, ProviderErrorKind>, u64) {
        let events: Vec<_> = events.iter().map(|event| Ok((*event).to_owned())).collect();
        let silent = stream::iter(events).chain(stream::pending());
        let start = Instant::now();
        let result = read_all(Answer::new(Box::pin(silent), 0, deadlines())).await;
        (result.map(|(_, reason, _)| reason), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_silence_has_its_own_limit() {
        let timeout = Err(ProviderErrorKind::Timeout);
        assert_eq!(waited(&[]).await, (timeout, 10));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"role":"assistant"}}]}"#]).await, (timeout, 10));
        assert_eq!(waited(&[HI]).await, (timeout, 5));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#]).await, (timeout, 5));
        assert_eq!(waited(&[HI, STOP]).await, (Ok(FinishReason::Stop), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_ends_at_the_total_limit() {
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Some((Ok(HI.to_owned()), ()))
        });
        let start = Instant::now();
        let result = read_all(Answer::new(Box::pin(drip), 0, deadlines())).await;
        assert_eq!((result.map(drop), start.elapsed().as_secs()), (Err(ProviderErrorKind::Timeout), 60));
    }

    #[tokio::test]
    async fn a_flood_without_tokens_ends_at_its_limit_too() {
        let flood = stream::repeat_with(|| Ok(r#"{"choices":[]}"#.to_owned()));
        let first_token_at = Instant::now() + Duration::from_millis(20);
        let mut answer = Answer::new(Box::pin(flood), 0, Deadlines { first_token_at, ..deadlines() });
        // It never waits, so it has to end within this one poll.
        let result = answer.next().now_or_never().expect("ready");
        assert_eq!(result.map_err(|failure| failure.error.kind), Err(ProviderErrorKind::Timeout));
    }
}
