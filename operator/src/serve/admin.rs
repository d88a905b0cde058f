//! The admin interface of local mode: statuses, metrics, readiness and the proxies' configuration, on the loopback.
//!
//! Must not know: what the documents say.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::Value;
use std::sync::Arc;

/// What can be asked for.
pub(crate) trait Pages: Send + Sync + 'static {
    /// `/status`.
    fn status(&self) -> Value;
    /// `/config`.
    fn config(&self) -> Value;
    /// `/metrics`.
    fn metrics(&self) -> String;
    /// `/readyz`.
    fn is_ready(&self) -> bool;
}

/// The pages as a router.
pub(crate) fn router<P: Pages>(pages: Arc<P>) -> Router {
    Router::new()
        .route("/status", get(|State(pages): State<Arc<P>>| async move { Json(pages.status()) }))
        .route("/config", get(|State(pages): State<Arc<P>>| async move { Json(pages.config()) }))
        .route("/metrics", get(|State(pages): State<Arc<P>>| async move { pages.metrics() }))
        .route("/readyz", get(|State(pages): State<Arc<P>>| async move { readiness(&*pages) }))
        .route("/livez", get(|| async { "ok\n" }))
        .with_state(pages)
}

fn readiness(pages: &impl Pages) -> (StatusCode, &'static str) {
    if pages.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: see /status\n")
    }
}
