//! The status of a BackendTLSPolicy: one entry for each Gateway of ours that leads to its targets.
//!
//! a policy, the Gateways that lead to its Services → [`PolicyStatus`]
//!
//! **Invariant:** a policy of which one target is at fault is not Accepted.
//!
//! Knows nothing of which routes name a Service: whoever asks does. Source: GEP-713, `PolicyAncestorStatus`.

use super::{
    Condition,
    policy::{AncestorStatus, MAX_ANCESTORS, PolicyStatus},
    route::{BackendFault, Problem},
    verdicts,
};
use crate::{
    key::{Kind, NsName},
    translate::{
        Lowered,
        authority::AuthorityProblem,
        backend_tls::{self, Reading, Verdict},
    },
    world::{
        Reader,
        backend::{BackendTlsPolicy, PolicyTarget},
        route::ParentRef,
    },
};
use std::collections::BTreeSet;

verdicts! {
    /// `Accepted` of a policy's ancestor. Source: Gateway API, `BackendTLSPolicyConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        Conflicted = False,
        Invalid = False,
        TargetNotFound = False,
        NoValidCACertificate = False,
    }
}

verdicts! {
    /// `ResolvedRefs` of a policy's ancestor.
    ResolvedRefs = "ResolvedRefs" {
        ResolvedRefs = True,
        InvalidCACertificateRef = False,
        InvalidKind = False,
    }
}

/// The Services that a policy is about.
pub fn services(policy: &BackendTlsPolicy) -> impl Iterator<Item = NsName> {
    policy.spec.target_refs.iter().filter_map(|target| backend_tls::service_of(policy, target))
}

/// The Services that a route leads callers to, those included that only a policy keeps them from.
pub fn backends(lowered: &Lowered) -> impl Iterator<Item = &NsName> {
    let kept = lowered.problems.iter().filter_map(|problem| match problem {
        Problem::Backend { fault: BackendFault::Tls { service, .. }, .. } => Some(service),
        _ => None,
    });
    lowered.clusters.iter().map(|cluster| &cluster.service).chain(kept)
}

/// The Gateways by which a route leads callers to one of these Services.
pub fn gateways<'l>(lowered: &'l Lowered, services: &BTreeSet<NsName>) -> impl Iterator<Item = NsName> + use<'l> {
    let leads = backends(lowered).any(|service| services.contains(service));
    let attachments = lowered.attachments.iter().filter(move |attachment| leads && !attachment.bindings.is_empty());
    attachments.map(|attachment| attachment.gateway.clone())
}

/// The status of a policy; `None` if there is no such policy.
pub fn project(policy: &NsName, gateways: &BTreeSet<NsName>, read: &Reader<'_>) -> Option<PolicyStatus> {
    let policy = read.get::<BackendTlsPolicy>(policy)?;
    let reading = backend_tls::interpret(policy, read);
    let conditions = vec![accepted(policy, &reading, read), resolved(policy, &reading)];
    let entries = gateways.iter().take(MAX_ANCESTORS).map(|gateway| AncestorStatus {
        ancestor_ref: ancestor(gateway),
        controller_name: read.controller().clone(),
        conditions: conditions.clone(),
    });
    Some(PolicyStatus { ancestors: entries.collect() })
}

fn ancestor(gateway: &NsName) -> ParentRef {
    ParentRef {
        group: Kind::Gateway.group().into(),
        kind: Kind::Gateway.name().into(),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        section_name: None,
        port: None,
    }
}

fn accepted(policy: &BackendTlsPolicy, reading: &Reading, read: &Reader<'_>) -> Condition {
    let say = |reason, message: String| Condition::new(reason, message, policy.metadata.generation);
    let faults = policy.spec.target_refs.iter().filter_map(|target| fault(policy, target, read));
    if let Some((reason, message)) = faults.into_iter().next() {
        return say(reason, message);
    }
    let meanwhile = "until it is mended, calls to its backends answer UNAVAILABLE";
    match (&reading.invalid, &reading.tls) {
        (Some(invalid), _) => say(Accepted::Invalid, format!("{invalid}; {meanwhile}")),
        (None, None) => say(
            Accepted::NoValidCACertificate,
            format!("No reference of validation.caCertificateRefs can be used; {meanwhile}; see ResolvedRefs"),
        ),
        (None, Some(_)) => say(Accepted::Accepted, "The policy is in force".to_owned()),
    }
}

fn fault(policy: &BackendTlsPolicy, target: &PolicyTarget, read: &Reader<'_>) -> Option<(Accepted, String)> {
    let port = target.section_name.as_ref().map(|port| format!(" port {port}")).unwrap_or_default();
    let name = format!("{} {}{port}", target.kind, target.name);
    match backend_tls::judge(policy, target, read) {
        Verdict::InForce => None,
        Verdict::Conflicted(holder) => Some((
            Accepted::Conflicted,
            format!("BackendTLSPolicy {holder} is older and holds for {name}: merge the two, or remove one"),
        )),
        Verdict::TargetNotFound => {
            Some((Accepted::TargetNotFound, format!("{name} not found: create it, or correct targetRefs")))
        }
    }
}

fn resolved(policy: &BackendTlsPolicy, reading: &Reading) -> Condition {
    let generation = policy.metadata.generation;
    let reason = match reading.unresolved.first() {
        None => return Condition::new(ResolvedRefs::ResolvedRefs, "All references are resolved", generation),
        Some(AuthorityProblem::Kind { .. }) => ResolvedRefs::InvalidKind,
        Some(_) => ResolvedRefs::InvalidCACertificateRef,
    };
    let messages: Vec<String> = reading.unresolved.iter().map(ToString::to_string).collect();
    Condition::new(reason, messages.join("; "), generation)
}
