//! Any text as a client's frame: parsed or refused, never a panic, and no error that grows with the frame.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::{ClientFrame, ErrorCode};

/// The longest that an error may say, in bytes: names of fields and a cut of what was wrong.
const MAX_ERROR_BYTES: usize = 1_000;

fuzz_target!(|text: &str| {
    if let Err(error) = ClientFrame::parse(text) {
        assert!(matches!(error.code, ErrorCode::InvalidJson | ErrorCode::InvalidField | ErrorCode::UnknownType));
        assert!(error.message.len() <= MAX_ERROR_BYTES, "{}", error.message);
    }
});
