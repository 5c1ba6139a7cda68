//! Similarity of a text to each of a few topics: cosine similarity of TF-IDF vectors over words and character n-grams. Pure,
//! and takes microseconds.
//!
//! A topic is a description with examples. N-grams of three to five characters make "changing" similar to "change" in any
//! language, and tolerate typing errors. The similarity to a topic is the mean of that to its closest example and that to
//! all of its text, each from 0 to 1.

use super::words::words;
use std::collections::{HashMap, HashSet};

/// The lengths of n-grams, in characters.
const PART_CHARS: std::ops::RangeInclusive<usize> = 3..=5;
/// The combined weight of the n-grams of a word; the word itself has 1.
const PARTS_WEIGHT: f64 = 0.6;
/// The weight of a feature that no topic has, relative to the rarest one that a topic has.
const UNKNOWN_WEIGHT: f64 = 0.5;
/// The number of words of a question that are considered.
const MAX_WORDS: usize = 400;
/// Words that do not characterise a topic.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "could", "did", "do", "does", "for", "from",
    "had", "has", "have", "he", "hello", "hi", "how", "i", "i'm", "if", "in", "is", "it", "its", "me", "my", "of",
    "on", "or", "our", "please", "shall", "she", "should", "so", "tell", "than", "that", "the", "their", "them",
    "then", "there", "these", "they", "this", "those", "to", "us", "was", "we", "were", "what", "when", "where",
    "which", "who", "why", "will", "with", "would", "you", "your",
];

/// Weights of features, normalised to length 1; empty for a text without words.
type Vector = HashMap<u32, f64>;

/// An index of topics.
#[derive(Debug)]
pub(super) struct Topics {
    features: HashMap<String, Feature>,
    topics: Vec<Topic>,
    /// The IDF of a feature that occurs in one text.
    rarest: f64,
}

#[derive(Debug)]
struct Feature {
    id: u32,
    /// The inverse document frequency among all descriptions and examples.
    idf: f64,
}

#[derive(Debug)]
struct Topic {
    examples: Vec<Vector>,
    whole: Vector,
}

impl Topics {
    /// Builds the index from the description and the examples of each topic.
    pub fn new<'a>(topics: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        let topics: Vec<(&str, &[String])> = topics.into_iter().collect();
        let mut seen_in: HashMap<String, usize> = HashMap::new();
        let mut texts = 0;
        for (description, examples) in &topics {
            for text in examples.iter().map(String::as_str).chain([*description]) {
                texts += 1;
                let names: HashSet<String> = features(text).into_iter().map(|(name, _)| name).collect();
                for name in names {
                    *seen_in.entry(name).or_default() += 1;
                }
            }
        }
        let idf = |count: usize| ((1 + texts) as f64 / (1 + count) as f64).ln() + 0.1;
        let features = seen_in.into_iter().zip(0..).map(|((name, count), id)| (name, Feature { id, idf: idf(count) }));
        let mut index = Self { features: features.collect(), topics: Vec::new(), rarest: idf(1) };
        for (description, examples) in topics {
            let examples: Vec<Vector> = examples.iter().map(|example| index.vector(example)).collect();
            let mut whole = index.vector(description);
            for (id, weight) in examples.iter().flatten() {
                *whole.entry(*id).or_default() += weight;
            }
            // Dampens frequent features: their weight grows slower than their count.
            whole.values_mut().for_each(|weight| *weight = weight.sqrt());
            let length = length(&whole);
            whole.values_mut().for_each(|weight| *weight /= length.max(f64::MIN_POSITIVE));
            index.topics.push(Topic { examples, whole });
        }
        index
    }

    /// Returns the similarity of `text` to each topic, 0 to 1, in the order of the topics.
    pub fn similarities(&self, text: &str) -> Vec<f64> {
        let vector = self.vector(text);
        let of = |topic: &Topic| {
            let closest = topic.examples.iter().map(|example| cosine(&vector, example)).fold(0.0, f64::max);
            0.5 * closest + 0.5 * cosine(&vector, &topic.whole)
        };
        self.topics.iter().map(of).collect()
    }

    fn vector(&self, text: &str) -> Vector {
        let mut vector = Vector::new();
        let mut unknown = 0.0;
        for (name, weight) in features(text) {
            match self.features.get(&name) {
                Some(feature) => *vector.entry(feature.id).or_default() += weight * feature.idf,
                None => unknown += (weight * self.rarest * UNKNOWN_WEIGHT).powi(2),
            }
        }
        let length = (length(&vector).powi(2) + unknown).sqrt();
        vector.values_mut().for_each(|weight| *weight /= length.max(f64::MIN_POSITIVE));
        vector
    }
}

/// Returns the index of the highest similarity and its confidence: its share of all similarity, multiplied by the
/// [`evidence`]. `None` if nothing is similar.
pub(super) fn best(similarities: &[f64]) -> Option<(usize, f64)> {
    let (index, best) = similarities.iter().copied().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    if best <= 0.0 {
        return None;
    }
    // Squaring makes a topic that is twice as similar as the next one a clear winner.
    let all: f64 = similarities.iter().map(|similarity| similarity.powi(2)).sum();
    Some((index, best.powi(2) / all * evidence(best)))
}

/// Maps a similarity to 0 to 1: 0 for none, 1/2 at `HALF`, approaching 1 above.
fn evidence(similarity: f64) -> f64 {
    const HALF: f64 = 0.12;
    similarity.powi(2) / (similarity.powi(2) + HALF.powi(2))
}

/// Returns the words of a text and their n-grams, with their weights.
fn features(text: &str) -> Vec<(String, f64)> {
    let mut features = Vec::new();
    for word in words(text).into_iter().filter(|word| !STOP_WORDS.contains(&word.as_str())).take(MAX_WORDS) {
        let marked: Vec<char> = std::iter::once('^').chain(word.chars()).chain(['$']).collect();
        let parts: Vec<String> =
            PART_CHARS.flat_map(|length| marked.windows(length).map(|part| part.iter().collect())).collect();
        let weight = PARTS_WEIGHT / (parts.len().max(1) as f64).sqrt();
        features.extend(parts.into_iter().map(|part| (part, weight)));
        // The trailing space keeps a word distinct from an n-gram of the same characters.
        features.push((format!("^{word}$ "), 1.0));
    }
    features
}

fn length(vector: &Vector) -> f64 {
    vector.values().map(|weight| weight.powi(2)).sum::<f64>().sqrt()
}

/// The cosine of two vectors of length 1 or less.
fn cosine(a: &Vector, b: &Vector) -> f64 {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    few.iter().filter_map(|(id, weight)| many.get(id).map(|other| weight * other)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        let animals = ["Which dog barks the loudest?".to_owned(), "What do cats eat?".to_owned()];
        let tools = ["How do I sharpen a saw?".to_owned(), "Which hammer should I buy?".to_owned()];
        Topics::new([("Animals: dogs, cats", animals.as_slice()), ("Tools: saws, hammers", tools.as_slice())])
    }

    #[test]
    fn example_is_most_similar_to_its_own_topic() {
        let similarities = topics().similarities("What do cats eat?");
        assert!(similarities[0] > 0.7 && similarities[1] < 0.05, "{similarities:?}");
        let (index, confidence) = best(&similarities).unwrap();
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
        assert_eq!(best(&[0.0, 0.0]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn confidence_falls_with_a_close_second_and_with_little_evidence() {
        let confidence = |similarities: &[f64]| best(similarities).unwrap().1;
        assert!(confidence(&[0.5, 0.1]) > confidence(&[0.5, 0.4]));
        assert!(confidence(&[0.5, 0.0]) > confidence(&[0.05, 0.0]));
        assert!(confidence(&[0.5, 0.5]) <= 0.5);
        assert!(confidence(&[1.0, 0.0]) < 1.0);
    }
}
