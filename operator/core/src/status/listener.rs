//! What can be wrong with a listener, and its part of the status of a Gateway or ListenerSet.
//!
//! [`ListenerReport`], the count of its routes, [`Delivery`] → [`ListenerStatus`]
//!
//! **Invariant:** an entry of a ListenerSet is told that it conflicts, never with whom: the other one may belong to
//! somebody else.

use super::{Condition, Delivery, verdicts};
use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Text},
    translate::{
        attach::{ListenerReport, Standing},
        authority::AuthorityProblem,
        certificate::CertificateProblem,
    },
    world::Parent,
};
use serde::Serialize;

verdicts! {
    /// `Accepted` of a listener. Source: Gateway API, `ListenerConditionReason`, `ListenerEntryConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        UnsupportedProtocol = False,
        UnsupportedValue = False,
        PortUnavailable = False,
        NoValidCACertificate = False,
        TooManyListeners = False,
        HostnameConflict = False,
        ProtocolConflict = False,
    }
}

verdicts! {
    /// `Programmed` of a listener; the conflicts are said of entries of ListenerSets only.
    Programmed = "Programmed" {
        Programmed = True,
        Invalid = False,
        Pending = False,
        HostnameConflict = False,
        ProtocolConflict = False,
    }
}

verdicts! {
    /// `ResolvedRefs` of a listener.
    ResolvedRefs = "ResolvedRefs" {
        ResolvedRefs = True,
        InvalidCertificateRef = False,
        InvalidCACertificateRef = False,
        InvalidCACertificateKind = False,
        InvalidRouteKinds = False,
        RefNotPermitted = False,
    }
}

verdicts! {
    /// `Conflicted` of a listener; absent when there is no conflict.
    Conflicted = "Conflicted" {
        HostnameConflict = True,
        ProtocolConflict = True,
    }
}

verdicts! {
    /// `OverlappingTLSConfig` of a listener; absent when there is no overlap, as the specification demands.
    OverlappingTlsConfig = "OverlappingTLSConfig" {
        OverlappingHostnames = True,
        OverlappingCertificates = True,
    }
}

/// Two listeners that cannot stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The same port and hostname.
    #[error(
        "port {0} has another listener for hostname {1}, which has precedence or is in the same Gateway: change the \
         hostname or the port of one of them"
    )]
    Hostname(u16, Hostname),
    /// The same port and a protocol that cannot share it.
    #[error(
        "port {0} has a listener of another protocol, which has precedence or is in the same Gateway: change the \
         port of one of them"
    )]
    Protocol(u16),
}

/// Why a listener is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It conflicts.
    #[error(transparent)]
    Conflict(Conflict),
    /// Neither HTTP nor HTTPS.
    #[error("protocol {0} is not implemented: use HTTPS, or HTTP for HTTPRoutes")]
    Protocol(Text),
    /// The proxies listen there already.
    #[error("port {0} is the proxies' own, where they answer probes and show their statistics: use another")]
    Port(u16),
    /// `tls.mode` of an HTTPS listener.
    #[error("tls.mode {0} is not supported with protocol HTTPS: use Terminate")]
    Mode(Text),
    /// `spec.tls.frontend` of the Gateway.
    #[error(
        "the Gateway asks in spec.tls.frontend for validation of client certificates, and no reference of \
         caCertificateRefs can be used: mend them, or remove the validation to serve every client; see ResolvedRefs"
    )]
    NoAuthority,
    /// `allowedRoutes` chooses by labels of namespaces, which are not seen.
    #[error(
        "allowedRoutes.namespaces.from: Selector reads labels of namespaces, which this install does not see: use Same, \
         or All (every namespace that is watched), or select by kubernetes.io/metadata.name alone"
    )]
    SelectorOutOfSight,
    /// Beyond the limit.
    #[error(
        "the Gateway and its ListenerSets have more than {0} listeners, and this one is beyond: use another Gateway"
    )]
    TooMany(usize),
}

/// A reference of a listener that does not resolve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// An HTTPS listener without any reference.
    #[error("tls.certificateRefs is empty: name a Secret of type kubernetes.io/tls")]
    NoCertificate,
    /// Something else than a Secret.
    #[error("certificateRef {name} has kind {kind} of group {group:?}: only Secret of the core group is supported")]
    CertificateKind {
        /// As written.
        group: Text,
        /// As written.
        kind: Text,
        /// As written.
        name: Text,
    },
    /// Another namespace, without a grant.
    #[error("the reference to Secret {secret} needs permission: {remedy}")]
    NotPermitted {
        /// The Secret.
        secret: NsName,
        /// The grant to write.
        remedy: String,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(CertificateProblem),
    /// The certificate, and another one was there before it.
    #[error("{0}; the certificate that was there before stays in service meanwhile")]
    Kept(CertificateProblem),
    /// The authorities of clients.
    #[error("spec.tls.frontend of the Gateway: {0}")]
    Authority(AuthorityProblem),
    /// A certificate that was fit as far as Sluice can tell, and that the proxies cannot use.
    #[error("the proxies refused Secret {secret}: {message}; give it a certificate with the key that belongs to it")]
    Refused {
        /// `namespace/name`.
        secret: Text,
        /// Envoy's words.
        message: Text,
    },
    /// A kind of route that the protocol does not carry.
    #[error("allowedRoutes.kinds: {kind} of group {group:?} is not supported with protocol {protocol}: remove it")]
    Kind {
        /// As written.
        group: Text,
        /// As written.
        kind: Text,
        /// As written.
        protocol: Text,
    },
    /// A GRPCRoute on HTTP, against the policy.
    #[error(
        "allowedRoutes.kinds: GRPCRoute needs protocol HTTPS: change the protocol, or let the platform set \
         cleartext: Allow in the \
         GatewayProfile of the class"
    )]
    CleartextGrpc,
}

/// What listeners of a port share that they should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// One's hostname covers another's.
    Hostnames,
    /// One's certificate is valid for another's names.
    Certificates,
}

/// `status.listeners[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    pub name: Text,
    /// Which kinds may attach.
    pub supported_kinds: Vec<SupportedKind>,
    /// Accepted routes, of all kinds.
    pub attached_routes: u32,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// `supportedKinds[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SupportedKind {
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
}

impl From<Kind> for SupportedKind {
    fn from(kind: Kind) -> Self {
        Self { group: kind.group(), kind: kind.name() }
    }
}

/// The status of one listener of an object of that generation.
pub fn project(report: &ListenerReport, attached: u32, delivery: &Delivery, generation: i64) -> ListenerStatus {
    let mut conditions = vec![
        accepted(report, generation),
        programmed(report, delivery, generation),
        resolved(&report.unresolved, generation),
    ];
    conditions.extend(conflicted(report, generation));
    conditions.extend(report.overlap.map(|overlap| overlapping(overlap, generation)));
    ListenerStatus {
        name: report.id.section.clone(),
        supported_kinds: report.kinds.iter().copied().map(SupportedKind::from).collect(),
        attached_routes: attached,
        conditions,
    }
}

fn accepted(report: &ListenerReport, generation: i64) -> Condition {
    let Some(refusal) = &report.refusal else {
        return Condition::new(Accepted::Accepted, accepted_message(&report.ineffective), generation);
    };
    let verdict = match refusal {
        Refusal::Conflict(Conflict::Hostname(..)) => Accepted::HostnameConflict,
        Refusal::Conflict(Conflict::Protocol(_)) => Accepted::ProtocolConflict,
        Refusal::Protocol(_) => Accepted::UnsupportedProtocol,
        Refusal::Port(_) => Accepted::PortUnavailable,
        Refusal::Mode(_) | Refusal::SelectorOutOfSight => Accepted::UnsupportedValue,
        Refusal::NoAuthority => Accepted::NoValidCACertificate,
        Refusal::TooMany(_) => Accepted::TooManyListeners,
    };
    Condition::new(verdict, refusal.to_string(), generation)
}

fn accepted_message(ineffective: &[Text]) -> String {
    if ineffective.is_empty() {
        "Listener is accepted".to_owned()
    } else {
        format!("Listener is accepted; tls.options {} not known and without effect", ineffective.join(", "))
    }
}

fn programmed(report: &ListenerReport, delivery: &Delivery, generation: i64) -> Condition {
    let say = |verdict, message: &str| Condition::new(verdict, message, generation);
    match report.standing {
        Standing::Refused => say(refused(report), "Listener is not served because it is not accepted; see Accepted"),
        Standing::GatewayRefused => {
            say(Programmed::Invalid, "Listener is not served because its Gateway is not accepted; see the Gateway")
        }
        Standing::WithoutCertificate => {
            say(Programmed::Invalid, "Listener is not served because it has no usable certificate; see ResolvedRefs")
        }
        Standing::Unbound => say(Programmed::Pending, &format!("Waiting for a proxy to bind port {}", report.port)),
        Standing::Served => match &report.rejection {
            Some(rejection) => Condition::new(Programmed::Invalid, rejected(rejection), generation),
            None => delivered(delivery, generation),
        },
    }
}

/// What is said of whatever the proxies refused a part of.
pub(super) fn rejected(rejection: &str) -> String {
    format!("The proxies refused {rejection}; what they had before, if anything, stays in force until it is mended")
}

/// The first of the listeners of which the proxies refused something, in its own words.
pub(super) fn rejection(listeners: &[ListenerReport]) -> Option<String> {
    listeners.iter().find_map(|listener| listener.rejection.as_deref()).map(rejected)
}

fn refused(report: &ListenerReport) -> Programmed {
    match (&report.id.parent, &report.refusal) {
        (Parent::ListenerSet(_), Some(Refusal::Conflict(Conflict::Hostname(..)))) => Programmed::HostnameConflict,
        (Parent::ListenerSet(_), Some(Refusal::Conflict(Conflict::Protocol(_)))) => Programmed::ProtocolConflict,
        _ => Programmed::Invalid,
    }
}

fn delivered(delivery: &Delivery, generation: i64) -> Condition {
    match delivery {
        Delivery::Programmed => Condition::new(Programmed::Programmed, "Listener is served by every proxy", generation),
        Delivery::Pending(what) | Delivery::NoProxy(what) => Condition::new(Programmed::Pending, &**what, generation),
        Delivery::Rejected { message, .. } => {
            Condition::new(Programmed::Invalid, format!("The proxies refused the configuration: {message}"), generation)
        }
    }
}

fn resolved(unresolved: &[Unresolved], generation: i64) -> Condition {
    let Some(first) = unresolved.first() else {
        return Condition::new(ResolvedRefs::ResolvedRefs, "All references are resolved", generation);
    };
    let verdict = match first {
        Unresolved::NotPermitted { .. } | Unresolved::Authority(AuthorityProblem::NotPermitted { .. }) => {
            ResolvedRefs::RefNotPermitted
        }
        Unresolved::Authority(AuthorityProblem::Kind { .. }) => ResolvedRefs::InvalidCACertificateKind,
        Unresolved::Authority(_) => ResolvedRefs::InvalidCACertificateRef,
        Unresolved::NoCertificate
        | Unresolved::CertificateKind { .. }
        | Unresolved::Certificate(_)
        | Unresolved::Kept(_)
        | Unresolved::Refused { .. } => ResolvedRefs::InvalidCertificateRef,
        Unresolved::Kind { .. } | Unresolved::CleartextGrpc => ResolvedRefs::InvalidRouteKinds,
    };
    let messages = unresolved.iter().map(ToString::to_string).collect::<Vec<_>>();
    Condition::new(verdict, messages.join("; "), generation)
}

fn conflicted(report: &ListenerReport, generation: i64) -> Option<Condition> {
    let Some(Refusal::Conflict(conflict)) = &report.refusal else { return None };
    let verdict = match conflict {
        Conflict::Hostname(..) => Conflicted::HostnameConflict,
        Conflict::Protocol(_) => Conflicted::ProtocolConflict,
    };
    Some(Condition::new(verdict, conflict.to_string(), generation))
}

fn overlapping(overlap: Overlap, generation: i64) -> Condition {
    match overlap {
        Overlap::Hostnames => Condition::new(
            OverlappingTlsConfig::OverlappingHostnames,
            "The hostname overlaps with another HTTPS listener's of the port; a client that reuses a connection for \
             the other name is \
             answered 421 and must open a new one",
            generation,
        ),
        Overlap::Certificates => Condition::new(
            OverlappingTlsConfig::OverlappingCertificates,
            "A certificate is valid for names of another HTTPS listener of the port; a client that reuses a \
             connection for the other \
             name is answered 421 and must open a new one: use certificates without common names",
            generation,
        ),
    }
}
