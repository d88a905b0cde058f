//! The reasons that Sluice's own conditions can have.
//!
//! a reason → its condition type, its status, its name
//!
//! **Invariant:** a reason belongs to exactly one condition type and one status, so a wrong pair cannot be written down.
//!
//! It must not know when a condition holds, nor the words of its message.

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

impl Status {
    /// As it stands in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A reason of one condition type. The type and the status follow from it.
pub trait Reason: Copy {
    /// The condition type that the reason belongs to.
    const TYPE: &'static str;
    /// The status that the reason stands for.
    fn status(self) -> Status;
    /// As it stands in a condition.
    fn as_str(self) -> &'static str;
}

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident of $type:literal { $($(#[$doc:meta])* $reason:ident => $status:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $reason,)+ }

        impl $name {
            /// Every reason of this condition type.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];
        }

        impl Reason for $name {
            const TYPE: &'static str = $type;
            fn status(self) -> Status {
                match self { $(Self::$reason => Status::$status,)+ }
            }
            fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)+ }
            }
        }
    };
}

reasons! {
    /// Whether every object of the service is written.
    GeneratedReason of "Generated" {
        /// Every object is written as the service wants it.
        Generated => True,
        /// Objects are still to be written.
        Pending => Unknown,
        /// An object of a generated name was made by somebody else.
        ForeignObject => False,
        /// Another field manager owns a field that the service sets.
        FieldConflict => False,
        /// The platform's `GatewayProfile` lets this namespace have no Gateway of its own.
        OwnGatewayNotAllowed => False,
        /// The platform's `GatewayProfile` lets this namespace issue no grants.
        GrantNotAllowed => False,
        /// The GatewayClass names a `GatewayProfile` that cannot be read, so nothing is allowed.
        ProfileInvalid => False,
        /// The API server does not serve the kind of an object.
        KindNotServed => False,
        /// The API server refused an object.
        ApplyFailed => False,
    }
}

reasons! {
    /// Whether the certificate that the service asks for can be served.
    CertificateReadyReason of "CertificateReady" {
        /// A self-signed or cert-manager certificate is there and covers the hostnames.
        Issued => True,
        /// The Secrets that the service names are there and fit.
        Provided => True,
        /// The listeners that the service refers to bring their own certificates.
        ListenerCertificate => True,
        /// The certificate is being made.
        Issuing => Unknown,
        /// A Secret is absent.
        SecretNotFound => False,
        /// A Secret has another type, or its content is no certificate with its key.
        InvalidCertificate => False,
        /// A certificate is past its end.
        Expired => False,
        /// A Secret in another namespace needs a ReferenceGrant there.
        RefNotPermitted => False,
        /// The issuer refused or failed.
        IssuerFailed => False,
        /// cert-manager is asked for and not installed.
        KindNotServed => False,
    }
}

reasons! {
    /// Whether every Gateway of the service takes its route.
    AcceptedReason of "Accepted" {
        /// Every Gateway took the route.
        Accepted => True,
        /// A Gateway has not answered yet.
        Pending => Unknown,
        /// Listeners refuse routes of this kind or namespace.
        NotAllowedByListeners => False,
        /// No listener has a hostname of the service.
        NoMatchingListenerHostname => False,
        /// No listener of the named section or port exists.
        NoMatchingParent => False,
        /// A Gateway or ListenerSet is absent.
        ParentNotFound => False,
        /// A value is valid but not supported.
        UnsupportedValue => False,
        /// Filters cannot be combined.
        IncompatibleFilters => False,
        /// A hostname is claimed for other namespaces by the `GatewayProfile`.
        HostnameNotAllowed => False,
        /// The service names no Gateway and the platform has no default one.
        NoDefaultGateway => False,
        /// Another controller refused, with a reason of its own (which the message quotes).
        RefusedByGateway => False,
    }
}

reasons! {
    /// Whether everything that the service refers to is there and may be used.
    ResolvedRefsReason of "ResolvedRefs" {
        /// Every reference is resolved.
        ResolvedRefs => True,
        /// A Gateway has not answered yet.
        Pending => Unknown,
        /// A Service is absent, or lacks the port.
        BackendNotFound => False,
        /// A reference into another namespace needs a ReferenceGrant there.
        RefNotPermitted => False,
        /// The kind of a reference is not supported.
        InvalidKind => False,
        /// The application protocol of a Service's port cannot carry gRPC.
        UnsupportedProtocol => False,
        /// Another controller could not resolve a reference, with a reason of its own (which the message quotes).
        RefusedByGateway => False,
    }
}

reasons! {
    /// Whether the timeouts and retries of the service are in force.
    PolicyAcceptedReason of "PolicyAccepted" {
        /// They are in force.
        Accepted => True,
        /// The service asks for none.
        NotNeeded => True,
        /// The policy has not been judged yet.
        Pending => Unknown,
        /// The `GatewayClass` belongs to another controller, which does not know `GrpcPolicy`.
        Unsupported => False,
        /// An older policy has the same target.
        Conflicted => False,
        /// A value is not usable.
        Invalid => False,
        /// The route or the rule is absent.
        TargetNotFound => False,
    }
}

reasons! {
    /// Whether the proxies serve the current generation of the service.
    ProgrammedReason of "Programmed" {
        /// An address is assigned and every counted proxy acknowledged this generation.
        Programmed => True,
        /// Proxies have not answered yet.
        Pending => Unknown,
        /// Proxies refused a part; the message has their words and the rule's name.
        Rejected => False,
        /// No proxy is ready.
        NoReadyProxy => False,
        /// A Gateway has no address.
        AddressNotAssigned => False,
        /// A Gateway has no usable configuration.
        Invalid => False,
        /// Another controller did not program its Gateway, for a reason of its own (which the message quotes).
        RefusedByGateway => False,
    }
}

reasons! {
    /// Whether rules are tried in the order in which they are written. Informs only: `Ready` does not depend on it.
    RulesInOrderReason of "RulesInOrder" {
        /// The order of the list is the order of matching.
        InOrder => True,
        /// A later rule is tried first, because its match is more specific.
        SpecificityWins => False,
        /// A rule can never match, because another one takes all its calls.
        NeverMatches => False,
    }
}

/// Why a `GrpcService` is ready or not: the roll-up of its other conditions, by the reason that stands in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadyReason {
    /// Nothing stands in the way.
    Ready,
    /// Objects are not written.
    Generated(GeneratedReason),
    /// The certificate is not there.
    Certificate(CertificateReadyReason),
    /// A Gateway does not take the route.
    Accepted(AcceptedReason),
    /// A reference is not resolved.
    ResolvedRefs(ResolvedRefsReason),
    /// Timeouts or retries are not in force.
    Policy(PolicyAcceptedReason),
    /// Proxies do not serve this generation.
    Programmed(ProgrammedReason),
}

impl Reason for ReadyReason {
    const TYPE: &'static str = "Ready";

    /// `True` for [`ReadyReason::Ready`] alone. A condition that is still unknown makes `Ready` false, not unknown:
    /// callers cannot use the service either way, and kstatus reads both as in progress.
    fn status(self) -> Status {
        match self {
            Self::Ready => Status::True,
            _ => Status::False,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Generated(reason) => reason.as_str(),
            Self::Certificate(reason) => reason.as_str(),
            Self::Accepted(reason) => reason.as_str(),
            Self::ResolvedRefs(reason) => reason.as_str(),
            Self::Policy(reason) => reason.as_str(),
            Self::Programmed(reason) => reason.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<R: Reason>(all: &[R]) {
        let (positive, rest): (Vec<R>, Vec<R>) = all.iter().partition(|reason| reason.status() == Status::True);
        assert!(!positive.is_empty() && !rest.is_empty(), "{} can be only one thing", R::TYPE);
        for reason in all {
            let name = reason.as_str();
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
        }
    }

    #[test]
    fn every_condition_can_hold_and_fail_and_its_reasons_are_camel_case() {
        check(GeneratedReason::ALL);
        check(CertificateReadyReason::ALL);
        check(AcceptedReason::ALL);
        check(ResolvedRefsReason::ALL);
        check(PolicyAcceptedReason::ALL);
        check(ProgrammedReason::ALL);
        check(RulesInOrderReason::ALL);
    }

    #[test]
    fn ready_takes_the_name_of_the_reason_that_stands_in_its_way() {
        let ready = ReadyReason::Programmed(ProgrammedReason::Rejected);
        assert_eq!((ready.status(), ready.as_str()), (Status::False, "Rejected"));
        assert_eq!((ReadyReason::Ready.status(), ReadyReason::Ready.as_str()), (Status::True, "Ready"));
    }
}
