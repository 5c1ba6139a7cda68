//! Retrieval query: what to search for, given a question and the conversation before it. Pure.

use crate::{
    domain::{HistoryMessage, MessageRole},
    language::{FollowUpMarks, Languages},
};

/// Maximum number of telling words in a follow-up; with more, a question stands on its own.
const MAX_TELLING_WORDS: usize = 2;
/// Maximum number of words in a follow-up with that many telling words: "And how often should I change the oil?" is complete.
const MAX_WORDS: usize = 6;
/// Maximum number of earlier questions in a query.
const MAX_EARLIER: usize = 3;
/// Weight of an earlier question, relative to the one after it.
const EARLIER_WEIGHT: f64 = 0.5;

/// Question to search for, and the earlier questions without which it cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrievalQuery {
    question: String,
    /// Latest first.
    earlier: Vec<String>,
    is_rewritten: bool,
}

impl RetrievalQuery {
    /// Creates the query for a question, asked after `history` (oldest first). A follow-up ("and the hybrid?", "why?") refers to
    /// the user's previous question, and if that is a follow-up itself, to the one before it. Small talk in between is skipped.
    pub fn new(question: &str, history: &[HistoryMessage], languages: &Languages) -> Self {
        let mut query = Self::alone(question);
        let users = history.iter().rev().filter(|message| message.role == MessageRole::User);
        let mut questions = users.map(|message| message.content.as_str());
        let mut is_open = is_follow_up(question, languages);
        while is_open && query.earlier.len() < MAX_EARLIER {
            let Some(earlier) = questions.find(|text| languages.small_talk(text).is_none()) else { break };
            is_open = is_follow_up(earlier, languages);
            query.earlier.push(earlier.to_owned());
        }
        query
    }

    /// Creates the query for a question that stands on its own.
    pub fn alone(question: impl Into<String>) -> Self {
        Self { question: question.into(), earlier: Vec::new(), is_rewritten: false }
    }

    /// Creates the query for a question that refers to `previous`.
    pub fn after(question: &str, previous: &str) -> Self {
        Self { earlier: vec![previous.to_owned()], ..Self::alone(question) }
    }

    /// Creates the query for a follow-up that a model has rewritten as a question that stands on its own.
    pub fn rewritten(question: impl Into<String>) -> Self {
        Self { is_rewritten: true, ..Self::alone(question) }
    }

    pub fn question(&self) -> &str {
        &self.question
    }

    /// Earlier questions, latest first.
    pub fn earlier(&self) -> impl Iterator<Item = &str> {
        self.earlier.iter().map(String::as_str)
    }

    /// Whether the user's question is a follow-up, even if it has been rewritten.
    pub fn is_follow_up(&self) -> bool {
        self.is_rewritten || !self.earlier.is_empty()
    }

    /// The question that a model made of a follow-up.
    pub fn rewritten_question(&self) -> Option<&str> {
        self.is_rewritten.then_some(&self.question)
    }

    /// Returns the question and the earlier ones, latest first, each on a line.
    pub fn joined(&self) -> String {
        let texts: Vec<&str> = self.weighted().map(|(text, _)| text).collect();
        texts.join("\n")
    }

    /// Returns the question and the earlier ones, latest first, each with its weight: 1 for the question, and
    /// [`EARLIER_WEIGHT`] of that for each step back.
    pub fn weighted(&self) -> impl Iterator<Item = (&str, f64)> {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * EARLIER_WEIGHT));
        std::iter::once(self.question.as_str()).chain(self.earlier()).zip(weights)
    }
}

impl From<&str> for RetrievalQuery {
    fn from(question: &str) -> Self {
        Self::alone(question)
    }
}

impl From<&String> for RetrievalQuery {
    fn from(question: &String) -> Self {
        Self::alone(question)
    }
}

impl From<&Self> for RetrievalQuery {
    fn from(query: &Self) -> Self {
        query.clone()
    }
}

/// Whether a question has few telling words and a mark of a follow-up.
fn is_follow_up(question: &str, languages: &Languages) -> bool {
    let FollowUpMarks { opens, points_back, is_alone, telling_words } = languages.follow_up_marks(question);
    let is_short = telling_words < MAX_TELLING_WORDS
        || (telling_words == MAX_TELLING_WORDS && question.split_whitespace().count() <= MAX_WORDS);
    is_alone
        || (languages.small_talk(question).is_none() && (telling_words == 0 || (is_short && (opens || points_back))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(questions: &[&str]) -> Vec<HistoryMessage> {
        let message = |role, content: &str| HistoryMessage { role, content: content.to_owned() };
        let turn =
            |question: &&str| [message(MessageRole::User, question), message(MessageRole::Assistant, "1,842 mm.")];
        questions.iter().flat_map(turn).collect()
    }

    /// Returns the earlier questions that a question refers to, latest first.
    fn earlier(question: &str, questions: &[&str]) -> Vec<String> {
        RetrievalQuery::new(question, &history(questions), &Languages::built_in()).earlier
    }

    #[test]
    fn a_follow_up_includes_the_previous_question() {
        for question in [
            "And the hybrid?",
            "what about the hybrid?",
            "How much is it?",
            "why?",
            "how often?",
            "really?",
            "and in winter?",
            "in winter?",
            "which of the two is cheaper?",
            "is that covered by the warranty?",
            "und das Drehmoment?",
            "und beim Diesel?",
            "beim Diesel?",
            "Und mit umgeklappter Rückbank?",
            "wie oft?",
            "warum?",
            "Was kostet das?",
            "Welches von beiden ist günstiger?",
            "Und wenn sie blinkt?",
            "Kann ich das selbst machen?",
            "gilt das auch für den Diesel?",
        ] {
            let questions = ["How wide is the car?", "What is the engine power?"];
            assert_eq!(earlier(question, &questions), ["What is the engine power?"], "{question}");
        }
    }

    #[test]
    fn another_subject_is_not_joined() {
        for question in [
            "Do you sell bicycles?",
            "And how often should I change the oil?",
            "And which tyre pressure fits a fully loaded car?",
            "What is the top speed?",
            "Is there a sunroof?",
            "tyre size",
            "Verkauft ihr Fahrräder?",
            "Welchen Reifendruck braucht der Diesel?",
            "Welche Farben gibt es?",
            "Gibt es eine Sitzheizung?",
            "Und wie oft muss ich beim Diesel das Öl wechseln?",
            "thanks",
            "Danke!",
        ] {
            assert_eq!(earlier(question, &["What is the tyre pressure?"]), <[String; 0]>::default(), "{question}");
        }
        assert_eq!(earlier("And the hybrid?", &[]), <[String; 0]>::default());
    }

    #[test]
    fn a_chain_of_follow_ups_ends_at_a_question_that_stands_alone() {
        let questions = ["How wide is the car?", "What is the power of the diesel?", "and the hybrid?", "thanks"];
        let query = RetrievalQuery::new("and its torque?", &history(&questions), &Languages::built_in());
        let weighted: Vec<_> = query.weighted().collect();
        assert_eq!(
            weighted,
            [("and its torque?", 1.0), ("and the hybrid?", 0.5), ("What is the power of the diesel?", 0.25)]
        );
        assert_eq!(earlier("why?", &["why?", "and now?", "und dann?", "how?", "and the hybrid?"]).len(), MAX_EARLIER);
    }

    #[test]
    fn a_rewritten_follow_up_stands_alone() {
        let query = RetrievalQuery::rewritten("What is the torque of the diesel?");
        assert!(query.is_follow_up() && query.earlier().next().is_none());
        assert_eq!(query.rewritten_question(), Some("What is the torque of the diesel?"));
        assert_eq!(RetrievalQuery::alone("x").rewritten_question(), None);
    }
}
