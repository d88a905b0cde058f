//! Envoy, served by a session as the product serves it.
//!
//! snapshots → [`Served`] → Envoy; [`News`] of what was said on the stream
//!
//! **Invariant:** each decision about the wire is the session's; here are a clock and a socket.
//!
//! It must not know what is in a snapshot.

use std::{
    fmt::{self, Display},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource},
    google::protobuf::Any,
};
use sluice_xds::{
    Config, Event, Id, Input, Name, Output, Request, Resource, ResourceType, Response, Session, Snapshot,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{plane::Plane, proxy::Proxy, stream::Stream};
use crate::{
    calls::{Outcome, Speech, call},
    local::PATIENCE,
    wire::Connection,
};

/// What was said on a stream, and what the session learned.
#[derive(Clone, Debug)]
pub enum News {
    /// Envoy said this.
    Heard(Box<DeltaDiscoveryRequest>),
    /// The session said this.
    Sent(Response),
    /// The session learned this.
    Learned(Event),
}

/// A stream with its session. Dropping it ends the stream.
#[derive(Debug)]
pub struct Served {
    feed: watch::Sender<Arc<Snapshot>>,
    incoming: mpsc::UnboundedReceiver<News>,
    news: Vec<News>,
    task: JoinHandle<()>,
}

impl Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard(request) => {
                let kind = request.type_url.rsplit('.').next().unwrap_or_default();
                let words = request.error_detail.as_ref().map_or("", |error| &error.message);
                write!(
                    f,
                    "heard {kind} {:?} nonce={:?} {words}",
                    request.resource_names_subscribe, request.response_nonce
                )
            }
            Self::Sent(response) => {
                let names: Vec<_> = response.resources.iter().map(|resource| &resource.id.name).collect();
                write!(f, "sent {} {names:?} removed={:?} nonce={}", response.kind, response.removed, response.nonce)
            }
            Self::Learned(event) => write!(f, "learned {event:?}"),
        }
    }
}

impl Served {
    /// Serves a snapshot on a stream that nobody has answered yet.
    pub fn start(stream: Stream, snapshot: Arc<Snapshot>) -> Self {
        let (feed, snapshots) = watch::channel(snapshot);
        let (sender, incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            // Ends when the stream or the test does.
            let _over = serve(stream, snapshots, sender).await;
        });
        Self { feed, incoming, news: Vec::new(), task }
    }

    /// What happened, as far as anybody waited for it.
    pub fn news(&self) -> &[News] {
        &self.news
    }

    /// The first news that are wanted, past or future.
    pub async fn until<T>(&mut self, what: &str, wanted: impl Fn(&News) -> Option<T>) -> Result<T> {
        let mut from = 0;
        loop {
            if let Some(found) = self.news.iter().skip(from).find_map(&wanted) {
                return Ok(found);
            }
            from = self.news.len();
            let next = timeout(PATIENCE, self.incoming.recv()).await;
            let next = next.with_context(|| format!("no {what} within {PATIENCE:?}, only:\n{}", self.summary()))?;
            self.news.push(next.with_context(|| format!("the stream ended without {what}"))?);
        }
    }

    fn summary(&self) -> String {
        self.news.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    /// Waits until Envoy has all of a revision.
    pub async fn synced(&mut self, revision: u64) -> Result<()> {
        let wanted = |news: &News| match news {
            News::Learned(Event::Synced { revision: found }) if *found >= revision => Some(()),
            _ => None,
        };
        self.until(&format!("Synced {revision}"), wanted).await
    }

    /// How many responses of a type were sent, as far as anybody waited.
    pub fn responses(&self, kind: ResourceType) -> usize {
        self.news.iter().filter(|news| matches!(news, News::Sent(response) if response.kind == kind)).count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `None` once the stream or the test is over.
async fn serve(
    mut stream: Stream,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    news: mpsc::UnboundedSender<News>,
) -> Option<()> {
    let (mut session, started) = (Session::new(Config::default()), Instant::now());
    snapshots.mark_changed();
    loop {
        let deadline = session.deadline().map(|at| started + Duration::from_millis(at));
        let input = tokio::select! {
            heard = stream.next() => {
                let heard = heard?;
                news.send(News::Heard(Box::new(heard.clone()))).ok()?;
                Input::Request(request(heard)?)
            }
            changed = snapshots.changed() => {
                changed.ok()?;
                Input::Snapshot(snapshots.borrow_and_update().clone())
            }
            () = sleep_until(deadline.unwrap_or(started)), if deadline.is_some() => Input::Tick,
        };
        for output in session.step(input, u64::try_from(started.elapsed().as_millis()).ok()?) {
            match output {
                Output::Event(event) => news.send(News::Learned(event)).ok()?,
                Output::Send(response) => {
                    stream.respond(wire(&response)).await?;
                    news.send(News::Sent(response)).ok()?;
                }
            }
        }
    }
}

fn request(heard: DeltaDiscoveryRequest) -> Option<Request> {
    let names = |names: Vec<String>| names.into_iter().map(Name::from).collect();
    let versions = heard.initial_resource_versions.into_iter();
    Some(Request {
        kind: ResourceType::from_type_url(&heard.type_url).ok()?,
        subscribe: names(heard.resource_names_subscribe),
        unsubscribe: names(heard.resource_names_unsubscribe),
        initial_versions: versions.map(|(name, version)| (name.into(), version)).collect(),
        nonce: heard.response_nonce,
        error: heard.error_detail.map(|status| status.message),
    })
}

fn wire(response: &Response) -> DeltaDiscoveryResponse {
    let resource = |resource: &Arc<Resource>| {
        let any = Any { type_url: response.kind.type_url().to_owned(), value: resource.bytes.to_vec() };
        WireResource {
            name: resource.id.name.to_string(),
            version: resource.version.to_string(),
            resource: Some(any),
            ..Default::default()
        }
    };
    DeltaDiscoveryResponse {
        type_url: response.kind.type_url().to_owned(),
        resources: response.resources.iter().map(resource).collect(),
        removed_resources: response.removed.iter().map(ToString::to_string).collect(),
        nonce: response.nonce.to_string(),
        ..Default::default()
    }
}

/// An Envoy that is served a snapshot.
#[derive(Debug)]
pub struct Rig {
    /// The stream that is served.
    pub served: Served,
    /// Envoy.
    pub proxy: Proxy,
    /// What Envoy connects to.
    pub plane: Plane,
    /// What it is served.
    pub snapshot: Arc<Snapshot>,
}

impl Rig {
    /// Starts Envoy on these resources and waits until it has all of them, or all that it does not refuse.
    pub async fn start(resources: impl IntoIterator<Item = Arc<Resource>>) -> Result<Self> {
        let mut plane = Plane::start().await?;
        let proxy = Proxy::start(plane.address())?;
        let snapshot = super::shapes::on(&Snapshot::empty(), resources).context("nothing to serve")?;
        let mut served = Served::start(plane.stream().await?, Arc::clone(&snapshot));
        served.synced(snapshot.revision()).await.with_context(|| proxy.said())?;
        Ok(Self { served, proxy, plane, snapshot })
    }

    /// Publishes the next snapshot and waits for nothing.
    pub fn publish(
        &mut self,
        set: impl IntoIterator<Item = Arc<Resource>>,
        remove: impl IntoIterator<Item = Id>,
    ) -> Result<()> {
        let mut edit = self.snapshot.edit();
        set.into_iter().for_each(|resource| edit.set(resource));
        remove.into_iter().for_each(|id| edit.remove(&id));
        self.snapshot = edit.publish().context("nothing changes")?;
        self.served.feed.send_replace(Arc::clone(&self.snapshot));
        Ok(())
    }

    /// Waits until Envoy has all of the latest snapshot.
    pub async fn synced(&mut self) -> Result<()> {
        self.served.synced(self.snapshot.revision()).await
    }

    /// Ends the stream and serves the next one that Envoy opens.
    pub async fn reconnect(&mut self) -> Result<()> {
        // A session of its own for the old stream would answer until its end.
        self.served.task.abort();
        let stream = self.plane.stream().await?;
        self.served = Served::start(stream, Arc::clone(&self.snapshot));
        Ok(())
    }

    /// A connection to a cleartext listener.
    pub async fn connect(&self, listener: &str, host: &str) -> Result<Connection> {
        Connection::open_clear(self.proxy.listener(listener).await?, host).await
    }

    /// A call to port 80.
    pub async fn call(&self, host: &str, speech: Speech, path: &str) -> Result<Outcome> {
        call(&self.connect("http-80", host).await?, speech, path, &[]).await
    }
}
