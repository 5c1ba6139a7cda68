//! Separation of the reasoning that some models write before their answer: `<think>…</think>`.
//!
//! Only a block at the start of the text counts, optionally after white space; later, the tag is part of the answer. Without a
//! closing tag, the whole text is reasoning. A model whose chat template opens the block writes only the closing tag and
//! cannot be told from one that answers; its server must be started with a reasoning parser.

/// Tag names used by models.
const TAG_NAMES: &[&str] = &["think", "thinking", "thought", "reasoning"];
/// Maximum leading white space to hold back, in bytes.
const MAX_HELD_BYTES: usize = 1024;

/// A piece of an answer, divided. Neither text is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Divided {
    pub reasoning: Option<String>,
    /// Text to show, including text held back earlier.
    pub text: Option<String>,
}

/// Streaming filter that separates leading reasoning from an answer.
#[derive(Debug, Default)]
pub(super) struct ReasoningFilter {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Only white space and the possible start of a tag so far; both are held back. `after_block`: drop the white space.
    Start { held: String, after_block: bool },
    /// Inside a block; `tail` is the possible start of the closing tag.
    Inside { close: String, tail: String },
    /// After the reasoning; text passes through.
    Answer,
}

impl Default for State {
    fn default() -> Self {
        Self::Start { held: String::new(), after_block: false }
    }
}

impl ReasoningFilter {
    /// Divides the next piece.
    pub fn push(&mut self, piece: String) -> Divided {
        let mut reasoning = String::new();
        let text = self.read(piece, &mut reasoning).filter(|text| !text.is_empty());
        Divided { reasoning: Some(reasoning).filter(|text| !text.is_empty()), text }
    }

    /// Returns the text to show, and appends reasoning to `reasoning`.
    fn read(&mut self, piece: String, reasoning: &mut String) -> Option<String> {
        let mut piece = piece;
        loop {
            match &mut self.state {
                State::Answer => return Some(piece),
                State::Start { held, after_block } => {
                    held.push_str(&piece);
                    let begin = held.len() - held.trim_start().len();
                    let rest = held[begin..].to_ascii_lowercase();
                    if let Some(name) = TAG_NAMES.iter().find(|name| opens(&rest, name)) {
                        let after = begin + name.len() + 2;
                        piece = held.split_off(after);
                        self.state = State::Inside { close: format!("</{name}>"), tail: String::new() };
                        continue;
                    }
                    let may_open =
                        rest.is_empty() || TAG_NAMES.iter().any(|name| format!("<{name}>").starts_with(&rest));
                    if may_open && begin < MAX_HELD_BYTES {
                        return None;
                    }
                    let shown = if *after_block { held.split_off(begin) } else { std::mem::take(held) };
                    self.state = State::Answer;
                    return Some(shown);
                }
                State::Inside { close, tail } => {
                    tail.push_str(&piece);
                    let Some(at) = tail.to_ascii_lowercase().find(close.as_str()) else {
                        let keep = (0..close.len()).rev().map(|len| tail.len().saturating_sub(len));
                        let from = keep.into_iter().find(|from| {
                            tail.is_char_boundary(*from) && close.starts_with(&tail[*from..].to_ascii_lowercase())
                        });
                        reasoning.extend(tail.drain(..from.unwrap_or(tail.len())));
                        return None;
                    };
                    piece = tail.split_off(at + close.len());
                    reasoning.push_str(&tail[..at]);
                    self.state = State::Start { held: String::new(), after_block: true };
                }
            }
        }
    }

    /// Ends the text; returns what was held back, which turned out not to be a tag.
    pub fn finish(&mut self) -> Option<String> {
        let State::Start { held, after_block } = std::mem::replace(&mut self.state, State::Answer) else { return None };
        Some(held).filter(|held| !held.trim_start().is_empty() || (!after_block && !held.is_empty()))
    }
}

/// Whether `text` starts with the opening tag `<name>`.
fn opens(text: &str, name: &str) -> bool {
    text.strip_prefix('<').and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('>'))
}

/// Removes leading reasoning from a complete answer.
pub(super) fn strip_reasoning(answer: &str) -> String {
    let mut filter = ReasoningFilter::default();
    let mut text = filter.push(answer.to_owned()).text.unwrap_or_default();
    text.push_str(&filter.finish().unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters `text` in pieces of `size` characters.
    fn filtered(text: &str, size: usize) -> String {
        let mut filter = ReasoningFilter::default();
        let chars: Vec<char> = text.chars().collect();
        let mut shown: String =
            chars.chunks(size).filter_map(|piece| filter.push(piece.iter().collect()).text).collect();
        shown.extend(filter.finish());
        shown
    }

    #[test]
    fn a_leading_block_is_removed_with_any_piece_size() {
        for (text, want) in [
            ("<think>hm</think>Hello.", "Hello."),
            ("\n <THINK>\nhm, 1 < 2 </thi nk>\n</think>\n\nHello <think>.", "Hello <think>."),
            ("<thinking>a</think>b</thinking> Hello.", "Hello."),
            ("<think></think>\n<think>again</think>Hello.", "Hello."),
            ("<think>grün 👍 never closed </think", ""),
            ("<think></think>", ""),
            ("  Hello.", "  Hello."),
            ("<b>Hello</b>", "<b>Hello</b>"),
            ("<thin", "<thin"),
            ("<", "<"),
            ("<thinker>", "<thinker>"),
            ("Hello <think>no</think>", "Hello <think>no</think>"),
            ("</think>Hello", "</think>Hello"),
            ("   ", "   "),
            ("", ""),
        ] {
            for size in 1..=text.chars().count().max(1) {
                assert_eq!(filtered(text, size), want, "{text:?} in pieces of {size}");
            }
            assert_eq!(strip_reasoning(text), want, "{text:?}");
        }
    }

    #[test]
    fn reasoning_is_returned_with_any_piece_size() {
        for (text, want) in [
            ("<think>hm</think>Hello.", "hm"),
            ("<THINK>1 < 2 </thi nk></think>\n<think>again</think>Hello.", "1 < 2 </thi nk>again"),
            ("<think>grün 👍 never closed", "grün 👍 never closed"),
            ("<think></think>Hello", ""),
            ("Hello <think>no</think>", ""),
        ] {
            for size in 1..=text.chars().count() {
                let mut filter = ReasoningFilter::default();
                let chars: Vec<char> = text.chars().collect();
                let pieces = chars.chunks(size).map(|piece| filter.push(piece.iter().collect()));
                let reasoning: String = pieces.filter_map(|divided| divided.reasoning).collect();
                assert_eq!(reasoning, want, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn empty_text_is_never_returned() {
        let mut filter = ReasoningFilter::default();
        let spaces = filter.push(format!("<think>hm</think>{}", " ".repeat(MAX_HELD_BYTES + 1)));
        assert_eq!(spaces, Divided { reasoning: Some("hm".to_owned()), text: None });
        assert_eq!(filter.push("Hello.".to_owned()), Divided { reasoning: None, text: Some("Hello.".to_owned()) });
    }

    #[test]
    fn reasoning_is_not_buffered() {
        let mut filter = ReasoningFilter::default();
        filter.push("<think>".to_owned());
        for _ in 0..1_000 {
            let divided = Divided { reasoning: Some("hm, ".to_owned()), text: None };
            assert_eq!(filter.push("hm, ".to_owned()), divided);
        }
        let State::Inside { tail, .. } = &filter.state else { panic!("still inside") };
        assert!(tail.len() < 16, "{tail}");
    }
}
