//! The aggregated discovery service, delta form: one task for each stream, around a session that takes every decision.

use super::{
    directory::{Directory, Feed},
    wire::{self, Identity},
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use futures::{Stream, StreamExt, stream::BoxStream};
use sluice_xds::{Config, Event, Input, Output, Response, Session};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

/// Envoy claims all that it has on the first request after a reconnect: at 100,000 names that is tens of megabytes, and the
/// default of 4 MiB leaves the proxy without updates for ever.
const RECEIVE_LIMIT: usize = 128 << 20;
/// One whole Gateway in one response, before it is bisected.
const SEND_LIMIT: usize = 256 << 20;
/// Responses that the transport has not taken yet. The session keeps at most a few under way; a slow reader waits here.
const OUTBOX: usize = 4;
/// Windows of the connection, in bytes: a first snapshot is megabytes, and loopback is fast.
const WINDOW: u32 = 4 << 20;

/// What a stream learned about its proxy.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Which proxy.
    pub(crate) identity: Identity,
    /// Which of its streams: later ones have greater numbers.
    pub(crate) stream: u64,
    /// What.
    pub(crate) news: News,
}

/// What can be learned.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// The stream is open.
    Connected,
    /// The session learned it.
    Session(Event),
    /// The stream is closed.
    Disconnected,
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Ads {
    directory: Directory,
    reports: mpsc::Sender<Report>,
    session: Config,
    /// The number of the latest stream.
    streams: Arc<AtomicU64>,
}

impl Ads {
    /// A service that serves what is published in `directory` and tells `reports` what proxies say.
    pub(crate) fn new(directory: Directory, reports: mpsc::Sender<Report>) -> Self {
        Self { directory, reports, session: Config::default(), streams: Arc::default() }
    }

    /// The router that serves it.
    pub(crate) fn router(self) -> tonic::transport::server::Router {
        let service = AggregatedDiscoveryServiceServer::new(self)
            .max_decoding_message_size(RECEIVE_LIMIT)
            .max_encoding_message_size(SEND_LIMIT);
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .add_service(service)
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only the delta form is served: set api_type DELTA_GRPC in the bootstrap"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (outbox, responses) = mpsc::channel(OUTBOX);
        let ads = self.clone();
        tokio::spawn(async move { ads.serve(request.into_inner().boxed(), outbox).await });
        Ok(tonic::Response::new(ReceiverStream::new(responses).boxed()))
    }
}

type Outbox = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

impl Ads {
    async fn serve(
        self,
        mut requests: impl Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Unpin,
        outbox: Outbox,
    ) {
        let Some(Ok(first)) = requests.next().await else { return };
        let Some(identity) = Identity::of(&first) else {
            let refusal = "node.id and node.cluster (the Gateway as namespace/name) are needed in the first request";
            // A stream that is gone already needs no answer.
            let _ = outbox.send(Err(Status::invalid_argument(refusal))).await;
            return;
        };
        let feed = self.directory.follow(&identity.gateway);
        let mut stream = ServedStream {
            identity: identity.clone(),
            number: self.streams.fetch_add(1, Ordering::Relaxed) + 1,
            session: Session::new(self.session),
            started: Instant::now(),
            reports: self.reports.clone(),
            outbox,
        };
        stream.report(News::Connected).await;
        stream.run(first, requests, feed).await;
        self.directory.leave(&identity.gateway);
        stream.report(News::Disconnected).await;
    }
}

struct ServedStream {
    identity: Identity,
    number: u64,
    session: Session,
    started: Instant,
    reports: mpsc::Sender<Report>,
    outbox: Outbox,
}

/// The stream is over: the proxy is gone, or the process ends.
struct Closed;

impl ServedStream {
    async fn run(
        &mut self,
        first: DeltaDiscoveryRequest,
        mut requests: impl Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Unpin,
        mut feed: Feed,
    ) {
        feed.mark_changed();
        let mut open = self.hear(first).await;
        while open.is_ok() {
            let deadline = self.session.deadline().map(|at| self.started + Duration::from_millis(at));
            open = tokio::select! {
                request = requests.next() => match request {
                    Some(Ok(request)) => self.hear(request).await,
                    Some(Err(_)) | None => Err(Closed),
                },
                changed = feed.changed() => match changed {
                    Ok(()) => self.adopt(&mut feed).await,
                    Err(_) => Err(Closed),
                },
                () = sleep_until(deadline.unwrap_or(self.started)), if deadline.is_some() => self.step(Input::Tick).await,
            };
        }
    }

    async fn hear(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Closed> {
        match wire::request(request) {
            Some(request) => self.step(Input::Request(request)).await,
            // A type that is not served has no resources: there is nothing to say, now or later.
            None => Ok(()),
        }
    }

    async fn adopt(&mut self, feed: &mut Feed) -> Result<(), Closed> {
        let latest = feed.borrow_and_update().clone();
        match latest {
            Some(snapshot) => self.step(Input::Snapshot(snapshot)).await,
            None => Ok(()),
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), Closed> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        for output in self.session.step(input, now) {
            match output {
                Output::Send(response) => self.send(&response).await?,
                Output::Event(event) => self.report(News::Session(event)).await,
            }
        }
        Ok(())
    }

    async fn send(&self, response: &Response) -> Result<(), Closed> {
        tracing::debug!(
            gateway = %self.identity.gateway, proxy = %self.identity.proxy, kind = ?response.kind, nonce = response.nonce,
            resources = response.resources.len(), removed = response.removed.len(), "sent"
        );
        self.outbox.send(Ok(wire::response(response))).await.map_err(|_| Closed)
    }

    async fn report(&self, news: News) {
        // The engine is gone only when the process ends.
        let report = Report { identity: self.identity.clone(), stream: self.number, news };
        let _ = self.reports.send(report).await;
    }
}

#[cfg(test)]
mod tests;
