//! The body of an upload: how fast it must come, and the file that it goes to.
//!
//! A document goes to a temporary file as it arrives, so that the memory of the server does not depend on its size.

use crate::knowledge::DocumentFile;
use actix_web::{error::PayloadError, web};
use futures_util::{Stream, StreamExt};
use std::{io, pin::Pin, time::Duration};
use switchboard_protocol::{ApiError, ErrorCode};
use tokio::{fs::File, io::AsyncWriteExt};

/// The bytes of a body, each within some time after the one before.
pub(super) type Body = Pin<Box<dyn Stream<Item = Result<web::Bytes, PayloadError>>>>;

/// Ends a body with an error when nothing of it comes for `stall_timeout`.
pub(super) fn timed(body: web::Payload, stall_timeout: Duration) -> Body {
    let chunks = futures_util::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match tokio::time::timeout(stall_timeout, body.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, Some(body))),
            Err(_) => Some((Err(PayloadError::Io(io::ErrorKind::TimedOut.into())), None)),
        }
    });
    // A form asks again after the end.
    Box::pin(chunks.fuse())
}

/// The error for a body that did not come whole; `reason` continues "the body".
pub(super) fn refusal(error: &PayloadError, reason: &str) -> ApiError {
    match error {
        PayloadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => too_slow(),
        _ => ApiError::new(ErrorCode::InvalidJson, format!("The body {reason}.")),
    }
}

pub(super) fn too_slow() -> ApiError {
    ApiError::new(ErrorCode::RequestTimeout, "The document did not come in time.")
}

/// A temporary file that takes a document as it comes.
pub(super) struct Spool {
    file: File,
    bytes: usize,
    limit_bytes: usize,
}

impl Spool {
    /// # Errors
    /// When there is no folder for temporary files.
    pub(super) async fn new(limit_bytes: usize) -> io::Result<Self> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await??;
        Ok(Self { file: File::from_std(file), bytes: 0, limit_bytes })
    }

    /// Takes the next bytes. Returns false, and takes nothing, when they would be over the limit.
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
    async fn a_spool_holds_what_was_written_up_to_its_limit() {
        let mut spool = Spool::new(10).await.unwrap();
        assert!(spool.write(b"01234").await.unwrap());
        assert!(spool.write(b"56789").await.unwrap());
        assert_eq!(spool.finish().await.unwrap().size_bytes(), 10);
        let mut spool = Spool::new(10).await.unwrap();
        assert!(!spool.write(&[0; 11]).await.unwrap());
    }

    #[test]
    fn only_a_body_that_stalls_is_too_slow() {
        let stalled = PayloadError::Io(io::ErrorKind::TimedOut.into());
        assert_eq!(refusal(&stalled, "ended").code, ErrorCode::RequestTimeout);
        let cut = PayloadError::Incomplete(None);
        assert_eq!(refusal(&cut, "ended early").message, "The body ended early.");
    }
}
