//! `/metrics`, as Prometheus reads it: values move when things happen, and nothing else is there.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod access;
mod page;
mod prometheus;
mod values;

use crate::harness::TestApp;
use page::Page;
use std::time::{Duration, Instant};

/// How long a number may take to be right.
const PATIENCE: Duration = Duration::from_secs(20);

impl TestApp {
    async fn metrics(&self) -> Page {
        let response = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Page::parse(&response.text().await.unwrap())
    }

    /// The page, as soon as it is as it should be.
    async fn metrics_when(&self, is_right: impl Fn(&Page) -> bool) -> Page {
        let began = Instant::now();
        loop {
            let page = self.metrics().await;
            if is_right(&page) {
                return page;
            }
            assert!(began.elapsed() < PATIENCE, "still wrong: {page:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
