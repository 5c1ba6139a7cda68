//! Leaves out the block of reasoning that some models write in front of their answer: `<think>…</think>`.
//!
//! Only a block at the very start counts, after white space: further on, the tag is part of the answer. Without a closing tag all
//! of the text is reasoning. A model that writes only the closing tag (its chat template opened the block) cannot be told from one
//! that answers; such a server has to be started with its reasoning parser.

/// The names that models give the block.
const NAMES: &[&str] = &["think", "thinking", "thought", "reasoning"];
/// White space in front of an answer that is held back at most, in bytes.
const MAX_HELD_BYTES: usize = 1024;

/// Separates the answer from the reasoning in front of it, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing but white space and the start of a tag so far, which is held back. `after_block`: white space is not shown.
    Start { held: String, after_block: bool },
    /// Within a block; `tail` is what may be the start of the closing tag.
    Inside { close: String, tail: String },
    /// In the answer.
    Answer,
}

impl Default for State {
    fn default() -> Self {
        Self::Start { held: String::new(), after_block: false }
    }
}

impl Thinking {
    /// Returns the text to show of this piece and of what was held back before it.
    pub fn read(&mut self, piece: String) -> Option<String> {
        let mut piece = piece;
        loop {
            match &mut self.state {
                State::Answer => return Some(piece).filter(|text| !text.is_empty()),
                State::Start { held, after_block } => {
                    held.push_str(&piece);
                    let begin = held.len() - held.trim_start().len();
                    let rest = held[begin..].to_ascii_lowercase();
                    if let Some(name) = NAMES.iter().find(|name| opens(&rest, name)) {
                        let after = begin + name.len() + 2;
                        piece = held.split_off(after);
                        self.state = State::Inside { close: format!("</{name}>"), tail: String::new() };
                        continue;
                    }
                    let may_open = rest.is_empty() || NAMES.iter().any(|name| format!("<{name}>").starts_with(&rest));
                    if may_open && begin < MAX_HELD_BYTES {
                        return None;
                    }
                    let shown = if *after_block { held.split_off(begin) } else { std::mem::take(held) };
                    self.state = State::Answer;
                    return Some(shown).filter(|text| !text.is_empty());
                }
                State::Inside { close, tail } => {
                    tail.push_str(&piece);
                    let Some(at) = tail.to_ascii_lowercase().find(close.as_str()) else {
                        let keep = (0..close.len()).rev().map(|len| tail.len().saturating_sub(len));
                        let from = keep.into_iter().find(|from| {
                            tail.is_char_boundary(*from) && close.starts_with(&tail[*from..].to_ascii_lowercase())
                        });
                        tail.drain(..from.unwrap_or(tail.len()));
                        return None;
                    };
                    piece = tail.split_off(at + close.len());
                    self.state = State::Start { held: String::new(), after_block: true };
                }
            }
        }
    }

    /// Returns the text that was held back when nothing follows: it was no tag after all.
    pub fn finish(&mut self) -> Option<String> {
        let State::Start { held, after_block } = std::mem::replace(&mut self.state, State::Answer) else { return None };
        Some(held).filter(|held| !held.trim_start().is_empty() || (!after_block && !held.is_empty()))
    }
}

fn opens(text: &str, name: &str) -> bool {
    text.strip_prefix('<').and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('>'))
}

/// An answer without the reasoning in front of it.
pub(super) fn without_thinking(answer: &str) -> String {
    let mut thinking = Thinking::default();
    let mut text = thinking.read(answer.to_owned()).unwrap_or_default();
    text.push_str(&thinking.finish().unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text shown of an answer that comes in pieces of so many characters.
    fn shown(text: &str, size: usize) -> String {
        let mut thinking = Thinking::default();
        let pieces: Vec<char> = text.chars().collect();
        let mut shown: String = pieces.chunks(size).filter_map(|piece| thinking.read(piece.iter().collect())).collect();
        shown.extend(thinking.finish());
        shown
    }

    #[test]
    fn a_leading_block_is_left_out_however_it_is_cut() {
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
                assert_eq!(shown(text, size), want, "{text:?} in pieces of {size}");
            }
            assert_eq!(without_thinking(text), want, "{text:?}");
        }
    }

    #[test]
    fn an_empty_text_is_never_shown() {
        let mut thinking = Thinking::default();
        assert_eq!(thinking.read(format!("<think>hm</think>{}", " ".repeat(MAX_HELD_BYTES + 1))), None);
        assert_eq!(thinking.read("Hello.".to_owned()).as_deref(), Some("Hello."));
    }

    #[test]
    fn reasoning_is_not_kept() {
        let mut thinking = Thinking::default();
        thinking.read("<think>".to_owned());
        for _ in 0..1_000 {
            assert_eq!(thinking.read("hm, ".to_owned()), None);
        }
        let State::Inside { tail, .. } = &thinking.state else { panic!("still inside") };
        assert!(tail.len() < 16, "{tail}");
    }
}
