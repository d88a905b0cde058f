//! The intermediate representation as resources, one function a type.
//!
//! [`ir`] → [`Resource`]
//!
//! **Invariant:** names are those of the ir; `requires` lists every resource that the message names, save the static cluster
//! [`UNAVAILABLE`].
//! **Invariant:** each function looks at nothing but its argument.
//!
//! Must not know: what else is in the snapshot.

mod action;
mod cluster;
mod connection;
mod filter;
mod header;
mod host;
mod listener;
mod matching;
mod path;
mod reply;
mod secret;
mod split;
mod tls;
mod version;

pub use version::ENCODER;

use prost::Message;
use sluice_core::{ir, key::Text};
use sluice_xds::{Id, Resource, ResourceType};
use std::{hash::Hash, sync::Arc};

/// The cluster without endpoints that every bootstrap has: requests to it are answered UNAVAILABLE.
pub const UNAVAILABLE: &str = "unavailable";

/// One bound port. Requires its route configurations and certificates.
pub fn listener(port: &ir::Listener) -> Arc<Resource> {
    let requires = listener::requires(port);
    resource(Id::new(ResourceType::Listener, listener::name(port)), port, &listener::message(port), requires)
}

/// A route configuration, whose hosts come by VHDS. Requires nothing: its hosts name it.
pub fn route_configuration(routes: &ir::RouteConfiguration) -> Arc<Resource> {
    let id = Id::new(ResourceType::RouteConfiguration, routes.name.clone());
    resource(id, routes, &host::configuration(routes), Vec::new())
}

/// A host. Requires its route configuration and the clusters that its routes name. Costs O(routes).
pub fn virtual_host(host: &ir::VirtualHost) -> Arc<Resource> {
    let id = Id::new(ResourceType::VirtualHost, host.name());
    resource(id, host, &host::message(host), host::requires(host))
}

/// A cluster. Requires its assignment and what its TLS names: without them it does not warm.
pub fn cluster(cluster: &ir::Cluster) -> Arc<Resource> {
    cluster_showing(cluster, None)
}

/// A cluster whose backends are shown a certificate, if they are spoken to over TLS.
pub fn cluster_showing(cluster: &ir::Cluster, certificate: Option<&Text>) -> Arc<Resource> {
    let certificate = certificate.filter(|_| cluster.tls.is_some());
    let id = Id::new(ResourceType::Cluster, cluster.name());
    let requires = cluster::requires(cluster, certificate);
    resource(id, &(cluster, certificate), &cluster::message(cluster, certificate), requires)
}

/// The endpoints of a cluster, maybe none. Costs O(endpoints).
pub fn assignment(assignment: &ir::Assignment) -> Arc<Resource> {
    let id = Id::new(ResourceType::Assignment, assignment.cluster.clone());
    resource(id, assignment, &cluster::assignment(assignment), Vec::new())
}

/// A certificate with its key. The only resource whose bytes are secret.
pub fn certificate(certificate: &ir::Certificate) -> Arc<Resource> {
    let id = Id::new(ResourceType::Secret, certificate.name.clone());
    resource(id, certificate, &secret::message(certificate), Vec::new())
}

/// `route` of access logs and of the JSON view: the object, the rule and the match that a route comes from.
pub fn route_name(origin: &ir::Origin) -> String {
    format!("{}/{}/{}/matches[{}]", origin.kind, origin.route, origin.rule_label(), origin.matched)
}

/// Those who are trusted.
pub fn authorities(authorities: &ir::Authorities) -> Arc<Resource> {
    let id = Id::new(ResourceType::Secret, authorities.name.clone());
    resource(id, authorities, &secret::authorities(authorities), Vec::new())
}

fn resource(id: Id, meaning: &impl Hash, message: &impl Message, requires: Vec<Id>) -> Arc<Resource> {
    let bytes = message.encode_to_vec().into();
    Arc::new(Resource { id, version: version::of(meaning), bytes, requires: requires.into() })
}

#[cfg(test)]
mod tests;
