//! What can be wrong with a route: one closed enum, its reasons, and the words that tell the fix.

use super::{Accepted, ResolvedRefs};
use crate::{
    hostname::Hostname,
    key::{Kind, NsName, Ref, Text},
    translate::selection::Inclusion,
    world::Parent,
};
use std::fmt;

/// What is wrong with a route, its rules, backends or filters; carries the keys that its message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No listener of the parent has the name or port that the parentRef asks for.
    NoListener {
        /// What is named.
        parent: Parent,
        /// `sectionName`.
        section: Option<Text>,
        /// `port`.
        port: Option<u16>,
        /// The listeners that there are.
        offered: Vec<Text>,
    },
    /// The kind is not implemented.
    KindNotImplemented(Kind),
    /// gRPC is only served on listeners that terminate TLS.
    Cleartext {
        /// The listener.
        listener: Text,
        /// Its protocol.
        protocol: Text,
    },
    /// The listener does not take this kind.
    KindNotAllowed {
        /// The route's kind.
        kind: Kind,
        /// The listener.
        listener: Text,
        /// What it takes.
        allowed: Vec<Kind>,
    },
    /// `allowedRoutes` does not take this namespace.
    NamespaceNotAllowed {
        /// The route's namespace.
        namespace: Text,
        /// The listener.
        listener: Text,
        /// `allowedRoutes.namespaces.from`.
        from: Text,
    },
    /// The class asks for a ReferenceGrant before routes attach from another namespace.
    AttachmentNotGranted {
        /// What the route wants to attach to.
        parent: Parent,
        /// The grant to write.
        remedy: String,
    },
    /// No hostname of the route is one of a listener's.
    NoCommonHostname {
        /// The route's.
        wanted: Vec<Hostname>,
        /// The listeners'.
        offered: Vec<Hostname>,
    },
    /// Every rule is invalid; the first one's fault stands for all.
    NoValidRule(RuleFault),
    /// A route of another kind has the hostname on this listener (R11).
    HostnameTaken {
        /// Who has it.
        winner: Ref,
    },
    /// One rule is invalid and left out.
    RuleDropped(RuleFault),
    /// A backend cannot be used; its share answers UNAVAILABLE.
    Backend {
        /// `rules[0].backendRefs[1]`.
        at: String,
        /// `Service default/echo`.
        target: String,
        /// Why.
        fault: BackendFault,
    },
    /// Two backends have pods in common. Nothing is refused for it.
    SharedPods(Box<Inclusion>),
    /// An `ExtensionRef` leads nowhere; the calls that it is about answer UNAVAILABLE.
    Extension {
        /// `rules[0].filters[1]`.
        at: String,
        /// `group/kind name`.
        target: String,
    },
}

/// What a problem does to the conditions of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The route is not accepted.
    Accepted(Accepted),
    /// A reference is not resolved.
    ResolvedRefs(ResolvedRefs),
    /// A part is left out.
    Dropped(Accepted),
    /// Everything is served as written, which may not be what was meant.
    Informs,
    /// Nothing: the status of another object says it.
    Elsewhere,
}

/// Why a rule cannot be served as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFault {
    /// A value that is none of those that Sluice knows.
    UnknownValue {
        /// Where.
        at: String,
        /// The value.
        value: Text,
        /// Those that are known.
        known: &'static str,
    },
    /// A text that cannot be what it shall be.
    Malformed {
        /// Where.
        at: String,
        /// The text.
        value: Text,
        /// What it shall be.
        expected: &'static str,
    },
    /// An expression that the proxies refuse, or read differently from how it is meant.
    Expression {
        /// Where.
        at: String,
        /// The expression.
        value: Text,
        /// What is wrong with it.
        fault: String,
    },
    /// A field or filter that is not implemented.
    NotImplemented {
        /// Where.
        at: String,
        /// Its name.
        what: Text,
    },
    /// A header that no filter may touch.
    ProtectedHeader {
        /// Where.
        at: String,
        /// Its name.
        name: Text,
    },
    /// Filters that cannot be combined.
    Incompatible {
        /// Where.
        at: String,
        /// Why, and what to do.
        why: &'static str,
    },
}

/// Why a backend cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendFault {
    /// Only Services are backends.
    Kind {
        /// Group as written.
        group: Text,
        /// Kind as written.
        kind: Text,
    },
    /// It is in another namespace, which has no grant for it.
    NotPermitted {
        /// The grant to write.
        remedy: String,
    },
    /// There is no such Service.
    NotFound,
    /// The reference names no port.
    NoPort {
        /// The Service's ports.
        offered: Vec<u16>,
    },
    /// The Service has no such TCP port.
    Port {
        /// The port asked for.
        wanted: u16,
        /// The Service's ports.
        offered: Vec<u16>,
    },
    /// Its endpoints are a name, which anybody's DNS decides.
    ExternalName,
    /// Its port speaks something that this route cannot.
    Protocol {
        /// The port.
        port: u16,
        /// `appProtocol`.
        protocol: Text,
    },
    /// A policy wants it spoken to over TLS, and cannot be carried out.
    Tls {
        /// The Service.
        service: NsName,
        /// The policy, whose status says why.
        policy: NsName,
    },
}

impl Problem {
    /// The condition and reason that say this.
    pub fn finding(&self) -> Finding {
        match self {
            Self::NoListener { .. } => Finding::Accepted(Accepted::NoMatchingParent),
            Self::NoCommonHostname { .. } => Finding::Accepted(Accepted::NoMatchingListenerHostname),
            Self::KindNotImplemented(_)
            | Self::Cleartext { .. }
            | Self::KindNotAllowed { .. }
            | Self::NamespaceNotAllowed { .. }
            | Self::AttachmentNotGranted { .. }
            // The specification names no reason for a taken hostname; to the owner the listener is what refuses.
            | Self::HostnameTaken { .. } => Finding::Accepted(Accepted::NotAllowedByListeners),
            Self::NoValidRule(fault) => Finding::Accepted(fault.reason()),
            Self::RuleDropped(fault) => Finding::Dropped(fault.reason()),
            Self::Backend { fault, .. } => fault.finding(),
            Self::SharedPods(_) => Finding::Informs,
            Self::Extension { .. } => Finding::ResolvedRefs(ResolvedRefs::InvalidKind),
        }
    }
}

impl RuleFault {
    const fn reason(&self) -> Accepted {
        match self {
            Self::Incompatible { .. } => Accepted::IncompatibleFilters,
            _ => Accepted::UnsupportedValue,
        }
    }
}

impl BackendFault {
    const fn finding(&self) -> Finding {
        Finding::ResolvedRefs(match self {
            // What an ExternalName points to is no backend that the specification knows (it asks not to support it).
            Self::Kind { .. } | Self::ExternalName => ResolvedRefs::InvalidKind,
            Self::NotPermitted { .. } => ResolvedRefs::RefNotPermitted,
            Self::NotFound | Self::NoPort { .. } | Self::Port { .. } => ResolvedRefs::BackendNotFound,
            Self::Protocol { .. } => ResolvedRefs::UnsupportedProtocol,
            Self::Tls { .. } => return Finding::Elsewhere,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener { parent, section, port, offered } => {
                write!(f, "{parent} has no listener{}; it has {}", Wanted(section.as_ref(), *port), list(offered))
            }
            Self::KindNotImplemented(kind) => {
                write!(f, "Sluice does not implement {kind}; it serves GRPCRoute and HTTPRoute")
            }
            Self::Cleartext { listener, protocol } => write!(
                f,
                "A GRPCRoute attaches to HTTPS listeners only, and listener {listener} has protocol {protocol}: use an \
                 HTTPS listener with a certificate, or let the class's GatewayProfile say cleartext: Allow"
            ),
            Self::KindNotAllowed { kind, listener, allowed } => write!(
                f,
                "Listener {listener} does not take {kind}, only {}: change its allowedRoutes.kinds or protocol",
                list(allowed)
            ),
            Self::NamespaceNotAllowed { namespace, listener, from } => write!(
                f,
                "Listener {listener} takes no routes from namespace {namespace} (allowedRoutes.namespaces.from is \
                 {from}): let it say All, or Selector with a selector that the namespace's labels match"
            ),
            Self::AttachmentNotGranted { parent, remedy } => {
                write!(f, "{parent} is in another namespace and its class asks for a grant: {remedy}")
            }
            Self::NoCommonHostname { wanted, offered } => write!(
                f,
                "No hostname of the route ({}) is one of a listener ({}): make them intersect",
                list(wanted),
                list(offered)
            ),
            Self::NoValidRule(fault) => write!(f, "No rule of the route can be served: {fault}"),
            Self::HostnameTaken { winner } => write!(
                f,
                "{winner} is older and has the hostname on this listener; hostnames are unique across HTTPRoute and \
                 GRPCRoute: use another hostname or listener, or let the class's GatewayProfile say sharedHostnames: \
                 ByContentType"
            ),
            Self::RuleDropped(fault) => fault.fmt(f),
            Self::Backend { at, target, fault } => write!(f, "{at}: {target} {fault}"),
            Self::SharedPods(inclusion) => inclusion.fmt(f),
            Self::Extension { at, target } => {
                write!(
                    f,
                    "{at}: {target} is no filter that Sluice knows: remove it; until then the calls answer UNAVAILABLE"
                )
            }
        }
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownValue { at, value, known } => write!(f, "{at}: {value} is unknown: use {known}"),
            Self::Malformed { at, value, expected } => write!(f, "{at}: {value:?} is not {expected}"),
            Self::Expression { at, value, fault } => write!(f, "{at}: expression {value:?}: {fault}"),
            Self::NotImplemented { at, what } => write!(f, "{at}: {what} is not implemented: remove it"),
            Self::ProtectedHeader { at, name } => {
                write!(f, "{at}: header {name} belongs to the protocol and cannot be edited: remove it")
            }
            Self::Incompatible { at, why } => write!(f, "{at}: {why}"),
        }
    }
}

impl fmt::Display for BackendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { group, kind } => {
                let group = if group.is_empty() { "core" } else { group };
                write!(f, "cannot be a backend (kind {kind} of group {group}): use a Service")
            }
            Self::NotPermitted { remedy } => write!(f, "is in another namespace and not granted: {remedy}"),
            Self::NotFound => f.write_str("not found: create it, or correct name and namespace"),
            Self::NoPort { offered } => write!(f, "is named without a port: use one of its ports ({})", list(offered)),
            Self::Port { wanted, offered } => {
                write!(f, "has no TCP port {wanted}: use one of its ports ({})", list(offered))
            }
            Self::ExternalName => {
                f.write_str("is of type ExternalName, which is not supported: use a Service with endpoints")
            }
            Self::Protocol { port, protocol } => {
                write!(
                    f,
                    "port {port} has appProtocol {protocol}, which this route cannot speak: use kubernetes.io/h2c, or a \
                     BackendTLSPolicy for TLS"
                )
            }
            Self::Tls { policy, .. } => {
                write!(
                    f,
                    "is to be spoken to over TLS by BackendTLSPolicy {policy}, which cannot be carried out; see its status"
                )
            }
        }
    }
}

/// ` section` and ` on port 443`, as far as they are asked for.
struct Wanted<'a>(Option<&'a Text>, Option<u16>);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(section) = self.0 {
            write!(f, " {section}")?;
        }
        self.1.map_or(Ok(()), |port| write!(f, " on port {port}"))
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
