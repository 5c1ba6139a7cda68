//! Several questions in one message.

mod split;

use super::{
    Language,
    phrases::Phrases,
    words::{Word, words},
};
use split::{Sentence, sentences};
use std::ops::Range;

/// The phrases of one language.
#[derive(Clone, Debug, Default)]
pub(super) struct QuestionPhrases {
    /// Words that join questions, such as "and".
    pub joins: Phrases,
    /// Words that a question starts with.
    pub starts: Phrases,
    /// Announcements of questions, such as "two things".
    pub lead_ins: Phrases,
    /// Words that number questions, such as "first".
    pub ordinals: Phrases,
    /// Articles and the like, with which an object begins.
    pub determiners: Phrases,
    /// Words that ask about two things at once, such as "between".
    pub together: Phrases,
}

/// A question in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The question, with the sentences before it that ask nothing.
    pub text: &'a str,
    /// The question alone.
    pub core: &'a str,
    /// Whether it has the form of a question.
    pub asks: bool,
    /// Two halves of the question, which may be questions of their own: "wifi and printing". An object that is asked about together
    /// with the one before it has the beginning of that question: "How do I check the oil and the tyres?".
    pub halves: Option<[String; 2]>,
}

impl Language {
    /// Splits a message into its questions, at most `limit`; with more, the message is one.
    pub(super) fn questions<'a>(&self, text: &'a str, limit: usize) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut context: Option<usize> = None;
        let sentences: Vec<(Range<usize>, bool)> =
            sentences(text).into_iter().map(|sentence| self.stripped(text, sentence)).collect();
        let asks_at_all = sentences.iter().any(|(_, asks)| *asks);
        for (index, (sentence, asks)) in sentences.iter().enumerate() {
            let message = words(&text[sentence.clone()]);
            if message.is_empty() {
                continue;
            }
            if !asks {
                if asks_at_all && self.announces(&message) {
                    continue;
                }
                let is_before_question = sentences[index..].iter().any(|(_, asks)| *asks);
                if is_before_question || !self.is_telling(&message) {
                    context.get_or_insert(sentence.start);
                    continue;
                }
                // Beside questions, a statement is none.
                if asks_at_all {
                    continue;
                }
            }
            let mut core = sentence.start;
            let mut start = context.take().unwrap_or(core);
            for cut in self.cuts(text, sentence) {
                pieces.push(self.piece(text, start..cut.start, core..cut.start, *asks));
                (start, core) = (cut.end, cut.end);
            }
            pieces.push(self.piece(text, start..sentence.end, core..sentence.end, *asks));
        }
        if pieces.is_empty() || pieces.len() > limit {
            return vec![self.piece(text, 0..text.len(), 0..text.len(), asks_at_all)];
        }
        pieces
    }

    fn piece<'a>(&self, text: &'a str, whole: Range<usize>, core: Range<usize>, asks: bool) -> Piece<'a> {
        let halves = self.halves(text, &core);
        Piece { text: text[whole].trim(), core: text[core].trim(), asks, halves }
    }

    /// Takes the number, join or announcement off the beginning of a sentence, and returns whether it asks.
    fn stripped(&self, text: &str, Sentence { range, is_numbered }: Sentence) -> (Range<usize>, bool) {
        let QuestionPhrases { joins, lead_ins, ordinals, .. } = &self.questions;
        let sentence = &text[range.clone()];
        let message = words(sentence);
        let gap = |at: usize| {
            let from = at.checked_sub(1).map_or(0, |before| message[before].at.end);
            &sentence[from..message.get(at).map_or(sentence.len(), |word| word.at.start)]
        };
        let (mut at, mut is_numbered) = (0, is_numbered);
        while at < message.len() {
            let ordinal = ordinals.longest_at(&message, at);
            let is_ordinal = ordinal > 0
                && (gap(at + ordinal).contains([':', ',', ')', '-', '–', '.'])
                    || self.starts_at(&message, at + ordinal));
            let lead_in = lead_ins.longest_at(&message, at);
            let join = joins.longest_at(&message, at);
            if is_ordinal {
                is_numbered = true;
                at += ordinal;
            } else if lead_in > 0 {
                at += lead_in;
                // What the questions are about belongs to the announcement.
                let colon = (at..message.len()).find(|at| gap(*at).contains(':'));
                at = colon.filter(|colon| !(at..*colon).any(|at| self.starts_at(&message, at))).unwrap_or(at);
            } else if join > 0 && self.starts_at(&message, at + join) {
                at += join;
            } else {
                break;
            }
        }
        // An announcement alone is kept: there may be nothing else in the message.
        let start = message.get(at).map_or(range.start, |word| range.start + word.at.start);
        let asks = is_numbered || text[range.clone()].trim_end().ends_with('?') || self.starts_at(&message, at);
        (start..range.end, asks && at < message.len())
    }

    fn starts_at(&self, message: &[Word], at: usize) -> bool {
        at < message.len() && self.questions.starts.longest_at(message, at) > 0
    }

    /// Whether a sentence only announces questions.
    fn announces(&self, message: &[Word]) -> bool {
        self.questions.lead_ins.longest_at(message, 0) > 0
    }

    /// Returns the joins of a sentence after which another question starts.
    fn cuts(&self, text: &str, sentence: &Range<usize>) -> Vec<Range<usize>> {
        let message = words(&text[sentence.clone()]);
        let mut cuts = Vec::new();
        let mut from = 0;
        for at in 1..message.len() {
            let gap = &text[sentence.start + message[at - 1].at.end..sentence.start + message[at].at.start];
            let join = self.questions.joins.longest_at(&message, at);
            let ordinal = self.questions.ordinals.longest_at(&message, at + join);
            let is_apart = gap.contains([',', ';', ':', '?', '&', '+', '/', '-', '–']);
            let next = at + join + if self.starts_at(&message, at + join + ordinal) { ordinal } else { 0 };
            let is_cut = match (join > 0 || gap.contains([';', '?', '&', '+', '/']), is_apart) {
                (true, _) => self.starts_at(&message, next),
                (false, true) => self.starts_at(&message, next) && self.starts_at(&message, from),
                (false, false) => false,
            };
            if is_cut && from < at && self.is_telling(&message[from..at]) && self.is_telling(&message[next..]) {
                cuts.push(sentence.start + message[at - 1].at.end..sentence.start + message[next].at.start);
                from = next;
            }
        }
        cuts
    }

    /// Returns the halves around the only join, unless the question is about both together.
    fn halves(&self, text: &str, core: &Range<usize>) -> Option<[String; 2]> {
        let QuestionPhrases { joins, determiners, together, .. } = &self.questions;
        let message = words(&text[core.clone()]);
        let found: Vec<usize> = (1..message.len()).filter(|at| joins.longest_at(&message, *at) > 0).collect();
        let [at] = found[..] else { return None };
        let next = at + joins.longest_at(&message, at);
        let is_telling = next < message.len() && self.is_telling(&message[..at]) && self.is_telling(&message[next..]);
        if !is_telling || together.occurs_in(&message) {
            return None;
        }
        let core = &text[core.clone()];
        let first = core[..message[at - 1].at.end].trim();
        let second = core[message[next].at.start..].trim();
        let determiner = |at: &usize| determiners.longest_at(&message, *at) > 0;
        // The object of the first half begins with a determiner, and what is before it belongs to both.
        let head = match ((0..at).rev().find(determiner), (next..message.len()).find(determiner)) {
            (Some(object), Some(other)) if other == next => &core[..message[object].at.start],
            (Some(object), None) => &core[..message[object].at.end],
            _ => "",
        };
        Some([first.to_owned(), format!("{} {second}", head.trim_end()).trim_start().to_owned()])
    }

    fn is_telling(&self, message: &[Word]) -> bool {
        message.iter().any(|word| !self.is_stop_word(&word.text))
    }
}

#[cfg(test)]
mod tests {
    use crate::language::Languages;

    fn cores<'a>(code: &str, text: &'a str) -> Vec<&'a str> {
        let languages = Languages::built_in();
        let language = languages.get(code).unwrap();
        languages.questions(language, text, 4).into_iter().map(|piece| piece.core).collect()
    }

    #[test]
    fn questions_are_told_apart() {
        for (code, text, wanted) in [
            ("en", "How wide is it and how tall?", &["How wide is it", "how tall?"][..]),
            ("en", "How wide is it, and how heavy?", &["How wide is it", "how heavy?"]),
            ("en", "What is the price? Where is the shop?", &["What is the price?", "Where is the shop?"]),
            ("en", "What is the price? And where is the shop?", &["What is the price?", "where is the shop?"]),
            ("en", "what is the price; where is the shop", &["what is the price", "where is the shop"]),
            ("en", "what is the price & where is the shop", &["what is the price", "where is the shop"]),
            ("en", "does it fit / what is the price", &["does it fit", "what is the price"]),
            ("en", "Does it fit? It weighs 3 kg.", &["Does it fit?"]),
            ("en", "salt and pepper", &["salt and pepper"]),
            (
                "en",
                "What is the difference between salt and pepper?",
                &["What is the difference between salt and pepper?"],
            ),
            ("en", "If it rains, what do I do?", &["If it rains, what do I do?"]),
            ("de", "Was kostet es und wo gibt es Ersatz?", &["Was kostet es", "wo gibt es Ersatz?"]),
            ("de", "Was kostet es, und wie schwer ist es?", &["Was kostet es", "wie schwer ist es?"]),
            ("en", "", &[""]),
        ] {
            assert_eq!(cores(code, text), wanted, "{text}");
        }
        let many = "Why salt? Why pepper? Why bread? Why milk? Why tea?";
        assert_eq!(cores("en", many), [many]);
    }

    #[test]
    fn announcements_and_numbers_are_left_out() {
        for (code, text, wanted) in [
            ("en", "Two things: what's the limit, and does it fit?", &["what's the limit", "does it fit?"][..]),
            ("en", "I have two questions. What's the limit? Does it fit?", &["What's the limit?", "Does it fit?"]),
            (
                "en",
                "I have two questions about salt: what's the price? Does it fit?",
                &["what's the price?", "Does it fit?"],
            ),
            ("en", "Hi, quick question: what's the limit?", &["what's the limit?"]),
            ("en", "First: the price. Second: the shop.", &["the price.", "the shop."]),
            (
                "en",
                "First question: what is the price? Second: what does it weigh?",
                &["what is the price?", "what does it weigh?"],
            ),
            (
                "en",
                "first, what is the price and second, where is the shop",
                &["what is the price", "where is the shop"],
            ),
            ("en", "1. How wide is it? 2. How heavy?", &["How wide is it?", "How heavy?"]),
            ("en", "1) price 2) shop", &["price", "shop"]),
            ("en", "Hello!\n- price\n- shop\n", &["price", "shop"]),
            ("en", "The second gear is hard. Second gear?", &["Second gear?"]),
            (
                "de",
                "Hallo, ich habe zwei Fragen: Was kostet es? Wo ist der Laden?",
                &["Was kostet es?", "Wo ist der Laden?"],
            ),
            ("de", "Erstens: der Preis. Zweitens: der Laden.", &["der Preis.", "der Laden."]),
            ("de", "Im 1. Gang ruckelt es, im 2. Gang nicht.", &["Im 1. Gang ruckelt es, im 2. Gang nicht."]),
            ("en", "I have a question", &["I have a question"]),
        ] {
            assert_eq!(cores(code, text), wanted, "{text}");
        }
    }

    #[test]
    fn a_question_has_its_context_and_its_halves() {
        let languages = Languages::built_in();
        let english = languages.get("en").unwrap();
        let piece = |text| languages.questions(english, text, 4).remove(0);
        let bought = piece("Hello, I bought one last week. What fits?");
        assert_eq!((bought.text, bought.core, bought.asks), ("I bought one last week. What fits?", "What fits?", true));
        assert!(!piece("It stopped last week.").asks);
        for (text, halves) in [
            ("salt and pepper?", ["salt", "pepper?"]),
            ("How do I keep the salt and the pepper dry?", ["How do I keep the salt", "How do I keep the pepper dry?"]),
            ("What is the price and weight?", ["What is the price", "What is the weight?"]),
            ("How do I open the salt and start the mill?", ["How do I open the salt", "start the mill?"]),
        ] {
            assert_eq!(piece(text).halves, Some(halves.map(str::to_owned)), "{text}");
        }
        for text in
            ["salt and it", "salt and pepper and bread", "What is the difference between the salt and the pepper?"]
        {
            assert_eq!(piece(text).halves, None, "{text}");
        }
    }
}
