//! Similarity of a text to each of a few topics: cosine similarity of TF-IDF vectors over words and character n-grams. Pure,
//! and takes microseconds.
//!
//! A topic is a description with examples. N-grams of three to five characters make "changing" similar to "change" in any
//! language, and tolerate typing errors. Function words count little, but they count: "how often" and "won't" are typical of
//! some topics. The similarity to a topic is the mean of that to its two closest examples and that to all of its text, each
//! from 0 to 1.

use super::words::words;
use crate::language::Languages;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The lengths of n-grams, in characters.
const PART_CHARS: std::ops::RangeInclusive<usize> = 3..=5;
/// The combined weight of the n-grams of a word; the word itself has 1.
const PARTS_WEIGHT: f64 = 0.6;
/// The weight of a function word beside other words. It has no n-grams.
const FUNCTION_WORD_WEIGHT: f64 = 0.3;
/// The share of the closest example and of the second closest one in a similarity; the rest is that of the whole text.
const EXAMPLE_SHARES: [f64; 2] = [0.3, 0.2];
/// The sharpness of [`shares`]: the factor by which a topic is more probable than another grows e-fold with each 1/12 of
/// similarity. Calibrated on the labelled questions.
const SHARPNESS: f64 = 12.0;
/// The weight of a feature that no topic has, relative to the rarest one that a topic has.
const UNKNOWN_WEIGHT: f64 = 0.5;
/// The number of words of a question that are considered.
const MAX_WORDS: usize = 400;
/// The number of a feature, a word or an n-gram.
type FeatureId = u32;
/// The weights of the features of a text, normalised to length 1; empty for a text without words.
type Vector = Vec<(FeatureId, f64)>;

/// An inverted index of topics: a text is compared with all examples in one pass over its features.
#[derive(Debug)]
pub(super) struct Topics {
    languages: Arc<Languages>,
    ids: HashMap<Box<str>, FeatureId>,
    features: Vec<Feature>,
    texts: Vec<Text>,
    topics: usize,
    /// The IDF of a feature that occurs in one text.
    rarest: f64,
}

#[derive(Debug, Default)]
struct Feature {
    /// The inverse document frequency among all descriptions and examples.
    idf: f64,
    /// The places in [`Topics::texts`] of the texts with this feature, and its weight in each.
    weights: Vec<(usize, f64)>,
}

/// A text that stands for a topic.
#[derive(Clone, Copy, Debug)]
struct Text {
    topic: usize,
    /// Whether it is the whole text of the topic instead of one example.
    is_whole: bool,
}

impl Topics {
    /// Builds the index from the description and the examples of each topic.
    pub fn new<'a>(topics: impl IntoIterator<Item = (&'a str, &'a [String])>, languages: Arc<Languages>) -> Self {
        let topics: Vec<(&str, &[String])> = topics.into_iter().collect();
        let mut index = Self {
            languages,
            ids: HashMap::new(),
            features: Vec::new(),
            texts: Vec::new(),
            topics: topics.len(),
            rarest: 0.0,
        };
        index.count_features(&topics);
        for (topic, (description, examples)) in topics.into_iter().enumerate() {
            let examples: Vec<Vector> = examples.iter().map(|example| index.vector(example)).collect();
            let mut whole: HashMap<FeatureId, f64> = HashMap::new();
            for (id, weight) in examples.iter().flatten().copied().chain(index.vector(description)) {
                *whole.entry(id).or_default() += weight;
            }
            // Dampens frequent features: their weight grows slower than their count.
            let mut whole: Vector = whole.into_iter().map(|(id, weight)| (id, weight.sqrt())).collect();
            normalise(&mut whole, 0.0);
            for example in examples {
                index.add(example, Text { topic, is_whole: false });
            }
            index.add(whole, Text { topic, is_whole: true });
        }
        index
    }

    /// Numbers the features of all texts, and computes their IDF.
    fn count_features(&mut self, topics: &[(&str, &[String])]) {
        let languages = Arc::clone(&self.languages);
        let mut seen_in: Vec<usize> = Vec::new();
        let mut texts = 0;
        for text in topics.iter().flat_map(|(whole, examples)| examples.iter().map(String::as_str).chain([*whole])) {
            texts += 1;
            let mut ids = HashSet::new();
            for_each_feature(text, &languages, |name, _| {
                let id = match self.ids.get(name) {
                    Some(id) => *id,
                    None => {
                        let id = FeatureId::try_from(seen_in.len()).unwrap_or(FeatureId::MAX);
                        self.ids.insert(name.into(), id);
                        seen_in.push(0);
                        id
                    }
                };
                if ids.insert(id) {
                    seen_in[id as usize] += 1;
                }
            });
        }
        let idf = |count: usize| ((1 + texts) as f64 / (1 + count) as f64).ln() + 0.1;
        self.features = seen_in.into_iter().map(|count| Feature { idf: idf(count), weights: Vec::new() }).collect();
        self.rarest = idf(1);
    }

    fn add(&mut self, vector: Vector, text: Text) {
        for (id, weight) in vector {
            self.features[id as usize].weights.push((self.texts.len(), weight));
        }
        self.texts.push(text);
    }

    /// Returns the similarity of `text` to each topic, 0 to 1, in the order of the topics.
    pub fn similarities(&self, text: &str) -> Vec<f64> {
        let mut cosines = vec![0.0; self.texts.len()];
        for (id, weight) in self.vector(text) {
            for (place, other) in &self.features[id as usize].weights {
                cosines[*place] += weight * other;
            }
        }
        let mut examples = vec![Vec::new(); self.topics];
        let mut whole = vec![0.0; self.topics];
        for (Text { topic, is_whole }, cosine) in self.texts.iter().zip(cosines) {
            match is_whole {
                true => whole[*topic] = cosine,
                false => examples[*topic].push(cosine),
            }
        }
        examples.into_iter().zip(whole).map(|(examples, whole)| to_topic(examples, whole)).collect()
    }

    fn vector(&self, text: &str) -> Vector {
        let mut weights = Vector::new();
        let mut unknown = 0.0;
        for_each_feature(text, &self.languages, |name, weight| match self.ids.get(name) {
            Some(id) => weights.push((*id, weight * self.features[*id as usize].idf)),
            None => unknown += (weight * self.rarest * UNKNOWN_WEIGHT).powi(2),
        });
        weights.sort_unstable_by_key(|(id, _)| *id);
        weights.dedup_by(|(id, weight), (kept, sum)| {
            let is_same = id == kept;
            *sum += if is_same { *weight } else { 0.0 };
            is_same
        });
        normalise(&mut weights, unknown);
        weights
    }
}

/// Returns the similarity to a topic, given those to each of its examples and to its whole text.
pub(super) fn to_topic(examples: impl IntoIterator<Item = f64>, whole: f64) -> f64 {
    let mut closest = [0.0; EXAMPLE_SHARES.len()];
    for similarity in examples {
        if let Some(place) = closest.iter().position(|other| similarity > *other) {
            closest[place..].rotate_right(1);
            closest[place] = similarity;
        }
    }
    let of_examples: f64 = closest.iter().zip(EXAMPLE_SHARES).map(|(similarity, share)| similarity * share).sum();
    of_examples + (1.0 - EXAMPLE_SHARES.iter().sum::<f64>()) * whole
}

/// Divides a vector by its length. `unknown`: the squares of weights that it lacks.
fn normalise(vector: &mut Vector, unknown: f64) {
    let length = (vector.iter().map(|(_, weight)| weight.powi(2)).sum::<f64>() + unknown).sqrt();
    vector.iter_mut().for_each(|(_, weight)| *weight /= length.max(f64::MIN_POSITIVE));
}

/// Returns the probability of each topic, given its similarity; they sum up to 1.
pub(super) fn shares(similarities: &[f64]) -> Vec<f64> {
    let weights: Vec<f64> = similarities.iter().map(|similarity| (SHARPNESS * similarity).exp()).collect();
    let all: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / all).collect()
}

/// Returns the index of the highest probability and the confidence in it. `None` if all are equal.
pub(super) fn best(shares: &[f64]) -> Option<(usize, f64)> {
    let (index, best) = shares.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let confidence = above_chance(best, shares.len());
    (confidence > f64::EPSILON).then_some((index, confidence))
}

/// Returns the confidence in a choice among `choices` of the given probability: 0 for a guess, 1 for certainty.
pub(super) fn above_chance(probability: f64, choices: usize) -> f64 {
    let chance = 1.0 / choices as f64;
    if choices < 2 { 1.0 } else { ((probability - chance) / (1.0 - chance)).clamp(0.0, 1.0) }
}

/// Calls `each` with the words of a text and their n-grams, and the weight of each.
fn for_each_feature(text: &str, languages: &Languages, mut each: impl FnMut(&str, f64)) {
    let words: Vec<String> = words(text).into_iter().take(MAX_WORDS).collect();
    let (function_words, telling): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| languages.is_stop_word(word));
    if telling.is_empty() {
        return;
    }
    // The trailing space keeps a word distinct from an n-gram of the same characters.
    for word in function_words {
        each(&format!("^{word}$ "), FUNCTION_WORD_WEIGHT);
    }
    for word in telling {
        let marked = format!("^{word}$ ");
        let starts: Vec<usize> = marked.char_indices().map(|(at, _)| at).collect();
        let starts = starts.as_slice();
        let spans = move |length: usize| starts.windows(length + 1).map(move |span| (span[0], span[length]));
        let parts = move || PART_CHARS.flat_map(spans);
        let weight = PARTS_WEIGHT / (parts().count().max(1) as f64).sqrt();
        parts().for_each(|(start, end)| each(&marked[start..end], weight));
        each(&marked, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        let animals = ["Which dog barks the loudest?".to_owned(), "What do cats eat?".to_owned()];
        let tools = ["How do I sharpen a saw?".to_owned(), "Which hammer should I buy?".to_owned()];
        let topics = [("Animals: dogs, cats", animals.as_slice()), ("Tools: saws, hammers", tools.as_slice())];
        Topics::new(topics, Arc::new(Languages::built_in()))
    }

    #[test]
    fn example_is_most_similar_to_its_own_topic() {
        let similarities = topics().similarities("What do cats eat?");
        assert!(similarities[0] > 0.55 && similarities[1] < 0.05, "{similarities:?}");
        let (index, confidence) = best(&shares(&similarities)).unwrap();
        assert!(index == 0 && confidence > 0.9, "{confidence}");
    }

    #[test]
    fn inflections_and_typing_errors_are_still_similar() {
        for text in ["sharpening", "SHARPEN!", "sharpn my saws"] {
            let similarities = topics().similarities(text);
            assert!(similarities[1] > 0.1 && similarities[1] > 3.0 * similarities[0], "{text}: {similarities:?}");
        }
    }

    #[test]
    fn unknown_words_lower_the_similarity() {
        let similarity = |text| topics().similarities(text)[0];
        assert!(similarity("cats") > similarity("cats quarrel loudly behind wooden garages"));
        assert_eq!(topics().similarities("zzz"), [0.0, 0.0]);
        assert_eq!(topics().similarities("the of and"), [0.0, 0.0]);
        assert_eq!(best(&shares(&[0.0, 0.0])), None);
        assert_eq!(best(&shares(&[])), None);
    }

    #[test]
    fn confidence_falls_with_a_close_second_and_with_little_evidence() {
        let confidence = |similarities: &[f64]| best(&shares(similarities)).map_or(0.0, |(_, confidence)| confidence);
        assert!(confidence(&[0.5, 0.1]) > confidence(&[0.5, 0.4]));
        assert!(confidence(&[0.5, 0.0]) > confidence(&[0.05, 0.0]));
        assert!(confidence(&[0.5, 0.5]) <= 0.5);
        assert!(confidence(&[1.0, 0.0]) < 1.0);
        assert_eq!([above_chance(1.0 / 3.0, 3), above_chance(1.0, 3), above_chance(0.1, 3)], [0.0, 1.0, 0.0]);
    }

    #[test]
    fn function_words_count_only_beside_others() {
        let text = |second: &str| topics().similarities(second)[0];
        assert!(text("Which dog barks?") > text("dog barks?"));
        assert_eq!(text("which the"), 0.0);
    }
}
