//! The floor of propagation: a discovery service without a controller behind it, which sends what was prepared.
//!
//! resources as a controller sent them → a fresh Envoy that has them; edits → how long Envoy takes for each
//!
//! **Invariant:** nothing is computed between a push and its bytes on the wire but their framing.
//!
//! It must not know what a resource means, nor the order in which edits should go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use envoy_types::pb::envoy::config::{core::v3 as core, listener::v3 as pb};
use prost::Message as _;
use sluice_xds::{Id, ResourceType};

use super::tap::{Said, Tap, Upstream};
use crate::envoy::{Answer, Message, Plane, Proxy, Stream};

/// How long Envoy may take for a first load of 10,000 routes on a busy machine.
const LOAD: Duration = Duration::from_mins(3);

/// A resource as it was sent: id, version, bytes.
pub type Form = (Id, String, Bytes);

/// A fresh Envoy that was served a copy.
#[derive(Debug)]
pub struct Replay {
    /// Envoy.
    pub proxy: Proxy,
    /// Between it and the copy.
    pub tap: Tap,
    stream: Stream,
    _plane: Plane,
    pushed: usize,
}

impl Replay {
    /// Starts Envoy on these resources; also how long it took from its start until it had acknowledged all of them.
    pub async fn start(forms: &[Form]) -> Result<(Self, Duration)> {
        let mut plane = Plane::start().await?;
        let tap = Tap::start(Upstream { address: plane.address(), tls: None }).await?;
        let begun = Instant::now();
        let proxy = Proxy::start(tap.address())?;
        let stream = plane.stream().await?;
        let mut replay = Self { proxy, tap, stream, _plane: plane, pushed: 0 };
        replay.load(forms).await.with_context(|| replay.proxy.said())?;
        Ok((replay, begun.elapsed()))
    }

    /// Sends each type once Envoy asked for it, and hosts once it has their route configurations.
    async fn load(&mut self, forms: &[Form]) -> Result<()> {
        use ResourceType::{Assignment, Cluster, Listener, RouteConfiguration, Secret, VirtualHost};
        let of = |kind: ResourceType| -> Vec<Message> {
            forms.iter().filter(|(id, _, _)| id.kind == kind).map(message).collect()
        };
        self.stream.asked(Cluster).await?;
        let clusters = self.stream.send(Cluster, of(Cluster), &[]).await?;
        if !of(Assignment).is_empty() {
            self.stream.asked(Assignment).await?;
            self.stream.send(Assignment, of(Assignment), &[]).await?;
        }
        self.stream.asked(Listener).await?;
        let elsewhere = forms.iter().filter(|(id, _, _)| id.kind == Listener).map(|form| {
            let listener = elsewhere(&form.2)?;
            Ok(Message { bytes: listener.encode_to_vec(), ..message(form) })
        });
        let listeners = self.stream.send(Listener, elsewhere.collect::<Result<Vec<_>>>()?, &[]).await?;
        if !of(Secret).is_empty() {
            self.stream.asked(Secret).await?;
            self.stream.send(Secret, of(Secret), &[]).await?;
        }
        self.stream.asked(RouteConfiguration).await?;
        let routes = self.stream.send(RouteConfiguration, of(RouteConfiguration), &[]).await?;
        self.agreed(&routes).await?;
        if !of(VirtualHost).is_empty() {
            self.stream.asked(VirtualHost).await?;
            let hosts = self.stream.send(VirtualHost, of(VirtualHost), &[]).await?;
            self.agreed(&hosts).await?;
        }
        self.agreed(&clusters).await?;
        self.agreed(&listeners).await
    }

    async fn agreed(&mut self, nonce: &str) -> Result<()> {
        // Envoy is silent while it works off a large response; the patience of one answer may not do.
        let begun = Instant::now();
        loop {
            match self.stream.answer(nonce).await {
                Ok(answer) => {
                    ensure!(answer == Answer::Ack, "the copy was refused: {answer:?}");
                    return Ok(());
                }
                Err(error) => ensure!(begun.elapsed() < LOAD, error.context("no answer to the copy")),
            }
        }
    }

    /// Sends another form of a resource; what passed when, and its answer.
    pub async fn push(&mut self, id: &Id, bytes: &[u8]) -> Result<(Arc<Said>, Arc<Said>)> {
        self.pushed += 1;
        let version = format!("replay-{}", self.pushed);
        let (mark, message) = (self.tap.mark(), message(&(id.clone(), version.clone(), bytes.to_vec().into())));
        let nonce = self.stream.send(id.kind, [message], &[]).await?;
        self.agreed(&nonce).await?;
        self.tap.acknowledged(mark, LOAD, |said| said.nonce == nonce && said.kind == Some(id.kind)).await
    }

    /// Removes a resource.
    pub async fn remove(&mut self, id: &Id) -> Result<(Arc<Said>, Arc<Said>)> {
        let mark = self.tap.mark();
        let nonce = self.stream.send(id.kind, std::iter::empty::<Message>(), &[&*id.name]).await?;
        self.agreed(&nonce).await?;
        self.tap.acknowledged(mark, LOAD, |said| said.nonce == nonce && said.kind == Some(id.kind)).await
    }
}

fn message((id, version, bytes): &Form) -> Message {
    Message { name: id.name.to_string(), version: version.clone(), bytes: bytes.to_vec() }
}

/// A Listener on any free port of the loopback: two Envoys that share one share its connections, and a call that is meant for the
/// controller's proxy would be answered by the copy.
pub fn elsewhere(bytes: &[u8]) -> Result<pb::Listener> {
    let mut listener = pb::Listener::decode(bytes)?;
    let address = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
        ..Default::default()
    };
    listener.address = Some(core::Address { address: Some(core::address::Address::SocketAddress(address)) });
    Ok(listener)
}

/// The bytes with one marker in place of another of the same length, so that no length in the message is wrong.
pub fn edited(bytes: &[u8], old: &str, new: &str) -> Result<Vec<u8>> {
    ensure!(old.len() == new.len(), "markers of different lengths");
    let found = bytes.windows(old.len()).position(|window| window == old.as_bytes());
    let at = found.with_context(|| format!("no {old} in the resource"))?;
    let mut edited = bytes.to_vec();
    edited.get_mut(at..at + new.len()).context("out of bounds")?.copy_from_slice(new.as_bytes());
    Ok(edited)
}
