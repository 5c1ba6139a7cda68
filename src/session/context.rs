//! The dependencies of a session.

use super::QuestionRules;
use crate::{
    auth::Tokens, config::SessionConfig, limiter::Limiter, metrics::Metrics, registry::ConnectionManager,
    workflow::Workflow,
};
use actix::Addr;
use std::sync::Arc;

/// The dependencies of a session, shared by all sessions of a worker thread.
pub struct SessionContext {
    pub config: Arc<SessionConfig>,
    pub limiter: Arc<Limiter>,
    pub metrics: Arc<Metrics>,
    pub tokens: Arc<Tokens>,
    pub rules: Arc<QuestionRules>,
    pub registry: Arc<Addr<ConnectionManager>>,
    /// The workflow of the same worker thread, so that a turn runs on the thread of its connection.
    pub workflow: Addr<Workflow>,
}
