//! The admin interface: statuses, metrics and readiness; in local mode, on the loopback, the proxies' configuration too.
//!
//! Must not know: what the documents say.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::Value;
use std::sync::Arc;

/// What can be asked for.
pub(crate) trait Pages: Send + Sync + 'static {
    /// `/status`.
    fn status(&self) -> Value;
    /// `/metrics`.
    fn metrics(&self) -> String;
    /// `/readyz`; what is missing, if anything is.
    fn readiness(&self) -> Result<(), String>;
}

/// What is for the eyes of those on this machine.
pub(crate) trait Configuration: Send + Sync + 'static {
    /// `/config`.
    fn config(&self) -> Value;
}

/// The pages as a router.
pub(crate) fn router<P: Pages>(pages: Arc<P>) -> Router {
    Router::new()
        .route("/status", get(|State(pages): State<Arc<P>>| async move { Json(pages.status()) }))
        .route("/metrics", get(|State(pages): State<Arc<P>>| async move { pages.metrics() }))
        .route("/readyz", get(|State(pages): State<Arc<P>>| async move { readiness(&*pages) }))
        .route("/livez", get(|| async { "ok\n" }))
        .with_state(pages)
}

/// The page with the configuration.
pub(crate) fn configuration<C: Configuration>(source: Arc<C>) -> Router {
    Router::new()
        .route("/config", get(|State(source): State<Arc<C>>| async move { Json(source.config()) }))
        .with_state(source)
}

fn readiness(pages: &impl Pages) -> (StatusCode, String) {
    match pages.readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
    }
}
