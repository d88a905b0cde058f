//! One request to an HTTP server on this machine: Envoy's admin interface, or our own.

use anyhow::{Context as _, bail};
use axum::body::{Body, to_bytes};
use http::{Method, Request, Response, header::HOST};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// Everything that answers here is on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// A `/config` of 10,000 routes is about 20 MiB.
const MAX_BYTES: usize = 512 << 20;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A port of the loopback.
    Address(SocketAddr),
    /// A socket in the file system.
    Socket(PathBuf),
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// The body of the answer.
///
/// # Errors
/// When nobody listens, the answer does not come in time, or it is not a success.
pub(crate) async fn request(method: Method, place: &Place, path: &str) -> anyhow::Result<String> {
    let answer = timeout(PATIENCE, exchange(method, place, path)).await;
    answer.with_context(|| format!("{place} does not answer"))?
}

async fn exchange(method: Method, place: &Place, path: &str) -> anyhow::Result<String> {
    let request = Request::builder().method(method).uri(path).header(HOST, "localhost").body(Body::empty())?;
    let answer = match place {
        Place::Address(address) => ask(TcpStream::connect(address).await, request).await,
        Place::Socket(file) => ask(UnixStream::connect(file).await, request).await,
    };
    let answer = answer.with_context(|| format!("nothing listens at {place}"))?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), MAX_BYTES).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        bail!("{place}{path}: {status}: {text}");
    }
    Ok(text)
}

async fn ask<S>(stream: std::io::Result<S>, request: Request<Body>) -> anyhow::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream?)).await?;
    // Ends with the body, or once that is dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
