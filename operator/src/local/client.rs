//! One request to an HTTP server on the loopback: Envoy's admin interface, or our own.

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use http::{Method, Request};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{net::SocketAddr, time::Duration};
use tokio::time::timeout;

/// Everything that answers here is on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// A `/config` of 10,000 routes is about 20 MiB.
const MAX_BYTES: usize = 512 << 20;

/// The body of the answer.
///
/// # Errors
/// When nobody listens, the answer does not come in time, or it is not a success.
pub(crate) async fn request(method: Method, address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = timeout(PATIENCE, exchange(method, address, path)).await;
    answer.with_context(|| format!("{address} does not answer"))?
}

async fn exchange(method: Method, address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::builder().method(method).uri(format!("http://{address}{path}")).body(Body::empty())?;
    let answer = client.request(request).await.with_context(|| format!("nothing listens at {address}"))?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), MAX_BYTES).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        bail!("{address}{path}: {status}: {text}");
    }
    Ok(text)
}
