//! The sources of a turn, with links to their pages. Links expire, so those of stored answers are renewed when they are read.

use crate::domain::{AnswerMetadata, DocumentId, Passage, Source};
use std::sync::Arc;

/// Returns the address of a passage's page; `None` if there is none.
pub type PassageUrl = Arc<dyn Fn(DocumentId, u32) -> Option<String> + Send + Sync>;

/// Returns the sources of a turn, in the order of their passages.
pub(super) fn sources(passages: &[Passage], url: &PassageUrl) -> Arc<[Source]> {
    passages.iter().map(|passage| linked(Source::from(passage), url)).collect()
}

/// Renews the links of a stored answer.
pub fn renew_links(metadata: &mut AnswerMetadata, url: &PassageUrl) {
    metadata.sources = metadata.sources.iter().map(|source| linked(source.clone(), url)).collect();
}

fn linked(source: Source, url: &PassageUrl) -> Source {
    let address = source.document_id.zip(source.passage).and_then(|(document_id, passage)| url(document_id, passage));
    Source { url: address, ..source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_renewed_and_old_answers_have_none() {
        let url: PassageUrl = Arc::new(|_, passage| Some(format!("/new#{passage}")));
        let old: Source = serde_json::from_str(r#"{"source":"a.md","title":"A","score":0.5}"#).unwrap();
        let stored = Source {
            document_id: Some(DocumentId::new()),
            passage: Some(3),
            url: Some("/expired".to_owned()),
            ..old.clone()
        };
        let mut metadata = AnswerMetadata { sources: [stored, old.clone()].into(), ..AnswerMetadata::default() };
        renew_links(&mut metadata, &url);
        assert_eq!(metadata.sources[0].url.as_deref(), Some("/new#3"));
        assert_eq!(metadata.sources[1], old);
    }
}
