//! A Word document as Markdown: all text that Word shows, with its headings, lists and tables.
//!
//! A DOCX is a ZIP archive of XML parts ([`package`]). The parts are read as a stream of elements ([`xml`]) without
//! recursion ([`body`]), so that no document can nest too deep for the stack. What is unpacked is bounded in total.
//!
//! Read is what a reader sees with all tracked changes accepted: inserted and moved text at its new place, the results of
//! fields, text boxes once, footnotes after the paragraph that refers to them, headers before and footers after the text.
//! Not read are deleted and hidden text, field codes, comments, and the alternative texts of pictures.

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

/// Most bytes of a ZIP archive that are unpacked to see whether it is a Word document.
const MAX_DETECTION_BYTES: u64 = 16 * 1024 * 1024;

/// Whether a ZIP archive is a Word document, whatever its file is called.
pub(super) fn is_word_document(bytes: &[u8]) -> bool {
    Package::open(bytes, MAX_DETECTION_BYTES).is_ok_and(|mut package| package.main_part().is_some())
}

/// Reads a Word document.
pub(super) fn markdown(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    let mut package = Package::open(bytes, limits.max_unpacked_bytes())?;
    let Some(main) = package.main_part() else {
        return Err(ExtractError::Unreadable("it has no main part, so it is no Word document".to_owned()));
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

/// The texts of diagrams and charts, by the id with which the document refers to them.
fn drawings(package: &mut Package, related: &[Part]) -> Result<HashMap<String, String>, ExtractError> {
    let mut drawings = HashMap::new();
    for part in related.iter().filter(|part| matches!(part.kind.as_str(), "diagramData" | "chart")) {
        drawings.insert(part.id.clone(), drawing_text(&package.text(&part.path)?)?);
    }
    Ok(drawings)
}

/// The texts of headers or footers. The same one often stands in several parts; it counts once.
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
