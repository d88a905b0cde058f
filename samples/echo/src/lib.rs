//! The guide's echo server, and beside it a service of streams, hangs and failures for tests.
//!
//! `gRPC calls over cleartext HTTP/2 -> answers that name the instance`
//!
//! **Invariant:** what `grpcurl describe` prints of `echo.Echo` and its messages is the guide's text.
//! **Invariant:** `grpc-timeout` is never enforced here, so that a deadline that fires is the proxy's.
//! **Invariant:** dropping the future of [`serve`] closes the listener and every connection.
//!
//! It must not know Sluice: it is the workload behind the gateway.

mod services;
mod transport;

use std::{future, io};

use tokio::net::TcpListener;

/// Messages, clients and servers of the package `echo`.
pub mod proto {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("echo");

    /// The descriptors of the package, without comments.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// Which services reflection lists. All are served and can be described either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// What the guide prints: `echo.Echo` and `grpc.reflection.v1alpha.ServerReflection`.
    #[default]
    Guide,
    /// All of them.
    All,
}

/// How an instance presents itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The `source` of every answer: the pod's name, in a cluster.
    pub source: String,
    /// Which services reflection lists.
    pub listing: Listing,
}

/// Serves until the future is dropped.
///
/// # Errors
/// Only while the services are set up; a connection that fails ends alone.
pub async fn serve(listener: TcpListener, options: Options) -> io::Result<()> {
    serve_until(listener, options, future::pending()).await
}

/// Serves until `shutdown` completes; then accepts nothing more and lets running calls end, for
/// five seconds at most.
///
/// # Errors
/// Only while the services are set up; a connection that fails ends alone.
pub async fn serve_until(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let routes = services::routes(&options).await.map_err(io::Error::other)?;
    transport::serve(listener, routes, shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests;
