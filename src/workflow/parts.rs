//! Search for each of the questions in a message, and the merging of what is found.

use super::engine::Engine;
use crate::{
    domain::{HistoryMessage, Passage, Retrieval, RetrievalBasis},
    knowledge::RetrievalQuery,
    language::Piece,
    provider::QuestionPart,
    store::StoreError,
};

/// Maximum number of telling words of a question that may need the one before it: "and how heavy?".
const MAX_ELLIPSIS_WORDS: usize = 1;

/// Search for the questions of one message.
pub(super) struct PartSearch<'a> {
    pub engine: &'a Engine,
    /// The conversation before the message.
    pub earlier: &'a [HistoryMessage],
    pub scope: &'a [String],
    /// Maximum number of passages for a single question.
    pub limit: usize,
}

/// A question and what was found for it.
struct Part {
    question: String,
    /// The text that was searched for.
    query: String,
    asks: bool,
    found: Retrieval,
}

impl PartSearch<'_> {
    /// Searches for each question, and merges what was found; `None` if the message is rather one question. Questions that are
    /// clearly apart are answered one by one. Statements, and the halves of a question, only if two of them can be answered.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn parts(&self, pieces: &[Piece<'_>]) -> Result<Option<(Retrieval, Vec<QuestionPart>)>, StoreError> {
        let small_talk = |piece: &&Piece<'_>| self.engine.languages.small_talk(piece.core).is_some();
        let pieces: Vec<&Piece<'_>> = pieces.iter().filter(|piece| !small_talk(piece)).collect();
        let mut parts: Vec<Part> = Vec::new();
        for piece in &pieces {
            match self.halves(piece, &parts).await? {
                Some(halves) => parts.extend(halves),
                None => {
                    let part = self.one(piece, &parts, pieces.len()).await?;
                    parts.push(part);
                }
            }
        }
        let known = parts.iter().filter(|part| is_known(&part.found)).count();
        let found = parts.iter().filter(|part| part.asks && part.found.basis != RetrievalBasis::Nothing).count();
        Ok(match parts.len() {
            0 => None,
            1 => Some(merge(&parts, self.limit)),
            _ if known > 1 || found > 0 => Some(merge(&parts, self.engine.max_passages)),
            _ => None,
        })
    }

    /// Returns both halves of a question if each is answered better than the whole by a passage of its own.
    async fn halves(&self, piece: &Piece<'_>, before: &[Part]) -> Result<Option<[Part; 2]>, StoreError> {
        let Some([first, second]) = &piece.halves else { return Ok(None) };
        let first_found = self.search(first, &[], self.engine.max_passages).await?;
        if !is_known(&first_found) {
            return Ok(None);
        }
        let second_found = self.search(second, &[], self.engine.max_passages).await?;
        if !is_known(&second_found) || have_same_best(&first_found, &second_found) {
            return Ok(None);
        }
        let whole = self.one(piece, before, 1).await?.found;
        let is_better = |half: &Retrieval| !is_known(&whole) || best_score(half) > best_score(&whole);
        let are_better = is_better(&first_found) && is_better(&second_found);
        let part = |half: &String, found| Part { question: half.clone(), query: half.clone(), asks: piece.asks, found };
        Ok(are_better.then(|| [part(first, first_found), part(second, second_found)]))
    }

    /// Searches for one of `count` questions: with what it may need to be understood, the question or the sentences before it, or
    /// else alone.
    async fn one(&self, piece: &Piece<'_>, before: &[Part], count: usize) -> Result<Part, StoreError> {
        // Questions of one message may belong to different specialists.
        let (scope, limit) = if count > 1 { (&[][..], self.engine.max_passages) } else { (self.scope, self.limit) };
        let part = |query: String, found| Part { question: piece.core.to_owned(), query, asks: piece.asks, found };
        if let Some(previous) = before.last()
            && self.needs(piece.core, &previous.question)
        {
            let query = RetrievalQuery::after(piece.core, &previous.question);
            let found = self.engine.knowledge.retrieve(&query, scope, limit).await?;
            if is_known(&found) {
                return Ok(part(query.joined(), found));
            }
        }
        let context = piece.text.strip_suffix(piece.core).unwrap_or_default().trim();
        if !context.is_empty() {
            // The context tells less about the subject than the question, but may name what it is about.
            let query = RetrievalQuery::after(piece.core, context);
            let found = self.engine.knowledge.retrieve(&query, scope, limit).await?;
            if is_known(&found) {
                return Ok(part(query.joined(), found));
            }
        }
        let found = self.search(piece.core, scope, limit).await?;
        Ok(part(piece.core.to_owned(), found))
    }

    /// Whether a question may need the one before it. It does not if that points back as well: "how wide is it, and how heavy is it?"
    fn needs(&self, question: &str, previous: &str) -> bool {
        let languages = &self.engine.languages;
        let marks = languages.follow_up_marks(question);
        (marks.points_back || marks.telling_words <= MAX_ELLIPSIS_WORDS)
            && !languages.follow_up_marks(previous).points_back
    }

    async fn search(&self, text: &str, scope: &[String], limit: usize) -> Result<Retrieval, StoreError> {
        let Engine { knowledge, languages, .. } = self.engine;
        knowledge.retrieve(RetrievalQuery::new(text, self.earlier, languages), scope, limit).await
    }
}

pub(super) fn is_known(found: &Retrieval) -> bool {
    matches!(found.basis, RetrievalBasis::Covered | RetrievalBasis::Similar)
}

pub(super) fn is_same(one: &Passage, other: &Passage) -> bool {
    one.document_id == other.document_id && one.passage == other.passage
}

fn best_score(found: &Retrieval) -> f64 {
    found.passages.first().map_or(0.0, |best| best.score)
}

fn have_same_best(one: &Retrieval, other: &Retrieval) -> bool {
    one.passages.first().zip(other.passages.first()).is_none_or(|(one, other)| is_same(one, other))
}

/// Merges the passages of several questions, the best of each first.
fn merge(found: &[Part], max_passages: usize) -> (Retrieval, Vec<QuestionPart>) {
    let best = found.iter().min_by_key(|part| rank(part.found.basis));
    let mut merged = best.map(|best| Retrieval { passages: Vec::new(), ..best.found.clone() }).unwrap_or_default();
    let part = |part: &Part| QuestionPart {
        question: part.question.clone(),
        query: part.query.clone(),
        asks: part.asks,
        basis: part.found.basis,
        passages: Vec::new(),
    };
    let mut parts: Vec<QuestionPart> = found.iter().map(part).collect();
    let limit = max_passages.max(found.len());
    for rank in 0..max_passages {
        for (part, Part { found, .. }) in parts.iter_mut().zip(found) {
            let Some(passage) = found.passages.get(rank) else { continue };
            let known = merged.passages.iter().position(|other| is_same(other, passage));
            if known.is_none() && merged.passages.len() >= limit {
                continue;
            }
            part.passages.push(known.unwrap_or(merged.passages.len()));
            if known.is_none() {
                merged.passages.push(passage.clone());
            }
        }
    }
    (merged, parts)
}

/// Place of a basis in the order from the firmest to the weakest.
const fn rank(basis: RetrievalBasis) -> u8 {
    match basis {
        RetrievalBasis::Covered => 0,
        RetrievalBasis::Similar => 1,
        RetrievalBasis::Closest => 2,
        RetrievalBasis::Nothing => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DocumentId;

    fn passage(document_id: DocumentId, number: u32) -> Passage {
        Passage {
            document_id,
            source: "a.md".to_owned(),
            title: "A".to_owned(),
            passage: number,
            text: String::new(),
            score: 0.5,
        }
    }

    fn part(question: &str, basis: RetrievalBasis, passages: &[Passage]) -> Part {
        let found = Retrieval { passages: passages.to_vec(), basis, ..Retrieval::default() };
        Part { question: question.to_owned(), query: question.to_owned(), asks: true, found }
    }

    #[test]
    fn the_passages_of_all_parts_are_numbered_together() {
        let [one, two, three] = [1, 2, 3].map(|number| passage(DocumentId::new(), number));
        let (merged, parts) = merge(
            &[
                part("a", RetrievalBasis::Closest, &[one.clone(), two.clone()]),
                part("b", RetrievalBasis::Covered, &[three.clone(), one.clone()]),
                part("c", RetrievalBasis::Nothing, &[]),
            ],
            3,
        );
        assert_eq!(merged.basis, RetrievalBasis::Covered);
        assert_eq!(merged.passages, [one, three, two]);
        let positions: Vec<_> = parts.iter().map(|part| (part.question.as_str(), part.passages.clone())).collect();
        assert_eq!(positions, [("a", vec![0, 2]), ("b", vec![1, 0]), ("c", vec![])]);
    }

    #[test]
    fn every_part_keeps_its_best_passage() {
        let passages: Vec<Passage> = (1..=8).map(|number| passage(DocumentId::new(), number)).collect();
        let found: Vec<Part> =
            passages.chunks(2).map(|passages| part("a", RetrievalBasis::Covered, passages)).collect();
        let (merged, parts) = merge(&found, 1);
        assert_eq!(merged.passages.len(), 4);
        assert_eq!(parts.iter().map(|part| part.passages[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
