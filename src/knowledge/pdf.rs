//! Text of PDFs.
//!
//! The parser does not detect recursive forms, which would overflow the stack, so they are rejected first. Its memory and
//! time are limited by the process.

mod reflow;
mod repair;

use super::{extract_error::ExtractError, extract_limits::Limits};
use pdf_extract::{ConvertToFmt, Dictionary, Document, Object, ObjectId, PlainTextOutput, output_doc};
use std::{collections::HashSet, fmt};

/// Maximum nesting depth of forms and of page nodes; real documents stay below five.
const MAX_NESTING: usize = 16;
/// Number of writes between two checks of the deadline.
const CLOCK_INTERVAL: u32 = 1_024;

/// Extracts the text of a PDF, page by page.
pub(super) fn text(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    let mut document = repair::load(bytes).map_err(unreadable)?;
    if document.is_encrypted() {
        document.decrypt("").map_err(|_| ExtractError::Unreadable("it is password-protected".to_owned()))?;
    }
    limits.check_time()?;
    check_nesting(&document)?;
    let mut output = LimitedText { text: String::new(), writes: 0, limits: *limits, error: None };
    let outcome = output_doc(&document, &mut PlainTextOutput::new(&mut output));
    if let Some(error) = output.error {
        return Err(error);
    }
    outcome.map_err(unreadable)?;
    Ok(reflow::reflow(&output.text))
}

fn unreadable(error: impl fmt::Display) -> ExtractError {
    ExtractError::Unreadable(error.to_string())
}

/// Rejects page trees and forms that contain themselves or are nested too deeply for the parser's recursion.
fn check_nesting(document: &Document) -> Result<(), ExtractError> {
    let too_deep = || ExtractError::Unreadable("its objects are recursive or nested too deeply".to_owned());
    let mut checked = HashSet::new();
    for page in document.get_pages().into_values() {
        let mut node = document.get_dictionary(page).map_err(unreadable)?;
        for depth in 0.. {
            if depth > MAX_NESTING {
                return Err(too_deep());
            }
            for form in forms(document, node) {
                if !is_within_depth(document, form, MAX_NESTING, &mut checked) {
                    return Err(too_deep());
                }
            }
            match node.get(b"Parent").and_then(Object::as_reference).and_then(|parent| document.get_dictionary(parent))
            {
                Ok(parent) => node = parent,
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// Whether the forms that a form draws are nested at most `levels` deep. `checked` caches forms that passed; a recursive form
/// never does.
fn is_within_depth(document: &Document, form: ObjectId, levels: usize, checked: &mut HashSet<ObjectId>) -> bool {
    if checked.contains(&form) {
        return true;
    }
    let Ok(stream) = document.get_object(form).and_then(Object::as_stream) else { return true };
    if levels == 0 {
        return false;
    }
    if !stream.dict.has(b"Resources") {
        // It inherits the resources of the drawing object, which include the form itself, so it must not draw any form.
        let draws = stream.decode_content().map(|content| content.operations.iter().any(|op| op.operator == "Do"));
        return !draws.unwrap_or(false);
    }
    let passes =
        forms(document, &stream.dict).into_iter().all(|form| is_within_depth(document, form, levels - 1, checked));
    if passes {
        checked.insert(form);
    }
    passes
}

/// Returns the objects that a page or form can draw.
fn forms(document: &Document, owner: &Dictionary) -> Vec<ObjectId> {
    let dictionary = |owner: &Dictionary, key: &[u8]| {
        owner.get(key).and_then(|object| document.dereference(object)).and_then(|(_, object)| object.as_dict()).cloned()
    };
    dictionary(owner, b"Resources")
        .and_then(|resources| dictionary(&resources, b"XObject"))
        .map(|objects| objects.iter().filter_map(|(_, object)| object.as_reference().ok()).collect())
        .unwrap_or_default()
}

/// Output of the parser, which fails when a limit is exceeded.
struct LimitedText {
    text: String,
    writes: u32,
    limits: Limits,
    error: Option<ExtractError>,
}

impl fmt::Write for LimitedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writes = self.writes.wrapping_add(1);
        if self.text.len() + text.len() > self.limits.max_text_bytes {
            self.error = Some(self.limits.too_much_text());
        } else if self.writes.is_multiple_of(CLOCK_INTERVAL) {
            self.error = self.limits.check_time().err();
        }
        if self.error.is_some() {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl<'a> ConvertToFmt for &'a mut LimitedText {
    type Writer = &'a mut LimitedText;

    fn convert(self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
pub(super) mod tests;
