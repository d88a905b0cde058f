//! A tap between a proxy and its control plane: it forwards bytes, and notes who said what when.
//!
//! connections of a proxy → the same bytes to the control plane, over TLS if that asks for it; a log of messages
//!
//! **Invariant:** bytes are forwarded before they are read: decoding delays nobody.
//! **Invariant:** a time is that of the read which completed the message.
//!
//! It must not know what a resource means.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use prost::Message as _;
use rustls::{ClientConfig, pki_types::ServerName};
use sluice_xds::{Id, ResourceType};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout_at,
};
use tokio_rustls::TlsConnector;

use super::frames::Frames;

const CHUNK: usize = 64 << 10;

/// Where the control plane is.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its address.
    pub address: SocketAddr,
    /// How it is spoken to; `None`: in clear.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The proxy.
    Proxy,
    /// The control plane.
    Plane,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Said {
    /// When it had passed whole.
    pub at: Instant,
    /// The number of the connection.
    pub connection: usize,
    /// Who said it.
    pub by: Side,
    /// Its type, if it is one of ours.
    pub kind: Option<ResourceType>,
    /// The nonce that it carries or answers.
    pub nonce: String,
    /// The size of the message.
    pub bytes: usize,
    /// Names, versions and encoded forms of the resources.
    pub resources: Vec<(String, String, Bytes)>,
    /// Names that were removed.
    pub removed: Vec<String>,
    /// Why it was refused.
    pub error: Option<String>,
}

impl Said {
    /// Whether a resource in it has these bytes somewhere.
    pub fn mentions(&self, marker: &[u8]) -> bool {
        self.resources.iter().any(|(_, _, bytes)| bytes.windows(marker.len()).any(|window| window == marker))
    }

    /// Whether it is the proxy's answer to `response`.
    pub fn answers(&self, response: &Self) -> bool {
        self.by == Side::Proxy
            && self.connection == response.connection
            && self.kind == response.kind
            && self.nonce == response.nonce
    }
}

#[derive(Debug, Default)]
struct Book {
    said: Vec<Arc<Said>>,
    /// What the control plane last sent of each resource.
    state: HashMap<Id, (String, Bytes)>,
    /// Responses of the latest connection that have no answer yet.
    open: HashSet<(Option<ResourceType>, String)>,
    connections: usize,
}

#[derive(Debug, Default)]
struct Log {
    book: Mutex<Book>,
    length: watch::Sender<usize>,
}

impl Log {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing that runs under the lock can end half-way.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, said: Said) {
        let mut book = self.book();
        if said.connection == book.connections {
            let response = (said.kind, said.nonce.clone());
            match said.by {
                Side::Plane => book.open.insert(response),
                Side::Proxy => book.open.remove(&response),
            };
        }
        if let (Side::Plane, Some(kind)) = (said.by, said.kind) {
            for (name, version, bytes) in &said.resources {
                book.state.insert(Id::new(kind, name.as_str()), (version.clone(), bytes.clone()));
            }
            for name in &said.removed {
                book.state.remove(&Id::new(kind, name.as_str()));
            }
        }
        book.said.push(Arc::new(said));
        self.length.send_replace(book.said.len());
    }
}

/// A running tap.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    log: Arc<Log>,
    upstream: watch::Sender<Upstream>,
    task: JoinHandle<()>,
}

impl Tap {
    /// Listens on a free port of the loopback.
    pub async fn start(upstream: Upstream) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (upstream, current) = watch::channel(upstream);
        let log = Arc::<Log>::default();
        let task = tokio::spawn(accept(listener, current, Arc::clone(&log)));
        Ok(Self { address, log, upstream, task })
    }

    /// Where the proxy connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where further connections go.
    pub fn redirect(&self, upstream: Upstream) {
        self.upstream.send_replace(upstream);
    }

    /// How many messages have passed: where to look from.
    pub fn mark(&self) -> usize {
        self.log.book().said.len()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.log.book().connections
    }

    /// What was said since a mark.
    pub fn since(&self, mark: usize) -> Vec<Arc<Said>> {
        self.log.book().said.get(mark..).unwrap_or_default().to_vec()
    }

    /// What the control plane last sent of every resource: id, version, bytes.
    pub fn state(&self) -> Vec<(Id, String, Bytes)> {
        let book = self.log.book();
        book.state.iter().map(|(id, (version, bytes))| (id.clone(), version.clone(), bytes.clone())).collect()
    }

    /// The same of one resource that is wanted, whichever comes first.
    pub fn find(&self, wanted: impl Fn(&Id) -> bool) -> Option<(Id, String, Bytes)> {
        let book = self.log.book();
        let (id, (version, bytes)) = book.state.iter().find(|(id, _)| wanted(id))?;
        Some((id.clone(), version.clone(), bytes.clone()))
    }

    /// How many resources that are wanted the proxy was sent and still has.
    pub fn held(&self, wanted: impl Fn(&Id) -> bool) -> usize {
        self.log.book().state.keys().filter(|id| wanted(id)).count()
    }

    /// The first message since a mark that is wanted, past or future.
    pub async fn until(&self, mark: usize, within: Duration, wanted: impl Fn(&Said) -> bool) -> Result<Arc<Said>> {
        let (deadline, mut length) = (tokio::time::Instant::now() + within, self.log.length.subscribe());
        let mut from = mark;
        loop {
            let fresh = self.since(from);
            if let Some(found) = fresh.iter().find(|said| wanted(said)) {
                return Ok(Arc::clone(found));
            }
            from += fresh.len();
            // What came in between is found at once.
            let grown = length.wait_for(|length| *length > from);
            match timeout_at(deadline, grown).await {
                Ok(grown) => drop(grown.context("the tap is gone")?),
                Err(_) => bail!("not said within {within:?}; {} other messages since", from - mark),
            }
        }
    }

    /// The time between a response that is wanted and its acknowledgement, and both of them.
    pub async fn acknowledged(
        &self,
        mark: usize,
        within: Duration,
        wanted: impl Fn(&Said) -> bool,
    ) -> Result<(Arc<Said>, Arc<Said>)> {
        let response = self.until(mark, within, |said| said.by == Side::Plane && wanted(said)).await?;
        let answer = self.until(mark, within, |said| said.answers(&response)).await?;
        if let Some(error) = &answer.error {
            bail!("refused: {error}");
        }
        Ok((response, answer))
    }

    /// Whether every response of the latest connection has been answered.
    pub fn is_answered(&self) -> bool {
        self.log.book().open.is_empty()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: watch::Receiver<Upstream>, log: Arc<Log>) {
    while let Ok((stream, _)) = listener.accept().await {
        let upstream = upstream.borrow().clone();
        let log = Arc::clone(&log);
        // Whatever ends a connection, the proxy sees it end and opens another.
        tokio::spawn(async move { forward(stream, upstream, log).await });
    }
}

async fn forward(proxy: TcpStream, upstream: Upstream, log: Arc<Log>) -> Result<()> {
    proxy.set_nodelay(true)?;
    let plane = TcpStream::connect(upstream.address).await?;
    plane.set_nodelay(true)?;
    match upstream.tls {
        None => between(proxy, plane, log).await,
        Some((config, name)) => between(proxy, TlsConnector::from(config).connect(name, plane).await?, log).await,
    }
}

async fn between<S>(proxy: TcpStream, plane: S, log: Arc<Log>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = {
        let mut book = log.book();
        book.connections += 1;
        book.open.clear();
        book.connections
    };
    let (sender, chunks) = mpsc::unbounded_channel();
    tokio::spawn(observe(connection, chunks, log));
    let (from_proxy, to_proxy) = tokio::io::split(proxy);
    let (from_plane, to_plane) = tokio::io::split(plane);
    tokio::select! {
        ended = pump(from_proxy, to_plane, Side::Proxy, sender.clone()) => ended,
        ended = pump(from_plane, to_proxy, Side::Plane, sender) => ended,
    }
}

struct Chunk {
    at: Instant,
    by: Side,
    bytes: Bytes,
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    by: Side,
    chunks: mpsc::UnboundedSender<Chunk>,
) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while from.read_buf(&mut buffer).await? > 0 {
        let at = Instant::now();
        let bytes = buffer.split().freeze();
        to.write_all(&bytes).await?;
        to.flush().await?;
        chunks.send(Chunk { at, by, bytes })?;
        buffer.reserve(CHUNK);
    }
    Ok(())
}

async fn observe(connection: usize, mut chunks: mpsc::UnboundedReceiver<Chunk>, log: Arc<Log>) {
    let (mut proxy, mut plane) = (Frames::default(), Frames::default());
    while let Some(Chunk { at, by, bytes }) = chunks.recv().await {
        let frames = match by {
            Side::Proxy => &mut proxy,
            Side::Plane => &mut plane,
        };
        for message in frames.push(&bytes) {
            let said = match by {
                Side::Proxy => request(&message),
                Side::Plane => response(&message),
            };
            log.note(Said { at, connection, ..said });
        }
    }
}

fn blank(by: Side, bytes: usize) -> Said {
    Said {
        at: Instant::now(),
        connection: 0,
        by,
        kind: None,
        nonce: String::new(),
        bytes,
        resources: Vec::new(),
        removed: Vec::new(),
        error: None,
    }
}

fn request(bytes: &Bytes) -> Said {
    let blank = blank(Side::Proxy, bytes.len());
    let Ok(request) = DeltaDiscoveryRequest::decode(bytes.clone()) else { return blank };
    Said {
        kind: ResourceType::from_type_url(&request.type_url).ok(),
        nonce: request.response_nonce,
        error: request.error_detail.map(|status| status.message),
        ..blank
    }
}

fn response(bytes: &Bytes) -> Said {
    let blank = blank(Side::Plane, bytes.len());
    let Ok(response) = DeltaDiscoveryResponse::decode(bytes.clone()) else { return blank };
    let resources = response.resources.into_iter();
    Said {
        kind: ResourceType::from_type_url(&response.type_url).ok(),
        nonce: response.nonce,
        resources: resources
            .map(|resource| (resource.name, resource.version, resource.resource.unwrap_or_default().value.into()))
            .collect(),
        removed: response.removed_resources,
        ..blank
    }
}
