//! One streamed answer: the body in, parts out, each within its time.

use super::{
    coding::Coding,
    failure::Failure,
    parser::{Ending, Parser, Progress},
};
use crate::{
    domain::Usage,
    pause,
    provider::{AnswerPart, estimate_tokens},
};
use futures_util::{StreamExt, stream::BoxStream};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::Bytes;

/// How long to wait for the usage once the answer's text is over.
const TRAILER_WAIT: Duration = Duration::from_secs(2);
/// Time to wait for the end of the body after the end of the answer.
const END_WAIT: Duration = Duration::from_millis(20);

/// The body of a response, as it arrives. Dropping it closes the connection.
pub(super) type Body = BoxStream<'static, Result<Bytes, Failure>>;

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
    body: Body,
    coding: Coding,
    parser: Parser,
    deadlines: Deadlines,
    /// When the next token is due. Reasoning counts: the model is at work, though nobody is shown it.
    next_due: Instant,
    /// The trailer is waited for since then.
    ended: bool,
    prompt_bytes: usize,
}

impl Answer {
    pub fn new(body: Body, coding: Coding, prompt_bytes: usize, deadlines: Deadlines) -> Self {
        let next_due = deadlines.first_token_at;
        Self { body, coding, parser: Parser::default(), deadlines, next_due, ended: false, prompt_bytes }
    }

    /// The next part; `Finished` is the last one, as is a failure.
    pub async fn next(&mut self) -> Result<AnswerPart, Failure> {
        loop {
            if let Some(progress) = self.parser.next() {
                self.next_due = Instant::now() + self.deadlines.idle;
                return Ok(match progress {
                    Progress::Text(text) => AnswerPart::Token(text),
                    Progress::Working => AnswerPart::Working,
                });
            }
            if let Some(outcome) = self.parser.outcome() {
                let ending = outcome?;
                // Only a body read to its end leaves a connection that the next request can use.
                let _ = timeout(END_WAIT, self.body.next()).await;
                return Ok(self.finished(ending));
            }
            if self.parser.has_ended() && !self.ended {
                self.ended = true;
                self.next_due = Instant::now() + self.deadlines.idle.min(TRAILER_WAIT);
            }
            self.read().await;
        }
    }

    /// Hands the next piece of the body to the parser, or that there is none.
    async fn read(&mut self) {
        let deadline = self.next_due.min(self.deadlines.total_at);
        // A server that floods us with events without a token never lets the timer below have its turn.
        let piece = if Instant::now() < deadline { timeout_at(deadline, self.body.next()).await.ok() } else { None };
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
                Some(late) => self.skip_pause(late),
                None => self.parser.stop(self.late()),
            },
        }
    }

    /// The process was paused, and noticed it so late: what the model sent meanwhile is read first. How much of the time before
    /// the deadline was lost, too, is not known, so the model has the time between two tokens once more.
    fn skip_pause(&mut self, late: Duration) {
        let paused = late + self.deadlines.idle;
        self.next_due += paused;
        self.deadlines.first_token_at += paused;
        self.deadlines.total_at += paused;
    }

    /// Which limit is over.
    fn late(&self) -> Failure {
        Failure::timeout(if Instant::now() >= self.deadlines.total_at {
            "the answer took longer than provider.total_timeout_ms"
        } else if self.next_due == self.deadlines.first_token_at {
            "no token within provider.first_token_timeout_ms"
        } else {
            "no token for provider.idle_timeout_ms"
        })
    }

    /// The last part. Usage that the server did not send is estimated: four bytes are counted as one token.
    fn finished(&self, ending: Ending) -> AnswerPart {
        let Ending { reason, counted, text_bytes } = ending;
        if text_bytes == 0 {
            log::warn!(finish_reason = reason.as_str();
                "the model ended its answer without text; a model that reasons may need more provider.max_answer_tokens");
        }
        let usage = Usage {
            prompt_tokens: counted.prompt.unwrap_or_else(|| estimate_tokens(self.prompt_bytes)),
            completion_tokens: counted.completion.unwrap_or_else(|| estimate_tokens(text_bytes)),
        };
        AnswerPart::Finished { reason, usage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::FinishReason, provider::ProviderErrorKind};
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
                AnswerPart::Working => {}
                AnswerPart::Finished { reason, usage } => return Ok((text, reason, usage)),
            }
        }
    }

    const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
    const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;

    #[tokio::test]
    async fn tokens_that_the_server_does_not_count_are_estimated() {
        let all =
            |events: &[&str]| read_all(answer(stream::iter(events.iter().map(|data| event(data)).collect::<Vec<_>>())));
        let hi = |usage| Ok(("Hi".to_owned(), FinishReason::Stop, usage));
        assert_eq!(all(&[HI, STOP, USAGE, "[DONE]"]).await, hi(Usage { prompt_tokens: 7, completion_tokens: 1 }));
        assert_eq!(all(&[HI, STOP]).await, hi(Usage { prompt_tokens: 10, completion_tokens: 1 }));
    }

    #[tokio::test]
    async fn what_fails_after_the_end_costs_only_the_usage() {
        let broken = || Err(Failure::broken("cut", super::super::failure::Retry::Never));
        let read = |events: Vec<_>| read_all(answer(stream::iter(events)));
        assert_eq!(read(vec![event(HI), event(STOP), broken()]).await.map(|(text, ..)| text), Ok("Hi".to_owned()));
        assert_eq!(read(vec![event(HI), broken()]).await.map(drop), Err(ProviderErrorKind::Broken));
    }

    /// How long `events`, then silence, is waited for.
    async fn waited(events: &[&str]) -> (Result<FinishReason, ProviderErrorKind>, u64) {
        let events: Vec<_> = events.iter().map(|data| event(data)).collect();
        let silent = stream::iter(events).chain(stream::pending());
        let start = Instant::now();
        let result = read_all(answer(silent)).await;
        (result.map(|(_, reason, _)| reason), start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_silence_has_its_own_limit() {
        let timeout = Err(ProviderErrorKind::Timeout);
        assert_eq!(waited(&[]).await, (timeout, 10));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"role":"assistant"}}]}"#]).await, (timeout, 10));
        assert_eq!(waited(&[HI]).await, (timeout, 5));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#]).await, (timeout, 5));
        assert_eq!(waited(&[r#"{"choices":[{"delta":{"content":"<think>hm"}}]}"#]).await, (timeout, 5));
        assert_eq!(waited(&[HI, STOP]).await, (Ok(FinishReason::Stop), 2));
    }

    /// An event every four seconds, up to `count` of them, then the end.
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
    async fn a_slow_drip_ends_at_the_total_limit() {
        assert_eq!(drip(HI, 100).await, (Err(ProviderErrorKind::Timeout), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_reasons_is_not_silent() {
        let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#;
        assert_eq!(drip(reasoning, 10).await.0, Ok(String::new()), "longer than the limits of first and next token");
    }

    #[tokio::test]
    async fn a_flood_without_tokens_ends_at_its_limit_too() {
        let flood = stream::repeat_with(|| event(r#"{"choices":[]}"#));
        let first_token_at = Instant::now() + Duration::from_millis(20);
        let mut answer = Answer::new(Box::pin(flood), Coding::Identity, 0, Deadlines { first_token_at, ..deadlines() });
        // It never waits, so it has to end within this one poll.
        let result = answer.next().now_or_never().expect("ready");
        assert_eq!(result.map_err(|failure| failure.error.kind), Err(ProviderErrorKind::Timeout));
    }
}
