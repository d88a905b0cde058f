//! One stream of Envoy's, word for word.
//!
//! messages → responses; requests → what Envoy asked, acknowledged and refused
//!
//! **Invariant:** nothing that Envoy said is lost: each question looks through all of it, and then waits for more.
//!
//! It must not know the order in which things should be said.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource},
    google::protobuf::Any,
};
use sluice_xds::{Resource, ResourceType};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};

use crate::local::PATIENCE;

/// A type of resources: one of ours, or the URL of another that Envoy knows.
pub trait Typed: Copy {
    /// The type URL.
    fn url(self) -> &'static str;
}

impl Typed for ResourceType {
    fn url(self) -> &'static str {
        self.type_url()
    }
}

impl Typed for &'static str {
    fn url(self) -> &'static str {
        self
    }
}

/// A resource as it goes on the wire.
#[derive(Clone, Debug)]
pub struct Message {
    /// The name of the resource, which may differ from what the message says.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The encoded message.
    pub bytes: Vec<u8>,
}

impl From<&Arc<Resource>> for Message {
    fn from(resource: &Arc<Resource>) -> Self {
        let version = resource.version.to_string();
        Self { name: resource.id.name.to_string(), version, bytes: resource.bytes.to_vec() }
    }
}

/// What Envoy answered to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took it.
    Ack,
    /// It refused it, with these words.
    Nack(String),
}

/// A stream. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    heard: Vec<DeltaDiscoveryRequest>,
    sent: usize,
}

impl Stream {
    pub(super) fn new(
        requests: Streaming<DeltaDiscoveryRequest>,
        responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    ) -> Self {
        Self { requests, responses, heard: Vec::new(), sent: 0 }
    }

    /// The next request; `None` once Envoy has ended the stream.
    pub(super) async fn next(&mut self) -> Option<DeltaDiscoveryRequest> {
        self.requests.message().await.ok().flatten()
    }

    pub(super) async fn respond(&self, response: DeltaDiscoveryResponse) -> Option<()> {
        self.responses.send(Ok(response)).await.ok()
    }

    /// What Envoy has said of a type, as far as anybody waited for it.
    pub fn heard(&self, kind: impl Typed) -> impl Iterator<Item = &DeltaDiscoveryRequest> {
        self.heard.iter().filter(move |request| request.type_url == kind.url())
    }

    /// The first request that is wanted, past or future.
    pub async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&DeltaDiscoveryRequest) -> bool,
    ) -> Result<DeltaDiscoveryRequest> {
        let mut from = 0;
        loop {
            if let Some(found) = self.heard.iter().skip(from).find(|request| wanted(request)) {
                return Ok(found.clone());
            }
            from = self.heard.len();
            let next = timeout(PATIENCE, self.requests.message()).await;
            let next = next.with_context(|| format!("no {what} within {PATIENCE:?}; heard {:#?}", self.heard))?;
            self.heard.push(next?.with_context(|| format!("the stream ended without {what}"))?);
        }
    }

    /// The first request for a type.
    pub async fn asked(&mut self, kind: impl Typed) -> Result<DeltaDiscoveryRequest> {
        self.until(&format!("request for {}", kind.url()), |request| request.type_url == kind.url()).await
    }

    /// A request for a name.
    pub async fn asked_for(&mut self, kind: impl Typed, name: &str) -> Result<DeltaDiscoveryRequest> {
        let names =
            |request: &DeltaDiscoveryRequest| request.resource_names_subscribe.iter().any(|found| found == name);
        let wanted = |request: &DeltaDiscoveryRequest| request.type_url == kind.url() && names(request);
        self.until(&format!("request for {} {name}", kind.url()), wanted).await
    }

    /// Sends a response; its nonce.
    pub async fn send(
        &mut self,
        kind: impl Typed,
        resources: impl IntoIterator<Item = impl Into<Message>>,
        removed: &[&str],
    ) -> Result<String> {
        self.sent += 1;
        let nonce = format!("n{}", self.sent);
        let response = DeltaDiscoveryResponse {
            type_url: kind.url().to_owned(),
            resources: resources.into_iter().map(|message| wire(kind.url(), message.into())).collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            nonce: nonce.clone(),
            ..Default::default()
        };
        self.respond(response).await.context("the stream has ended")?;
        Ok(nonce)
    }

    /// The answer to a response.
    pub async fn answer(&mut self, nonce: &str) -> Result<Answer> {
        let found = self.until(&format!("answer to {nonce}"), |request| request.response_nonce == nonce).await?;
        Ok(found.error_detail.map_or(Answer::Ack, |error| Answer::Nack(error.message)))
    }

    /// Sends new or changed resources and waits for the answer.
    pub async fn tell(
        &mut self,
        kind: impl Typed,
        resources: impl IntoIterator<Item = impl Into<Message>>,
    ) -> Result<Answer> {
        let nonce = self.send(kind, resources, &[]).await?;
        self.answer(&nonce).await
    }

    /// Removes a resource and waits for the answer.
    pub async fn remove(&mut self, kind: impl Typed, name: &str) -> Result<Answer> {
        let nonce = self.send(kind, std::iter::empty::<Message>(), &[name]).await?;
        self.answer(&nonce).await
    }
}

fn wire(url: &str, message: Message) -> WireResource {
    let any = Any { type_url: url.to_owned(), value: message.bytes };
    WireResource { name: message.name, version: message.version, resource: Some(any), ..Default::default() }
}
