//! Recognition of small talk.

use super::{Language, phrases::Phrases, words::Word};

/// Kinds of small talk. Where a message has several, the first of this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SmallTalk {
    /// Displeasure with the answer or the service.
    Complaint,
    /// A wish to talk to a person.
    Human,
    Identity,
    Capability,
    Farewell,
    Thanks,
    Greeting,
    /// Fillers only, such as "ok", or no word at all.
    Acknowledgement,
}

/// The phrases of one language.
#[derive(Clone, Debug, Default)]
pub(super) struct SmallTalkPhrases {
    /// Phrases of each kind but the last.
    pub kinds: Vec<(SmallTalk, Phrases)>,
    pub fillers: Phrases,
}

/// The words of a message that are left after phrases and fillers.
#[derive(Default)]
struct Rest {
    has_telling_word: bool,
    has_stop_word: bool,
    asks: bool,
}

impl SmallTalkPhrases {
    /// Returns the kind of the longest phrase that begins at a word, and its length in words.
    fn longest_at(&self, message: &[Word], at: usize) -> Option<(SmallTalk, usize)> {
        let kinds = self.kinds.iter().map(|(kind, phrases)| (*kind, phrases.longest_at(message, at)));
        let longest = kinds.filter(|(_, length)| *length > 0).max_by_key(|(_, length)| *length)?;
        // "well done" is a phrase, "well, done" starts with a longer filler only if that is longer.
        (longest.1 >= self.fillers.longest_at(message, at)).then_some(longest)
    }

    /// Returns the number of words of small talk and fillers at the beginning of a message.
    pub(super) fn leading_words(&self, message: &[Word]) -> usize {
        let mut at = 0;
        while at < message.len() {
            match self.longest_at(message, at) {
                Some((SmallTalk::Greeting | SmallTalk::Thanks, length)) => at += length,
                _ => match self.fillers.longest_at(message, at) {
                    0 => break,
                    length => at += length,
                },
            }
        }
        at
    }
}

impl Language {
    /// Returns a complaint or the wish to talk to a person in a message.
    pub(super) fn aside(&self, message: &[Word]) -> Option<SmallTalk> {
        let kinds = self.small_talk.kinds.iter();
        let asides = kinds.filter(|(kind, _)| matches!(kind, SmallTalk::Complaint | SmallTalk::Human));
        asides.filter(|(_, phrases)| phrases.occurs_in(message)).map(|(kind, _)| *kind).min()
    }

    /// Returns the kind of small talk that a message consists of; `None` if something telling remains of it.
    pub(super) fn small_talk(&self, text: &str, message: &[Word]) -> Option<SmallTalk> {
        if message.is_empty() {
            return Some(SmallTalk::Acknowledgement);
        }
        let talk = &self.small_talk;
        let mut found: Option<SmallTalk> = None;
        let mut weak: Option<SmallTalk> = None;
        let mut rest = Rest::default();
        let mut at = 0;
        while at < message.len() {
            let filler = talk.fillers.longest_at(message, at);
            if let Some((kind, length)) = talk.longest_at(message, at) {
                // With further words, "start" or "the evening" may belong to a question.
                let is_weak = match kind {
                    SmallTalk::Capability => length == 1,
                    SmallTalk::Greeting => at > 0,
                    _ => false,
                };
                let kinds = if is_weak { &mut weak } else { &mut found };
                *kinds = Some(kinds.map_or(kind, |other| other.min(kind)));
                at += length;
            } else if filler > 0 {
                at += filler;
            } else {
                let question = self.follow_up.alone.longest_at(message, at);
                rest.asks |= question > 0;
                rest.has_stop_word |= self.is_stop_word(&message[at].text);
                rest.has_telling_word |= question == 0 && !self.is_stop_word(&message[at].text);
                at += question.max(1);
            }
        }
        if rest.has_telling_word || rest.asks || (rest.has_stop_word && text.trim_end().ends_with('?')) {
            return None;
        }
        match (found, weak) {
            (None, None) => (!rest.has_stop_word).then_some(SmallTalk::Acknowledgement),
            (None, Some(_)) if rest.has_stop_word => None,
            (found, weak) => found.into_iter().chain(weak.filter(|_| !rest.has_stop_word)).min(),
        }
    }
}
