//! Tests of the embedded table and of the soft match with it.

use super::*;

fn vector(word: &str) -> WordVector {
    WordVectors::embedded().word(word).unwrap_or_else(|| panic!("{word} has no vector")).vector
}

fn cosine(one: &str, other: &str) -> f32 {
    vector(one).cosine(&vector(other))
}

#[test]
fn translations_and_synonyms_are_more_similar_than_other_words() {
    for (word, same, other) in [
        ("library", "bibliothek", "kuche"),
        ("kitchen", "kuche", "bibliothek"),
        ("borrow", "ausleihen", "schwimmen"),
        ("purchase", "buy", "swim"),
        ("doctor", "physician", "carpet"),
        ("weather", "wetter", "sprache"),
    ] {
        let (near, far) = (cosine(word, same), cosine(word, other));
        assert!(near > far + 0.2, "{word}: {same} {near}, {other} {far}");
    }
}

#[test]
fn inflected_and_respelled_words_have_the_vectors_of_their_base_forms() {
    for (form, base) in [("libraries", "library"), ("schluessel", "schlussel"), ("fenstern", "fenster")] {
        assert!(cosine(form, base) > 0.8, "{form} {base} {}", cosine(form, base));
    }
}

#[test]
fn compounds_are_composed_of_their_parts() {
    let vectors = WordVectors::embedded();
    for (compound, parts) in [
        ("gartenschlauchhalter", ["garten", "halter"]),
        ("wohnungsschlussel", ["wohnung", "schlussel"]),
        ("kinderbuchabteilung", ["kinderbuch", "abteilung"]),
    ] {
        assert!(vectors.simple(compound).is_none(), "{compound} is in the table");
        for part in parts {
            assert!(cosine(compound, part) > 0.4, "{compound} {part} {}", cosine(compound, part));
        }
    }
}

#[test]
fn numbers_codes_and_unknown_letters_have_no_vector() {
    for word in ["", "x", "42", "p0301", "5w30", "qxzvkjq", "日本"] {
        assert!(WordVectors::embedded().word(word).is_none(), "{word}");
    }
}

#[test]
fn common_words_are_less_rare() {
    let rarity = |word| WordVectors::embedded().word(word).unwrap().rarity;
    assert!(rarity("the") < 5.0 && rarity("und") < 5.0);
    assert!(rarity("the") < rarity("house") && rarity("house") < rarity("lighthous"));
}

/// Passages of an index: numbers of the terms in their titles and texts.
struct Passages {
    terms: TermVectors,
    titles: Vec<Vec<u32>>,
    texts: Vec<Vec<u32>>,
}

impl Passages {
    fn new(passages: &[(&str, &str)]) -> Self {
        let mut words: Vec<&str> =
            passages.iter().flat_map(|(title, text)| title.split(' ').chain(text.split(' '))).collect();
        words.sort_unstable();
        words.dedup();
        let mut terms = TermVectors::default();
        terms.extend(words.iter().map(|word| TermVector::of(word)));
        let numbers = |text: &str| -> Vec<u32> {
            text.split(' ').map(|word| u32::try_from(words.binary_search(&word).unwrap()).unwrap()).collect()
        };
        let titles = passages.iter().map(|(title, _)| numbers(title)).collect();
        let texts = passages.iter().map(|(_, text)| numbers(text)).collect();
        Self { terms, titles, texts }
    }

    fn scores(&self, question: &str) -> Vec<f32> {
        let asked = question.split(' ').map(|word| AskedWord { word, same: None, weight: 1.0 });
        let question = self.terms.compare(asked, |_| true);
        let weighted = |terms: &[u32], weight| terms.iter().map(move |term| (*term, weight)).collect::<Vec<_>>();
        let passages = self.titles.iter().zip(&self.texts);
        let directions: Vec<_> = passages
            .map(|(title, text)| self.terms.direction([weighted(title, 2.0), weighted(text, 1.0)].concat()))
            .collect();
        let postings = |term: u32, visit: &mut dyn FnMut(u32, bool)| {
            for (passage, (title, text)) in (0..).zip(self.titles.iter().zip(&self.texts)) {
                if title.contains(&term) || text.contains(&term) {
                    visit(passage, title.contains(&term));
                }
            }
        };
        let found =
            question.score(self.titles.len(), postings, |passage, whole| whole.cosine(&directions[passage]), 1.0);
        found.into_iter().map(|similarity| similarity.rank).collect()
    }
}

#[test]
fn questions_in_other_words_and_in_german_find_the_passage() {
    let passages = Passages::new(&[
        ("opening hours", "library closes evening saturday noon"),
        ("printing", "copies paper cost colour page"),
        ("parking", "bicycle garage street entrance"),
    ]);
    for (question, expected) in [
        ("offnungszeiten wochenende", 0),
        ("was kostet drucken", 1),
        ("fahrrad abstellen", 2),
        ("leave bike", 2),
        ("photocopy price", 1),
    ] {
        let scores = passages.scores(question);
        let best = (0..3).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        assert_eq!(best, expected, "{question}: {scores:?}");
    }
}

#[test]
fn questions_without_a_known_word_score_no_passage() {
    let passages = Passages::new(&[("printing", "paper"), ("parking", "garage")]);
    assert_eq!(passages.scores("qxzvkjq 42"), [0.0, 0.0]);
}

#[test]
fn a_match_in_the_title_counts_more_than_one_in_the_text() {
    let passages = Passages::new(&[("parking", "street garage"), ("street", "parking garage")]);
    let scores = passages.scores("parking");
    assert!(scores[0] > scores[1], "{scores:?}");
}
