//! The body of a streamed answer as the data of its events, bounded and known to be UTF-8.
//!
//! eventsource-stream parses; what stands before it keeps a bad server from costing more than an error: an event without
//! end, bytes that are no text (it would wait for them to become some), a byte order mark (it panics on one).

use super::failure::{Failure, Retry};
use eventsource_stream::{EventStreamError, Eventsource};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The most that is read without an event coming to its end, in bytes.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;

/// The data of each event.
pub(super) type Events = BoxStream<'static, Result<String, Failure>>;

/// Reads events from a body. Dropping the stream drops the body, and with it the connection.
pub(super) fn read<B>(body: impl Stream<Item = Result<B, reqwest::Error>> + Send + 'static) -> Events
where
    B: AsRef<[u8]> + Send + 'static,
{
    let since_event = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&since_event);
    let mut text = TextReader::default();
    let guarded = body.map(move |bytes| {
        let bytes = bytes.map_err(|err| Failure::from_transport(&err))?;
        let bytes = bytes.as_ref();
        if since_event.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MAX_EVENT_BYTES {
            return Err(Failure::broken("an event is too large", Retry::Never));
        }
        text.read(bytes).ok_or_else(|| Failure::broken("the stream is not UTF-8", Retry::Never))
    });
    let events = guarded.eventsource().map(move |event| {
        counter.store(0, Ordering::Relaxed);
        event.map(|event| event.data).map_err(|err| match err {
            EventStreamError::Transport(failure) => failure,
            EventStreamError::Utf8(_) => Failure::broken("the stream is not UTF-8", Retry::Never),
            EventStreamError::Parser(_) => Failure::broken("the stream is not one of events", Retry::Never),
        })
    });
    Box::pin(events)
}

/// Turns chunks into text, across characters that a chunk's end cuts in two.
#[derive(Default)]
struct TextReader {
    /// The start of a character: three bytes at most.
    pending: Vec<u8>,
    started: bool,
}

impl TextReader {
    /// The text that is complete now; `None` when the bytes are not UTF-8.
    fn read(&mut self, bytes: &[u8]) -> Option<String> {
        self.pending.extend_from_slice(bytes);
        let complete = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            Err(err) if err.error_len().is_none() => err.valid_up_to(),
            Err(_) => return None,
        };
        let rest = self.pending.split_off(complete);
        let mut text = String::from_utf8(std::mem::replace(&mut self.pending, rest)).ok()?;
        if !self.started && !text.is_empty() {
            self.started = true;
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderErrorKind;
    use futures_util::stream;

    async fn events(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Result<String, ProviderErrorKind>> {
        let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
        read(stream::iter(chunks)).map(|event| event.map_err(|failure| failure.error.kind)).collect().await
    }

    #[tokio::test]
    async fn events_are_whole_however_the_bytes_are_cut() {
        let body = "\u{feff}: hello\r\n\r\ndata: grün 👍\n\ndata: two\n\n".as_bytes();
        let want = vec![Ok("grün 👍".to_owned()), Ok("two".to_owned())];
        for size in 1..=body.len() {
            assert_eq!(events(body.chunks(size).map(<[u8]>::to_vec)).await, want, "chunks of {size}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_break_the_stream() {
        let got = events([b"data: ok\n\n".to_vec(), b"data: \xff\n\n".to_vec()]).await;
        assert_eq!(got[..2], [Ok("ok".to_owned()), Err(ProviderErrorKind::Broken)]);
    }

    #[tokio::test]
    async fn an_event_without_end_is_cut_off() {
        let chunk = vec![b'x'; 64 * 1024];
        let endless = std::iter::once(b"data: ".to_vec()).chain(std::iter::repeat_n(chunk, 8));
        let got = events(endless).await;
        assert_eq!(got.first(), Some(&Err(ProviderErrorKind::Broken)));
    }

    #[tokio::test]
    async fn many_events_may_be_longer_than_one() {
        let event = format!("data: {}\n\n", "x".repeat(1_000)).into_bytes();
        let got = events(std::iter::repeat_n(event, 1_000)).await;
        assert_eq!(got.iter().filter(|event| event.is_ok()).count(), 1_000);
    }
}
