//! HTTP: routes, extractors, and how an error looks in an answer.

mod error;
