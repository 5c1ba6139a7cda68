//! Titles of conversations: cut from the first question, written by a model, or given by a user.

use super::is_blank;
use crate::limits::{MAX_TITLE_CHARS, MAX_USER_TITLE_CHARS};
use unicode_segmentation::UnicodeSegmentation;

/// Title that a user gave a conversation: one line of visible text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTitle(String);

impl UserTitle {
    /// # Errors
    /// The reason why the text is no title; completes a sentence that begins with the name of the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let title = on_one_line(text);
        if is_blank(&title) || title.chars().count() > MAX_USER_TITLE_CHARS {
            return Err(format!("must be 1 to {MAX_USER_TITLE_CHARS} characters with visible text"));
        }
        Ok(Self(title))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the first words of a question as a title.
pub fn title_of_question(text: &str) -> String {
    first_words(&on_one_line(text))
}

/// Returns the title in the answer of a model: its first line with text, without Markdown and quotation marks. `None` if there is
/// none.
pub fn title_of_answer(answer: &str) -> Option<String> {
    let line = answer.lines().map(plain).find(|line| !is_blank(line))?;
    Some(first_words(&on_one_line(&line)))
}

fn on_one_line(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.replace(char::is_control, ""));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Removes the marks of Markdown around the text of a line, a leading "Title:", and quotation marks.
fn plain(line: &str) -> String {
    let without_marks = line.replace(['*', '`', '_', '~'], "");
    let text = without_marks.trim_start_matches(['#', '>', '-', '+', ' ']);
    let text = match text.split_once(':') {
        Some((label, rest)) if label.eq_ignore_ascii_case("title") || label.eq_ignore_ascii_case("titel") => rest,
        _ => text,
    };
    let marks = ['"', '\'', '“', '”', '„', '«', '»', '‘', '’'];
    text.trim().trim_matches(marks).trim_end_matches('.').trim().to_owned()
}

/// Cuts a line of text at a word so that it has at most [`MAX_TITLE_CHARS`] characters, including the ellipsis.
fn first_words(line: &str) -> String {
    if line.chars().count() <= MAX_TITLE_CHARS {
        return line.to_owned();
    }
    let end = line.char_indices().nth(MAX_TITLE_CHARS - 1).map_or(line.len(), |(at, _)| at);
    let space = if line[end..].starts_with(' ') { Some(end) } else { line[..end].rfind(' ') };
    // A language without spaces, or a long address, is cut at a word by the rules of Unicode, or between characters.
    let at = space.filter(|at| *at >= end / 2).unwrap_or_else(|| last_boundary(line, end));
    let kept = line[..at].trim_end_matches([' ', ',', ';', ':', '-', '–', '—', '(']);
    format!("{kept}…")
}

/// Returns the last boundary of a word up to `end`; of a grapheme cluster if the word is that long.
fn last_boundary(line: &str, end: usize) -> usize {
    let up_to_end = |boundary: &usize| (1..=end).contains(boundary);
    let words = line.split_word_bound_indices().map(|(at, _)| at).take_while(|at| *at <= end);
    let graphemes = || line.grapheme_indices(true).map(|(at, _)| at).take_while(|at| *at <= end);
    words.filter(up_to_end).last().or_else(|| graphemes().filter(up_to_end).last()).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_question_is_cut_at_a_word() {
        assert_eq!(title_of_question("  How wide\n is it? "), "How wide is it?");
        let long = "How many kilometres can I drive after the fuel warning light has come on, roughly?";
        assert_eq!(title_of_question(long), "How many kilometres can I drive after the fuel warning…");
        let exact = "a ".repeat(29) + "bc";
        assert_eq!((title_of_question(&exact), exact.len()), (exact.clone(), MAX_TITLE_CHARS));
        let comma = format!("{}, additionally", "word ".repeat(11).trim_end());
        assert_eq!(title_of_question(&comma), format!("{}…", "word ".repeat(11).trim_end()));
    }

    #[test]
    fn a_text_without_spaces_is_cut_between_characters() {
        let title = title_of_question(&"x".repeat(200));
        assert_eq!(title, format!("{}…", "x".repeat(MAX_TITLE_CHARS - 1)));
        // Each is several code points.
        let family = "👨‍👩‍👧";
        let title = title_of_question(&family.repeat(40));
        assert_eq!(title.trim_end_matches('…').len() % family.len(), 0, "{title}");
        assert!(title_of_question(&"日本語".repeat(40)).chars().count() <= MAX_TITLE_CHARS);
    }

    #[test]
    fn the_answer_of_a_model_loses_its_markdown() {
        for (answer, title) in [
            ("Oil change intervals", "Oil change intervals"),
            ("\n\n# **Oil change** intervals\n\nMore text.", "Oil change intervals"),
            ("Title: \"Oil change intervals.\"", "Oil change intervals"),
            ("„Ölwechsel beim Diesel“", "Ölwechsel beim Diesel"),
            ("- `Oil` change", "Oil change"),
        ] {
            assert_eq!(title_of_answer(answer).as_deref(), Some(title), "{answer}");
        }
        assert_eq!(title_of_answer(" \n**\n\"\"\n"), None);
    }

    #[test]
    fn a_title_of_a_user_is_one_visible_line() {
        assert_eq!(UserTitle::parse(" My\n car ").unwrap().as_str(), "My car");
        let longest = "ä".repeat(MAX_USER_TITLE_CHARS);
        assert!(UserTitle::parse(&longest).is_ok());
        for invalid in ["", " \n", "\u{200b}", &format!("{longest}x")] {
            assert!(UserTitle::parse(invalid).is_err(), "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn titles_are_short_and_on_one_line(text in "\\PC{0,200}") {
            for title in [Some(title_of_question(&text)), title_of_answer(&text)].into_iter().flatten() {
                prop_assert!(title.chars().count() <= MAX_TITLE_CHARS, "{title}");
                prop_assert!(!title.contains('\n'));
            }
        }
    }
}
