//! Marks of a message that needs the one before it.

use super::{Language, phrases::Phrases, words::Word};

/// The phrases of one language.
#[derive(Clone, Debug, Default)]
pub(super) struct FollowUpPhrases {
    pub openers: Phrases,
    pub pointers: Phrases,
    pub alone: Phrases,
}

/// The marks of a follow-up that a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUpMarks {
    /// The message begins with an opening such as "and" or "what about".
    pub opens: bool,
    /// It has a word that points back, such as "it".
    pub points_back: bool,
    /// It is as a whole a question such as "why?".
    pub is_alone: bool,
    /// Number of words that are not stop words.
    pub telling_words: usize,
}

impl Language {
    pub(super) fn follow_up_marks(&self, message: &[Word]) -> FollowUpMarks {
        FollowUpMarks {
            opens: self.follow_up.openers.longest_at(message, 0) > 0,
            points_back: self.follow_up.pointers.occurs_in(message),
            is_alone: self.follow_up.alone.is_whole(message),
            telling_words: message.iter().filter(|word| !self.is_stop_word(&word.text)).count(),
        }
    }
}
