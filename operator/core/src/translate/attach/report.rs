//! What a plan found out: data for the statuses.

use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Text},
    status::listener::{Overlap, Refusal, Unresolved},
    translate::{ListenerId, profile::ProfileProblem},
    world::{Scope, gateway::Address},
};
use sluice_api::profile::ServiceType;

/// Everything that the statuses of a Gateway and of its ListenerSets say, apart from counts of routes and from
/// delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayReport {
    /// The Gateway.
    pub gateway: NsName,
    /// Its generation.
    pub generation: i64,
    /// How callers reach it.
    pub reach: Reach,
    /// What of the cluster is seen.
    pub scope: Scope,
    /// Whether ListenerSets can exist.
    pub serves_sets: bool,
    /// Why nothing of it is served.
    pub refusal: Option<GatewayRefusal>,
    /// What is wrong with the certificate of `spec.tls.backend`.
    pub shown: Option<Unresolved>,
    /// `spec.tls.frontend` lets clients in without a valid certificate.
    pub insecure: bool,
    /// `spec.addresses`.
    pub requested: Vec<Address>,
    /// Its own listeners, as in its spec.
    pub listeners: Vec<ListenerReport>,
    /// The ListenerSets that name it, by precedence.
    pub sets: Vec<SetReport>,
}

/// How callers reach the proxies of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At the ports of the machine where they run.
    Host,
    /// Through a Service.
    Service {
        /// The class, whose profile says what kind of Service.
        class: Text,
        /// Its type.
        kind: ServiceType,
        /// Addresses that `spec.addresses` asks for and that the profile lets no Gateway have.
        denied: Vec<Text>,
    },
}

/// Why a Gateway is not accepted, whatever its listeners are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayRefusal {
    /// It is going: it serves nothing more, and what runs for it goes once the proxies know.
    #[error("Gateway is being deleted, and serves nothing any more")]
    Deleting,
    /// Its class has no policy.
    #[error("GatewayClass {class} is not accepted: {problem}")]
    Class {
        /// The class.
        class: Text,
        /// Why.
        problem: ProfileProblem,
    },
    /// `spec.infrastructure.parametersRef`: no kind is known there.
    #[error(
        "spec.infrastructure.parametersRef names {kind} {name}, and no kind is supported there: remove it, and name \
         a GatewayProfile \
         in spec.parametersRef of the GatewayClass"
    )]
    Parameters {
        /// As written.
        kind: Text,
        /// As written.
        name: Text,
    },
    /// A type of address that is not served.
    #[error("spec.addresses asks for type {0}, and only IPAddress is supported: change the type, or remove the entry")]
    Address(Text),
}

/// A ListenerSet that names the Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetReport {
    /// The set.
    pub set: NsName,
    /// Its generation.
    pub generation: i64,
    /// Why none of its listeners is looked at.
    pub refusal: Option<SetRefusal>,
    /// Its listeners, as in its spec; empty if it is not allowed.
    pub listeners: Vec<ListenerReport>,
}

impl SetReport {
    /// Whether it counts as attached: allowed, and at least one listener is valid.
    pub fn is_accepted(&self) -> bool {
        self.refusal.is_none() && self.listeners.iter().any(ListenerReport::is_valid)
    }
}

/// Why a ListenerSet is not accepted, whatever its listeners are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRefusal {
    /// `allowedListeners` of the Gateway.
    NotAllowed,
    /// `allowedListeners` chooses by labels of namespaces, which are not seen.
    SelectorOutOfSight,
    /// The Gateway itself is not accepted.
    ParentNotAccepted,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerReport {
    /// Which.
    pub id: ListenerId,
    /// Its port.
    pub port: u16,
    /// Its hostname.
    pub hostname: Hostname,
    /// `supportedKinds`.
    pub kinds: Vec<Kind>,
    /// Why it is not accepted.
    pub refusal: Option<Refusal>,
    /// References that do not resolve, certificates first, in order of the spec.
    pub unresolved: Vec<Unresolved>,
    /// `tls.options` that are not known and have no effect.
    pub ineffective: Vec<Text>,
    /// Whether its names or certificates overlap with another listener's of the port.
    pub overlap: Option<Overlap>,
    /// What proxies are told of it.
    pub standing: Standing,
    /// What of it the proxies refused, with their words; a plan never knows, whoever hears the proxies fills it in.
    pub rejection: Option<Text>,
}

impl ListenerReport {
    /// Whether it is accepted.
    pub fn is_accepted(&self) -> bool {
        self.refusal.is_none()
    }

    /// Whether it is accepted and could be served. A ListenerSet is judged by this: one whose only certificate is out
    /// of reach is not accepted.
    pub fn is_valid(&self) -> bool {
        self.is_accepted() && self.standing != Standing::WithoutCertificate
    }
}

/// What proxies are told of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in their configuration.
    Served,
    /// It is not accepted.
    Refused,
    /// It has no certificate that can be served, so that no connection could be opened.
    WithoutCertificate,
    /// No proxy binds its port yet.
    Unbound,
    /// The Gateway is not accepted.
    GatewayRefused,
}
