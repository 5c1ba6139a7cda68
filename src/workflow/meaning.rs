//! Similarity of meaning of a text to each of a few topics, by word vectors: other words for the same thing, and other languages,
//! are similar. Pure.
//!
//! A text has the direction of the weighted mean of its words, in which rare words count more.

use super::{similarity::to_topic, words::words};
use crate::{
    knowledge::{WordVector, WordVectors},
    language::Languages,
    terms::fold,
};
use std::sync::Arc;

/// The rarity up to which a word has the least weight.
const COMMON_RARITY: f32 = 4.0;
/// The least weight of a word.
const MIN_WEIGHT: f32 = 0.5;

/// The number of words of a question that are considered. A word that is not in the table is split in many ways.
const MAX_WORDS: usize = 64;

/// The directions of topics.
pub(super) struct Meanings {
    vectors: WordVectors,
    languages: Arc<Languages>,
    topics: Vec<Topic>,
}

struct Topic {
    examples: Vec<WordVector>,
    whole: WordVector,
}

impl Meanings {
    /// Computes the directions of the description and the examples of each topic.
    pub fn new<'a>(topics: impl IntoIterator<Item = (&'a str, &'a [String])>, languages: Arc<Languages>) -> Self {
        let mut meanings = Self { vectors: WordVectors::embedded(), languages, topics: Vec::new() };
        for (description, examples) in topics {
            let examples: Vec<_> = examples.iter().map(|example| meanings.direction(&words(example))).collect();
            let description = meanings.direction(&words(description));
            let whole = WordVector::mean(examples.iter().chain([&description]).map(|vector| (vector, 1.0)));
            meanings.topics.push(Topic { examples, whole });
        }
        meanings
    }

    /// Returns the similarity of `text` to each topic, 0 to 1, in the order of the topics.
    pub fn similarities(&self, text: &str) -> Vec<f64> {
        let words: Vec<String> = words(text).into_iter().take(MAX_WORDS).collect();
        let text = self.direction(&words);
        let cosine = |other| f64::from(text.cosine(other)).max(0.0);
        self.topics.iter().map(|topic| to_topic(topic.examples.iter().map(cosine), cosine(&topic.whole))).collect()
    }

    fn direction(&self, words: &[String]) -> WordVector {
        let telling = words.iter().filter(|word| !self.languages.is_stop_word(word));
        let known: Vec<_> = telling.filter_map(|word| self.vectors.word(&fold(word))).collect();
        let weight = |rarity: f32| (rarity - COMMON_RARITY).max(MIN_WEIGHT);
        WordVector::mean(known.iter().map(|word| (&word.vector, weight(word.rarity))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_words_and_languages_are_similar() {
        let garden = ["How do I water flowers?".to_owned(), "When do roses bloom?".to_owned()];
        let kitchen = ["How do I bake bread?".to_owned(), "Which knife cuts meat?".to_owned()];
        let topics = [("Garden: plants, trees", garden.as_slice()), ("Kitchen: cooking, food", kitchen.as_slice())];
        let meanings = Meanings::new(topics, Arc::new(Languages::built_in()));
        for (text, topic) in
            [("planting seeds", 0), ("Blumen gießen", 0), ("roasting a chicken", 1), ("Brot backen", 1)]
        {
            let similarities = meanings.similarities(text);
            assert!(similarities[topic] > similarities[1 - topic], "{text}: {similarities:?}");
        }
        assert_eq!(meanings.similarities("the of and"), [0.0, 0.0]);
    }
}
