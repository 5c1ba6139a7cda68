//! The pipeline of turns without a server: for commands that ask questions in this process.

use super::compose::{self, Composed};
use crate::{
    config::Config,
    domain::{
        AnswerMetadata, ConversationId, DisplayName, Email, HistoryMessage, Passage, ProviderErrorKind, Role, TurnId,
        UnixMillis, User, UserId,
    },
    encode::Json,
    http::AppState,
    knowledge::{KnowledgeBase, RetrievalQuery},
    preflight::Preflight,
    provider::SetupProblem,
    store::{PasswordHash, StoreError, UserStore},
    turn::{Cursor, TurnEnd, TurnFailure, TurnLog, TurnReader, TurnSubject},
    workflow::{Engine, Question, StartTurn, TurnError, Workflow, specialists::Specialist},
};
use actix::{Actor, Addr};
use secrecy::SecretString;
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The composed pipeline. Its database must not be in use by a server.
pub struct Pipeline {
    state: Arc<AppState>,
    engine: Arc<Engine>,
    workflow: Addr<Workflow>,
    user_id: UserId,
}

/// An answered question.
pub struct PipelineAnswer {
    pub conversation_id: ConversationId,
    pub text: String,
    pub metadata: AnswerMetadata,
}

/// The reason why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The provider failed, and may recover.
    #[error("the provider failed ({kind:?})")]
    Provider { kind: ProviderErrorKind, retry_after_ms: Option<u64> },
    #[error("the embedding model failed or exceeded embeddings.query_timeout_ms")]
    Embeddings,
    #[error("{0}")]
    Turn(TurnFailure),
    #[error(transparent)]
    Refused(#[from] TurnError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the workflow stopped")]
    Stopped,
}

impl Pipeline {
    /// Composes the pipeline as [`super::Application::build`] does. Must be called within a runtime that can spawn local tasks.
    ///
    /// # Errors
    /// When the database, the specialists or the provider cannot be used; the error says which.
    pub async fn open(mut config: Config) -> Result<Self, Box<dyn Error>> {
        // A title or summary has no reader.
        config.workflow.task_provider = None;
        let preflight = Preflight::run(&config)?;
        // Signs nothing: nobody signs in.
        let secret = SecretString::from(TurnId::new().to_string());
        let Composed { state, engine, store, .. } =
            compose::compose(&config, preflight, &secret, || Ok(Vec::new())).await?;
        let user_id = add_user(&*store).await?;
        actix::spawn(Arc::clone(&state.recorder).run());
        let workflow = Workflow::new(Arc::clone(&engine)).start();
        Ok(Self { state, engine, workflow, user_id })
    }

    /// The specialists, in the order of the file.
    pub fn specialists(&self) -> &[Arc<Specialist>] {
        self.engine.specialists.all()
    }

    /// Checks every provider that may be asked.
    pub async fn check_providers(&self) -> Vec<SetupProblem> {
        self.engine.providers.check().await
    }

    /// The knowledge base, for adding documents.
    pub fn knowledge(&self) -> &KnowledgeBase {
        &self.state.knowledge
    }

    /// Runs a turn to its end, in a new conversation unless one is given.
    ///
    /// # Errors
    /// When the turn is refused or fails.
    pub async fn ask(
        &self,
        conversation_id: Option<ConversationId>,
        text: &str,
    ) -> Result<PipelineAnswer, PipelineError> {
        let subject = TurnSubject {
            turn_id: TurnId::new(),
            conversation_id: conversation_id.unwrap_or_else(ConversationId::new),
            user_id: self.user_id,
        };
        let turn = TurnLog::new(subject);
        let question = Question {
            text: text.trim().to_owned(),
            conversation_id,
            client_message_id: None,
            customer_id: None,
            script: None,
        };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let start = StartTurn { turn: Arc::clone(&turn), question, by: None, address };
        self.workflow.send(start).await.map_err(|_| PipelineError::Stopped)??;
        let metrics = Arc::clone(&self.state.metrics);
        let mut reader = TurnReader::new(Arc::clone(&turn), Cursor::default(), &Json, metrics);
        while reader.next().await.is_some() {}
        match turn.outcome().as_deref() {
            Some(TurnEnd::Complete { metadata, .. }) => Ok(PipelineAnswer {
                conversation_id: subject.conversation_id,
                text: turn.with_tokens(|tokens| tokens.text().to_owned()),
                metadata: AnswerMetadata::clone(metadata),
            }),
            Some(TurnEnd::Failed(TurnFailure::Provider { kind, retry_after_ms, .. })) => {
                Err(PipelineError::Provider { kind: *kind, retry_after_ms: *retry_after_ms })
            }
            Some(TurnEnd::Failed(failure)) => Err(PipelineError::Turn(failure.clone())),
            None => Err(PipelineError::Stopped),
        }
    }

    /// Searches as the turn of a question did that has this metadata, for more passages than it used.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn search(
        &self,
        question: &str,
        history: &[HistoryMessage],
        metadata: &AnswerMetadata,
        limit: usize,
    ) -> Result<Vec<Passage>, StoreError> {
        let rewritten = metadata.retrieval.as_ref().and_then(|account| account.query.as_deref());
        let alone = || RetrievalQuery::new(question, history, &self.engine.languages);
        let query = rewritten.map_or_else(alone, RetrievalQuery::rewritten);
        let scope =
            self.engine.specialists.get(&metadata.specialist).map(|specialist| specialist.collections.as_slice());
        Ok(self.engine.knowledge.retrieve(&query, scope.unwrap_or_default(), limit).await?.passages)
    }

    /// The safety warning before the answer to a question.
    pub fn safety_warning(&self, question: &str) -> Option<&str> {
        let warning = self.engine.specialists.safety_warning(question, &self.engine.languages);
        warning.map(|warning| warning.text)
    }
}

/// Adds the user that asks.
async fn add_user(users: &dyn UserStore) -> Result<UserId, Box<dyn Error>> {
    let id = UserId::new();
    let user = User {
        id,
        email: Email::parse(&format!("{id}@invalid.example"))?,
        name: DisplayName::parse("eval")?,
        role: Role::User,
        is_locked: false,
        created_at: UnixMillis::now(),
    };
    // No password matches this hash.
    users.add_user(user, PasswordHash::new("!".to_owned())).await?;
    Ok(id)
}
