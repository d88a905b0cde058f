//! Cleartext HTTP/2 connections, each in a task of its own.
//!
//! `TCP connections -> requests to the routes`
//!
//! **Invariant:** no task outlives the future of [`serve`].
//!
//! It must not know which services there are. It stands in for tonic's own server because that one
//! enforces `grpc-timeout` outside of every layer a service could add.

use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    pin,
    task::JoinSet,
    time,
};
use tonic::service::Routes;

/// How long running calls may take to end after the shutdown began.
const GRACE: Duration = Duration::from_secs(5);

/// Accept fails while the process is out of file descriptors; trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Enough for a load test that comes through one proxy connection; hyper allows 200.
const CONCURRENT_STREAMS: u32 = 10_000;

pub(crate) async fn serve(listener: TcpListener, routes: Routes, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(connection(stream, routes.clone(), graceful.watcher())); }
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // Whatever still runs when the time is up ends with the set.
    drop(time::timeout(GRACE, graceful.shutdown()).await);
}

async fn connection(stream: TcpStream, routes: Routes, watcher: Watcher) {
    // Without it a short answer may wait for the acknowledgement of the one before.
    drop(stream.set_nodelay(true));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // The peer that broke the connection knows; nobody else waits for it.
    drop(watcher.watch(connection).await);
}
