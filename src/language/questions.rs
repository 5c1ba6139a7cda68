//! Several questions in one message.

use super::{
    Language,
    phrases::Phrases,
    words::{Word, words},
};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// The phrases of one language.
#[derive(Clone, Debug, Default)]
pub(super) struct QuestionPhrases {
    /// Words that join questions, such as "and".
    pub joins: Phrases,
    /// Words that a question starts with.
    pub starts: Phrases,
}

/// A question in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The question, with the sentences before it that ask nothing.
    pub text: &'a str,
    /// The question alone.
    pub core: &'a str,
    /// Two halves of the question, which may be questions of their own: "wifi and printing".
    pub halves: Option<[&'a str; 2]>,
}

impl Language {
    /// Splits a message into its questions, at most `limit`; what exceeds that stays with the last one.
    pub fn questions<'a>(&self, text: &'a str, limit: usize) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut context = None;
        let sentences = sentences(text);
        let asks: Vec<bool> = sentences.iter().map(|sentence| self.asks(&text[sentence.clone()])).collect();
        for (index, sentence) in sentences.iter().enumerate() {
            let start: usize = context.take().unwrap_or(sentence.start);
            if !asks[index] {
                let is_before_question = asks[index..].contains(&true);
                if is_before_question || !self.is_telling(&words(&text[sentence.clone()])) {
                    context = Some(start);
                    continue;
                }
                // Beside questions, a statement is none.
                if asks.contains(&true) {
                    continue;
                }
            }
            let mut from = start;
            let mut core = sentence.start;
            for cut in self.cuts(text, sentence) {
                pieces.push(self.piece(text, from..cut.start, core..cut.start));
                (from, core) = (cut.end, cut.end);
            }
            pieces.push(self.piece(text, from..sentence.end, core..sentence.end));
        }
        if pieces.is_empty() || pieces.len() > limit {
            return vec![self.piece(text, 0..text.len(), 0..text.len())];
        }
        pieces
    }

    fn piece<'a>(&self, text: &'a str, whole: Range<usize>, core: Range<usize>) -> Piece<'a> {
        let halves = self.halves(text, &core);
        Piece { text: text[whole].trim(), core: text[core].trim(), halves }
    }

    fn asks(&self, sentence: &str) -> bool {
        sentence.trim_end().ends_with('?') || self.questions.starts.longest_at(&words(sentence), 0) > 0
    }

    /// Returns the joins of a sentence after which another question starts.
    fn cuts(&self, text: &str, sentence: &Range<usize>) -> Vec<Range<usize>> {
        let message = words(&text[sentence.clone()]);
        let mut cuts = Vec::new();
        let mut from = 0;
        for at in 1..message.len() {
            let join = self.questions.joins.longest_at(&message, at);
            let has_comma =
                text[sentence.start + message[at - 1].at.end..sentence.start + message[at].at.start].contains(',');
            let begins = |at: usize| at < message.len() && self.questions.starts.longest_at(&message, at) > 0;
            let next = if join > 0 { at + join } else { at };
            let is_cut = match (join > 0, has_comma) {
                (true, _) => begins(next),
                (false, true) => begins(next) && begins(from),
                (false, false) => false,
            };
            if is_cut && from < at && self.is_telling(&message[from..at]) && self.is_telling(&message[next..]) {
                cuts.push(sentence.start + message[at - 1].at.end..sentence.start + message[next].at.start);
                from = next;
            }
        }
        cuts
    }

    /// Returns the halves around the only join.
    fn halves<'a>(&self, text: &'a str, core: &Range<usize>) -> Option<[&'a str; 2]> {
        let message = words(&text[core.clone()]);
        let joins: Vec<usize> =
            (1..message.len()).filter(|at| self.questions.joins.longest_at(&message, *at) > 0).collect();
        let [at] = joins[..] else { return None };
        let next = at + self.questions.joins.longest_at(&message, at);
        let is_telling = next < message.len() && self.is_telling(&message[..at]) && self.is_telling(&message[next..]);
        is_telling.then(|| {
            let (end, start) = (core.start + message[at - 1].at.end, core.start + message[next].at.start);
            [text[core.start..end].trim(), text[start..core.end].trim()]
        })
    }

    fn is_telling(&self, message: &[Word]) -> bool {
        message.iter().any(|word| !self.is_stop_word(&word.text))
    }
}

fn sentences(text: &str) -> Vec<Range<usize>> {
    let lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let sentences = lines.flat_map(|(start, line)| {
        line.split_sentence_bound_indices().map(move |(at, sentence)| start + at..start + at + sentence.len())
    });
    sentences.filter(|range| !text[range.clone()].trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use crate::language::Languages;

    fn pieces<'a>(code: &str, text: &'a str) -> Vec<&'a str> {
        let languages = Languages::built_in();
        languages.get(code).unwrap().questions(text, 4).into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn questions_are_told_apart() {
        for (code, text, wanted) in [
            ("en", "How wide is it and how tall?", &["How wide is it", "how tall?"][..]),
            ("en", "Two things: what's the limit, and does it fit?", &["Two things: what's the limit", "does it fit?"]),
            ("en", "What is the price? Where is the shop?", &["What is the price?", "Where is the shop?"]),
            ("en", "First: the price. Second: the shop.", &["First: the price.", "Second: the shop."]),
            ("en", "I bought one last week. What fits?", &["I bought one last week. What fits?"]),
            ("en", "Does it fit? It weighs 3 kg.", &["Does it fit?"]),
            ("en", "salt and pepper", &["salt and pepper"]),
            ("en", "If it rains, what do I do?", &["If it rains, what do I do?"]),
            ("de", "Was kostet es und wo gibt es Ersatz?", &["Was kostet es", "wo gibt es Ersatz?"]),
            ("en", "", &[""]),
        ] {
            assert_eq!(pieces(code, text), wanted, "{text}");
        }
        let many = "Why salt? Why pepper? Why bread? Why milk? Why tea?";
        assert_eq!(pieces("en", many), [many]);
    }

    #[test]
    fn a_question_has_its_core_and_its_halves() {
        let languages = Languages::built_in();
        let english = languages.get("en").unwrap();
        let piece = |text| english.questions(text, 4).remove(0);
        assert_eq!(piece("I bought one last week. What fits?").core, "What fits?");
        assert_eq!(piece("salt and pepper?").halves, Some(["salt", "pepper?"]));
        assert_eq!([piece("salt and it").halves, piece("salt and pepper and bread").halves], [None, None]);
    }
}
