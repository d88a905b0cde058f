//! Attachment: what a Gateway and its ListenerSets offer to routes, which ports, chains and hosts follow, and what is wrong.
//!
//! GatewayClass, Gateway, ListenerSets, grants, Secrets → [`Plan`]
//!
//! **Invariant:** a listener that is not valid is offered all the same (routes attach and are counted), but serves nothing.
//! **Invariant:** of the names of a port each belongs to one listener: the most specific one (listener isolation).
//!
//! Knows nothing of routes.

mod report;

pub use report::GatewayReport;

use super::{HostKey, ListenerId, Surface};
use crate::{
    hostname::Hostname,
    ir,
    key::{NsName, Text},
    world::{Parent, Reader},
};
use std::sync::Arc;

/// What follows from a Gateway and its ListenerSets before any route is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The Gateway.
    pub gateway: NsName,
    /// What each parent offers to routes; ListenerSets that are not allowed offer listeners that do not serve.
    pub surfaces: Vec<(Parent, Arc<Surface>)>,
    /// The ports that are bound and have something to serve, in order.
    pub listeners: Vec<ir::Listener>,
    /// The route configurations of `listeners`, in order of port and hostname.
    pub routing: Vec<Routing>,
    /// The Secrets that the chains name, sorted, distinct; each loads.
    pub certificates: Vec<NsName>,
    /// Everything that statuses say.
    pub report: GatewayReport,
}

/// A route configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// `http-80` or `https-443/<sni>`.
    pub name: Text,
    /// The port.
    pub port: u16,
}

impl Plan {
    /// The host that serves `domain` for a listener; `None` if the listener is not served, or a more specific listener of the port
    /// owns the name.
    pub fn place(&self, listener: &ListenerId, domain: &Hostname) -> Option<HostKey> {
        let _ = (listener, domain);
        None
    }

    /// The hosts that exist without any route, in order.
    pub fn standing_hosts(&self) -> Vec<(HostKey, ir::Fallback)> {
        Vec::new()
    }
}

/// The plan of a Gateway; `None` if it is absent, or its class is absent or not ours.
pub fn plan(gateway: &NsName, read: &Reader) -> Option<Plan> {
    let _ = (gateway, read);
    None
}
