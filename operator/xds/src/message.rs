//! What goes into a session and what comes out of it.
//!
//! stream, store and clock → [`Input`]; [`Output`] → stream and engine
//!
//! Must not know: protobuf. The shell turns a `DeltaDiscoveryRequest` into a [`Request`] and a [`Response`] into its reply.

use std::sync::Arc;

use crate::resource::{Id, Name, Resource, ResourceType, Version};
use crate::snapshot::Snapshot;

/// What a session is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The proxy asked, acknowledged or refused.
    Request(Request),
    /// What the proxy should have from now on. A revision that is not newer than the last is ignored.
    Snapshot(Arc<Snapshot>),
    /// A [`crate::Session::deadline`] may have passed.
    Tick,
}

/// A `DeltaDiscoveryRequest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// From `type_url`.
    pub kind: ResourceType,
    /// `resource_names_subscribe`; `*` is everything.
    pub subscribe: Vec<Name>,
    /// `resource_names_unsubscribe`.
    pub unsubscribe: Vec<Name>,
    /// `initial_resource_versions`; counts in the first request of a type only.
    pub initial_versions: Vec<(Name, String)>,
    /// `response_nonce`; empty when the request answers nothing.
    pub nonce: String,
    /// The message of `error_detail`: present when the response with this nonce was refused.
    pub error: Option<String>,
}

/// A `DeltaDiscoveryResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Gives `type_url`.
    pub kind: ResourceType,
    /// Rises by one with each response of the stream, over all types; decimal on the wire.
    pub nonce: u64,
    /// New and changed resources, sorted by name; no name twice.
    pub resources: Vec<Arc<Resource>>,
    /// `removed_resources`, sorted; disjoint from `resources`.
    pub removed: Vec<Name>,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this to the stream, in the order of the outputs.
    Send(Response),
    /// Tell the engine.
    Event(Event),
}

/// What a session learned about its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The proxy acknowledged all that it subscribes to, in the form of this revision or a newer one; refused forms are not counted.
    /// The revision only rises.
    Synced {
        /// The revision of the snapshot.
        revision: u64,
    },
    /// The proxy refused this form. It is not sent again; another version is.
    Refused {
        /// Which resource.
        id: Id,
        /// Which form of it.
        version: Version,
        /// The proxy's own words.
        message: String,
    },
    /// The proxy neither acknowledged nor refused a response in time, and never asked for the assignments of these clusters of it, so
    /// that they may never warm. The next snapshot is sent without waiting for the answer.
    ///
    /// A proxy that asked for every assignment is slow, not wedged: nothing is told of it.
    Stalled {
        /// The clusters to suspect, each in the form that was sent.
        forms: Vec<(Id, Version)>,
    },
}
