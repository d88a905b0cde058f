//! BackendTLSPolicies: how the ports of a Service are spoken to over TLS.
//!
//! the policies that target a Service → [`ir::Tls`] for its ports, and a [`Verdict`] on each policy for its status
//!
//! **Invariant:** of two policies for one target the older one holds, then the first by name; the other does nothing.
//! **Invariant:** a policy for a port holds over one for its Service, as a whole.
//! **Invariant:** a policy that holds and cannot be carried out lets nothing through: its backends are never spoken to
//! without the check that it asks for.
//!
//! Knows nothing of routes. Source: Gateway API, `BackendTLSPolicySpec`; GEP-713 (policy attachment).

use super::authority::{self, AuthorityProblem};
use crate::{
    ir::{SubjectName, Tls},
    key::{Kind, NsName, Ref, Text},
    world::{
        Reader,
        backend::{BackendTlsPolicy, PolicyTarget, Service, SubjectAltName},
        meta::seniority,
    },
};
use std::sync::Arc;

/// What becomes of a policy for one of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    InForce,
    /// An older one holds.
    Conflicted(NsName),
    /// There is no such Service, or it has no such port.
    TargetNotFound,
}

/// What a policy asks for, and what is wrong with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// `None`: it cannot be carried out.
    pub(crate) tls: Option<Tls>,
    /// A field that cannot be used.
    pub(crate) invalid: Option<String>,
    /// References that do not resolve.
    pub(crate) unresolved: Vec<AuthorityProblem>,
}

/// How a port of a Service is spoken to: in clear, over TLS, or, if the policy named cannot be carried out, not at all.
pub(super) fn of(service: &NsName, port: &Text, read: &Reader<'_>) -> Result<Option<Tls>, NsName> {
    let holders = seniors(service, read);
    let own = holders.iter().find(|policy| !port.is_empty() && targets(policy, service, Some(port)));
    let Some(policy) = own.or_else(|| holders.iter().find(|policy| targets(policy, service, None))) else {
        return Ok(None);
    };
    interpret(policy, read).tls.map(Some).ok_or_else(|| policy.metadata.key.clone())
}

/// What becomes of `policy` for its target `target`.
pub(crate) fn judge(policy: &BackendTlsPolicy, target: &PolicyTarget, read: &Reader<'_>) -> Verdict {
    let found = |key: &NsName| read.get::<Service>(key).is_some_and(|it| has_port(it, target.section_name.as_ref()));
    let Some(key) = service_of(policy, target).filter(found) else { return Verdict::TargetNotFound };
    let holder = seniors(&key, read).into_iter().find(|other| targets(other, &key, target.section_name.as_ref()));
    match holder {
        Some(holder) if holder.metadata.key != policy.metadata.key => Verdict::Conflicted(holder.metadata.key.clone()),
        _ => Verdict::InForce,
    }
}

/// What a policy says, read as far as it can be.
pub(crate) fn interpret(policy: &BackendTlsPolicy, read: &Reader<'_>) -> Reading {
    let validation = &policy.spec.validation;
    let from = Ref::new(Kind::BackendTlsPolicy, policy.metadata.key.clone());
    let (authorities, unresolved) = authority::resolve(&validation.ca_certificate_refs, &from, read);
    let names = validation.subject_alt_names.iter().map(name).collect::<Result<Vec<_>, _>>();
    let invalid = match &validation.well_known_ca_certificates {
        Some(set) => Some(format!(
            "validation.wellKnownCACertificates {set} is not supported: name the authorities in caCertificateRefs"
        )),
        None => names.as_ref().err().cloned(),
    };
    let usable = invalid.is_none() && !authorities.is_empty();
    let tls = names.ok().filter(|_| usable).map(|names| Tls {
        sni: validation.hostname.clone(),
        names: if names.is_empty() { vec![SubjectName::Dns(validation.hostname.clone())] } else { names },
        authorities,
    });
    Reading { tls, invalid, unresolved }
}

fn name(name: &SubjectAltName) -> Result<SubjectName, String> {
    let lacks = || format!("validation.subjectAltNames: a name of type {} lacks its value: write it", name.kind);
    match &*name.kind {
        "Hostname" => name.hostname.clone().map(SubjectName::Dns).ok_or_else(lacks),
        "URI" => name.uri.clone().map(SubjectName::Uri).ok_or_else(lacks),
        other => Err(format!("validation.subjectAltNames: type {other} is unknown: use Hostname or URI")),
    }
}

/// The Service that a target names, in the policy's namespace; other kinds take no policy.
pub(crate) fn service_of(policy: &BackendTlsPolicy, target: &PolicyTarget) -> Option<NsName> {
    let is_service = Kind::named(&target.group, &target.kind) == Some(Kind::Service);
    is_service.then(|| NsName { namespace: policy.metadata.key.namespace.clone(), name: target.name.clone() })
}

fn has_port(service: &Service, section: Option<&Text>) -> bool {
    section.is_none_or(|section| service.spec.ports.iter().any(|port| port.name == *section))
}

/// The policies that target a Service, the most senior first.
fn seniors<'w>(service: &NsName, read: &Reader<'w>) -> Vec<&'w Arc<BackendTlsPolicy>> {
    let names = read.policies(&Ref::new(Kind::Service, service.clone()));
    let mut policies: Vec<_> = names.into_iter().filter_map(|key| read.get::<BackendTlsPolicy>(key)).collect();
    policies.sort_by_key(|policy| seniority(&policy.metadata));
    policies
}

fn targets(policy: &BackendTlsPolicy, service: &NsName, section: Option<&Text>) -> bool {
    let mut about =
        policy.spec.target_refs.iter().filter(|target| service_of(policy, target).as_ref() == Some(service));
    about.any(|target| target.section_name.as_ref() == section)
}
