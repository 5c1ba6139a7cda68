//! Division of a message into sentences, and into the items of a numbered list. Knows no language.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A sentence, line or list item of a message, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub range: Range<usize>,
    /// Whether it is an item of a list.
    pub is_numbered: bool,
}

/// Returns the sentences of a text that are not blank. The items of a numbered list, even within a line, are sentences without their
/// numbers.
pub(super) fn sentences(text: &str) -> Vec<Sentence> {
    let items = items(text);
    let Some(first) = items.first() else { return unnumbered(text, 0..text.len()) };
    let mut sentences = unnumbered(text, 0..first.start);
    let ends = items.iter().skip(1).map(|next| next.start).chain([text.len()]);
    let ranges = items.iter().zip(ends).map(|(number, end)| number.end..end);
    sentences.extend(ranges.map(|range| Sentence { range, is_numbered: true }));
    sentences
}

/// Returns the sentences of each line. A line with a bullet is an item of a list.
fn unnumbered(text: &str, range: Range<usize>) -> Vec<Sentence> {
    let mut sentences = Vec::<Sentence>::new();
    let mut line_start = range.start;
    for line in text[range].split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let bullet = ["- ", "* ", "• ", "– "].iter().find(|bullet| line.trim_start().starts_with(**bullet));
        let from = bullet.map_or(0, |bullet| indent + bullet.len());
        let mut follows_ordinal = false;
        for (at, sentence) in line[from..].split_sentence_bound_indices() {
            let start = line_start + from + at;
            let end = start + sentence.len();
            match sentences.last_mut().filter(|_| follows_ordinal) {
                Some(last) => last.range.end = end,
                None => sentences.push(Sentence { range: start..end, is_numbered: bullet.is_some() }),
            }
            follows_ordinal = ends_with_ordinal(sentence);
        }
        line_start += line.len();
    }
    sentences.retain(|sentence| !text[sentence.range.clone()].trim().is_empty());
    sentences
}

/// Whether a text ends with a number and a full stop, as in "the 1. gear", which are no end of a sentence.
fn ends_with_ordinal(text: &str) -> bool {
    let number = text.trim_end().strip_suffix('.').unwrap_or_default();
    let word = number.rsplit(char::is_whitespace).next().unwrap_or_default();
    (1..=2).contains(&word.len()) && word.bytes().all(|c| c.is_ascii_digit())
}

/// Returns the numbers of a numbered list, such as "1. " or "(2) ": at least two that count from 1. The first one is at the beginning
/// of the text or after punctuation, since "1." is also an ordinal.
fn items(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let beginnings = text.char_indices().filter(|(_, c)| c.is_ascii_digit() || *c == '(');
    for (at, _) in beginnings {
        let Some(length) = number(&text[at..], found.len() + 1) else { continue };
        let before = text[..at].trim_end();
        let is_apart = match found.is_empty() {
            true => before.is_empty() || before.ends_with([':', ',', '.', '!', '?', ';', '\n']),
            false => before.len() < at,
        };
        if is_apart {
            found.push(at..at + length);
        }
    }
    if found.len() < 2 { Vec::new() } else { found }
}

/// Returns the length of the number `wanted` at the beginning of a text, with its punctuation.
fn number(text: &str, wanted: usize) -> Option<usize> {
    let inner = text.strip_prefix('(').unwrap_or(text);
    let rest = inner.strip_prefix(wanted.to_string().as_str())?;
    let rest = rest.strip_prefix([')', '.', ':'])?;
    rest.starts_with(char::is_whitespace).then(|| text.len() - rest.trim_start().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(&str, bool)> {
        sentences(text).into_iter().map(|sentence| (text[sentence.range].trim(), sentence.is_numbered)).collect()
    }

    #[test]
    fn lists_and_sentences_are_divided() {
        for (text, wanted) in [
            ("One. Two?\nThree", &[("One.", false), ("Two?", false), ("Three", false)][..]),
            ("Hi: 1. one 2. two 3) three", &[("Hi:", false), ("one", true), ("two", true), ("three", true)]),
            ("(1) one\n(2) two", &[("one", true), ("two", true)]),
            ("- one\n* two", &[("one", true), ("two", true)]),
            ("In the 1. gear 2. times", &[("In the 1. gear 2. times", false)]),
            (
                "It is the 12. Is it? It costs 120. Why?",
                &[("It is the 12. Is it?", false), ("It costs 120.", false), ("Why?", false)],
            ),
            (" \n ", &[]),
        ] {
            assert_eq!(split(text), wanted, "{text}");
        }
    }
}
