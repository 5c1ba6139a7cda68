//! Votes of a search for collections: whose passages fit a question. Pure.

use super::{index::Index, question::Question, retrieval::find};

/// Number of the best passages that vote for their collections.
const VOTERS: usize = 6;

/// Vote of a search for a collection: the score of its best passage, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionVote {
    pub collection: String,
    pub score: f64,
}

/// Returns the vote for each collection with one of the best passages, best first. Documents without a collection do not vote.
pub fn votes_of(index: &Index, question: &Question<'_>) -> Vec<CollectionVote> {
    let mut votes: Vec<CollectionVote> = Vec::new();
    for (slot, score) in find(index, question, &[]).rank(index, false, VOTERS) {
        let Some(collection) = index.collection(slot).filter(|collection| !collection.is_empty()) else { continue };
        if !votes.iter().any(|vote| vote.collection == collection) {
            votes.push(CollectionVote { collection: collection.to_owned(), score });
        }
    }
    votes
}
