//! The text of a PDF.
//!
//! The parser trusts its input: a loop of form objects would overflow the stack, so it is looked for before. What it takes
//! of memory and time is limited by the process that this runs in.

mod reflow;
mod repair;

use super::{extract_error::ExtractError, extract_limits::Limits};
use pdf_extract::{ConvertToFmt, Dictionary, Document, Object, ObjectId, PlainTextOutput, output_doc};
use std::{collections::HashSet, fmt};

/// How deep forms may stand in forms, and page nodes in page nodes; real documents stay below five.
const MAX_NESTING: usize = 16;
/// Between two looks at the clock while text comes out, in writes.
const CLOCK_INTERVAL: u32 = 1_024;

/// Reads the text of a PDF, page after page.
pub(super) fn text(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    let mut document = repair::load(bytes).map_err(unreadable)?;
    if document.is_encrypted() {
        document.decrypt("").map_err(|_| ExtractError::Unreadable("it is protected by a password".to_owned()))?;
    }
    limits.check_time()?;
    check_nesting(&document)?;
    let mut output = Bounded { text: String::new(), writes: 0, limits: *limits, refused: None };
    let outcome = output_doc(&document, &mut PlainTextOutput::new(&mut output));
    if let Some(refused) = output.refused {
        return Err(refused);
    }
    outcome.map_err(unreadable)?;
    Ok(reflow::reflow(&output.text))
}

fn unreadable(error: impl fmt::Display) -> ExtractError {
    ExtractError::Unreadable(error.to_string())
}

/// Refuses page trees and forms that contain themselves, or nest too deep for the parser's recursion.
fn check_nesting(document: &Document) -> Result<(), ExtractError> {
    let too_deep = || ExtractError::Unreadable("its objects contain themselves, or nest too deep".to_owned());
    let mut checked = HashSet::new();
    for page in document.get_pages().into_values() {
        let mut node = document.get_dictionary(page).map_err(unreadable)?;
        for depth in 0.. {
            if depth > MAX_NESTING {
                return Err(too_deep());
            }
            for form in forms(document, node) {
                if !nests_within(document, form, MAX_NESTING, &mut checked) {
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

/// Whether a form, and what it draws, nests at most `levels` deep. `checked` holds those known to, from any depth that
/// was not the deepest; a loop never gets in, because it never ends well.
fn nests_within(document: &Document, form: ObjectId, levels: usize, checked: &mut HashSet<ObjectId>) -> bool {
    if checked.contains(&form) {
        return true;
    }
    let Ok(stream) = document.get_object(form).and_then(Object::as_stream) else { return true };
    if levels == 0 {
        return false;
    }
    if !stream.dict.has(b"Resources") {
        // It draws with the resources of whoever draws it, itself among them: sound only when it draws no form.
        let draws = stream.decode_content().map(|content| content.operations.iter().any(|op| op.operator == "Do"));
        return !draws.unwrap_or(false);
    }
    let sound = forms(document, &stream.dict).into_iter().all(|form| nests_within(document, form, levels - 1, checked));
    if sound {
        checked.insert(form);
    }
    sound
}

/// The objects that a page or a form can draw.
fn forms(document: &Document, owner: &Dictionary) -> Vec<ObjectId> {
    let dictionary = |owner: &Dictionary, key: &[u8]| {
        owner.get(key).and_then(|object| document.dereference(object)).and_then(|(_, object)| object.as_dict()).cloned()
    };
    dictionary(owner, b"Resources")
        .and_then(|resources| dictionary(&resources, b"XObject"))
        .map(|objects| objects.iter().filter_map(|(_, object)| object.as_reference().ok()).collect())
        .unwrap_or_default()
}

/// The text that the parser writes, up to the limit of text or of time.
struct Bounded {
    text: String,
    writes: u32,
    limits: Limits,
    refused: Option<ExtractError>,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writes = self.writes.wrapping_add(1);
        if self.text.len() + text.len() > self.limits.max_text_bytes {
            self.refused = Some(self.limits.too_much_text());
        } else if self.writes.is_multiple_of(CLOCK_INTERVAL) {
            self.refused = self.limits.check_time().err();
        }
        if self.refused.is_some() {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl<'a> ConvertToFmt for &'a mut Bounded {
    type Writer = &'a mut Bounded;

    fn convert(self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
pub(super) mod tests;
