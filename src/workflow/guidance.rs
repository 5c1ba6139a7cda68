//! Input for the embedded answerer: small talk, the language to answer in, and the questions of a message, each searched for.

use super::{
    engine::Engine,
    specialists::SafetyWarning,
    stages::{Asked, Routed, Searched},
};
use crate::{
    domain::{MessageRole, Passage, Retrieval, RetrievalBasis},
    knowledge::RetrievalQuery,
    language::{Language, Languages, Piece, SmallTalk},
    provider::{GenerateRequest, Guidance, QuestionPart},
    store::StoreError,
};

/// Maximum number of questions of a message that are answered one by one.
const MAX_QUESTIONS: usize = 4;

/// Returns the kind of small talk that a message consists of. With a conversation before it, "why?" or "sure?" is a question, and a
/// message about danger never is small talk.
fn small_talk(engine: &Engine, asked: &Asked) -> Option<SmallTalk> {
    let (languages, text) = (&engine.languages, &asked.question.text);
    if !asked.history.is_empty() && languages.follow_up_marks(text).is_alone {
        return None;
    }
    languages.small_talk(text).filter(|_| warning(engine, asked).is_none())
}

/// Whether a message is small talk for the embedded answerer, which needs neither a specialist nor a search. A model answers small
/// talk as any other message.
pub(super) fn needs_no_search(engine: &Engine, asked: &Asked) -> bool {
    let default = engine.specialists.default_specialist();
    engine.providers.of_specialist(&default.name).is_embedded() && small_talk(engine, asked).is_some()
}

/// Returns the warning to put before the answer.
pub(super) fn warning<'a>(engine: &'a Engine, asked: &Asked) -> Option<SafetyWarning<'a>> {
    engine.specialists.safety_warning(&asked.question.text, &engine.languages)
}

/// Builds the request for the answer.
pub(super) async fn request(engine: &Engine, routed: Routed, searched: Searched) -> GenerateRequest {
    let Searched { retrieval, parts } = searched;
    let guidance = guidance(engine, &routed, parts).await;
    GenerateRequest {
        system_prompt: routed.specialist.system_prompt.clone(),
        passages: retrieval.passages,
        basis: retrieval.basis,
        guidance,
        history: routed.asked.history,
        question: routed.asked.question.text,
        script: routed.asked.question.script,
    }
}

/// Gathers the input of the embedded answerer.
async fn guidance(engine: &Engine, Routed { asked, query, .. }: &Routed, parts: Vec<QuestionPart>) -> Guidance {
    let language = answer_language(&engine.languages, asked);
    let suggestions = engine.guide.suggestions(&language.code).await;
    Guidance {
        language: language.code.clone(),
        topics: suggestions.topics.clone(),
        starters: suggestions.starters.clone(),
        small_talk: small_talk(engine, asked),
        aside: engine.languages.aside(&asked.question.text),
        is_danger: warning(engine, asked).is_some(),
        query: query.joined(),
        parts,
    }
}

/// Returns the language to answer in: that of the message, else of the latest message of the user that has one.
fn answer_language<'a>(languages: &'a Languages, asked: &Asked) -> &'a Language {
    let earlier = asked.earlier_messages().iter().rev().filter(|message| message.role == MessageRole::User);
    let mut texts = [asked.question.text.as_str()].into_iter().chain(earlier.map(|message| message.content.as_str()));
    texts.find_map(|text| languages.detect(text)).unwrap_or_else(|| languages.default_language())
}

/// Searches for what a message asks, for at most `limit` passages. A message about danger gets the section about it first, and a
/// message with several questions passages for each.
///
/// # Errors
/// When the store is unavailable.
pub(super) async fn search(engine: &Engine, routed: &Routed, limit: usize) -> Result<Searched, StoreError> {
    let Routed { asked, specialist, query, .. } = routed;
    let text = asked.question.text.as_str();
    let search = Search { engine, asked, scope: &specialist.collections };
    let warning = warning(engine, asked);
    let pieces = answer_language(&engine.languages, asked).questions(text, MAX_QUESTIONS);
    if !query.is_follow_up() && warning.is_none() {
        let found = search.pieces(&pieces).await?;
        // Questions that are clearly apart are answered one by one as soon as one of them can be; halves only if both can.
        let known = found.iter().filter(|(_, found)| is_known(found)).count();
        if known > 1 || (pieces.len() > 1 && known == 1) {
            let (retrieval, parts) = merge(&found, engine.max_passages);
            return Ok(Searched { retrieval, parts });
        }
    }
    let mut retrieval = engine.knowledge.retrieve(query, search.scope, limit).await?;
    if let Some(danger) = warning.and_then(|warning| warning.search) {
        let section = engine.knowledge.retrieve(danger, &[], 1).await?;
        if is_known(&section) {
            put_first(&mut retrieval, section, limit);
        }
    } else if !is_known(&retrieval)
        && !query.is_follow_up()
        && let [piece] = pieces.as_slice()
        && piece.core != text
    {
        // A greeting or an introduction hides the question.
        let core = engine.knowledge.retrieve(piece.core, search.scope, limit).await?;
        if is_known(&core) {
            retrieval = core;
        }
    }
    Ok(Searched { retrieval, parts: Vec::new() })
}

fn is_known(found: &Retrieval) -> bool {
    matches!(found.basis, RetrievalBasis::Covered | RetrievalBasis::Similar)
}

fn is_same(one: &Passage, other: &Passage) -> bool {
    one.document_id == other.document_id && one.passage == other.passage
}

/// Puts the best passage of `section` before those of `retrieval`.
fn put_first(retrieval: &mut Retrieval, section: Retrieval, limit: usize) {
    let Some(best) = section.passages.into_iter().next() else { return };
    retrieval.passages.retain(|passage| !is_same(passage, &best));
    retrieval.passages.insert(0, best);
    retrieval.passages.truncate(limit);
    retrieval.basis = section.basis;
}

struct Search<'a> {
    engine: &'a Engine,
    asked: &'a Asked,
    scope: &'a [String],
}

impl Search<'_> {
    /// Searches for each of several questions.
    async fn pieces(&self, pieces: &[Piece<'_>]) -> Result<Vec<(String, Retrieval)>, StoreError> {
        let mut found: Vec<(String, Retrieval)> = Vec::new();
        for piece in pieces {
            if let Some(halves) = piece.halves {
                let both = [self.one(halves[0], &found).await?, self.one(halves[1], &found).await?];
                if both.iter().all(is_known) && !have_same_best(&both[0], &both[1]) {
                    found.extend(halves.map(str::to_owned).into_iter().zip(both));
                    continue;
                }
            }
            if pieces.len() > 1 {
                let one = self.one(piece.text, &found).await?;
                found.push((piece.text.to_owned(), one));
            }
        }
        Ok(found)
    }

    /// Searches for one question; if nothing is known about it and it points back, together with the question before it.
    async fn one(&self, text: &str, before: &[(String, Retrieval)]) -> Result<Retrieval, StoreError> {
        let Engine { knowledge, languages, max_passages: limit, .. } = self.engine;
        let limit = *limit;
        // Questions of one message may belong to different specialists.
        let scope = if before.is_empty() { self.scope } else { &[] };
        let query = RetrievalQuery::new(text, self.asked.earlier_messages(), languages);
        let found = knowledge.retrieve(&query, scope, limit).await?;
        match before.last() {
            Some((previous, _)) if !is_known(&found) && languages.follow_up_marks(text).points_back => {
                knowledge.retrieve(RetrievalQuery::after(text, previous), scope, limit).await
            }
            _ => Ok(found),
        }
    }
}

fn have_same_best(one: &Retrieval, other: &Retrieval) -> bool {
    one.passages.first().zip(other.passages.first()).is_none_or(|(one, other)| is_same(one, other))
}

/// Merges the passages of several questions, the best of each first.
fn merge(found: &[(String, Retrieval)], max_passages: usize) -> (Retrieval, Vec<QuestionPart>) {
    let mut merged =
        found.first().map(|(_, one)| Retrieval { passages: Vec::new(), ..one.clone() }).unwrap_or_default();
    let part = |(question, one): &(String, Retrieval)| QuestionPart {
        question: question.clone(),
        basis: one.basis,
        passages: Vec::new(),
    };
    let mut parts: Vec<QuestionPart> = found.iter().map(part).collect();
    let limit = max_passages.max(found.len());
    for rank in 0..max_passages {
        for (part, (_, one)) in parts.iter_mut().zip(found) {
            let Some(passage) = one.passages.get(rank) else { continue };
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
