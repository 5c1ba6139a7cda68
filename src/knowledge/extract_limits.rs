//! Limits of text extraction, common to all formats.

use super::extract_error::ExtractError;
use std::time::Instant;

/// Limits of the extraction of one document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum size of the extracted text, in bytes.
    pub max_text_bytes: usize,
    pub deadline: Instant,
}

impl Limits {
    /// Returns the maximum total size of the unpacked parts of an archive, in bytes. Larger than the text, since it includes
    /// markup.
    pub const fn max_unpacked_bytes(&self) -> u64 {
        (self.max_text_bytes as u64).saturating_mul(16)
    }

    /// Checks the deadline.
    ///
    /// # Errors
    /// `Timeout` after the deadline.
    pub fn check_time(&self) -> Result<(), ExtractError> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(ExtractError::Timeout) }
    }

    pub const fn too_much_text(&self) -> ExtractError {
        ExtractError::TooLarge { limit_bytes: self.max_text_bytes as u64 }
    }
}
