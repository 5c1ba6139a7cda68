//! Streamed answer: reads the response body, returns the parts of the answer and enforces the timeouts.

use super::{
    coding::Coding,
    failure::Failure,
    parser::{Ending, Parser, Progress},
};
use crate::{pause, provider::AnswerPart};
use futures_util::{StreamExt, stream::BoxStream};
use std::{pin::Pin, time::Duration};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::bytes::Bytes;

/// Time to wait for the usage after the finish reason.
const USAGE_WAIT: Duration = Duration::from_secs(2);
/// Time to wait for the end of the body after the end of the answer.
const END_WAIT: Duration = Duration::from_millis(20);

/// Body of a response. Dropping it before its end closes the connection.
pub(super) type Body = BoxStream<'static, Result<Bytes, Failure>>;

/// Timeouts of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub first_token_at: Instant,
    pub total_at: Instant,
    /// Maximum time between two tokens.
    pub idle: Duration,
}

/// Answer being read.
pub(super) struct Answer {
    body: Body,
    coding: Coding,
    parser: Parser,
    deadlines: Deadlines,
    /// When the next token is due. Reasoning counts as a token, since it shows that the model is active.
    next_due: Instant,
    /// Fires at the deadline or before it.
    timer: Pin<Box<Sleep>>,
    /// A finish reason has arrived; only the usage is missing.
    awaits_usage: bool,
    prompt_bytes: usize,
}

impl Answer {
    pub fn new(body: Body, coding: Coding, prompt_bytes: usize, deadlines: Deadlines) -> Self {
        let next_due = deadlines.first_token_at;
        let timer = Box::pin(sleep_until(next_due.min(deadlines.total_at)));
        Self { body, coding, parser: Parser::default(), deadlines, next_due, timer, awaits_usage: false, prompt_bytes }
    }

    /// Waits for the next part. `Finished` or a failure is the last one.
    pub async fn next(&mut self) -> Result<AnswerPart, Failure> {
        loop {
            if let Some(progress) = self.parser.next() {
                self.next_due = Instant::now() + self.deadlines.idle;
                return Ok(match progress {
                    Progress::Text(text) => AnswerPart::Token(text),
                    Progress::Reasoning(text) => AnswerPart::Reasoning(text),
                    Progress::Part(part) => AnswerPart::Part(part),
                    Progress::Working => AnswerPart::Working,
                });
            }
            if let Some(outcome) = self.parser.outcome() {
                let ending = outcome?;
                // The connection returns to the pool only if its body has been read to the end.
                let _ = timeout(END_WAIT, self.body.next()).await;
                return Ok(self.finished(ending));
            }
            if self.parser.has_ended() && !self.awaits_usage {
                self.awaits_usage = true;
                self.next_due = Instant::now() + self.deadlines.idle.min(USAGE_WAIT);
            }
            self.read().await;
        }
    }

    /// Reads the next piece of the body into the parser, or tells the parser that the body ended, failed or is overdue.
    async fn read(&mut self) {
        let deadline = self.next_due.min(self.deadlines.total_at);
        // The body is polled before the timer, so a server that keeps sending events without tokens would never time out.
        let piece = if Instant::now() < deadline { self.next_piece(deadline).await } else { None };
        match piece {
            Some(Some(Ok(bytes))) => {
                let Self { coding, parser, .. } = self;
                let decoded = coding.decode(&bytes, |bytes| {
                    parser.push(bytes);
                    Ok(())
                });
                if let Err(failure) = decoded {
                    parser.stop(failure);
                }
            }
            Some(Some(Err(failure))) => self.parser.stop(failure),
            Some(None) => self.parser.finish(),
            None => match pause::lateness(deadline.into_std(), Instant::now().into_std()) {
                Some(late) => self.extend_deadlines(late),
                None => self.parser.stop(self.timeout()),
            },
        }
    }

    /// Waits for the next piece of the body; `None` at `deadline`. Each token postpones the deadline, but the timer is set again
    /// only when it fires: setting it costs more than a wake-up per idle timeout.
    async fn next_piece(&mut self, deadline: Instant) -> Option<Option<Result<Bytes, Failure>>> {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            tokio::select! {
                biased;
                piece = self.body.next() => return Some(piece),
                () = self.timer.as_mut() => {
                    if deadline <= self.timer.deadline() {
                        return None;
                    }
                    self.timer.as_mut().reset(deadline);
                }
            }
        }
    }

    /// Extends the deadlines after the process was suspended past one of them by `late`, so that data which arrived meanwhile
    /// is read first. The part of the suspension before the deadline is unknown; one idle timeout is added for it.
    fn extend_deadlines(&mut self, late: Duration) {
        let extension = late + self.deadlines.idle;
        self.next_due += extension;
        self.deadlines.first_token_at += extension;
        self.deadlines.total_at += extension;
    }

    /// Returns the failure for the deadline that has passed.
    fn timeout(&self) -> Failure {
        Failure::timeout(if Instant::now() >= self.deadlines.total_at {
            "the answer exceeded provider.total_timeout_ms"
        } else if self.next_due == self.deadlines.first_token_at {
            "no token within provider.first_token_timeout_ms"
        } else {
            "no token within provider.idle_timeout_ms of the previous one"
        })
    }

    /// Builds the last part. Usage that the server did not report is estimated.
    fn finished(&self, ending: Ending) -> AnswerPart {
        let Ending { reason, token_counts, text_bytes } = ending;
        if text_bytes == 0 {
            log::warn!(finish_reason = reason.as_str();
                "model returned an empty answer; a reasoning model may need a higher provider.max_answer_tokens");
        }
        AnswerPart::Finished { reason, usage: token_counts.usage(self.prompt_bytes, text_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{FinishReason, Usage},
        provider::ProviderErrorKind,
    };
    use futures_util::{FutureExt, stream};

    fn deadlines() -> Deadlines {
        let now = Instant::now();
        Deadlines {
            first_token_at: now + Duration::from_secs(10),
            total_at: now + Duration::from_secs(60),
            idle: Duration::from_secs(5),
        }
    }

    fn event(data: &str) -> Result<Bytes, Failure> {
        Ok(format!("data: {data}\n\n").into())
    }

    fn answer(body: impl futures_util::Stream<Item = Result<Bytes, Failure>> + Send + 'static) -> Answer {
        Answer::new(Box::pin(body), Coding::Identity, 40, deadlines())
    }

    async fn read_all(mut answer: Answer) -> Result<(String, FinishReason, Usage), ProviderErrorKind> {
        let mut text = String::new();
        loop {
            match answer.next().await.map_err(|failure| failure.error.kind)? {
                AnswerPart::Token(token) => text.push_str(&token),
                AnswerPart::Working | AnswerPart::Reasoning(_) | AnswerPart::Part(_) => {}
                AnswerPart::Finished { reason, usage } => return Ok((text, reason, usage.tokens)),
            }
        }
    }

    const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
    const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;

    #[tokio::test]
    async fn missing_token_counts_are_estimated() {
        let all =
            |events: &[&str]| read_all(answer(stream::iter(events.iter().map(|data| event(data)).collect::<Vec<_>>())));
        let hi = |usage| Ok(("Hi".to_owned(), FinishReason::Stop, usage));
        assert_eq!(all(&[HI, STOP, USAGE, "[DONE]"]).await, hi(Usage { prompt_tokens: 7, completion_tokens: 1 }));
        assert_eq!(all(&[HI, STOP]).await, hi(Usage { prompt_tokens: 10, completion_tokens: 1 }));
    }

    #[tokio::test]
    async fn a_failure_after_the_end_costs_only_the_usage() {
        let broken = || Err(Failure::broken("cut", super::super::retry::Retry::Never));
        let read = |events: Vec<_>| read_all(answer(stream::iter(events)));
        assert_eq!(read(vec![event(HI), event(STOP), broken()]).await.map(|(text, ..)| text), Ok("Hi".to_owned()));
        assert_eq!(read(vec![event(HI), broken()]).await.map(drop), Err(ProviderErrorKind::Broken));
    }

    /// Reads `events` followed by silence; returns the result and the seconds until it.
    async fn waited(events: &[&str]) -> (Result<FinishReason, ProviderErrorKind>, u64) {
        let events: Vec<_> = events.iter().map(|data| event(data)).collect();
        let silent = stream::iter(events).chain(stream::pending());
        let start = Instant::now();
        let result = read_all(answer(silent)).await;
        (result.map(|(_, reason, _)| reason), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_and_after_the_first_token_has_separate_timeouts() {
        let timeout = Err(ProviderErrorKind::Timeout);
        assert_eq!(waited(&[]).await, (timeout, 10));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"role":"assistant"}}]}"#]).await, (timeout, 10));
        assert_eq!(waited(&[HI]).await, (timeout, 5));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#]).await, (timeout, 5));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"content":"<think>hm"}}]}"#]).await, (timeout, 5));
        assert_eq!(waited(&[HI, STOP]).await, (Ok(FinishReason::Stop), 2));
    }

    /// Reads `count` events that arrive every four seconds, then a finish reason.
    async fn drip(data: &'static str, count: usize) -> (Result<String, ProviderErrorKind>, u64) {
        let drip = stream::unfold(0, move |sent| async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            let data = if sent < count { data } else { STOP };
            (sent <= count).then(|| (event(data), sent + 1))
        });
        let start = Instant::now();
        let result = read_all(answer(drip)).await;
        (result.map(|(text, ..)| text), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_ends_at_the_total_timeout() {
        assert_eq!(drip(HI, 100).await, (Err(ProviderErrorKind::Timeout), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn reasoning_resets_the_idle_timeout() {
        let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#;
        assert_eq!(drip(reasoning, 10).await.0, Ok(String::new()), "longer than the limits of first and next token");
    }

    #[tokio::test]
    async fn a_flood_of_events_without_tokens_times_out() {
        let flood = stream::repeat_with(|| event(r#"{"choices":[]}"#));
        let first_token_at = Instant::now() + Duration::from_millis(20);
        let mut answer = Answer::new(Box::pin(flood), Coding::Identity, 0, Deadlines { first_token_at, ..deadlines() });
        // It never waits, so it has to end within this one poll.
        let result = answer.next().now_or_never().expect("ready");
        assert_eq!(result.map_err(|failure| failure.error.kind), Err(ProviderErrorKind::Timeout));
    }
}
