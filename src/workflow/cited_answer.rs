//! An answer whose citations are checked while it streams, with a bound on the time for which its text is held.

use super::citations::CitationFilter;
use crate::provider::{AnswerPart, AnswerStream, ProviderError};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time for which text is held at most. Timers are up to some milliseconds late, and readers are promised 100 ms.
const MAX_HELD: Duration = Duration::from_millis(80);

/// Stream of an answer's parts through a [`CitationFilter`], which keeps what it has found when the stream is dropped.
pub(super) struct CitedAnswer<'a> {
    answer: AnswerStream,
    filter: &'a mut CitationFilter,
    /// When text that is held is shown at the latest.
    release_at: Instant,
    /// Part that follows the last text.
    after_text: Option<Result<AnswerPart, ProviderError>>,
}

impl<'a> CitedAnswer<'a> {
    pub fn new(answer: AnswerStream, filter: &'a mut CitationFilter) -> Self {
        Self { answer, filter, release_at: Instant::now(), after_text: None }
    }

    /// Returns the next part of the answer.
    pub async fn next(&mut self) -> Option<Result<AnswerPart, ProviderError>> {
        if let Some(part) = self.after_text.take() {
            return Some(part);
        }
        loop {
            let part = match self.filter.held_bytes() {
                0 => self.answer.next().await,
                // Also when the stream is always ready, as with parts that are not text.
                _ if self.release_at <= Instant::now() => return Some(self.release()),
                _ => match timeout_at(self.release_at, self.answer.next()).await {
                    Ok(part) => part,
                    Err(_) => return Some(self.release()),
                },
            };
            let is_end = !matches!(part, Some(Ok(ref part)) if !matches!(part, AnswerPart::Finished { .. }));
            match part {
                Some(Ok(AnswerPart::Token(token))) => {
                    if let Some(text) = self.push(token) {
                        return Some(Ok(AnswerPart::Token(text)));
                    }
                }
                part if is_end => {
                    let rest = self.filter.finish();
                    if rest.is_empty() {
                        return part;
                    }
                    self.after_text = part;
                    return Some(Ok(AnswerPart::Token(rest)));
                }
                part => return part,
            }
        }
    }

    /// Filters a token; `None` if all of it is held or removed.
    fn push(&mut self, token: String) -> Option<String> {
        let (held_before, bytes) = (self.filter.held_bytes(), token.len());
        let text = self.filter.push(token);
        let held = self.filter.held_bytes();
        let is_all_new = held_before == 0 || (!text.is_empty() && held <= bytes);
        if held > 0 && is_all_new {
            self.release_at = Instant::now() + MAX_HELD;
        }
        (!text.is_empty()).then_some(text)
    }

    fn release(&mut self) -> Result<AnswerPart, ProviderError> {
        match self.filter.release() {
            // The held text was a citation without a source.
            text if text.is_empty() => Ok(AnswerPart::Working),
            text => Ok(AnswerPart::Token(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FinishReason, Usage};
    use futures_util::stream;

    /// Parts of an answer, each after a wait.
    fn answer(parts: Vec<(u64, AnswerPart)>) -> AnswerStream {
        stream::iter(parts)
            .then(|(wait_ms, part)| async move {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                Ok(part)
            })
            .boxed()
    }

    fn token(text: &str) -> AnswerPart {
        AnswerPart::Token(text.to_owned())
    }

    fn finished() -> AnswerPart {
        AnswerPart::Finished { reason: FinishReason::Stop, usage: Usage::default().into() }
    }

    /// Returns the parts with the times at which they came, in milliseconds.
    async fn received(parts: Vec<(u64, AnswerPart)>) -> Vec<(u128, AnswerPart)> {
        let mut filter = CitationFilter::new(1);
        let mut cited = CitedAnswer::new(answer(parts), &mut filter);
        let began = Instant::now();
        let mut received = Vec::new();
        while let Some(part) = cited.next().await {
            received.push((began.elapsed().as_millis(), part.unwrap()));
        }
        received
    }

    #[tokio::test(start_paused = true)]
    async fn held_text_goes_out_when_the_stream_stalls() {
        let parts = received(vec![(0, token("Oil [")), (5_000, token("1]")), (0, finished())]).await;
        let (at, held) = &parts[1];
        assert_eq!((&parts[0].1, held), (&token("Oil "), &token("[")));
        assert!(*at <= 100, "{at} ms");
        assert_eq!(parts[2], (5_000, token("1]")));
    }

    #[tokio::test(start_paused = true)]
    async fn text_is_not_held_longer_because_more_comes() {
        let slow = ["[", "9", "9", ",", "9"].map(|text| (40, token(text))).to_vec();
        let parts = received([slow, vec![(40, token("]")), (0, finished())]].concat()).await;
        let text: String = parts.iter().filter_map(|(_, part)| Some(part).and_then(text_of)).collect();
        // The first bracket came after 40 ms.
        assert!(parts[0].0 <= 140 && text.starts_with('['), "{parts:?}");
        assert!(!text.contains("]"), "{text}");
    }

    fn text_of(part: &AnswerPart) -> Option<&str> {
        match part {
            AnswerPart::Token(text) => Some(text),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_comes_before_the_end() {
        let parts = received(vec![(0, token("Oil [1")), (0, finished())]).await;
        assert_eq!(
            parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>(),
            [token("Oil "), token("[1"), finished()]
        );
        let failure = || ProviderError::new(crate::provider::ProviderErrorKind::Broken, "gone");
        let broken = stream::iter([Ok(token("Oil [1")), Err(failure())]).boxed();
        let mut filter = CitationFilter::new(1);
        let mut cited = CitedAnswer::new(broken, &mut filter);
        assert_eq!(cited.next().await.unwrap().unwrap(), token("Oil "));
        assert_eq!(cited.next().await.unwrap().unwrap(), token("[1"));
        assert!(cited.next().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn other_parts_pass_and_do_not_prolong_the_wait() {
        let working = (0..20).map(|_| (10, AnswerPart::Working));
        let parts = received([(0, token("["))].into_iter().chain(working).chain([(0, finished())]).collect()).await;
        let (at, _) = parts.iter().find(|(_, part)| *part == token("[")).unwrap();
        assert!(*at <= 100, "{at} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn removed_text_leaves_no_empty_token() {
        let parts = received(vec![(0, token("Oil")), (0, token(" [9")), (0, token("]")), (200, finished())]).await;
        assert!(parts.iter().all(|(_, part)| text_of(part).is_none_or(|text| !text.is_empty())), "{parts:?}");
        assert_eq!(parts.iter().filter_map(|(_, part)| text_of(part)).collect::<String>(), "Oil ");
    }
}
