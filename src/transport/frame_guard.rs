//! Guard against oversized frames: refuses a frame by the length in its header.
//!
//! The codec of actix-http buffers a frame completely before it checks the limit, so a client could fill the server's memory.
//! The guard reads the stream before the codec and passes on no byte of an oversized frame.

use actix_web::{error::PayloadError, web::Bytes};
use futures_util::Stream;
use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Two bytes, an extended length of up to eight, and a mask of four (RFC 6455, section 5.2).
const MAX_HEADER_BYTES: usize = 14;

/// The bytes of a WebSocket; yields an error at the first oversized frame. A network failure ends the stream.
pub struct FrameGuard<S> {
    stream: S,
    frames: Frames,
    refused: Refusal,
}

/// Tells whether a [`FrameGuard`] has refused a frame, because the session cannot distinguish its error from other I/O errors.
#[derive(Clone, Default)]
pub struct Refusal(Rc<Cell<bool>>);

impl Refusal {
    pub fn happened(&self) -> bool {
        self.0.get()
    }
}

impl<S> FrameGuard<S> {
    pub fn new(stream: S, max_frame_bytes: usize, refused: Refusal) -> Self {
        Self { stream, frames: Frames::new(max_frame_bytes), refused }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameGuard<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.stream).poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled
            && self.frames.read(bytes).is_err()
        {
            self.refused.0.set(true);
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        // Network failures end the stream: the codec would report them like invalid UTF-8.
        polled.map(|item| item.filter(Result::is_ok))
    }
}

struct TooLarge;

/// The position of the byte stream in the sequence of frames.
struct Frames {
    max_bytes: u64,
    /// The bytes of the next header so far.
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    /// The remaining payload of the current frame.
    payload_bytes: u64,
}

impl Frames {
    fn new(max_bytes: usize) -> Self {
        Self { max_bytes: max_bytes as u64, header: [0; MAX_HEADER_BYTES], header_bytes: 0, payload_bytes: 0 }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while let [first, rest @ ..] = bytes {
            if self.payload_bytes > 0 {
                let skipped = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_bytes -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.header_bytes] = *first;
            self.header_bytes += 1;
            bytes = rest;
            if let Some(payload_bytes) = payload_length(&self.header[..self.header_bytes]) {
                if payload_bytes > self.max_bytes {
                    return Err(TooLarge);
                }
                self.payload_bytes = payload_bytes;
                self.header_bytes = 0;
            }
        }
        Ok(())
    }
}

/// Returns the payload length of a header, once it is complete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let (length_bytes, short) = match second & 0x7f {
        126 => (2, None),
        127 => (8, None),
        length => (0, Some(u64::from(length))),
    };
    if header.len() < 2 + length_bytes + mask_bytes {
        return None;
    }
    let long = || header[2..2 + length_bytes].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    Some(short.unwrap_or_else(long))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload_bytes: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x81];
        match u8::try_from(payload_bytes) {
            Ok(length @ 0..=125) => bytes.push(mask | length),
            _ if payload_bytes <= 0xffff => {
                bytes.push(mask | 126);
                bytes.extend((payload_bytes as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload_bytes as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(0xff, payload_bytes + if masked { 4 } else { 0 }));
        bytes
    }

    #[test]
    fn oversized_frame_is_refused_by_its_header() {
        let mut header = vec![0x81, 0xff];
        header.extend((1_u64 << 40).to_be_bytes());
        header.extend([0; 4]);
        assert!(Frames::new(1_000).read(&header).is_err());
    }

    #[test]
    fn network_failure_ends_the_stream() {
        use futures_util::{FutureExt, StreamExt, stream};
        let failed = stream::iter([Ok(Bytes::from(frame(5, true))), Err(PayloadError::Incomplete(None))]);
        let mut guard = FrameGuard::new(failed, 10, Refusal::default());
        assert!(guard.next().now_or_never().unwrap().is_some_and(|bytes| bytes.is_ok()));
        assert!(guard.next().now_or_never().unwrap().is_none());
    }

    proptest! {
        /// Frames within the limit pass and the first one over it does not, however the stream is split into chunks.
        #[test]
        fn frames_are_recognised_across_any_chunk_boundaries(
            sizes in prop::collection::vec(0usize..70_000, 1..6),
            masked in any::<bool>(),
            cut in 1usize..200,
        ) {
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| frame(*size, masked)).collect();
            let largest = sizes.iter().copied().max().unwrap();
            let all_pass = |max_bytes| {
                let mut frames = Frames::new(max_bytes);
                bytes.chunks(cut).all(|piece| frames.read(piece).is_ok())
            };
            prop_assert!(all_pass(largest));
            prop_assert!(largest == 0 || !all_pass(largest - 1));
        }
    }
}
