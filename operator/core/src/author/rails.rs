//! The platform's guard rails: what a GatewayProfile lets a namespace do.

use crate::{
    key::{Kind, NsName, Text},
    world::{
        Own, Reader,
        backend::Namespace,
        gateway::{GatewayClass, Requirement, Selector},
        meta::Meta,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sluice_api::{
    GATEWAY_CLASS, GatewayProfileSpec, GrpcServiceSpec,
    profile::{HostnameClaim, Namespaces, NamespacesFrom},
};

/// Something that the platform does not let this namespace do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The hostname is claimed for other namespaces.
    Hostname {
        /// The hostname.
        hostname: Text,
        /// The claim.
        suffix: Text,
    },
    /// No Gateways of its own.
    OwnGateway {
        /// The entry.
        entry: Text,
    },
    /// No grants.
    Grant,
    /// No Gateway is named, and the platform has no default one.
    NoDefaultGateway,
}

/// The profile of a class, if it has one.
pub(super) fn profile<'w>(class: &str, read: &Reader<'w>) -> Option<&'w GatewayProfileSpec> {
    let class = read.get::<GatewayClass>(&NsName::cluster(class))?;
    let parameters = class.spec.parameters_ref.as_ref()?;
    let named = Kind::named(&parameters.group, &parameters.kind) == Some(Kind::GatewayProfile);
    let key = NsName::cluster(parameters.name.clone());
    named.then(|| read.get::<Own<GatewayProfileSpec>>(&key))?.map(|profile| &profile.spec)
}

/// Whether a choice of namespaces contains one; an absent choice contains all.
pub(super) fn allows(choice: Option<&Namespaces>, namespace: &Text, read: &Reader) -> bool {
    let Some(choice) = choice else { return true };
    match choice.from {
        NamespacesFrom::All => true,
        NamespacesFrom::None => false,
        NamespacesFrom::Selector => {
            let labels = read.get::<Namespace>(&NsName::cluster(namespace.clone())).map(|found| &found.metadata.labels);
            labels.is_some_and(|labels| choice.selector.as_ref().is_some_and(|wanted| selector(wanted).matches(labels)))
        }
    }
}

fn selector(wire: &LabelSelector) -> Selector {
    let expressions = wire.match_expressions.iter().flatten().map(|requirement| Requirement {
        key: requirement.key.as_str().into(),
        operator: requirement.operator.as_str().into(),
        values: requirement.values.iter().flatten().map(|value| value.as_str().into()).collect(),
    });
    let labels = wire.match_labels.iter().flatten();
    Selector {
        match_labels: labels.map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
        match_expressions: expressions.collect(),
    }
}

/// The hostnames that the namespace may use, lower case, in the order written; `None` if the service names none.
pub(super) fn hostnames(meta: &Meta, spec: &GrpcServiceSpec, read: &Reader) -> (Option<Vec<Text>>, Vec<Refusal>) {
    let Some(written) = &spec.hostnames else { return (None, Vec::new()) };
    let claims = profile(GATEWAY_CLASS, read).and_then(|profile| profile.hostnames.as_deref()).unwrap_or_default();
    let (mut kept, mut refusals) = (Vec::new(), Vec::new());
    for hostname in written {
        let hostname: Text = hostname.to_ascii_lowercase().into();
        match claim_of(&hostname, claims) {
            Some(claim) if !allows(Some(&claim.namespaces), &meta.key.namespace, read) => {
                refusals.push(Refusal::Hostname { hostname, suffix: claim.suffix.as_str().into() });
            }
            _ => kept.push(hostname),
        }
    }
    (Some(kept), refusals)
}

/// The longest claim that covers a hostname.
fn claim_of<'c>(hostname: &str, claims: &'c [HostnameClaim]) -> Option<&'c HostnameClaim> {
    let name = hostname.strip_prefix("*.").unwrap_or(hostname);
    let covers = |claim: &&HostnameClaim| {
        name == claim.suffix || name.strip_suffix(&claim.suffix).is_some_and(|rest| rest.ends_with('.'))
    };
    claims.iter().filter(covers).max_by_key(|claim| claim.suffix.len())
}
