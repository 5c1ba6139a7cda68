//! The REST API and the pages, as a client meets them.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod auth;
mod caching;
mod chat;
mod conversations;
mod events;
mod feedback;
mod head;
mod openapi;

use crate::harness::{TestApp, TestUser};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

/// An answer with its headers.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Holds it against the form that every error has.
    #[track_caller]
    fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (status, &code.into()), "{self:?}");
        assert!(self.header("content-type").starts_with("application/json"), "{self:?}");
        assert!(self.body["error"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        assert!(self.body["retryable"].is_boolean(), "{self:?}");
        let id = self.body["correlation_id"].as_str().unwrap_or_default();
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{self:?}");
        assert_eq!(self.header("www-authenticate"), if status == 401 { "Bearer" } else { "" }, "{self:?}");
    }

    /// The text for people of an error.
    fn reason(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

async fn send(app: &TestApp, method: Method, path: &str, user: Option<&TestUser>, body: Option<&Value>) -> Answer {
    let mut request = app.http.request(method, format!("{}{path}", app.url));
    if let Some(user) = user {
        request = request.bearer_auth(&user.access_token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    Answer::of(request).await
}

async fn get(app: &TestApp, path: &str, user: Option<&TestUser>) -> Answer {
    send(app, Method::GET, path, user, None).await
}

async fn post(app: &TestApp, path: &str, user: Option<&TestUser>, body: &Value) -> Answer {
    send(app, Method::POST, path, user, Some(body)).await
}
