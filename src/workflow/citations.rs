//! Check of the citations in an answer while it streams: `[n]` stays if source `n` exists, and is removed otherwise. Pure.
//!
//! A citation is `[1]`, `[[1]]` or a list such as `[1, 2]`, of which only the numbers without a source are removed. Everything
//! else is left as it is: code, escaped brackets, links (`[1](…)`), task boxes (`[x]`), ranges and footnotes (`[1-3]`, `[^1]`), and
//! brackets whose first number is too high for a source ([`MAX_NUMBER`]), such as a year (`[2024]`).
//!
//! Text that may become a citation without a source is held until that is decided, at most [`MAX_HELD_BYTES`]; a longer list is
//! decided number by number. The text that passes depends only on the whole text, not on its division into pieces, unless
//! [`CitationFilter::release`] ends the wait.

mod marker;

use super::markdown_code::MarkdownCode;
use crate::domain::Citation;
use marker::{Marker, Phase};

/// Maximum length of the text that is held, in bytes.
pub(super) const MAX_HELD_BYTES: usize = 8;
/// Highest number that is taken for that of a source, unless there are more sources.
const MAX_NUMBER: usize = 99;

/// Citation in the text that has passed, with offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundCitation {
    /// Number of the source, from 1.
    pub n: u32,
    pub start: usize,
    pub end: usize,
}

/// Filter for the pieces of one answer.
pub(super) struct CitationFilter {
    /// Number of sources.
    sources: usize,
    code: MarkdownCode,
    /// Possible citation at the end of the text so far.
    marker: Option<Box<Marker>>,
    /// Possible citation around `marker`, as in `[1[9], 2]`. It continues if `marker` is removed.
    outer: Option<Box<Marker>>,
    /// Whether a space that follows is removed, since there is one before the citation that was removed.
    skips_space: bool,
    /// Last character that has passed.
    last: char,
    /// Length of the text that has passed, in bytes.
    length: usize,
    /// Text that has passed in the current call.
    passed: String,
    found: Vec<FoundCitation>,
}

impl CitationFilter {
    /// Creates a filter for an answer with `sources` sources.
    pub fn new(sources: usize) -> Self {
        Self {
            sources,
            code: MarkdownCode::default(),
            marker: None,
            outer: None,
            skips_space: false,
            last: '\n',
            length: 0,
            passed: String::new(),
            found: Vec::new(),
        }
    }

    /// Takes the next piece of the answer, and returns the text that may be shown; it may be empty.
    pub fn push(&mut self, piece: String) -> String {
        if self.marker.is_none() && !self.skips_space && !piece.contains('[') {
            self.note(&piece);
            return piece;
        }
        for c in piece.chars() {
            self.take(c);
        }
        std::mem::take(&mut self.passed)
    }

    /// Ends the wait for text that has not come: returns the held text, without the numbers that are known to have no source.
    pub fn release(&mut self) -> String {
        if let Some(mut marker) = self.marker.take() {
            match marker.phase {
                Phase::Closed | Phase::HalfClosed if marker.held_bytes() > 0 => self.resolve(marker),
                Phase::Closed | Phase::HalfClosed => self.marker = Some(marker),
                Phase::Open | Phase::Digits | Phase::Comma | Phase::Space => {
                    self.remove_unknown(&mut marker);
                    let held = marker.show(self.length);
                    self.pass(&held);
                    self.marker = Some(marker);
                }
            }
        }
        std::mem::take(&mut self.passed)
    }

    /// Ends the answer, and returns the rest of its text.
    pub fn finish(&mut self) -> String {
        if let Some(marker) = self.marker.take() {
            match marker.phase {
                Phase::Closed | Phase::HalfClosed => self.resolve(marker),
                Phase::Open | Phase::Digits | Phase::Comma | Phase::Space => self.pass(&marker.held_text()),
            }
        }
        (self.marker, self.outer) = (None, None);
        std::mem::take(&mut self.passed)
    }

    /// Length of the held text, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.marker.as_ref().map_or(0, |marker| marker.held_bytes())
    }

    /// Citations in the text that has passed, in its order.
    pub fn found(&self) -> &[FoundCitation] {
        &self.found
    }

    fn take(&mut self, c: char) {
        while let Some(marker) = self.marker.take() {
            if self.continue_marker(marker, c) {
                return;
            }
        }
        if std::mem::take(&mut self.skips_space) && c == ' ' {
            return;
        }
        if c == '[' && !self.code.is_literal() {
            self.marker = Some(Box::default());
            return;
        }
        self.outer = None;
        let mut utf8 = [0; 4];
        self.pass(c.encode_utf8(&mut utf8));
    }

    /// Adds a character to a possible citation. Returns whether it was taken; if not, [`CitationFilter::take`] continues with it.
    fn continue_marker(&mut self, mut marker: Box<Marker>, c: char) -> bool {
        let adds = matches!(
            (marker.phase, c),
            (Phase::Open | Phase::Comma | Phase::Space | Phase::Digits, '0'..='9') | (Phase::Comma, ' ')
        );
        if let Some(digit) = c.to_digit(10)
            && marker.is_too_high_with(digit, self.sources.max(MAX_NUMBER))
        {
            self.abandon(marker, c);
            return false;
        }
        if adds && marker.held_bytes() >= MAX_HELD_BYTES && !self.remove_unknown(&mut marker) {
            self.abandon(marker, c);
            return false;
        }
        match (marker.phase, c) {
            (Phase::Open, '[') if marker.brackets == 1 => marker.brackets = 2,
            (Phase::Open, '[') if marker.brackets == 2 => self.pass_outer_bracket(),
            (Phase::Open | Phase::Comma | Phase::Space | Phase::Digits, '0'..='9') => marker.add_digit(c),
            (Phase::Comma, ' ') => marker.add_space(),
            (Phase::Digits, ',') => {
                if marker.is_double {
                    self.split(&mut marker);
                }
                self.complete_number(&mut marker);
                if marker.held_bytes() >= MAX_HELD_BYTES {
                    // One long number is no sign of a list.
                    if marker.start.is_none() && marker.held.len() == 1 {
                        self.abandon(marker, c);
                        return false;
                    }
                    self.remove_unknown(&mut marker);
                }
                marker.add_comma();
            }
            (Phase::Digits, ']') => {
                self.close(marker);
                return true;
            }
            (Phase::HalfClosed, ']') => {
                marker.phase = Phase::Closed;
                if marker.start.is_some() {
                    self.pass("]");
                } else {
                    marker.closing = 2;
                }
            }
            (Phase::HalfClosed, '(') => {
                self.split(&mut marker);
                self.abandon(marker, c);
                return false;
            }
            (Phase::Closed | Phase::HalfClosed, _) if c != '(' => {
                self.resolve(marker);
                return false;
            }
            _ => {
                self.abandon(marker, c);
                return false;
            }
        }
        self.marker = Some(marker);
        true
    }

    /// Ends the number that is being read. It passes if it has a source and no number before it is held.
    fn complete_number(&mut self, marker: &mut Marker) {
        let number = marker.take_number();
        if number.is_shown && !self.has_source(number.value) {
            marker.shows_unknown = true;
        } else if self.has_source(number.value) && marker.held.is_empty() {
            marker.cited.push(number.value);
            let text = marker.opened(self.length, &number.text);
            self.pass(&text);
        } else {
            marker.held.push(number);
        }
    }

    /// Handles the first closing bracket.
    fn close(&mut self, mut marker: Box<Marker>) {
        self.complete_number(&mut marker);
        if marker.shows_unknown {
            // Without a closing bracket, the number that has passed is not a citation.
            marker.forget_number();
            self.marker = Some(marker);
            return;
        }
        if marker.held.is_empty() {
            self.pass("]");
        } else {
            marker.closing = 1;
        }
        marker.phase = if marker.is_double { Phase::HalfClosed } else { Phase::Closed };
        if marker.held_bytes() > MAX_HELD_BYTES {
            self.resolve(marker);
        } else {
            self.marker = Some(marker);
        }
    }

    /// Treats `[[` as a bracket before a citation in single brackets.
    fn split(&mut self, marker: &mut Marker) {
        marker.is_double = false;
        match &mut marker.start {
            Some(start) => *start += 1,
            None => {
                self.pass_outer_bracket();
                marker.brackets = 1;
            }
        }
    }

    fn pass_outer_bracket(&mut self) {
        self.outer = Some(Box::new(Marker::opened_at(self.length)));
        self.pass("[");
    }

    /// Ends a closed citation: passes the numbers that have a source, or nothing if there are none.
    fn resolve(&mut self, mut marker: Box<Marker>) {
        if marker.phase == Phase::HalfClosed {
            self.split(&mut marker);
        }
        self.remove_unknown(&mut marker);
        let Some(start) = marker.start else {
            self.skips_space = self.last.is_whitespace();
            self.marker = self.outer.take();
            return;
        };
        self.pass(&"]".repeat(marker.closing));
        let end = self.length;
        let mut cited = std::mem::take(&mut marker.cited);
        cited.dedup();
        self.found.extend(cited.into_iter().map(|n| FoundCitation { n, start, end }));
        self.outer = None;
    }

    /// Passes text that is not a citation after all, before `next`.
    fn abandon(&mut self, mut marker: Box<Marker>, next: char) {
        let is_open = !matches!(marker.phase, Phase::Closed | Phase::HalfClosed);
        let text = marker.show(self.length);
        self.pass(&text);
        self.outer = (next == '[' && is_open).then_some(marker);
    }

    /// Removes the complete numbers without a source, and passes those with one. Returns whether there were any.
    fn remove_unknown(&mut self, marker: &mut Marker) -> bool {
        let held = std::mem::take(&mut marker.held);
        let were_held = !held.is_empty();
        for number in held {
            if !self.has_source(number.value) {
                continue;
            }
            marker.cited.push(number.value);
            let text = marker.opened(self.length, &number.text);
            self.pass(&text);
        }
        if were_held && marker.start.is_none() {
            marker.remove_separator();
        }
        were_held
    }

    fn has_source(&self, number: u32) -> bool {
        number > 0 && usize::try_from(number).is_ok_and(|number| number <= self.sources)
    }

    fn pass(&mut self, text: &str) {
        self.note(text);
        self.passed.push_str(text);
    }

    /// Records text that passes.
    fn note(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.code.feed(byte));
        self.length += text.len();
        self.last = text.chars().next_back().unwrap_or(self.last);
    }
}

/// Removes all citations from a text.
pub(super) fn without_citations(text: String) -> String {
    let mut filter = CitationFilter::new(0);
    let passed = filter.push(text);
    passed + &filter.finish()
}

/// Returns the citations of an answer. `found` counts from byte `start` of its text, and is in the order of the text.
pub(super) fn located(text: &str, start: usize, found: &[FoundCitation]) -> Vec<Citation> {
    let offset = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    // Bytes up to which UTF-16 code units have been counted, and their number.
    let (mut counted, mut units) = (0, 0);
    let mut utf16 = |bytes: usize| {
        let passed = text.get(counted..bytes).unwrap_or_default();
        units += passed.encode_utf16().count();
        counted = counted.max(bytes);
        offset(units)
    };
    let mut located: Vec<Citation> = Vec::with_capacity(found.len());
    for citation in found {
        let (start, end) = (offset(start + citation.start), offset(start + citation.end));
        let (start_utf16, end_utf16) = match located.last() {
            Some(last) if last.start == start => (last.start_utf16, last.end_utf16),
            _ => (utf16(start as usize), utf16(end as usize)),
        };
        located.push(Citation { n: citation.n, start, end, start_utf16, end_utf16 });
    }
    located
}

#[cfg(test)]
mod tests;
