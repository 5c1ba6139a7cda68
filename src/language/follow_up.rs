//! Marks of a message that needs the one before it.

use super::{Language, phrases::Phrases, words::Word};

/// The phrases of one language.
#[derive(Clone, Debug, Default)]
pub(super) struct FollowUpPhrases {
    pub openers: Phrases,
    pub fragments: Phrases,
    pub pointers: Phrases,
    pub demonstratives: Phrases,
    pub expletives: Phrases,
    pub alone: Phrases,
}

/// Maximum number of words of a fragment.
const MAX_FRAGMENT_WORDS: usize = 4;

/// The marks of a follow-up that a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUpMarks {
    /// The message begins with an opening such as "and" or "what about", or is a fragment such as "in winter?".
    pub opens: bool,
    /// It has a word that points back, such as "it".
    pub points_back: bool,
    /// It is as a whole a question such as "why?".
    pub is_alone: bool,
    /// Number of words that are not stop words; words without a gap between them, as in Chinese, count once.
    pub telling_words: usize,
}

impl Language {
    pub(super) fn follow_up_marks(&self, message: &[Word]) -> FollowUpMarks {
        FollowUpMarks {
            opens: self.opens_follow_up(message),
            points_back: self.points_back(message),
            is_alone: self.follow_up.alone.is_whole(message),
            telling_words: self.telling_words(message),
        }
    }

    fn telling_words(&self, message: &[Word]) -> usize {
        let telling = message.iter().filter(|word| !self.is_stop_word(&word.text));
        let ends = std::iter::once(None).chain(telling.clone().map(|word| Some(word.at.end)));
        telling.zip(ends).filter(|(word, end)| *end != Some(word.at.start)).count()
    }

    fn opens_follow_up(&self, message: &[Word]) -> bool {
        let FollowUpPhrases { openers, fragments, .. } = &self.follow_up;
        let is_fragment = message.len() <= MAX_FRAGMENT_WORDS && fragments.longest_at(message, 0) > 0;
        is_fragment || openers.longest_at(message, 0) > 0
    }

    /// Whether a word points back: a pronoun, unless it is part of an expletive such as "is there", or a demonstrative that is no
    /// article, since no telling word follows.
    fn points_back(&self, message: &[Word]) -> bool {
        let FollowUpPhrases { pointers, demonstratives, expletives, .. } = &self.follow_up;
        let is_telling = |word: &Word| !self.is_stop_word(&word.text);
        let mut at = 0;
        while at < message.len() {
            let expletive = expletives.longest_at(message, at);
            if expletive == 0 {
                let demonstrative = demonstratives.longest_at(message, at);
                let is_pronoun = demonstrative > 0 && !message.get(at + demonstrative).is_some_and(is_telling);
                if is_pronoun || pointers.longest_at(message, at) > 0 {
                    return true;
                }
            }
            at += expletive.max(1);
        }
        false
    }
}
