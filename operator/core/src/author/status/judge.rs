//! The conditions of a GrpcService.

use super::{
    inventory::{Item, not_served},
    parents::{Parent, find},
};
use crate::{
    author::{Authored, order::Order, rails::Refusal, route, tls::State},
    key::{Kind, NsName, Ref},
    status::{Condition, Truth},
    translate::selection,
    world::{Reader, observed::ObservedCondition, secret::Secret},
};
use sluice_api::{
    GrpcServiceSpec,
    grpcservice::Backend,
    reasons::{
        AcceptedReason, CertificateReadyReason, GeneratedReason, PolicyAcceptedReason, ProgrammedReason, ReadyReason,
        Reason, ResolvedRefsReason, RulesInOrderReason, Status,
    },
};

use std::collections::BTreeSet;

/// Everything that the conditions are made of.
pub(super) struct Facts<'a, 'w> {
    pub(super) generation: i64,
    pub(super) spec: &'a GrpcServiceSpec,
    pub(super) authored: &'a Authored,
    pub(super) items: &'a [Item],
    pub(super) parents: &'a [Parent<'a>],
    pub(super) read: &'a Reader<'w>,
    pub(super) service: &'a NsName,
}

/// A reason and its message.
type Word<R> = (R, String);

pub(super) fn conditions(facts: &Facts) -> Vec<Condition> {
    let generated = facts.generated();
    let certificate = facts.certificate();
    let accepted = facts.accepted();
    let resolved = facts.resolved();
    let policy = facts.policy();
    let programmed = facts.programmed();
    let order = facts.order();
    // Causes before consequences: the first that does not hold is what the user has to look at.
    let ready = [
        blocks(&generated, ReadyReason::Generated),
        blocks(&certificate, ReadyReason::Certificate),
        blocks(&accepted, ReadyReason::Accepted),
        blocks(&resolved, ReadyReason::ResolvedRefs),
        blocks(&policy, ReadyReason::Policy),
        blocks(&programmed, ReadyReason::Programmed),
    ];
    let failed = |word: &&Word<ReadyReason>| !is_pending(word.0);
    let words: Vec<_> = ready.into_iter().flatten().collect();
    let ready = words.iter().find(failed).or_else(|| words.first()).cloned();
    let ready = ready.unwrap_or((ReadyReason::Ready, "callers are answered by this generation".into()));
    let say = Say { generation: facts.generation };
    vec![
        say.of(ready),
        say.of(generated),
        say.of(certificate),
        say.of(accepted),
        say.of(resolved),
        say.of(policy),
        say.of(programmed),
        say.of(order),
    ]
}

/// Whether the proxies serve this generation.
pub(super) fn is_programmed(conditions: &[Condition]) -> bool {
    let generated = |kind| conditions.iter().any(|condition| condition.kind == kind && condition.status == Truth::True);
    generated(ProgrammedReason::TYPE) && generated(GeneratedReason::TYPE)
}

struct Say {
    generation: i64,
}

impl Say {
    fn of<R: Reason>(&self, (reason, message): Word<R>) -> Condition {
        Condition::new(reason, message, self.generation)
    }
}

fn blocks<R: Reason>((reason, message): &Word<R>, wrap: impl Fn(R) -> ReadyReason) -> Option<Word<ReadyReason>> {
    (reason.status() != Status::True).then(|| (wrap(*reason), message.clone()))
}

/// Whether a roll-up only waits: a real failure elsewhere is the better headline.
fn is_pending(reason: ReadyReason) -> bool {
    let status = match reason {
        ReadyReason::Ready => Status::True,
        ReadyReason::Generated(reason) => reason.status(),
        ReadyReason::Certificate(reason) => reason.status(),
        ReadyReason::Accepted(reason) => reason.status(),
        ReadyReason::ResolvedRefs(reason) => reason.status(),
        ReadyReason::Policy(reason) => reason.status(),
        ReadyReason::Programmed(reason) => reason.status(),
    };
    status == Status::Unknown
}

/// A reason of `all` by the name that a controller wrote.
fn named<R: Reason>(all: &[R], condition: &ObservedCondition, fallback: R) -> Word<R> {
    let known = all.iter().find(|reason| reason.as_str() == &*condition.reason && reason.status() != Status::True);
    match known {
        Some(reason) => (*reason, condition.message.to_string()),
        None => (fallback, format!("{}: {}", condition.reason, condition.message)),
    }
}

impl Facts<'_, '_> {
    fn refusals(&self) -> &[Refusal] {
        &self.authored.report.refusals
    }

    fn generated(&self) -> Word<GeneratedReason> {
        for refusal in self.refusals() {
            match refusal {
                Refusal::OwnGateway { entry } => {
                    let message = format!(
                        "gateways[{entry}].own: the platform's GatewayProfile lets namespace {} have no Gateway of its \
                        own; refer to a shared one with ref",
                        self.service.namespace
                    );
                    return (GeneratedReason::OwnGatewayNotAllowed, message);
                }
                Refusal::Grant => {
                    let message = format!(
                        "grants: the platform's GatewayProfile lets namespace {} issue none; remove spec.grants or ask \
                        the platform team",
                        self.service.namespace
                    );
                    return (GeneratedReason::GrantNotAllowed, message);
                }
                Refusal::Platform(problem) => {
                    let message = format!(
                        "the GatewayClass does not say what it allows, so nothing is written for this service: \
                        {problem}"
                    );
                    return (GeneratedReason::ProfileInvalid, message);
                }
                Refusal::Hostname { .. } | Refusal::EveryHostname { .. } | Refusal::NoDefaultGateway => {}
            }
        }
        let words = self.items.iter().map(|item| item.word(self.service));
        let objects = self.items.len();
        let good = format!("{objects} objects are as this generation wants them");
        first_bad(words, (GeneratedReason::Generated, good), GeneratedReason::Pending)
    }

    fn certificate(&self) -> Word<CertificateReadyReason> {
        let expired = |not_after| self.read.reached(not_after);
        match &self.authored.report.certificate {
            State::OfListener => {
                (CertificateReadyReason::ListenerCertificate, "the listeners bring their own certificates".into())
            }
            State::Issuing { secret } => match self.items.iter().find_map(|item| item.unmade(self.service)) {
                Some(words) => (CertificateReadyReason::IssuerFailed, words),
                None => (CertificateReadyReason::Issuing, format!("Secret {secret} is being made")),
            },
            State::Issued { secret, not_after, .. } if expired(*not_after) => (
                CertificateReadyReason::Expired,
                format!(
                    "the certificate in Secret {secret} ended at {not_after}; delete the Secret to have it made anew"
                ),
            ),
            State::Issued { secret, authority, not_after, .. } => {
                let message = format!(
                    "Secret {secret} holds a certificate until {not_after}; clients trust ConfigMap {authority}, key \
                    ca.crt{}",
                    self.wildcard_warning()
                );
                (CertificateReadyReason::Issued, message)
            }
            State::Provided { secrets, forbidden, not_after } => match forbidden.first() {
                Some((secret, remedy)) => (
                    CertificateReadyReason::RefNotPermitted,
                    format!("Secret {secret} is of another namespace and no grant permits its use: {remedy}"),
                ),
                None => self.provided(secrets, *not_after),
            },
            State::CertManager { .. } if !self.read.serves(Kind::Certificate) => {
                (CertificateReadyReason::KindNotServed, not_served(Kind::Certificate))
            }
            State::CertManager { secret, not_after: Some(not_after), .. } if expired(*not_after) => (
                CertificateReadyReason::Expired,
                format!("the certificate in Secret {secret} ended at {not_after} and cert-manager has not renewed it"),
            ),
            State::CertManager { secret, not_after: Some(not_after), fits: true } => (
                CertificateReadyReason::Issued,
                format!("cert-manager keeps Secret {secret}, which holds a certificate until {not_after}"),
            ),
            State::CertManager { secret, .. } => self.asked_of_cert_manager(secret),
        }
    }

    /// The Secret is not there yet, or is still for other hostnames. Source: cert-manager, `CertificateConditionType`: `Issuing` is
    /// False once issuing failed, and goes away when it succeeds.
    fn asked_of_cert_manager(&self, secret: &NsName) -> Word<CertificateReadyReason> {
        let status = self.read.observed(&Ref::new(Kind::Certificate, secret.clone()));
        let said = |kind| status.and_then(|status| find(&status.conditions, kind));
        if let Some(failed) = said("Issuing").filter(|condition| &*condition.status == "False") {
            let words = format!("{}: {}", failed.reason, failed.message);
            return (
                CertificateReadyReason::IssuerFailed,
                format!("cert-manager could not fill Secret {secret}: {words}"),
            );
        }
        let words = said("Ready").filter(|condition| !condition.message.is_empty());
        let words = words.map(|condition| format!(": {}", condition.message)).unwrap_or_default();
        let message = format!("cert-manager has not filled Secret {secret} for these hostnames yet{words}");
        (CertificateReadyReason::Issuing, message)
    }

    /// A wildcard in a certificate stands for one label; one in the Gateway API for any number.
    fn wildcard_warning(&self) -> String {
        let wildcard = self.spec.hostnames.iter().flatten().find(|name| name.starts_with("*."));
        wildcard
            .map(|name| {
                format!("; it covers {name} for one label only, calls to deeper names fail the handshake's check")
            })
            .unwrap_or_default()
    }

    fn provided(
        &self,
        secrets: &[NsName],
        not_after: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Word<CertificateReadyReason> {
        if let Some(absent) = secrets.iter().find(|key| self.read.get::<Secret>(key).is_none()) {
            return (
                CertificateReadyReason::SecretNotFound,
                format!(
                    "Secret {absent} does not exist: create it with type kubernetes.io/tls, or correct \
                    tls.certificateRefs"
                ),
            );
        }
        let listeners = self.parents.iter().flat_map(|parent| &parent.listeners);
        let refused = listeners.filter(|condition| &*condition.kind == "ResolvedRefs" && &*condition.status == "False");
        for condition in refused {
            match &*condition.reason {
                "InvalidCertificateRef" => {
                    return (CertificateReadyReason::InvalidCertificate, condition.message.to_string());
                }
                "RefNotPermitted" => return (CertificateReadyReason::RefNotPermitted, condition.message.to_string()),
                _ => {}
            }
        }
        match not_after {
            Some(end) if self.read.reached(end) => {
                (CertificateReadyReason::Expired, format!("the certificate ended at {end}: renew it"))
            }
            _ => (CertificateReadyReason::Provided, "every Secret is there and fits".into()),
        }
    }

    fn accepted(&self) -> Word<AcceptedReason> {
        for refusal in self.refusals() {
            match refusal {
                Refusal::Hostname { hostname, suffix } => {
                    let message = format!(
                        "hostname {hostname}: {suffix} is claimed for other namespaces by the platform's \
                        GatewayProfile; choose another hostname or ask for the claim"
                    );
                    return (AcceptedReason::HostnameNotAllowed, message);
                }
                Refusal::NoDefaultGateway => {
                    let message = "spec.gateways is empty and the platform has no default Gateway: add a gateway (own \
                    or ref), or set defaultGateway in the GatewayProfile of class sluice";
                    return (AcceptedReason::NoDefaultGateway, message.into());
                }
                Refusal::EveryHostname { suffix } => {
                    let message = format!(
                        "spec.hostnames is absent, which takes every name of the listener, and {suffix} is claimed for \
                        other namespaces by the platform's GatewayProfile: write hostnames"
                    );
                    return (AcceptedReason::HostnameNotAllowed, message);
                }
                Refusal::Platform(_) | Refusal::OwnGateway { .. } | Refusal::Grant => {}
            }
        }
        let words = self.parents.iter().map(|parent| self.accepted_by(parent));
        worst(words, (AcceptedReason::Accepted, "every Gateway took the route".into()), AcceptedReason::Pending)
    }

    /// Whether a Gateway refuses listeners only because their certificate is still being made: that is no failure of theirs.
    fn awaits_certificate(&self, parent: &Parent) -> bool {
        let lacks = |condition: &ObservedCondition| {
            &*condition.status == "False" && &*condition.reason == "InvalidCertificateRef"
        };
        self.certificate().0.status() == Status::Unknown && parent.listeners.iter().any(lacks)
    }

    fn accepted_by(&self, parent: &Parent) -> Word<AcceptedReason> {
        let entry = &parent.report.entry;
        if !parent.exists {
            return (
                AcceptedReason::ParentNotFound,
                format!("gateway {entry}: Gateway {} does not exist", parent.report.gateway),
            );
        }
        if self.awaits_certificate(parent) {
            return (AcceptedReason::Pending, format!("gateway {entry}: its listeners wait for their certificate"));
        }
        if let Some(refused) = find(&parent.listener_set, "Accepted").filter(|condition| &*condition.status == "False")
        {
            let (reason, message) = named(AcceptedReason::ALL, refused, AcceptedReason::RefusedByGateway);
            return (reason, format!("gateway {entry}: its ListenerSet is not accepted: {message}"));
        }
        match parent.condition("Accepted") {
            None => (
                AcceptedReason::Pending,
                format!("gateway {entry}: Gateway {} has not answered yet", parent.report.gateway),
            ),
            Some(condition) if &*condition.status == "True" => (AcceptedReason::Accepted, String::new()),
            Some(condition) => {
                let (reason, message) = named(AcceptedReason::ALL, condition, AcceptedReason::RefusedByGateway);
                (reason, format!("gateway {entry}: {message}"))
            }
        }
    }

    fn resolved(&self) -> Word<ResolvedRefsReason> {
        let words = self.parents.iter().map(|parent| match parent.condition("ResolvedRefs") {
            None => (ResolvedRefsReason::Pending, format!("gateway {} has not answered yet", parent.report.entry)),
            Some(condition) if &*condition.status == "True" => (ResolvedRefsReason::ResolvedRefs, String::new()),
            Some(condition) => named(ResolvedRefsReason::ALL, condition, ResolvedRefsReason::RefusedByGateway),
        });
        let good = format!("every reference is resolved{}", self.shared_pods());
        worst(words, (ResolvedRefsReason::ResolvedRefs, good), ResolvedRefsReason::Pending)
    }

    /// Whoever serves the route, two backends with pods in common are rarely meant.
    fn shared_pods(&self) -> String {
        let key = |backend: &Backend| {
            let namespace = backend.service.namespace.as_deref().unwrap_or(&self.service.namespace);
            NsName::new(namespace, backend.service.name.as_str())
        };
        let services: BTreeSet<NsName> = self.spec.backends.iter().map(key).collect();
        let found = selection::first_inclusion(&services.iter().collect(), self.read);
        found.map(|inclusion| format!("; {inclusion}")).unwrap_or_default()
    }

    fn policy(&self) -> Word<PolicyAcceptedReason> {
        let policies = &self.authored.report.policies;
        if route::asks_for_policies(self.spec) && !route::has_named_rules(self.read) {
            let message = "timeouts and retries are for rules by name, and rules have names from v1.4 of the Gateway API \
                on: install its CRDs; until then they have no effect";
            return (PolicyAcceptedReason::Unsupported, message.into());
        }
        if policies.is_empty() {
            return (PolicyAcceptedReason::NotNeeded, "no rule asks for timeouts or retries".into());
        }
        let words = policies.iter().map(|key| self.policy_accepted(key));
        worst(
            words,
            (PolicyAcceptedReason::Accepted, "timeouts and retries are in force".into()),
            PolicyAcceptedReason::Pending,
        )
    }

    fn policy_accepted(&self, key: &NsName) -> Word<PolicyAcceptedReason> {
        let status = self.read.observed(&Ref::new(Kind::GrpcPolicy, key.clone()));
        let ancestors = status.map(|status| status.ancestors.as_slice()).unwrap_or_default();
        let conditions = ancestors.iter().filter_map(|ancestor| find(&ancestor.conditions, "Accepted"));
        let words = conditions.map(|condition| match &*condition.status {
            "True" => (PolicyAcceptedReason::Accepted, String::new()),
            _ => named(PolicyAcceptedReason::ALL, condition, PolicyAcceptedReason::Invalid),
        });
        let foreign = self.parents.iter().any(|parent| self.is_foreign(parent));
        let silent = if foreign {
            (
                PolicyAcceptedReason::Unsupported,
                "the GatewayClass belongs to another controller, which does not know GrpcPolicy: timeouts and \
                 retries have no effect there"
                    .into(),
            )
        } else {
            (PolicyAcceptedReason::Pending, format!("GrpcPolicy {} has not been judged yet", key.name))
        };
        if ancestors.is_empty() {
            silent
        } else {
            worst(words, (PolicyAcceptedReason::Accepted, String::new()), PolicyAcceptedReason::Pending)
        }
    }

    /// Whether another controller answers for the Gateway: its class says so or, where classes are not seen, its answer lacks
    /// the condition that only Sluice writes.
    fn is_foreign(&self, parent: &Parent) -> bool {
        match &parent.controller {
            Some(controller) => controller != self.read.controller(),
            None => parent.condition("Accepted").is_some() && parent.condition("sluice.dev/Programmed").is_none(),
        }
    }

    fn programmed(&self) -> Word<ProgrammedReason> {
        let words = self.parents.iter().map(|parent| self.programmed_on(parent));
        worst(
            words,
            (ProgrammedReason::Programmed, "every proxy acknowledged this generation".into()),
            ProgrammedReason::Pending,
        )
    }

    fn programmed_on(&self, parent: &Parent) -> Word<ProgrammedReason> {
        let entry = &parent.report.entry;
        if self.awaits_certificate(parent) {
            return (ProgrammedReason::Pending, format!("gateway {entry}: its listeners wait for their certificate"));
        }
        let own = parent.condition("sluice.dev/Programmed");
        let gateway = find(&parent.gateway, "Programmed");
        // The route's word is about the proxies; that nobody reaches them is the Gateway's.
        let unreachable = gateway
            .filter(|condition| matches!(&*condition.reason, "AddressNotAssigned" | "AddressNotUsable"))
            .filter(|_| own.is_some_and(|condition| &*condition.status == "True"));
        let Some(condition) = unreachable.or(own).or(gateway) else {
            return (ProgrammedReason::Pending, format!("gateway {entry}: waiting for its proxies"));
        };
        match &*condition.status {
            "True" if own.is_some() || parent.condition("Accepted").is_some() => {
                (ProgrammedReason::Programmed, String::new())
            }
            "True" => (ProgrammedReason::Pending, format!("gateway {entry}: waiting for the route")),
            _ => {
                let (reason, message) = named(ProgrammedReason::ALL, condition, ProgrammedReason::RefusedByGateway);
                (reason, format!("gateway {entry}: {message}"))
            }
        }
    }

    fn order(&self) -> Word<RulesInOrderReason> {
        match &self.authored.report.order {
            Order::AsWritten => {
                (RulesInOrderReason::InOrder, "rules are tried in the order in which they are written".into())
            }
            Order::Swapped { first, then, because } => {
                (RulesInOrderReason::SpecificityWins, format!("{first} is tried before {then} ({because})"))
            }
            Order::Shadowed { rule, by } => {
                (RulesInOrderReason::NeverMatches, format!("{rule} never matches: {by} takes the same calls"))
            }
        }
    }
}

/// The first failure, else the first that is pending, else the good word; with nobody to say a word, pending.
fn worst<R: Reason + PartialEq>(words: impl Iterator<Item = Word<R>>, good: Word<R>, pending: R) -> Word<R> {
    let mut words = words.peekable();
    if words.peek().is_none() {
        return (pending, "no Gateway serves the route yet".into());
    }
    first_bad(words, good, pending)
}

/// The first failure, else the first that is pending, else the good word.
fn first_bad<R: Reason + PartialEq>(words: impl Iterator<Item = Word<R>>, good: Word<R>, pending: R) -> Word<R> {
    let words: Vec<Word<R>> = words.collect();
    let mut bad = words.iter().filter(|(reason, _)| reason.status() != Status::True).peekable();
    let first = bad.peek().copied();
    bad.find(|(reason, _)| *reason != pending).or(first).cloned().unwrap_or(good)
}
