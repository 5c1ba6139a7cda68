//! Word documents: converts the visible text to Markdown, with headings, lists and tables.
//!
//! A DOCX is a ZIP archive of XML parts ([`package`]). The parts are read as a stream of elements ([`xml`]) by a state machine
//! without recursion ([`body`]), so that nesting cannot overflow the stack. The total unpacked size is limited.
//!
//! The output is the document with all tracked changes accepted: inserted and moved text, results of fields, text boxes,
//! footnotes after the paragraph that refers to them, headers before and footers after the text. Deleted and hidden text, field
//! codes, comments and alternative texts of pictures are omitted.

mod blocks;
mod body;
mod container;
mod drawing;
mod package;
mod styles;
mod symbols;
mod xml;

use super::{extract_error::ExtractError, extract_limits::Limits};
use body::{Notes, Walker};
use drawing::drawing_text;
use package::{Package, Part};
use std::collections::{BTreeMap, HashMap};
use styles::Styles;

/// Maximum unpacked size, in bytes, when detecting whether a ZIP archive is a Word document.
const MAX_DETECTION_BYTES: u64 = 16 * 1024 * 1024;

/// Whether a ZIP archive contains a Word document.
pub(super) fn is_word_document(bytes: &[u8]) -> bool {
    Package::open(bytes, MAX_DETECTION_BYTES).is_ok_and(|mut package| package.main_part().is_some())
}

/// Converts a Word document to Markdown.
pub(super) fn markdown(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    let mut package = Package::open(bytes, limits.max_unpacked_bytes())?;
    let Some(main) = package.main_part() else {
        return Err(ExtractError::Unreadable("it has no main part and is not a Word document".to_owned()));
    };
    let related = package.related(&main)?;
    let part = |kind: &str| related.iter().find(|part| part.kind == kind);

    let styles = match part("styles") {
        Some(part) => Styles::read(&package.text(&part.path)?)?,
        None => Styles::default(),
    };
    let mut notes = Notes::default();
    for (kind, element) in [("footnotes", "footnote"), ("endnotes", "endnote")] {
        if let Some(part) = part(kind) {
            let xml = package.text(&part.path)?;
            Walker::new(&styles, limits).notes(&xml, element, &mut notes)?;
        }
    }
    let drawings = drawings(&mut package, &related)?;
    let headers = margins(&mut package, &related, "header", &styles, limits)?;
    let xml = package.text(&main)?;
    let body = Walker::new(&styles, limits).with(notes, drawings).document(&xml)?;
    drop(xml);
    let footers = margins(&mut package, &related, "footer", &styles, limits)?;
    let parts: Vec<_> = [headers, body, footers].into_iter().filter(|part| !part.is_empty()).collect();
    Ok(parts.join("\n\n"))
}

/// Extracts the texts of diagrams and charts, by relationship id.
fn drawings(package: &mut Package, related: &[Part]) -> Result<HashMap<String, String>, ExtractError> {
    let mut drawings = HashMap::new();
    for part in related.iter().filter(|part| matches!(part.kind.as_str(), "diagramData" | "chart")) {
        drawings.insert(part.id.clone(), drawing_text(&package.text(&part.path)?)?);
    }
    Ok(drawings)
}

/// Extracts the text of headers or footers. Documents often repeat them in several parts; duplicates are dropped.
fn margins(
    package: &mut Package,
    related: &[Part],
    kind: &str,
    styles: &Styles,
    limits: &Limits,
) -> Result<String, ExtractError> {
    let mut texts = BTreeMap::new();
    for (order, part) in related.iter().filter(|part| part.kind == kind).enumerate() {
        let text = Walker::new(styles, limits).document(&package.text(&part.path)?)?;
        if !text.is_empty() {
            texts.entry(text).or_insert(order);
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, order)| (order, text)).collect();
    texts.sort_unstable();
    Ok(texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n\n"))
}

#[cfg(test)]
pub(super) mod tests;
