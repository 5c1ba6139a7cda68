//! Tests that a search finds texts across spellings, and does not find others.

use super::*;
use proptest::prelude::*;

/// Returns the first alternative of each term.
fn asked(question: &str) -> Vec<String> {
    search_terms(question, |_| false).terms.into_iter().map(|term| term.any_of[0].clone()).collect()
}

/// Whether a text matches any alternative of a term.
fn matches(text: &str, term: &SearchTerm) -> bool {
    let index = format!(" {} ", index_terms(text).join(" "));
    term.any_of.iter().any(|words| index.contains(&format!(" {words} ")))
}

/// Returns the terms of a question that a text does not match.
fn missing(text: &str, question: &str) -> Vec<String> {
    search_terms(question, |_| false)
        .terms
        .iter()
        .filter(|term| !matches(text, term))
        .map(|term| term.any_of.join("|"))
        .collect()
}

#[test]
fn stop_words_are_removed_from_a_question() {
    assert_eq!(asked("What is the engine power?"), ["engin", "power"]);
    assert_eq!(asked("My car's engine won't start, why?"), ["car", "engin", "start"]);
}

#[test]
fn terms_of_another_question_are_added_with_less_weight() {
    let added = |first: &str, second: &str| {
        let mut terms = search_terms(first, |_| false);
        terms.add(search_terms(second, |_| false), 0.5);
        terms.terms.into_iter().map(|term| (term.any_of[0].clone(), term.weight)).collect::<Vec<_>>()
    };
    let terms =
        |terms: &[(&str, f64)]| terms.iter().map(|(term, weight)| ((*term).to_owned(), *weight)).collect::<Vec<_>>();
    assert_eq!(added("and the torque?", "engine torque"), terms(&[("torqu", 1.0), ("engin", 0.5)]));
    assert_eq!(added("why?", "engine power"), terms(&[("engin", 0.5), ("power", 0.5)]));
    assert_eq!(added("engine power", "why?"), terms(&[("engin", 1.0), ("power", 1.0)]));
    assert_eq!(added("why", "not"), terms(&[("whi", 1.0), ("not", 0.5)]));
    let many: String = (0..100).map(|number| format!("word{number} ")).collect();
    assert_eq!(added("torque", &many).len(), MAX_QUERY_WORDS);
}

#[test]
fn inflections_of_a_word_are_one_term() {
    assert_eq!(asked("brake, brakes and braking"), ["brake"]);
    assert_eq!(stems("Braking brakes"), ["brake", "brake"]);
    assert_eq!(stems("How do I jump-start the car's CarPlay?"), ["jump", "start", "car", "carplay"]);
}

#[test]
fn the_number_of_search_terms_is_bounded() {
    let question: String = (0..1_000).map(|n| format!("word{n} ")).collect();
    assert_eq!(asked(&question).len(), MAX_QUERY_WORDS);
    assert!(asked(&"x".repeat(100)).is_empty());
    let run: String = ('\u{4e00}'..='\u{9fff}').collect();
    assert_eq!(asked(&run).len(), MAX_QUERY_GRAMS);
    assert!(asked(&"the who ".repeat(1_000)).len() <= 1 + MAX_QUERY_WORDS);
}

#[test]
fn alternative_spellings_match() {
    for (text, questions) in [
        ("Send an e-mail.", &["email", "e-mail", "e‑mail", "E–Mail", "mail"] as &[_]),
        ("Send an email.", &["e-mail", "Email"]),
        ("Jump starting", &["jump-start", "Jump–starting"]),
        (
            "Sinead O'Brannigan",
            &["O’Brannigan", "OʼBrannigan", "O＇Brannigan", "obrannigan", "Brannigan's", "O`Brannigan"],
        ),
        ("Sinead O’Brannigan", &["O'Brannigan"]),
        ("L'autonomie de l’huile", &["autonomie", "l'autonomie", "l'huile", "d'huile"]),
        ("La sostituzione dell'olio", &["l'olio", "olio", "all’olio"]),
        ("Hawai'i", &["Hawaii", "Hawaiʻi"]),
        ("every 15,000 km", &["15000 km", "15.000 km", "15 000km", "15\u{202f}000", "15'000", "15_000"]),
        ("every 15 000 km", &["15000", "15,000", "000"]),
        ("2.0L or 2,5 l", &["2.0 L", "2,0l", "2.5 l", "2.5L"]),
        ("oil 10W-40", &["10W-40", "10w40", "10W 40"]),
        ("oil 5W30", &["5W-30", "5w30", "5W–30"]),
        ("100 km", &["100km", "100 km"]),
        ("100km", &["100 km"]),
        ("max_running_turns", &["max running turns", "maxRunningTurns", "running"]),
        ("WV-06A115561B and partNumber", &["06A115561B", "part number", "partnumber", "WV 06A115561B"]),
        ("Straße, İstanbul, Isparta, café", &["STRASSE", "istanbul", "ısparta", "cafe\u{301}", "CAFÉ"]),
        ("main\u{ad}tenance, work\u{200b}shop, ﬁlter", &["maintenance", "workshop", "filter"]),
        ("Ｔｙｒｅ ﾀｲﾔ", &["tyre", "タイヤ"]),
        ("main-\ntenance", &["maintenance"]),
        ("The U.S.A. and AT&T", &["USA", "U.S.A.", "AT&T", "ATT"]),
        ("26.11.2026 at 192.168.1.10", &["2026", "26/11/2026", "192.168.1.10"]),
        ("CO₂ and a footnote¹", &["CO2", "footnote"]),
    ] {
        for question in questions {
            assert_eq!(missing(text, question), Vec::<String>::new(), "{question:?} in {text:?}");
        }
    }
}

#[test]
fn different_words_do_not_match() {
    for (text, question) in [
        ("She'll go", "shell"),
        ("We won't", "wont"),
        ("10-20 bar", "1020"),
        ("2.0 bar", "20"),
        ("10² m", "102"),
        ("か", "が"),
        ("a list: 100, 200", "100200"),
    ] {
        assert_ne!(missing(text, question), Vec::<String>::new(), "{question:?} in {text:?}");
    }
}

#[test]
fn stop_words_alone_are_searched_for_as_a_phrase() {
    let search = search_terms("To be, or not to be?", |_| false);
    assert!(search.only_stop_words);
    assert_eq!(search.terms[0].any_of, ["to be or not to be"]);
    assert_eq!(asked("The Who"), ["the who", "the", "who"]);
    assert_eq!(asked("Who?"), ["who"]);
    assert!(!search_terms("Who is Ada?", |_| false).only_stop_words);
    for courtesy in ["hi", "Hello!", "Thanks!", "help", "OK, please", "…", ""] {
        assert!(search_terms(courtesy, |_| false).is_empty(), "{courtesy:?}");
    }
}

#[test]
fn fillers_are_left_out_of_a_question() {
    let terms = search_terms("Wie groß ist der Kofferraum?", |word| ["wie", "ist", "der"].contains(&word)).terms;
    assert_eq!(terms.iter().map(|term| term.word.as_str()).collect::<Vec<_>>(), ["gross", "kofferraum"]);
}

#[test]
fn a_text_is_indexed_by_word_and_part_in_any_script() {
    let text = "O'Brannigan’s e-mail: 15,000 km or 15 000 km, 2.0L of 10W-40 (5W30), max_turns, CarPlay, U.S.A. \
        İstanbul Straße café ﬁlter ﾀｲﾔの空気圧 机油 엔진오일은 น้ำมันเครื่อง 26.11.2026 don't";
    let terms = "o brannigan s obrannigan e mail email 15000 km or 15 000 15000 km 2·0 l 2·0l of 10 w 10w 40 10w40 5 w 30 5w30 \
        max turn maxturn car play carplay u s a usa istanbul strass cafe filter タ タイ イ イヤ ヤ ヤの の の空 空 空気 気 気圧 圧 \
        机 机油 油 엔 엔진 진 진오 오 오일 일 일은 은";
    let index = index_terms(text).join(" ");
    assert!(index.starts_with(terms), "{index}");
    assert!(index.ends_with("26 11 2026 26·11·2026 don t"), "{index}");
    assert_eq!(index.split(' ').count(), 96);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_text_matches_itself_as_question(
        text in "(\\PC|[a-zA-Z0-9]{1,4}|['’.,_&-]| |\n|don't|the |15 000|2\\.0L|タイヤ|机|น้ำ|엔진|\u{301}|\u{ad}|\u{200b}){0,40}"
    ) {
        prop_assert_eq!(missing(&text, &text), Vec::<String>::new());
    }

    /// A phrase of terms is written with spaces between them.
    #[test]
    fn a_term_has_no_ascii_but_letters_and_digits(text in "(\\PC|[\"*():^+-]|\n|\0){0,40}") {
        for term in index_terms(&text) {
            prop_assert!(
                term.chars().all(|c| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{term:?} of {text:?}"
            );
        }
    }
}
