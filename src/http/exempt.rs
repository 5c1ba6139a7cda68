//! Routes that the request limits, per address and per user, do not count.

/// Routes and folders exempt from the limits: health checks, metrics, pages and their files, and WebSockets, which have limits of
/// their own. The pages of documents count, since each is read from the database. Compared with the raw path, so an escaped form (`/%68ealth`) is not exempt.
const UNCOUNTED_ROUTES: [&str; 7] = ["/", "/health", "/health/ready", "/metrics", "/ops", "/ops/", "/api/openapi.json"];
const UNCOUNTED_FOLDERS: [&str; 3] = ["/ws/", "/api/docs", "/static/"];

/// Whether requests to this path count against the request limits.
pub fn is_counted(path: &str) -> bool {
    !UNCOUNTED_ROUTES.contains(&path) && !UNCOUNTED_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_probes_are_not_counted() {
        for path in [
            "/",
            "/health",
            "/health/ready",
            "/metrics",
            "/ops",
            "/ws/chat",
            "/ws/test",
            "/api/docs/",
            "/api/docs",
            "/static/pages/ops/page.js",
        ] {
            assert!(!is_counted(path), "{path}");
        }
        for path in [
            "/api/v1/chat",
            "/%61pi/v1/chat",
            "//health",
            "/health/",
            "/healthy",
            "/api/v1/documents",
            "/documents/x",
            "/nothing",
        ] {
            assert!(is_counted(path), "{path}");
        }
    }
}
