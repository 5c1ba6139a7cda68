//! `scripted` provider: deterministic text for functional and load tests.
//!
//! Each token contains its index: `w0012 ` is token 12 (from 0) in six bytes. The answer does not depend on the question. A
//! token costs one small allocation, since load tests run thousands of these streams concurrently.

use super::{
    AnswerPart, AnswerStream, Classification, ClassifyRequest, GenerateRequest, ModelProvider, ProviderError,
    ProviderErrorKind, RewriteRequest, estimate_tokens,
};
use crate::{
    config::ScriptedConfig,
    domain::{FinishReason, Usage},
};
use futures_util::Stream;
use std::{
    future::Future,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

const TOKENS: RangeInclusive<u64> = 0..=100_000;
const INTERVAL_MS: RangeInclusive<u64> = 0..=60_000;
const TOKEN_BYTES: RangeInclusive<u64> = 1..=1_024;
/// Maximum length of an answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;
/// Tokens produced without a pause before yielding to other tasks.
const BURST: u32 = 32;

/// Field of a script that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}; expected {} to {}", allowed.start(), allowed.end())]
pub struct InvalidScript {
    pub field: &'static str,
    pub value: u64,
    pub allowed: RangeInclusive<u64>,
}

impl ScriptedConfig {
    /// Checks that every field is in range.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn check(&self) -> Result<(), InvalidScript> {
        for (field, value, allowed) in [
            ("tokens", u64::from(self.tokens), TOKENS),
            ("interval_ms", self.interval_ms, INTERVAL_MS),
            ("token_bytes", u64::from(self.token_bytes), TOKEN_BYTES),
            ("fail_after", self.fail_after.map_or(0, u64::from), TOKENS),
            ("reasoning_tokens", u64::from(self.reasoning_tokens), TOKENS),
        ] {
            if !allowed.contains(&value) {
                return Err(InvalidScript { field, value, allowed });
            }
        }
        let bytes = u64::from(self.tokens.max(self.reasoning_tokens)) * u64::from(self.token_bytes);
        if bytes > MAX_ANSWER_BYTES {
            let allowed = 0..=MAX_ANSWER_BYTES / u64::from(self.token_bytes);
            return Err(InvalidScript { field: "tokens", value: u64::from(self.tokens), allowed });
        }
        Ok(())
    }
}

/// Provider that plays a script.
#[derive(Clone, Debug)]
pub struct Scripted {
    script: ScriptedConfig,
}

impl Scripted {
    /// Creates a provider that plays `script` in turns without a script of their own.
    ///
    /// # Errors
    /// When a field of the script is out of range.
    pub fn new(script: ScriptedConfig) -> Result<Self, InvalidScript> {
        script.check()?;
        Ok(Self { script })
    }
}

#[async_trait::async_trait]
impl ModelProvider for Scripted {
    fn model(&self) -> &str {
        "scripted"
    }

    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        let script = request.script.unwrap_or(self.script);
        script.check().map_err(|invalid| ProviderError::new(ProviderErrorKind::Rejected, invalid))?;
        if script.fail_after == Some(0) {
            return Err(broken(0));
        }
        let history = request.history.iter().map(|message| message.content.len());
        let passages = request.passages.iter().map(|passage| passage.text.len());
        let prompt_bytes =
            request.system_prompt.len() + request.question.len() + history.chain(passages).sum::<usize>();
        let timer = (script.interval_ms > 0 && script.tokens + script.reasoning_tokens > 1)
            .then(|| Box::pin(sleep_until(Instant::now())));
        let prompt_tokens = estimate_tokens(prompt_bytes);
        Ok(Box::pin(ScriptedStream { script, prompt_tokens, reasoned: 0, sent: 0, timer, burst: 0, has_ended: false }))
    }

    async fn classify(&self, _: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        Ok(None)
    }

    async fn rewrite(&self, _: RewriteRequest) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }
}

/// Failure that the script asks for.
fn broken(after: u32) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Broken, format_args!("the script fails after {after} tokens"))
}

/// Formats token `index` in exactly `bytes` bytes: `w`, the index padded with zeros, a space. Below three bytes, `w` is
/// omitted; below two, the space as well. An index that is too long loses its leading digits.
fn token(index: u32, bytes: u32) -> String {
    let bytes = bytes as usize;
    let mut token = vec![b'0'; bytes];
    let (head, tail) = (usize::from(bytes > 2), usize::from(bytes > 1));
    token[..head].fill(b'w');
    token[bytes - tail..].fill(b' ');
    let mut rest = index;
    for digit in token[head..bytes - tail].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    String::from_utf8(token).expect("the token is ASCII")
}

/// Answer stream of a script. Token n is due n intervals after the first token, however late the tokens before it were.
struct ScriptedStream {
    script: ScriptedConfig,
    prompt_tokens: u32,
    reasoned: u32,
    sent: u32,
    /// Elapses when the next token is due; `None` if the script has no interval.
    timer: Option<Pin<Box<Sleep>>>,
    /// Tokens since the last yield.
    burst: u32,
    has_ended: bool,
}

impl Stream for ScriptedStream {
    type Item = Result<AnswerPart, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let is_reasoning = this.reasoned < this.script.reasoning_tokens;
        if !is_reasoning && this.script.fail_after == Some(this.sent) {
            this.has_ended = true;
            return Poll::Ready(Some(Err(broken(this.sent))));
        }
        if !is_reasoning && this.sent == this.script.tokens {
            this.has_ended = true;
            let usage = Usage { prompt_tokens: this.prompt_tokens, completion_tokens: this.sent };
            let usage = usage.into();
            return Poll::Ready(Some(Ok(AnswerPart::Finished { reason: FinishReason::Stop, usage })));
        }
        match &mut this.timer {
            Some(timer) => {
                std::task::ready!(timer.as_mut().poll(cx));
                let next = timer.deadline() + Duration::from_millis(this.script.interval_ms);
                timer.as_mut().reset(next);
            }
            None if this.burst == BURST => {
                this.burst = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => this.burst += 1,
        }
        if is_reasoning {
            this.reasoned += 1;
            let token = token(this.reasoned - 1, this.script.token_bytes);
            return Poll::Ready(Some(Ok(AnswerPart::Reasoning(token))));
        }
        let token = token(this.sent, this.script.token_bytes);
        this.sent += 1;
        Poll::Ready(Some(Ok(AnswerPart::Token(token))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::RetrievalBasis, provider::Guidance};
    use futures_util::{FutureExt, StreamExt};

    fn request(script: ScriptedConfig) -> GenerateRequest {
        GenerateRequest {
            guidance: Guidance::default(),
            system_prompt: "1234".to_owned(),
            passages: vec![],
            basis: RetrievalBasis::Nothing,
            history: vec![],
            question: "1234".to_owned(),
            script: Some(script),
        }
    }

    async fn play(script: ScriptedConfig) -> Vec<Result<AnswerPart, ProviderErrorKind>> {
        let provider = Scripted::new(ScriptedConfig::default()).unwrap();
        match provider.generate(request(script)).await {
            Ok(parts) => parts.map(|part| part.map_err(|err| err.kind)).collect().await,
            Err(err) => vec![Err(err.kind)],
        }
    }

    fn script(tokens: u32, fail_after: Option<u32>) -> ScriptedConfig {
        ScriptedConfig { tokens, interval_ms: 0, token_bytes: 8, fail_after, reasoning_tokens: 0 }
    }

    #[test]
    fn a_token_contains_its_index_and_has_the_exact_length() {
        assert_eq!(token(12, 8), "w000012 ");
        assert_eq!(token(12, 6), "w0012 ");
        assert_eq!([token(7, 1), token(7, 2), token(7, 3), token(12, 1)], ["7", "7 ", "w7 ", "2"]);
        for bytes in 1..=1_024 {
            for index in [0, 9, 10, 99_999] {
                assert_eq!(token(index, bytes).len(), bytes as usize, "{index} in {bytes}");
            }
        }
    }

    #[tokio::test]
    async fn the_answer_follows_the_script() {
        let usage = Usage { prompt_tokens: 2, completion_tokens: 2 };
        let word = |text: &str| Ok(AnswerPart::Token(text.to_owned()));
        let end = Ok(AnswerPart::Finished { reason: FinishReason::Stop, usage: usage.into() });
        assert_eq!(play(script(2, None)).await, [word("w000000 "), word("w000001 "), end.clone()]);
        assert_eq!(play(script(2, Some(3))).await.last(), Some(&end));
        let broken = Err(ProviderErrorKind::Broken);
        assert_eq!(play(script(2, Some(1))).await, [word("w000000 "), broken.clone()]);
        assert_eq!(play(script(2, Some(2))).await.last(), Some(&broken));
        assert_eq!(play(script(2, Some(0))).await, [broken]);
        assert_eq!(play(script(0, None)).await.len(), 1);
    }

    #[tokio::test]
    async fn reasoning_comes_first() {
        let parts = play(ScriptedConfig { reasoning_tokens: 2, ..script(1, None) }).await;
        let reasoning = |text: &str| Ok(AnswerPart::Reasoning(text.to_owned()));
        assert_eq!(parts[..2], [reasoning("w000000 "), reasoning("w000001 ")]);
        assert_eq!((parts.len(), &parts[2]), (4, &Ok(AnswerPart::Token("w000000 ".to_owned()))));
        let parts = play(ScriptedConfig { reasoning_tokens: 2, ..script(1, Some(1)) }).await;
        assert_eq!(parts.last(), Some(&Err(ProviderErrorKind::Broken)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_token_does_not_delay_later_ones() {
        let start = Instant::now();
        let provider = Scripted::new(ScriptedConfig::default()).unwrap();
        let script = ScriptedConfig { tokens: 11, interval_ms: 100, ..script(0, None) };
        let mut parts = provider.generate(request(script)).await.unwrap();
        parts.next().await;
        assert_eq!(start.elapsed(), Duration::ZERO, "the first token does not wait");
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(parts.count().await, 11);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1_000) && took < Duration::from_millis(1_010), "{took:?}");
    }

    #[tokio::test]
    async fn a_script_without_interval_yields_after_each_burst() {
        let provider = Scripted::new(ScriptedConfig::default()).unwrap();
        let mut parts = provider.generate(request(script(1_000, None))).await.unwrap();
        let burst = std::iter::from_fn(|| parts.next().now_or_never()).count();
        assert_eq!(burst, BURST as usize);
        assert_eq!(parts.count().await, 1_000 - burst + 1);
    }
}
