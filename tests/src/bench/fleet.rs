//! Many proxies that are not there: streams that ask as Envoy asks, acknowledge all, and decode nothing but nonces.
//!
//! a control plane → streams; when each had which message
//!
//! **Invariant:** what a stream asks for is what an Envoy asked for in the same run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use bytes::Buf as _;
use envoy_types::pb::envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest};
use http::uri::PathAndQuery;
use prost::Message as _;
use sluice_xds::ResourceType;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::tap::Upstream;
use crate::wire::Connection;

const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const RECEIVE_LIMIT: usize = 256 << 20;

/// What streams have in common.
#[derive(Debug)]
pub struct Fleet {
    upstream: Upstream,
    gateway: String,
    subscriptions: Vec<(ResourceType, Vec<String>)>,
    streams: Vec<JoinHandle<Result<()>>>,
    counters: Arc<Counters>,
}

/// Of all streams together.
#[derive(Debug, Default)]
struct Counters {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// When the last message came, and how many there were by then.
    latest: watch::Sender<(usize, Option<Instant>)>,
}

impl Fleet {
    /// No stream yet. Each will ask for the names given for each type; for none at all where those are not asked for by name.
    pub fn new(upstream: Upstream, gateway: &str, subscriptions: Vec<(ResourceType, Vec<String>)>) -> Self {
        let (gateway, counters) = (gateway.to_owned(), Arc::<Counters>::default());
        Self { upstream, gateway, subscriptions, streams: Vec::new(), counters }
    }

    /// Opens further streams, until there are so many.
    pub async fn grow(&mut self, count: usize) -> Result<()> {
        while self.streams.len() < count {
            let stream = self.open(self.streams.len()).await?;
            self.streams.push(stream);
        }
        Ok(())
    }

    /// Opens connections that ask for nothing: what a stream costs beside them is the stream's own.
    pub async fn idle(upstream: &Upstream, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        while connections.len() < count {
            connections.push(connect(upstream).await?);
        }
        Ok(connections)
    }

    /// Messages received so far.
    pub fn messages(&self) -> usize {
        self.counters.messages.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> usize {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    /// Waits until so many messages have come, and tells when the last of them did.
    pub async fn received(&self, messages: usize) -> Result<Instant> {
        let mut latest = self.counters.latest.subscribe();
        let reached = latest.wait_for(|(count, _)| *count >= messages).await?;
        reached.1.context("no message yet")
    }

    async fn open(&self, number: usize) -> Result<JoinHandle<Result<()>>> {
        let connection = connect(&self.upstream).await?;
        let origin = connection.origin();
        let mut grpc = Grpc::with_origin(connection, origin).max_decoding_message_size(RECEIVE_LIMIT);
        grpc.ready().await?;
        let (requests, outgoing) = mpsc::channel(64);
        let node = Node { id: format!("fleet-{number}"), cluster: self.gateway.clone(), ..Default::default() };
        for (index, (kind, names)) in self.subscriptions.iter().enumerate() {
            let request = DeltaDiscoveryRequest {
                node: (index == 0).then(|| node.clone()),
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names.clone(),
                ..Default::default()
            };
            requests.send(request).await?;
        }
        let path = PathAndQuery::from_static(METHOD);
        let outgoing = tonic::Request::new(ReceiverStream::new(outgoing));
        let mut incoming = grpc.streaming(outgoing, path, Heads).await?.into_inner();
        let counters = Arc::clone(&self.counters);
        Ok(tokio::spawn(async move {
            while let Some(head) = incoming.message().await? {
                counters.note(head.bytes);
                let acknowledgement =
                    DeltaDiscoveryRequest { type_url: head.kind, response_nonce: head.nonce, ..Default::default() };
                requests.send(acknowledgement).await?;
            }
            Ok(())
        }))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.streams.iter().for_each(JoinHandle::abort);
    }
}

impl Counters {
    fn note(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.latest.send_modify(|(count, at)| (*count, *at) = (*count + 1, Some(Instant::now())));
    }
}

async fn connect(upstream: &Upstream) -> Result<Connection> {
    let stream = TcpStream::connect(upstream.address).await?;
    stream.set_nodelay(true)?;
    match upstream.tls.clone() {
        None => Connection::over(stream, "http", "control-plane").await,
        Some((config, name)) => {
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            Connection::over(stream, "https", "control-plane").await
        }
    }
}

/// What is read of a response; its resources are skipped.
#[derive(Clone, PartialEq, prost::Message)]
struct Fields {
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(string, tag = "5")]
    nonce: String,
}

struct Head {
    kind: String,
    nonce: String,
    bytes: usize,
}

/// Requests whole, of responses the heads.
#[derive(Clone, Copy, Debug)]
struct Heads;

impl Codec for Heads {
    type Encode = DeltaDiscoveryRequest;
    type Decode = Head;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Heads {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn encode(&mut self, item: DeltaDiscoveryRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Heads {
    type Item = Head;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Head>, Status> {
        let bytes = buffer.remaining();
        let Fields { kind, nonce } = Fields::decode(buffer).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(Head { kind, nonce, bytes }))
    }
}
