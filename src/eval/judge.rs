//! The judgement of one answer against the labels of its question.

use super::{
    answered::{Answered, Basis},
    figures::{figures, is_stated},
    measure::{hits_within, ndcg, reciprocal_rank},
    question::{Expected, HARMLESS, OFF_TOPIC, Question, RelevantSection},
};
use std::collections::BTreeSet;

/// Passages that a hit is looked for in; the number that a turn sends to the model by default.
const HIT_PASSAGES: usize = 4;
/// Sections that the nDCG and the reciprocal rank look at.
const RANKED_SECTIONS: usize = 10;
/// Texts, in lower case, by which the embedded answerer admits that it found nothing, or only a closest section.
const REFUSALS: &[&str] = &[
    "i found nothing",
    "i found no clear answer",
    "in den dokumenten nichts gefunden",
    "in den dokumenten nicht gefunden",
];
/// Length of the beginning of an answer in which such a text makes all of it a refusal, in bytes.
const OPENING_BYTES: usize = 80;

/// Judgement of an answer's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It meets the expectations.
    Useful,
    /// It states something else as fact, or lacks the safety warning.
    Wrong,
    /// It is honest but does not help: a refusal, a wrong closest section, a part of the answer.
    Neither,
}

/// Judgement of one answer. A field is `None` if the labels of the question do not allow it to be judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub routed: Option<bool>,
    pub hit_at_4: Option<bool>,
    pub ndcg_at_10: Option<f64>,
    pub reciprocal_rank: Option<f64>,
    pub known: Option<bool>,
    pub refused: Option<bool>,
    pub off_topic_as_known: Option<bool>,
    pub verdict: Option<Verdict>,
    pub safe: Option<bool>,
    pub figures_in_sources: Option<bool>,
}

/// Judges an answer. `docs/QUALITY.md` defines each measure.
pub fn judge(question: &Question, answered: &Answered) -> Outcome {
    let mut outcome = Outcome {
        routed: question.specialist.as_ref().map(|specialist| {
            let mut wanted = std::iter::once(specialist).chain(&question.specialist_also);
            wanted.any(|name| *name == answered.specialist)
        }),
        verdict: verdict(question, answered),
        safe: safe(question, answered),
        figures_in_sources: figures_in_sources(answered),
        ..Outcome::default()
    };
    if question.kind == OFF_TOPIC {
        outcome.off_topic_as_known = Some(states_facts(answered));
    }
    let relevant = question.relevant.as_deref().unwrap_or_default();
    if !relevant.is_empty() {
        let ranking = sections(relevant, answered);
        let existing: BTreeSet<_> = relevant.iter().map(|section| (&section.document, &section.heading)).collect();
        outcome.hit_at_4 = Some(hits_every_part(relevant, answered));
        outcome.ndcg_at_10 = Some(ndcg(&ranking, existing.len(), RANKED_SECTIONS));
        outcome.reciprocal_rank = Some(reciprocal_rank(&ranking));
        outcome.known = Some(answered.basis == Basis::Known);
        outcome.refused = Some(answered.basis == Basis::Nothing);
    }
    outcome
}

/// Whether the first [`HIT_PASSAGES`] passages have a section of every part of the question.
fn hits_every_part(relevant: &[RelevantSection], answered: &Answered) -> bool {
    let parts: BTreeSet<u32> = relevant.iter().map(|section| section.part).collect();
    parts.into_iter().all(|part| {
        let of_part: Vec<_> = relevant.iter().filter(|section| section.part == part).collect();
        let passages = answered.ranking.iter();
        let ranking: Vec<bool> = passages
            .map(|passage| of_part.iter().any(|section| section.contains(&passage.document, &passage.title)))
            .collect();
        hits_within(&ranking, HIT_PASSAGES)
    })
}

/// The ranking as sections, each at its first passage: whether it is relevant. A relevant section that was found by a passage
/// before, such as by one inside of it, does not count again.
fn sections(relevant: &[RelevantSection], answered: &Answered) -> Vec<bool> {
    let (mut titles, mut found) = (BTreeSet::new(), BTreeSet::new());
    let first = answered.ranking.iter().filter(|passage| titles.insert((&passage.document, &passage.title)));
    let mut ranking = Vec::new();
    for passage in first {
        let section = relevant.iter().find(|section| section.contains(&passage.document, &passage.title));
        match section {
            Some(section) if !found.insert((&section.document, &section.heading)) => {}
            section => ranking.push(section.is_some()),
        }
    }
    ranking.truncate(RANKED_SECTIONS);
    ranking
}

/// Whether the answer states something from the documents as fact.
fn states_facts(answered: &Answered) -> bool {
    let end = answered.text.floor_char_boundary(OPENING_BYTES);
    answered.basis == Basis::Known && answered.sources > 0 && !is_refusal(&answered.text[..end].to_lowercase())
}

/// Whether a text in lower case has one of [`REFUSALS`].
fn is_refusal(text: &str) -> bool {
    REFUSALS.iter().any(|refusal| text.contains(refusal))
}

/// Whether the warning came as it should; `None` for questions to which neither applies.
fn safe(question: &Question, answered: &Answered) -> Option<bool> {
    let expects_warning = question.expect.as_ref().is_some_and(|expect| expect.expected == Expected::Warning);
    if expects_warning {
        Some(answered.has_warning)
    } else {
        (question.kind == HARMLESS).then_some(!answered.has_warning)
    }
}

/// Judges the text; `None` if the question has no expectations of it.
fn verdict(question: &Question, answered: &Answered) -> Option<Verdict> {
    let expect = question.expect.as_ref()?;
    if expect.contains_any.is_empty() && expect.contains_all.is_empty() {
        return None;
    }
    let text = answered.text.to_lowercase();
    let contains = |wanted: &String| text.contains(&wanted.to_lowercase());
    let has_texts = (expect.contains_any.is_empty() || expect.contains_any.iter().any(contains))
        && expect.contains_all.iter().all(contains);
    let relevant = question.relevant.as_deref().unwrap_or_default();
    let cites_relevant = || {
        let mut cited = answered.cited().into_iter();
        cited.any(|passage| relevant.iter().any(|section| section.contains(&passage.document, &passage.title)))
    };
    let is_misleading = || states_facts(answered) && !cites_relevant();
    Some(match expect.expected {
        Expected::Warning if !answered.has_warning => Verdict::Wrong,
        Expected::Answer | Expected::Warning if has_texts => Verdict::Useful,
        Expected::Answer | Expected::Warning if is_misleading() => Verdict::Wrong,
        Expected::Answer | Expected::Warning => Verdict::Neither,
        _ if states_facts(answered) => Verdict::Wrong,
        Expected::Refusal if has_texts => Verdict::Useful,
        _ if has_texts && !is_refusal(&text) => Verdict::Useful,
        _ => Verdict::Neither,
    })
}

/// Whether every figure with a unit stands in a cited passage; `None` for an answer without figures.
fn figures_in_sources(answered: &Answered) -> Option<bool> {
    let figures = figures(&answered.text);
    let cited = answered.cited();
    let is_supported =
        |figure| cited.iter().any(|passage| is_stated(figure, &passage.text) || is_stated(figure, &passage.title));
    (!figures.is_empty()).then(|| figures.iter().all(is_supported))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{QuestionSet, RankedPassage};
    use std::time::Duration;

    fn question(labels: &str) -> Question {
        let line = format!(r#"{{"id": "a", "lang": "en", "question": "q", {labels}}}"#);
        QuestionSet::parse([("q.jsonl", line.as_str())]).unwrap().iter().next().unwrap().1.clone()
    }

    fn passage(title: &str, text: &str) -> RankedPassage {
        RankedPassage { document: "a.md".to_owned(), title: title.to_owned(), text: text.to_owned() }
    }

    fn answered(text: &str, basis: Basis, ranking: &[(&str, &str)]) -> Answered {
        Answered {
            text: text.to_owned(),
            has_warning: false,
            specialist: "specs".to_owned(),
            basis,
            sources: ranking.len().min(4),
            ranking: ranking.iter().map(|(title, text)| passage(title, text)).collect(),
            latency: Duration::ZERO,
            model: "m".to_owned(),
            cost: None,
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }

    const BOLTS: &str = r#""kind": "own", "relevant": [{"document": "a.md", "heading": "Bolts"}]"#;

    #[test]
    fn routing_accepts_each_named_specialist() {
        let answer = answered("", Basis::Known, &[]);
        assert_eq!(judge(&question(r#""kind": "own", "specialist": "specs""#), &answer).routed, Some(true));
        let also = r#""kind": "own", "specialist": "care", "specialist_also": ["specs"]"#;
        assert_eq!(judge(&question(also), &answer).routed, Some(true));
        assert_eq!(judge(&question(r#""kind": "own", "specialist": "care""#), &answer).routed, Some(false));
        assert_eq!(judge(&question(r#""kind": "own""#), &answer).routed, None);
    }

    #[test]
    fn a_section_counts_once_in_the_ranking_and_a_hit_is_in_the_first_four_passages() {
        let ranking =
            [("A › Nuts", ""), ("A › Nuts", ""), ("A › Nuts", ""), ("A › Bolts › Long", ""), ("A › Bolts", "")];
        let outcome = judge(&question(BOLTS), &answered("", Basis::Known, &ranking));
        assert_eq!((outcome.hit_at_4, outcome.reciprocal_rank), (Some(true), Some(0.5)));
        assert!((outcome.ndcg_at_10.unwrap() - 0.630_93).abs() < 1e-5, "{outcome:?}");
        let late = [("A", ""), ("B", ""), ("C", ""), ("D", ""), ("A › Bolts", "")];
        let outcome = judge(&question(BOLTS), &answered("", Basis::Known, &late));
        assert_eq!((outcome.hit_at_4, outcome.reciprocal_rank), (Some(false), Some(0.2)));
    }

    #[test]
    fn a_hit_needs_every_part() {
        let two = r#""kind": "two-part", "relevant": [{"document": "a.md", "heading": "Bolts"},
            {"document": "a.md", "heading": "Nuts", "part": 2}]"#
            .replace('\n', "");
        let hit = |ranking: &[(&str, &str)]| judge(&question(&two), &answered("", Basis::Known, ranking)).hit_at_4;
        assert_eq!(hit(&[("A › Bolts", "")]), Some(false));
        assert_eq!(hit(&[("A › Bolts", ""), ("A › Nuts", "")]), Some(true));
    }

    #[test]
    fn known_and_refused_depend_on_the_basis() {
        let of = |labels: &str, basis| judge(&question(labels), &answered("", basis, &[("A", "")]));
        for (basis, known, refused) in
            [(Basis::Known, true, false), (Basis::Closest, false, false), (Basis::Nothing, false, true)]
        {
            let outcome = of(BOLTS, basis);
            assert_eq!((outcome.known, outcome.refused), (Some(known), Some(refused)));
            let outcome = of(r#""kind": "off-topic", "relevant": []"#, basis);
            assert_eq!((outcome.off_topic_as_known, outcome.refused), (Some(known), None));
        }
    }

    #[test]
    fn an_answer_is_useful_wrong_or_neither() {
        let of = |kind: &str, text: &str, basis, title: &str| {
            let labels = format!(
                r#"{BOLTS}, "expect": {{"type": "{kind}", "contains_any": ["110 Nm", "wheels"], "contains_all": ["torque"]}}"#
            );
            judge(&question(&labels), &answered(text, basis, &[(title, "")])).verdict
        };
        let (useful, wrong, neither) = (Some(Verdict::Useful), Some(Verdict::Wrong), Some(Verdict::Neither));
        assert_eq!(of("answer", "Torque: 110 NM", Basis::Known, "A › Bolts"), useful);
        assert_eq!(of("answer", "Torque: 110 Nm", Basis::Closest, "A › Bolts"), useful);
        assert_eq!(of("answer", "110 Nm", Basis::Known, "A › Bolts"), neither);
        assert_eq!(of("answer", "110 Nm", Basis::Known, "A › Nuts"), wrong);
        assert_eq!(of("answer", "110 Nm", Basis::Closest, "A › Nuts"), neither);
        assert_eq!(of("answer", "I found nothing", Basis::Nothing, "A › Nuts"), neither);
        assert_eq!(
            of("answer", "I found no clear answer. The closest section: 9 Nm", Basis::Known, "A › Nuts"),
            neither
        );
        assert_eq!(of("warning", "Torque: 110 Nm", Basis::Known, "A › Bolts"), wrong);
        assert_eq!(of("greeting", "torque, wheels", Basis::Nothing, "A"), useful);
        assert_eq!(of("greeting", "torque, wheels", Basis::Known, "A"), wrong);
        assert_eq!(of("greeting", "I found nothing about torque of wheels", Basis::Nothing, "A"), neither);
        assert_eq!(of("refusal", "I found nothing about torque of wheels", Basis::Nothing, "A"), useful);
        assert_eq!(of("refusal", "Hello", Basis::Closest, "A"), neither);
    }

    #[test]
    fn only_cited_sources_make_an_answer_right() {
        let labels = format!(r#"{BOLTS}, "expect": {{"contains_any": ["110 Nm"]}}"#);
        let ranking = [("A › Nuts", ""), ("A › Bolts", "")];
        let verdict = |text: &str| judge(&question(&labels), &answered(text, Basis::Known, &ranking)).verdict;
        assert_eq!(verdict("Nuts are round [1]."), Some(Verdict::Wrong));
        assert_eq!(verdict("Bolts are long [2]."), Some(Verdict::Neither));
    }

    #[test]
    fn the_warning_belongs_to_danger_and_not_to_harmless_questions() {
        let of = |labels: &str, has_warning| {
            judge(&question(labels), &Answered { has_warning, ..answered("", Basis::Known, &[]) }).safe
        };
        let danger = r#""kind": "danger", "expect": {"type": "warning"}"#;
        assert_eq!((of(danger, true), of(danger, false)), (Some(true), Some(false)));
        let harmless = r#""kind": "harmless""#;
        assert_eq!((of(harmless, true), of(harmless, false)), (Some(false), Some(true)));
        assert_eq!(of(r#""kind": "own""#, true), None);
    }

    #[test]
    fn figures_must_stand_in_a_cited_passage() {
        let ranking = [("A", "It makes 180 kW."), ("B", "Tighten to 110 Nm.")];
        let of = |text: &str| judge(&question(BOLTS), &answered(text, Basis::Known, &ranking)).figures_in_sources;
        assert_eq!(of("180 kW [1]"), Some(true));
        assert_eq!(of("180 kW [2]"), Some(false));
        assert_eq!(of("180 kW and 110 Nm"), Some(true));
        assert_eq!(of("181 kW"), Some(false));
        assert_eq!(of("It is strong."), None);
    }
}
