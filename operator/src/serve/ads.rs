//! The aggregated discovery service, delta form: one task for each stream, around a session that takes every decision.

use super::{
    directory::{Directory, Feed},
    frames::{Word, answer, requests},
    gate::{Gate, Pass},
    wire::{self, Identity},
};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use futures::{Stream, StreamExt};
use sluice_xds::{Config, Event, Input, Output, Response, Session};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tonic::{Status, body::Body, codegen::Service, server::NamedService};

/// The method that is served.
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Responses that the transport has not taken yet. The session keeps at most a few under way; a slow reader waits here.
const OUTBOX: usize = 4;
/// Across a network, the end of a proxy's stream is told after this time, if it has not come back: it tries every 2 s. The network has
/// its moments, and certificates of proxies expire: neither is worth a word in statuses. The price is that the news of one that is dead or
/// cut off come late.
pub(crate) const LINGER: Duration = Duration::from_secs(5);
/// Streams of one connection: an Envoy has one, and opens the next when that has ended.
const STREAMS: u32 = 2;
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
#[derive(Clone)]
pub(crate) struct Ads {
    gate: Arc<dyn Gate>,
    directory: Directory,
    reports: mpsc::Sender<Report>,
    session: Config,
    /// How long after the end of its stream a proxy may come back as if nothing had been.
    linger: Duration,
    /// The number of the latest stream.
    streams: Arc<AtomicU64>,
}

impl Ads {
    /// A service that serves whom `gate` lets in what is published in `directory`, and tells `reports` what proxies say.
    pub(crate) fn new(gate: impl Gate, directory: Directory, reports: mpsc::Sender<Report>) -> Self {
        let (session, streams) = (Config::default(), Arc::default());
        Self { gate: Arc::new(gate), directory, reports, session, linger: Duration::ZERO, streams }
    }

    /// The same for proxies that may come back for some time after their stream ended, as if nothing had been.
    pub(crate) fn lingering(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// The router that serves it.
    pub(crate) fn router(self) -> tonic::transport::server::Router {
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(STREAMS)
            .add_service(self)
    }
}

impl NamedService for Ads {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

/// In the place of the service that is generated, whose codec would keep a buffer for each stream: see [`super::frames`].
impl Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(self.open(request).unwrap_or_else(Status::into_http)))
    }
}

type Outbox = mpsc::Sender<Word>;

impl Ads {
    fn open(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let pass = self.gate.open(request.extensions())?;
        if request.uri().path() != DELTA {
            let remedy = "only the delta form is served: set api_type DELTA_GRPC in the bootstrap";
            return Err(Status::unimplemented(remedy));
        }
        let (outbox, words) = mpsc::channel(OUTBOX);
        tokio::spawn(self.clone().serve(pass, requests(request.into_body()), outbox));
        Ok(answer(words))
    }

    async fn serve(
        self,
        mut pass: Pass,
        mut requests: impl Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Unpin,
        outbox: Outbox,
    ) {
        let first = tokio::select! {
            first = requests.next() => match first {
                Some(Ok(first)) => identify(&first, &pass).map(|identity| (identity, first)),
                Some(Err(_)) | None => return,
            },
            told = &mut pass.lapse => Err(told),
        };
        let (identity, first) = match first {
            Ok(first) => first,
            Err(refusal) => {
                // A stream that is gone already needs no answer.
                let _ = outbox.send(Err(refusal)).await;
                return;
            }
        };
        let feed = self.directory.follow(&identity.gateway);
        let number = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        let reporter = Reporter { identity, number, reports: self.reports.clone() };
        let session = Session::new(self.session);
        let mut stream = ServedStream { reporter, session, started: Instant::now(), outbox };
        stream.reporter.report(News::Connected).await;
        // Also while a slow reader is waited for.
        let told = tokio::select! { () = stream.run(first, requests, feed) => None, told = pass.lapse => Some(told) };
        if let Some(told) = told {
            stream.end(told);
        }
        let reporter = stream.close();
        self.directory.leave(&reporter.identity.gateway);
        sleep(self.linger).await;
        reporter.report(News::Disconnected).await;
    }
}

/// Who a proxy is: it says so, and holds a pass for that Gateway.
fn identify(first: &DeltaDiscoveryRequest, pass: &Pass) -> Result<Identity, Status> {
    let anonymous = "node.id and node.cluster (the Gateway as namespace/name) are needed in the first request";
    let identity = Identity::of(first).ok_or_else(|| Status::invalid_argument(anonymous))?;
    match &pass.gateway {
        Some(gateway) if *gateway != identity.gateway => {
            tracing::warn!(proxy = %identity.proxy, "a proxy of Gateway {gateway} asked for {}", identity.gateway);
            let refusal = format!("the client's certificate is for Gateway {gateway}, not for {}", identity.gateway);
            Err(Status::permission_denied(refusal))
        }
        _ => Ok(identity),
    }
}

/// What tells of one stream.
struct Reporter {
    identity: Identity,
    number: u64,
    reports: mpsc::Sender<Report>,
}

impl Reporter {
    async fn report(&self, news: News) {
        // The engine is gone only when the process ends.
        let report = Report { identity: self.identity.clone(), stream: self.number, news };
        let _ = self.reports.send(report).await;
    }
}

struct ServedStream {
    reporter: Reporter,
    session: Session,
    started: Instant,
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

    /// Lets go of everything that the stream held, but for what tells of its end.
    fn close(self) -> Reporter {
        self.reporter
    }

    /// Says why, without waiting for a slow reader: the end itself tells enough.
    fn end(&self, told: Status) -> Closed {
        let Identity { gateway, proxy } = &self.reporter.identity;
        tracing::info!(%gateway, %proxy, "stream ended: {}", told.message());
        let _ = self.outbox.try_send(Err(told));
        Closed
    }

    async fn hear(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Closed> {
        if request.node.is_some() && Identity::of(&request).as_ref() != Some(&self.reporter.identity) {
            return Err(self.end(Status::invalid_argument("a stream belongs to one proxy: node must not change")));
        }
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
                Output::Send(response) => self.send(response).await?,
                Output::Event(event) => self.reporter.report(News::Session(event)).await,
            }
        }
        Ok(())
    }

    async fn send(&self, response: Response) -> Result<(), Closed> {
        let Identity { gateway, proxy } = &self.reporter.identity;
        tracing::debug!(
            %gateway, %proxy, kind = ?response.kind, nonce = response.nonce,
            resources = response.resources.len(), removed = response.removed.len(), "sent"
        );
        self.outbox.send(Ok(response)).await.map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests;
