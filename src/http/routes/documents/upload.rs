//! The body of an upload: its timeouts, and the temporary file that it is streamed to.
//!
//! Streaming to a file keeps memory use independent of the document's size.

use crate::knowledge::DocumentFile;
use actix_web::{error::PayloadError, web};
use futures_util::{Stream, StreamExt};
use std::{io, pin::Pin, time::Duration};
use switchboard_protocol::{ApiError, ErrorCode};
use tokio::{fs::File, io::AsyncWriteExt};

/// A body that fails when it stalls; see [`timed`].
pub(super) type Body = Pin<Box<dyn Stream<Item = Result<web::Bytes, PayloadError>>>>;

/// Fails the body with `TimedOut` if no data arrives for `stall_timeout`.
pub(super) fn timed(body: web::Payload, stall_timeout: Duration) -> Body {
    let chunks = futures_util::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(stall_timeout, body.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, Some(body))),
            Err(_) => Some((Err(PayloadError::Io(io::ErrorKind::TimedOut.into())), None)),
        }
    });
    // The multipart parser polls again after the end.
    Box::pin(chunks.fuse())
}

/// Returns the error for an incomplete body; `reason` completes the sentence "The body …".
pub(super) fn refusal(error: &PayloadError, reason: &str) -> ApiError {
    match error {
        PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => too_slow(),
        _ => ApiError::new(ErrorCode::InvalidJson, format!("The body {reason}.")),
    }
}

pub(super) fn too_slow() -> ApiError {
    ApiError::new(
        ErrorCode::RequestTimeout,
        "The upload of the document took too long. Please try again, or ask the operator to raise `knowledge.upload_timeout_s`.",
    )
}

/// A temporary file that a document is streamed to.
pub(super) struct Spool {
    file: File,
    bytes: usize,
    limit_bytes: usize,
}

impl Spool {
    /// # Errors
    /// When the temporary file cannot be created.
    pub(super) async fn new(limit_bytes: usize) -> io::Result<Self> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await??;
        Ok(Self { file: File::from_std(file), bytes: 0, limit_bytes })
    }

    /// Appends bytes. Returns false, without writing, if they would exceed the limit.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.bytes += bytes.len();
        if self.bytes > self.limit_bytes {
            return Ok(false);
        }
        self.file.write_all(bytes).await.map(|()| true)
    }

    pub(super) async fn finish(mut self) -> io::Result<DocumentFile> {
        self.file.flush().await?;
        DocumentFile::new(self.file.into_std().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_spool_accepts_bytes_up_to_its_limit() {
        let mut spool = Spool::new(10).await.unwrap();
        assert!(spool.write(b"01234").await.unwrap());
        assert!(spool.write(b"56789").await.unwrap());
        assert_eq!(spool.finish().await.unwrap().size_bytes(), 10);
        let mut spool = Spool::new(10).await.unwrap();
        assert!(!spool.write(&[0; 11]).await.unwrap());
    }

    #[test]
    fn only_a_stalled_body_is_a_request_timeout() {
        let stalled = PayloadError::Io(io::ErrorKind::TimedOut.into());
        assert_eq!(refusal(&stalled, "ended").code, ErrorCode::RequestTimeout);
        let cut = PayloadError::Incomplete(None);
        assert_eq!(refusal(&cut, "ended early").message, "The body ended early.");
    }
}
