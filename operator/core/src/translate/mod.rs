//! Level 2: Gateway API objects → [`crate::ir`], with the problems beside it.
//!
//! `plan` per Gateway → [`Surface`]s per parent → `lower` per route → `place` and `merge` per host → `ir`.
//!
//! **Invariant:** never looks at a GrpcService: a hand-written route behaves exactly like a generated one.
//! **Invariant:** partial failure is partial: one bad backend does not kill its rule, one bad rule not its route, one bad route not its host.
//!
//! Knows nothing of Envoy, of xDS, or of which evaluation is a first and which a repeated one.

pub mod attach;
pub mod authority;
pub mod backend;
pub(crate) mod backend_tls;
pub mod certificate;
pub mod conflict;
pub mod grant;
pub mod infrastructure;
pub mod lower;
mod matches;
pub mod merge;
pub(crate) mod policy;
pub mod profile;
pub mod selection;

use crate::{
    hostname::Hostname,
    ir,
    key::{Kind, NsName, Text},
    world::{Parent, gateway::Namespaces, route::ParentRef},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A listener, wherever it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId {
    /// The Gateway that serves it.
    pub gateway: NsName,
    /// Who wrote it: the Gateway itself, or a ListenerSet of it.
    pub parent: Parent,
    /// Its name there.
    pub section: Text,
}

/// What a parent offers to routes: the part of its listeners that attachment reads, and nothing else, so that a change of
/// a certificate does not lower a route anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// The Gateway that serves the listeners.
    pub gateway: NsName,
    /// The policy of the class.
    pub policy: AttachmentPolicy,
    /// All listeners of the parent, in order, invalid ones too (routes attach to them and are counted, R5).
    pub listeners: Vec<Offer>,
}

/// One listener as routes see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub section: Text,
    /// Its port.
    pub port: u16,
    /// Its protocol as written (messages name it).
    pub protocol: Text,
    /// Whether it terminates TLS.
    pub secure: bool,
    /// Its hostname.
    pub hostname: Hostname,
    /// Which kinds may attach: `supportedKinds` of its status.
    pub kinds: Vec<Kind>,
    /// From which namespaces; `from` is never absent.
    pub namespaces: Namespaces,
    /// Whether it is accepted and not conflicted, so that its routes are served.
    pub serves: bool,
}

/// The choices of a `GatewayProfile` that decide over attachment, defaults filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttachmentPolicy {
    /// `cleartext: Allow`: GRPCRoutes attach to HTTP listeners.
    pub cleartext: bool,
    /// `sharedHostnames: ByContentType`.
    pub shared_hostnames: bool,
    /// `crossNamespaceAttachment: AllowedRoutesAndReferenceGrant`.
    pub grant_for_attachment: bool,
}

/// What became of one route: a function of the route and of what it refers to, never of other routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// One for each parentRef that leads to a Gateway of ours, in order of `parentRefs`.
    pub attachments: Vec<Attachment>,
    /// The routes in the order of rules and matches; the same for every attachment.
    pub routes: Vec<Ranked>,
    /// The clusters that `routes` name, sorted, distinct.
    pub clusters: Vec<ir::Cluster>,
    /// What is wrong with rules, backends and filters; the same for every attachment.
    pub problems: Vec<crate::status::route::Problem>,
}

/// One parentRef of a route and what it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// As written.
    pub parent_ref: ParentRef,
    /// What it names.
    pub parent: Parent,
    /// The Gateway that serves it.
    pub gateway: NsName,
    /// The hosts that the route asks for, by listener; empty if `refusal` is set.
    pub bindings: Vec<Binding>,
    /// Why no listener takes the route.
    pub refusal: Option<crate::status::route::Problem>,
}

/// A hostname of a route on a listener: their intersection, and what the route itself wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The listener.
    pub listener: ListenerId,
    /// The names served.
    pub domain: Hostname,
    /// The route's own hostname: precedence between routes goes by it (R10).
    pub written: Hostname,
}

/// A route of the ir with what decides its place among others (R15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked {
    /// Greater first.
    pub rank: Rank,
    /// The route.
    pub route: Arc<ir::Route>,
}

/// What decides the order of matching, hostnames aside; the greater is tried first. One comparator for every route kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rank {
    /// Exact over prefix over expression.
    pub form: u8,
    /// Characters of the service, or of an HTTP path.
    pub service: usize,
    /// Characters of the method; 1 if an HTTP method is matched.
    pub method: usize,
    /// Number of headers.
    pub headers: usize,
    /// Number of query parameters.
    pub query: usize,
}

/// What proxies get by SDS: TLS material that rotates without an edit of what names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Material {
    /// A certificate with its key: a Secret.
    Certificate(NsName),
    /// Who is trusted: ConfigMaps, as one bundle.
    Authorities(Vec<NsName>),
}

impl Material {
    /// The SDS name; never changes on rotation.
    pub fn name(&self) -> Text {
        match self {
            Self::Certificate(secret) => secret.to_string().into(),
            Self::Authorities(maps) => ir::Authorities::name_of(maps),
        }
    }
}

/// One host of one Gateway: the unit of merging, of the wire and of refusal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    /// The Gateway.
    pub gateway: NsName,
    /// The route configuration.
    pub routes_of: Text,
    /// The hostname in it.
    pub domain: Hostname,
}
