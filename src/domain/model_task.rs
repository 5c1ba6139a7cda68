//! Tasks of requests to models.

/// Purpose of a request to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelTask {
    /// Choice of a specialist.
    Classify,
    /// A question that a follow-up stands for.
    Rewrite,
    /// The answer.
    Generate,
    /// The title of a conversation.
    Title,
    /// The summary of a conversation.
    Summary,
}

impl ModelTask {
    pub const ALL: &[Self] = &[Self::Classify, Self::Rewrite, Self::Generate, Self::Title, Self::Summary];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Rewrite => "rewrite",
            Self::Generate => "generate",
            Self::Title => "title",
            Self::Summary => "summary",
        }
    }
}
