//! Calibration of the similarity by vectors: how close questions come to the documents that have nothing to do with them.
//!
//! The closeness of a question and its best passage has no fixed meaning: it depends on the vectors, and grows with the number of
//! passages. So the index is asked everyday questions about many subjects ([`PROBES`]). A question is known if it comes clearly
//! closer than all of them; what comes no closer than the remotest is found by chance.

/// Factor by which a known question must come closer than the closest probe: questions about the subject of the documents that
/// they do not answer come closer than any question about another subject.
const KNOWN_FACTOR: f32 = 1.25;
/// Share of the probes that a question must exceed for its passages to be offered at all.
const OFFERED_SHARE: f64 = 0.1;

/// Multiple of the distance from the median to the closest probe by which a known question must exceed it.
const KNOWN_SPREADS: f32 = 0.5;
/// Share of the probes whose cosine a question must exceed for its passages to be offered at all.
const OFFERED_COSINES_SHARE: f64 = 0.25;

/// Everyday questions about many subjects.
pub const PROBES: &[&str] = &[
    "Who painted the Mona Lisa?",
    "How long do I cook rice?",
    "What is the tallest mountain in the world?",
    "Recommend a novel for the holidays",
    "When did the Second World War end?",
    "How do I remove a red wine stain?",
    "Translate good morning into Japanese",
    "What is the capital of Canada?",
    "Who won the last election?",
    "How far away is the moon?",
    "Write a poem about autumn",
    "What is the square root of 144?",
    "Which vitamins are in oranges?",
    "How do I train a puppy?",
    "Is it going to rain tomorrow?",
    "How many players are in a football team?",
    "What should I wear to a wedding?",
    "How do I invest in shares?",
    "Why is the sky blue?",
    "What are the symptoms of flu?",
    "How do I grow tomatoes on a balcony?",
    "Who wrote Romeo and Juliet?",
    "Cheap flights to New York",
    "How do vaccines work?",
    "Wie heißt die Hauptstadt von Spanien?",
    "Wie koche ich Spaghetti?",
    "Wer hat die Zauberflöte komponiert?",
    "Wie wird das Wetter am Wochenende?",
    "Was hilft gegen Kopfschmerzen?",
    "Wie viele Einwohner hat Berlin?",
    "Erzähl mir einen Witz",
    "Wie alt wird ein Elefant?",
    "Wann wurde die Mauer gebaut?",
    "Welcher Film läuft heute im Kino?",
    "Wie schreibe ich eine Bewerbung?",
    "Was schenke ich meiner Mutter zum Geburtstag?",
    "Wer ist deutscher Meister im Fußball?",
    "Wie lerne ich am besten Gitarre?",
    "Was ist der Sinn des Lebens?",
    "Wie pflege ich Orchideen?",
    "Wie hoch ist die Mehrwertsteuer in Österreich?",
    "Wie schnell läuft ein Gepard?",
    "Rezept für Apfelkuchen",
    "Was bedeutet mein Traum von Schlangen?",
    "Wie beantrage ich Elterngeld?",
    "Welche Sprache spricht man in Brasilien?",
    "Wie entsteht ein Regenbogen?",
    "Wer erfand das Telefon?",
];

/// Closeness of questions by vectors that means something for the passages of an index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Closeness above which a question is known.
    pub known: f32,
    /// Closeness from which the closest passages are offered.
    pub offered: f32,
}

impl Thresholds {
    /// Measures the probes with `closeness`, which compares a question with all passages.
    pub fn measure(closeness: impl Fn(&str) -> f32) -> Self {
        let mut closeness: Vec<f32> = PROBES.iter().copied().map(closeness).collect();
        closeness.sort_by(f32::total_cmp);
        let at = |share: f64| closeness[((closeness.len() - 1) as f64 * share).round() as usize];
        Self { known: KNOWN_FACTOR * at(1.0), offered: at(OFFERED_SHARE) }
    }

    /// Derives the thresholds of an embedding model from the cosine of each probe with its nearest passage. Cosines of a model lie in a
    /// narrow range, so a known question must exceed the probes by a share of their spread.
    pub fn of_cosines(mut cosines: Vec<f32>) -> Self {
        cosines.sort_by(f32::total_cmp);
        let at = |share: f64| cosines[((cosines.len() - 1) as f64 * share).round() as usize];
        Self { known: at(1.0) + KNOWN_SPREADS * (at(1.0) - at(0.5)), offered: at(OFFERED_COSINES_SHARE) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        domain::{Chunk, Document, DocumentId, UnixMillis},
        knowledge::{
            live_index::LiveIndex,
            question::{Lexicon, Question},
            retrieval::{Meaning, retrieve_from},
        },
    };
    use std::sync::Arc;

    async fn index(passages: &[(&str, &str)]) -> Arc<LiveIndex> {
        let index = Arc::new(LiveIndex::default());
        put(&index, passages).await;
        index
    }

    /// Adds a document with these passages, and measures the thresholds.
    async fn put(index: &Arc<LiveIndex>, passages: &[(&str, &str)]) {
        let document = Document {
            id: DocumentId::new(),
            source: "a.md".to_owned(),
            collection: String::new(),
            media_type: "text/markdown".to_owned(),
            bytes: 1,
            chunks: 1,
            created_at_ms: UnixMillis(1),
            updated_at_ms: UnixMillis(1),
        };
        let chunk = |(title, text): &(&str, &str)| Chunk {
            title: (*title).to_owned(),
            text: (*text).to_owned(),
            ..Chunk::default()
        };
        let change = index.change().await;
        index.put(change, &document, passages.iter().map(chunk).collect()).await.unwrap();
        index.calibrate(&Arc::default()).await.unwrap();
    }

    fn basis(index: &LiveIndex, question: &str) -> crate::domain::RetrievalBasis {
        let lexicon = Lexicon::default();
        let meaning = Meaning { thresholds: index.thresholds(), embedded: None };
        retrieve_from(&index.read(), &Question::new(question, &lexicon), &[], 4, &meaning).basis
    }

    #[tokio::test]
    async fn a_translated_question_is_known_and_one_about_another_subject_is_not() {
        use crate::domain::RetrievalBasis::{Closest, Nothing, Similar};
        let index = index(&[
            ("Opening hours", "The library is open from nine to six, on Saturdays until noon."),
            ("Printing", "A black and white page costs ten cents, a page in colour fifty."),
            ("Loan period", "Books can be borrowed for four weeks and renewed twice."),
        ])
        .await;
        assert_eq!(basis(&index, "Öffnungszeiten der Bibliothek am Samstag"), Similar);
        let other = basis(&index, "Wie repariere ich meinen Fernseher?");
        assert!(matches!(other, Closest | Nothing), "{other:?}");
    }

    #[tokio::test]
    async fn thresholds_are_measured_again_when_the_passages_have_changed() {
        let index = index(&[("Printing", "A page costs ten cents.")]).await;
        let before = index.thresholds().unwrap();
        assert!(before.offered < before.known);
        put(&index, &[("Football", "A team has eleven players.")]).await;
        assert!(index.thresholds().unwrap().known > before.known);
    }

    #[tokio::test]
    async fn an_empty_index_has_no_thresholds() {
        assert_eq!(index(&[]).await.thresholds(), None);
    }
}
