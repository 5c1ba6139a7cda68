//! Undoes the `Content-Encoding` of a body, piece by piece.
//!
//! No encoding is asked for, since compression delays tokens; some proxies compress all the same. The decoders get their input in
//! small steps, so that a piece that expands a thousandfold is noticed before it fills the memory.

use super::failure::{Failure, Retry};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Write;

/// Bytes passed to a decoder at once. Deflate makes at most 1,032 bytes of one.
const STEP_BYTES: usize = 256;

/// Decodes one body.
pub(super) enum Coding {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `deflate`, before its first byte tells which of the two formats of that name it is.
    Deflate,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    RawDeflate(Box<DeflateDecoder<Vec<u8>>>),
}

impl Coding {
    /// The coding that the headers of a response name.
    ///
    /// # Errors
    /// When it is none of those that can be undone.
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let name = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            "deflate" => Ok(Self::Deflate),
            _ => Err(Failure::broken(
                "the answer has a Content-Encoding other than gzip or deflate, although none was asked for",
                Retry::Never,
            )),
        }
    }

    /// Decodes a piece of the body; `sink` gets what comes out, in pieces of bounded size.
    ///
    /// # Errors
    /// When the piece cannot be decoded, or `sink` fails.
    pub fn decode(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        if let (Self::Deflate, Some(first)) = (&self, bytes.first()) {
            // The low half of zlib's first byte is its method, which is always 8; no encoder starts a raw block with it.
            *self = match first & 0x0f {
                8 => Self::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
                _ => Self::RawDeflate(Box::new(DeflateDecoder::new(Vec::new()))),
            };
        }
        match self {
            Self::Identity | Self::Deflate => sink(bytes),
            Self::Gzip(decoder) => steps(bytes, sink, decoder.as_mut(), MultiGzDecoder::get_mut),
            Self::Zlib(decoder) => steps(bytes, sink, decoder.as_mut(), ZlibDecoder::get_mut),
            Self::RawDeflate(decoder) => steps(bytes, sink, decoder.as_mut(), DeflateDecoder::get_mut),
        }
    }
}

fn steps<D: Write>(
    bytes: &[u8],
    mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    decoder: &mut D,
    output: impl Fn(&mut D) -> &mut Vec<u8>,
) -> Result<(), Failure> {
    for step in bytes.chunks(STEP_BYTES) {
        // Flushing hands out what is decoded so far: a token must not wait for the next one.
        let decoded = decoder.write_all(step).and_then(|()| decoder.flush());
        decoded.map_err(|_| Failure::broken("the answer's body cannot be decompressed", Retry::Never))?;
        let output = output(decoder);
        sink(output)?;
        output.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    fn named(name: &str) -> Result<Coding, Failure> {
        Coding::of(&[(CONTENT_ENCODING, name.parse().unwrap())].into_iter().collect())
    }

    fn decoded(name: &str, bytes: &[u8], size: usize) -> Result<Vec<u8>, Failure> {
        let mut coding = named(name)?;
        let mut text = Vec::new();
        for piece in bytes.chunks(size) {
            coding.decode(piece, |piece| {
                text.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Ok(text)
    }

    #[test]
    fn every_coding_is_undone_however_the_bytes_are_cut() {
        let text = b"data: {\"choices\":[]}\n\n".repeat(50);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            encoder.write_all(&text).unwrap();
        }
        let bodies = [
            ("gzip", gzip.finish().unwrap()),
            ("X-GZIP", b"".to_vec()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
            ("identity", text.clone()),
        ];
        for (name, body) in bodies {
            for size in [1, 2, 7, 1_000] {
                let want = if body.is_empty() { &[][..] } else { &text };
                assert_eq!(decoded(name, &body, size).unwrap(), want, "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_token_does_not_wait_for_the_next() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: one\n\n").unwrap();
        encoder.flush().unwrap();
        assert_eq!(decoded("gzip", encoder.get_ref(), 1_000).unwrap(), b"data: one\n\n");
    }

    #[test]
    fn a_body_that_expands_comes_in_bounded_pieces() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 32 * 1024 * 1024]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut largest = 0;
        let result = named("gzip").unwrap().decode(&bomb, |piece| {
            largest = largest.max(piece.len());
            if largest > 512 * 1024 { Err(Failure::broken("too much", Retry::Never)) } else { Ok(()) }
        });
        assert!(result.is_ok() && largest > 0, "{largest}");
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        assert!(named("br").is_err());
        assert!(decoded("gzip", b"data: plain\n\n", 1_000).is_err());
    }
}
