//! Streaming decompression of a response body by its `Content-Encoding`.
//!
//! The client requests `identity`, since compression delays tokens, but some proxies compress anyway. Input is decoded in
//! small steps, so that a decompression bomb is detected before it fills the memory.

use super::{failure::Failure, retry::Retry};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Write;

/// Maximum input of one decoding step, in bytes. Deflate expands by a factor of at most 1,032.
const STEP_BYTES: usize = 256;

/// Decoder of one body.
pub(super) enum Coding {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `deflate` before its first byte, which tells zlib from raw deflate.
    Deflate,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    RawDeflate(Box<DeflateDecoder<Vec<u8>>>),
}

impl Coding {
    /// Selects the decoder by the headers of a response.
    ///
    /// # Errors
    /// When the coding is not supported.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        let name = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            "deflate" => Ok(Self::Deflate),
            _ => Err(Failure::broken(
                "unsupported Content-Encoding of the answer; expected none, gzip or deflate",
                Retry::Never,
            )),
        }
    }

    /// Decodes a piece of the body and passes the output to `sink`, in pieces of bounded size.
    ///
    /// # Errors
    /// When the piece cannot be decoded, or `sink` fails.
    pub fn decode(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        if let (Self::Deflate, Some(first)) = (&self, bytes.first()) {
            // The low four bits of a zlib header are the method, always 8. No encoder starts a raw block with these bits.
            *self = match first & 0x0f {
                8 => Self::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
                _ => Self::RawDeflate(Box::new(DeflateDecoder::new(Vec::new()))),
            };
        }
        match self {
            Self::Identity | Self::Deflate => sink(bytes),
            Self::Gzip(decoder) => decode_in_steps(bytes, sink, decoder.as_mut(), MultiGzDecoder::get_mut),
            Self::Zlib(decoder) => decode_in_steps(bytes, sink, decoder.as_mut(), ZlibDecoder::get_mut),
            Self::RawDeflate(decoder) => decode_in_steps(bytes, sink, decoder.as_mut(), DeflateDecoder::get_mut),
        }
    }
}

fn decode_in_steps<D: Write>(
    bytes: &[u8],
    mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
    decoder: &mut D,
    output: impl Fn(&mut D) -> &mut Vec<u8>,
) -> Result<(), Failure> {
    for step in bytes.chunks(STEP_BYTES) {
        // Flush to output everything decoded so far; otherwise a token would wait for the next one.
        let decoded = decoder.write_all(step).and_then(|()| decoder.flush());
        decoded.map_err(|_| Failure::broken("the body of the answer cannot be decompressed", Retry::Never))?;
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

    fn coding(name: &str) -> Result<Coding, Failure> {
        Coding::from_headers(&[(CONTENT_ENCODING, name.parse().unwrap())].into_iter().collect())
    }

    fn decoded(name: &str, bytes: &[u8], size: usize) -> Result<Vec<u8>, Failure> {
        let mut coding = coding(name)?;
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
    fn every_coding_is_decoded_with_any_piece_size() {
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
    fn output_is_not_delayed_until_the_next_piece() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: one\n\n").unwrap();
        encoder.flush().unwrap();
        assert_eq!(decoded("gzip", encoder.get_ref(), 1_000).unwrap(), b"data: one\n\n");
    }

    #[test]
    fn a_decompression_bomb_is_output_in_bounded_pieces() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 32 * 1024 * 1024]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut largest = 0;
        let result = coding("gzip").unwrap().decode(&bomb, |piece| {
            largest = largest.max(piece.len());
            if largest > 512 * 1024 { Err(Failure::broken("too much", Retry::Never)) } else { Ok(()) }
        });
        assert!(result.is_ok() && largest > 0, "{largest}");
    }

    #[test]
    fn unknown_codings_and_corrupt_bodies_are_errors() {
        assert!(coding("br").is_err());
        assert!(decoded("gzip", b"data: plain\n\n", 1_000).is_err());
    }
}
