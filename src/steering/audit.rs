//! The audit of operators' actions. Each entry is on disk before its action begins, and gets its outcome afterwards.

use crate::{
    auth::Identity,
    domain::{AuditEntry, AuditId, AuditedOperator, UnixMillis},
    limits::{AUDIT_QUEUE_ENTRIES, PURGE_INTERVAL},
    store::{AuditStore, Listed, Page, ServingClock, StoreError},
};
use serde_json::Value;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;

/// Outcome of an action that has not finished, or whose outcome could not be stored.
const BEGUN: &str = "begun";
const DONE: &str = "done";
/// Longest stored target of an action, in characters.
const MAX_TARGET_CHARS: usize = 500;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// The audit of the whole server.
pub struct Audit {
    store: Arc<dyn AuditStore>,
    /// In milliseconds; `None` keeps entries forever.
    retention_ms: Option<i64>,
    clock: ServingClock,
    entries: broadcast::Sender<Arc<AuditEntry>>,
}

/// An action that an operator is about to take.
pub struct AuditedAction {
    /// The name of the action, such as `kick_user`.
    pub action: &'static str,
    /// The id or name of the object of the action.
    pub target: Option<String>,
    /// The parameters of the request, as an object.
    pub detail: Value,
}

/// A failure of the audit itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The entry could not be stored, so the action did not run.
    #[error(transparent)]
    Store(StoreError),
    #[error("an audited action panicked: {0}")]
    Panicked(String),
}

/// An error of an audited action.
pub trait ActionError: From<AuditError> + 'static {
    /// The outcome that the audit records.
    fn outcome(&self) -> &'static str;
}

impl Audit {
    /// `retention_days` is the time for which entries are kept; 0 keeps them forever.
    pub fn new(store: Arc<dyn AuditStore>, retention_days: u32, clock: ServingClock) -> Arc<Self> {
        let retention_ms = (retention_days > 0).then(|| i64::from(retention_days) * DAY_MS);
        Arc::new(Self { store, retention_ms, clock, entries: broadcast::channel(AUDIT_QUEUE_ENTRIES).0 })
    }

    /// Deletes expired entries at regular intervals until the audit is dropped.
    pub async fn maintain(audit: Weak<Self>) {
        let mut purges = tokio::time::interval(PURGE_INTERVAL);
        loop {
            purges.tick().await;
            let Some(audit) = audit.upgrade() else { return };
            audit.purge().await;
        }
    }

    async fn purge(&self) {
        let Some(retention_ms) = self.retention_ms else { return };
        // The wall clock may be ahead; the confirmed time is not.
        let now = self.clock.confirmed_now();
        match self.store.forget_audit_entries(UnixMillis(now.0 - retention_ms)).await {
            Ok(0) => {}
            Ok(entries) => log::info!(entries; "deleted expired audit entries"),
            // The next purge tries again.
            Err(error) => log::error!("expired audit entries could not be deleted: {error}"),
        }
    }

    /// Runs `work` for an operator and records it. The work continues if the client disconnects.
    ///
    /// # Errors
    /// Those of `work`. If the store cannot keep the entry, `work` does not run.
    pub async fn record<T: 'static, E: ActionError>(
        self: &Arc<Self>,
        operator: &Identity,
        audited: AuditedAction,
        work: impl Future<Output = Result<T, E>> + 'static,
    ) -> Result<T, E> {
        let mut entry = AuditEntry {
            id: AuditId::new(),
            at_ms: UnixMillis::now(),
            operator: AuditedOperator { id: operator.user_id, email: operator.email.clone() },
            action: audited.action.to_owned(),
            target: audited.target.map(|target| target.chars().take(MAX_TARGET_CHARS).collect()),
            detail: audited.detail,
            outcome: BEGUN.to_owned(),
        };
        self.store.add_audit_entry(entry.clone()).await.map_err(AuditError::Store)?;
        let audit = Arc::clone(self);
        let done = actix::spawn(async move {
            let outcome = work.await;
            entry.outcome = outcome.as_ref().map_or_else(|error| error.outcome(), |_| DONE).to_owned();
            let (audit_id, action) = (entry.id, &entry.action);
            log::info!(audit_id:%, user_id:% = entry.operator.id, action, outcome = entry.outcome; "operator action finished");
            if let Err(error) = audit.store.set_audit_outcome(entry.id, entry.outcome.clone()).await {
                // The stored entry keeps its outcome `begun`.
                log::error!(audit_id:%; "the outcome of an operator's action could not be stored: {error}");
            }
            // There may be no listener.
            let _ = audit.entries.send(Arc::new(entry));
            outcome
        });
        done.await.unwrap_or_else(|error| Err(AuditError::Panicked(error.to_string()).into()))
    }

    /// Returns entries, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn entries(&self, page: Page<AuditId>) -> Result<Listed<AuditEntry>, StoreError> {
        self.store.audit_entries(page).await
    }

    /// Returns a receiver of all entries from now on, sent when their outcomes are known.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AuditEntry>> {
        self.entries.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, tokens, user},
        config::DatabaseConfig,
        domain::Role,
        store::{ServedTime, TurnedClock, sqlite::SqliteStore},
    };
    use futures_util::FutureExt;
    use serde_json::json;

    /// An error of an audited action.
    #[derive(Debug, PartialEq)]
    enum Failure {
        Gone,
        Audit(AuditError),
    }

    impl From<AuditError> for Failure {
        fn from(error: AuditError) -> Self {
            Self::Audit(error)
        }
    }

    impl ActionError for Failure {
        fn outcome(&self) -> &'static str {
            "GONE"
        }
    }

    fn operator() -> Identity {
        tokens().verify_access(&access_token(&user("ada@example.org", Role::Operator))).unwrap()
    }

    fn audited() -> AuditedAction {
        AuditedAction { action: "kick", target: Some("x".to_owned()), detail: json!({"reason": "spam"}) }
    }

    fn clock() -> ServingClock {
        ServingClock::resume(ServedTime::default())
    }

    fn audit() -> (Arc<Audit>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        (Audit::new(Arc::new(store), 400, clock()), folder)
    }

    async fn outcomes(audit: &Audit) -> Vec<String> {
        let entries = audit.entries(Page { before: None, limit: 10 }).await.unwrap().items;
        entries.into_iter().map(|entry| entry.outcome).collect()
    }

    #[actix::test]
    async fn an_entry_is_stored_before_the_action_and_gets_its_outcome_afterwards() {
        let (audit, _folder) = audit();
        let (operator, mut entries) = (operator(), audit.subscribe());
        let during = Arc::clone(&audit);
        let done = audit.record(&operator, audited(), async move { Ok::<_, Failure>(outcomes(&during).await) }).await;
        assert_eq!(done.unwrap(), ["begun"]);
        let failed = Failure::Gone;
        let refused = audit.record(&operator, audited(), async move { Err::<(), _>(failed) }).await;
        assert_eq!(refused, Err(Failure::Gone));
        assert_eq!(outcomes(&audit).await, ["GONE", "done"]);
        let first = entries.recv().await.unwrap();
        assert_eq!((first.outcome.as_str(), first.target.as_deref()), ("done", Some("x")));
        assert_eq!(first.operator.email, operator.email);
        assert_eq!(entries.recv().await.unwrap().outcome, "GONE");
    }

    #[actix::test]
    async fn an_action_continues_when_its_client_disconnects() {
        let (audit, _folder) = audit();
        let (operator, resume) = (operator(), Arc::new(tokio::sync::Notify::new()));
        let waits = Arc::clone(&resume);
        let mut asked = Box::pin(audit.record(&operator, audited(), async move {
            waits.notified().await;
            Ok::<(), Failure>(())
        }));
        while outcomes(&audit).await.is_empty() {
            assert!((&mut asked).now_or_never().is_none());
        }
        let mut entries = audit.subscribe();
        for _ in 0..10 {
            assert!((&mut asked).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(asked);
        resume.notify_one();
        assert_eq!(entries.recv().await.unwrap().outcome, "done");
    }

    #[actix::test]
    async fn a_clock_that_is_ahead_for_a_while_expires_nothing() {
        let (audit, _folder) = audit();
        audit.record(&operator(), audited(), async { Ok::<(), Failure>(()) }).await.unwrap();
        let turned = TurnedClock::at(UnixMillis::now());
        let began = ServedTime { previous_offset_ms: Some(turned.wall().0), ..ServedTime::default() };
        let audit = Audit::new(Arc::clone(&audit.store), 400, turned.serve(began));
        turned.set_by(500 * DAY_MS);
        audit.purge().await;
        assert_eq!(outcomes(&audit).await, ["done"]);
        // Time that really passes expires entries.
        for _ in 0..3 {
            turned.pass(std::time::Duration::from_secs(24 * 3_600));
            audit.purge().await;
        }
        assert!(outcomes(&audit).await.is_empty());
    }

    struct Broken;

    #[async_trait::async_trait]
    impl AuditStore for Broken {
        async fn add_audit_entry(&self, _: AuditEntry) -> Result<(), StoreError> {
            Err(StoreError::Unavailable("full".to_owned()))
        }
        async fn set_audit_outcome(&self, _: AuditId, _: String) -> Result<(), StoreError> {
            Ok(())
        }
        async fn audit_entries(&self, _: Page<AuditId>) -> Result<Listed<AuditEntry>, StoreError> {
            Ok(Listed { items: Vec::new(), has_more: false })
        }
        async fn forget_audit_entries(&self, _: UnixMillis) -> Result<usize, StoreError> {
            Err(StoreError::Unavailable("full".to_owned()))
        }
    }

    #[actix::test]
    async fn an_action_that_cannot_be_recorded_is_not_taken() {
        let audit = Audit::new(Arc::new(Broken), 1, clock());
        let refused =
            audit.record::<(), Failure>(&operator(), audited(), async { panic!("the action was taken") }).await;
        assert!(matches!(refused, Err(Failure::Audit(AuditError::Store(StoreError::Unavailable(_))))));
    }
}
