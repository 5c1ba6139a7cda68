//! Bounds that every format of document is read within.

use super::extract_error::ExtractError;
use std::time::Instant;

/// Bounds for reading one file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most text that may come out, in bytes.
    pub max_text_bytes: usize,
    /// The time at which reading is given up.
    pub deadline: Instant,
}

impl Limits {
    /// The most that the packed parts of a file may unpack to, in bytes: a format's markup takes several times the
    /// space of its text.
    pub const fn max_unpacked_bytes(&self) -> u64 {
        (self.max_text_bytes as u64).saturating_mul(16)
    }

    /// # Errors
    /// `Timeout` after the deadline.
    pub fn check_time(&self) -> Result<(), ExtractError> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(ExtractError::Timeout) }
    }

    pub const fn too_much_text(&self) -> ExtractError {
        ExtractError::TooLarge { limit_bytes: self.max_text_bytes as u64 }
    }
}
