//! `/metrics`, as Prometheus reads it: values move when things happen, and nothing else is there.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod access;
pub mod page;
mod prometheus;
mod values;

use crate::harness::{TestApp, eventually};
use page::Page;

impl TestApp {
    pub async fn metrics(&self) -> Page {
        let response = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Page::parse(&response.text().await.unwrap())
    }

    /// The page, as soon as it is as it should be.
    pub async fn metrics_when(&self, is_right: impl Fn(&Page) -> bool) -> Page {
        eventually(async || {
            let page = self.metrics().await;
            if is_right(&page) { Ok(page) } else { Err(page) }
        })
        .await
    }
}
