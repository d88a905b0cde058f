//! The status of a BackendTLSPolicy, which is not implemented: one entry for each Gateway of ours that leads to its targets.
//!
//! a policy, the Gateways that lead to its Services → [`PolicyStatus`]
//!
//! **Invariant:** it is never Accepted, so that nobody takes backends to be spoken to over TLS that are not.
//!
//! Knows nothing of which routes name a Service: whoever asks does. Source: GEP-713, `PolicyAncestorStatus`.

use super::{
    Condition,
    policy::{Accepted, AncestorStatus, MAX_ANCESTORS, PolicyStatus},
};
use crate::{
    key::{Kind, NsName, Text},
    translate::Lowered,
    world::{Reader, backend::BackendTlsPolicy, route::ParentRef},
};
use std::collections::BTreeSet;

/// The Services that a policy is about.
pub fn services(policy: &BackendTlsPolicy) -> impl Iterator<Item = NsName> {
    let namespace = &policy.metadata.key.namespace;
    let targets = policy.spec.target_refs.iter();
    targets
        .filter(|target| Kind::named(&target.group, &target.kind) == Some(Kind::Service))
        .map(|target| NsName::new(namespace.clone(), target.name.clone()))
}

/// The Gateways by which a route leads callers to one of these Services.
pub fn gateways<'l>(lowered: &'l Lowered, services: &BTreeSet<NsName>) -> impl Iterator<Item = NsName> + use<'l> {
    let leads = lowered.clusters.iter().any(|cluster| services.contains(&cluster.service));
    let attachments = lowered.attachments.iter().filter(move |attachment| leads && !attachment.bindings.is_empty());
    attachments.map(|attachment| attachment.gateway.clone())
}

/// The status of a policy; `None` if there is no such policy.
pub fn project(policy: &NsName, gateways: &BTreeSet<NsName>, read: &Reader<'_>) -> Option<PolicyStatus> {
    let policy = read.get::<BackendTlsPolicy>(policy)?;
    let entries = gateways.iter().take(MAX_ANCESTORS).map(|gateway| AncestorStatus {
        ancestor_ref: ancestor(gateway),
        controller_name: read.controller().clone(),
        conditions: vec![refusal(policy)],
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

fn refusal(policy: &BackendTlsPolicy) -> Condition {
    let targets: Vec<Text> = services(policy).map(|service| service.name).collect();
    let message = format!(
        "Sluice does not implement BackendTLSPolicy: Service {} is spoken to without TLS, and a backend that demands it \
         answers no call; remove the policy, or let the backend take cleartext HTTP/2",
        targets.join(", ")
    );
    Condition::new(Accepted::Invalid, message, policy.metadata.generation)
}
