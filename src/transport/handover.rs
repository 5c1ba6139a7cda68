//! Hands an upgraded connection over to the task that accepted it, so that actix-http's dispatcher can end.

use futures_util::future::LocalBoxFuture;
use std::{cell::Cell, rc::Rc};

/// The slot for the future that serves the connection to its end.
#[derive(Clone, Default)]
pub struct Handover(Rc<Cell<Option<LocalBoxFuture<'static, ()>>>>);

impl Handover {
    /// Stores the future.
    pub fn set(self, serving: LocalBoxFuture<'static, ()>) {
        self.0.set(Some(serving));
    }

    /// Returns the future if the connection was upgraded.
    pub fn take(self) -> Option<LocalBoxFuture<'static, ()>> {
        self.0.take()
    }
}
