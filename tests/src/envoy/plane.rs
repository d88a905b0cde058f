//! A discovery service that takes no decision: every stream is given to the test.
//!
//! sockets → [`Stream`]s
//!
//! It must not know what is said on them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use futures::{StreamExt, stream::BoxStream};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::stream::Stream;
use crate::local::PATIENCE;

/// A running service.
#[derive(Debug)]
pub struct Plane {
    address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Plane {
    /// Starts it on a free port of the loopback.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, streams) = mpsc::channel(8);
        let service = AggregatedDiscoveryServiceServer::new(Service(sender)).max_decoding_message_size(64 << 20);
        let server = Server::builder().add_service(service);
        let task = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, streams, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next stream that Envoy opens. Dropping it ends it, and Envoy opens another.
    pub async fn stream(&mut self) -> Result<Stream> {
        timeout(PATIENCE, self.streams.recv()).await.context("Envoy opens no stream")?.context("the service ended")
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only the delta form"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, responses) = mpsc::channel(64);
        let stream = Stream::new(request.into_inner(), sender);
        self.0.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(responses).boxed()))
    }
}
