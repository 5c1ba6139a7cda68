//! Tests of the index with hand-written passages.

use super::*;
use crate::terms::search_terms;

/// Index with a document for each pair of title and text.
fn index_of(passages: &[(&str, &str)]) -> Index {
    let mut index = Index::default();
    for (title, text) in passages {
        put(&mut index, DocumentId::new(), "", &[(title, text)]);
    }
    index
}

fn put(index: &mut Index, id: DocumentId, collection: &str, passages: &[(&str, &str)]) {
    let key = Arc::new(DocumentKey { id, source: "a.md".to_owned(), collection: collection.to_owned() });
    let chunk = |(title, text): &(&str, &str)| Chunk {
        title: (*title).to_owned(),
        text: (*text).to_owned(),
        ..Chunk::default()
    };
    let passages = (1..).zip(passages).map(|(number, passage)| AnalyzedPassage::new(number, chunk(passage)));
    let slots = index.add(&key, passages.collect(), NewTerms::default());
    let old = index.publish(id, 1, slots);
    index.remove(&old);
}

fn find(index: &Index, question: &str, is_german: bool) -> Vec<(String, f64)> {
    let language = QuestionLanguage {
        is_german,
        is_name: &|_| false,
        is_known: &|word| word == "weather",
        spellings: &|_| Vec::new(),
    };
    let found = index.find(&search_terms(question, |_| false), &[], &language);
    let title = |(slot, score)| index.passage(slot, score).map(|passage| (passage.title, score));
    found.rank(index, true, 10).into_iter().filter_map(title).collect()
}

fn titles(index: &Index, question: &str) -> Vec<String> {
    find(index, question, false).into_iter().map(|(title, _)| title).collect()
}

/// Passages without the words of the tests, so that their words are rare.
const OTHERS: [(&str, &str); 4] =
    [("Roses", "They need sun."), ("Tulips", "They need rain."), ("Lawn", "Mow it."), ("Hedge", "Cut it in June.")];

fn index_with(passages: &[(&str, &str)]) -> Index {
    index_of(&[passages, &OTHERS].concat())
}

#[test]
fn a_passage_with_all_words_scores_highest_in_the_title() {
    let index = index_with(&[("Colours", "The gasket is blue."), ("Gasket", "It is blue.")]);
    let found = find(&index, "blue gasket", false);
    assert_eq!(found.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(), ["Gasket", "Colours"]);
    assert!((found[0].1 - 1.0).abs() < 1e-9 && found[1].1 >= GOOD_SCORE, "{found:?}");
}

#[test]
fn a_rare_word_outweighs_a_common_one() {
    let index =
        index_of(&[("1", "oil filter"), ("2", "oil pump"), ("3", "oil pan"), ("4", "flange"), ("5", "oil cap")]);
    assert_eq!(titles(&index, "oil flange"), ["4"]);
}

#[test]
fn words_that_no_passage_contains_lower_the_score() {
    let index = index_with(&[("Gasket", "The gasket is blue.")]);
    assert!(find(&index, "gasket", false)[0].1 >= GOOD_SCORE);
    assert!(find(&index, "gasket supplier abroad", false).iter().all(|(_, score)| *score < GOOD_SCORE));
}

#[test]
fn one_or_two_words_must_be_most_of_the_question() {
    let index =
        index_with(&[("Engine search", "Type a word."), ("Power", "Switch it off at night, and at the weekend.")]);
    for (question, is_known) in [
        ("engine", true),
        ("search engine", true),
        // Each of the two is in another passage.
        ("engine power", false),
        ("engine trebuchet", false),
        ("switch off power at night", true),
    ] {
        let best = find(&index, question, false)[0].1;
        assert_eq!(best >= GOOD_SCORE, is_known, "{question}: {best}");
    }
}

#[test]
fn a_passage_is_about_the_only_word_of_a_question_or_does_not_answer_it() {
    let index = index_with(&[
        ("Fuel tank", "The filler has a blue cap."),
        ("Paint › Crimson", "Two coats."),
        ("Varnish", "Amber varnish dries slowly. Amber shows scratches."),
        ("", "Visitors get a badge."),
    ]);
    for (question, is_known) in [
        ("Do you have it in blue?", false),
        ("Do you have it in crimson?", true),
        ("Do you have it in amber?", true),
        ("Do I need a badge?", true),
        ("Which filler has a blue cap?", true),
    ] {
        let best = find(&index, question, false)[0].1;
        assert_eq!(best >= GOOD_SCORE, is_known, "{question}: {best}");
    }
}

#[test]
fn names_that_no_passage_contains_are_noticed() {
    let index = index_with(&[("Hall", "The hall seats forty.")]);
    let is_name = |word: &str| word == "hall" || word == "avalon";
    let language =
        QuestionLanguage { is_german: false, is_name: &is_name, is_known: &|_| true, spellings: &|_| Vec::new() };
    let has_absent_name = |question| index.find(&search_terms(question, |_| false), &[], &language).has_absent_name;
    assert!(has_absent_name("hall in Avalon") && !has_absent_name("big Hall"));
}

#[test]
fn among_equals_the_passage_with_the_question_as_keyword_comes_first() {
    let mut index = index_with(&[]);
    let passage = |title: &str, keyword: &str| Chunk {
        title: title.to_owned(),
        text: "See below.".to_owned(),
        keywords: vec![keyword.to_owned()],
    };
    let key = Arc::new(DocumentKey { id: DocumentId::new(), source: "a.md".to_owned(), collection: String::new() });
    let chunks = [passage("Breakdown", "card lost abroad"), passage("Cards", "lost card"), passage("Fees", "card fee")];
    let passages = (1..).zip(chunks).map(|(number, chunk)| AnalyzedPassage::new(number, chunk)).collect();
    let slots = index.add(&key, passages, NewTerms::default());
    index.publish(key.id, 1, slots);
    assert_eq!(titles(&index, "lost card")[..2], ["Cards", "Breakdown"]);
    assert!(find(&index, "lost card", false)[0].1 >= GOOD_SCORE);
}

#[test]
fn stop_words_alone_score_well_only_as_a_phrase() {
    let index = index_with(&[("Band", "The Who played here."), ("Other", "Ask who has the key to it.")]);
    let found = find(&index, "The Who", false);
    assert_eq!(found[0].0, "Band");
    assert!(found[0].1 >= GOOD_SCORE && found[1..].iter().all(|(_, score)| *score < GOOD_SCORE), "{found:?}");
    assert!(find(&index, "who", false).iter().all(|(_, score)| *score < GOOD_SCORE));
}

#[test]
fn other_spellings_of_a_word_are_found() {
    let index = index_with(&[
        ("Colour", "The analyser has a grey centre."),
        ("Windscreen", "Wipers."),
        ("Chains", "Fit snow chains to the front."),
        ("Ölwechsel", "Alle zwei Jahre."),
        ("Pressure", "Measure it cold."),
    ]);
    for (question, expected) in [
        ("color", "Colour"),
        ("analyzer", "Colour"),
        ("center", "Colour"),
        ("wind screen", "Windscreen"),
        ("snowchains", "Chains"),
        ("Oelwechsel", "Ölwechsel"),
        ("presure", "Pressure"),
        ("preßure", "Pressure"),
        ("windsceen", "Windscreen"),
        ("widnscreen", "Windscreen"),
    ] {
        assert_eq!(titles(&index, question).first().map(String::as_str), Some(expected), "{question}");
    }
    for question in ["poser", "pres", "weather", "5W31"] {
        assert_eq!(titles(&index, question), Vec::<String>::new(), "{question}");
    }
}

#[test]
fn an_existing_word_is_not_taken_for_a_typing_error() {
    let index = index_with(&[("Seats", "They are made of leather.")]);
    assert_eq!(titles(&index, "leathr"), ["Seats"]);
    assert_eq!(titles(&index, "weather"), Vec::<String>::new());
}

#[test]
fn contractions_without_an_apostrophe_are_stop_words() {
    let index = index_with(&[("Start", "The engine does not start.")]);
    let score = |question| find(&index, question, false)[0].1;
    assert!((score("engine wont start") - score("engine won't start")).abs() < 1e-9);
}

#[test]
fn german_words_are_found_in_other_forms_and_compounds() {
    let index = index_with(&[("Bremsen", "Die Beläge der vorderen Bremse."), ("Luft", "Druck der Reifen: 2,4 bar.")]);
    assert_eq!(find(&index, "Belag der Bremsen", true)[0].0, "Bremsen");
    assert_eq!(titles(&index, "Reifendruck"), ["Luft"]);
}

#[test]
fn a_document_is_replaced_and_removed_completely() {
    let mut index = index_with(&[]);
    let id = DocumentId::new();
    put(&mut index, id, "", &[("Old", "The gasket is red."), ("Older", "The gasket is grey.")]);
    assert_eq!(index.len(), OTHERS.len() + 2);
    put(&mut index, id, "", &[("New", "The gasket is blue.")]);
    assert_eq!((titles(&index, "gasket"), index.len()), (vec!["New".to_owned()], OTHERS.len() + 1));
    assert!(titles(&index, "grey").is_empty());
    let old = index.hide(id);
    assert!(titles(&index, "gasket").is_empty());
    index.remove(&old);
    assert_eq!((index.len(), index.versions().len()), (OTHERS.len(), OTHERS.len()));
    let empty = index_with(&[]);
    assert_eq!(index.length, empty.length);
    assert_eq!(index.postings.iter().map(Vec::len).sum::<usize>(), empty.postings.iter().map(Vec::len).sum::<usize>());
    // Slots are reused.
    put(&mut index, id, "", &[("A", "gasket"), ("B", "gasket")]);
    assert_eq!(index.slots.len(), OTHERS.len() + 3);
}

#[test]
fn passages_are_invisible_until_they_are_published() {
    let mut index = index_with(&[]);
    let id = DocumentId::new();
    let key = Arc::new(DocumentKey { id, source: "a.md".to_owned(), collection: String::new() });
    let chunk = Chunk { title: "Gasket".to_owned(), text: "Blue.".to_owned(), ..Chunk::default() };
    let slots = index.add(&key, vec![AnalyzedPassage::new(1, chunk)], NewTerms::default());
    assert!(titles(&index, "gasket").is_empty());
    index.publish(id, 1, slots);
    assert_eq!(titles(&index, "gasket"), ["Gasket"]);
}

#[test]
fn an_empty_index_finds_nothing() {
    assert!(titles(&Index::default(), "gasket flange").is_empty());
}

#[test]
fn titles_around_a_passage_are_nearest_first_and_of_its_document() {
    let (mut index, id) = (index_with(&[]), DocumentId::new());
    put(&mut index, id, "", &[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
    assert_eq!(index.titles_around(id, 2, 9), ["3", "1", "4"]);
    assert_eq!(index.titles_around(id, 2, 2), ["3", "1"]);
    assert_eq!(index.titles_around(id, 4, 9), ["3", "2", "1"]);
    assert!(index.titles_around(DocumentId::new(), 1, 9).is_empty());
    index.hide(id);
    assert!(index.titles_around(id, 2, 9).is_empty());
}
