//! The platform's guard rails: what a GatewayProfile lets a namespace do.
//!
//! a service and the profile of its class → the hostnames it may use, and [`Refusal`]s
//!
//! **Invariant:** a profile that is named and absent lets nobody do anything: it may say less than the defaults.
//!
//! Knows nothing of how a refusal is put into words.

use crate::{
    hostname::Hostname,
    key::Text,
    translate::{
        attach,
        profile::{self, ProfileProblem},
    },
    world::{
        Reader,
        gateway::{self, Requirement, Selector},
        meta::Meta,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sluice_api::{
    GATEWAY_CLASS, GrpcServiceSpec,
    profile::{HostnameClaim, Namespaces, NamespacesFrom},
};

/// Something that the platform does not let this namespace do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What the platform allows cannot be read, so nothing is.
    Platform(ProfileProblem),
    /// No hostname is named, which means all of the listener's, and some are claimed for other namespaces.
    EveryHostname {
        /// A claim.
        suffix: Text,
    },
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

/// Whether a choice of namespaces contains one; an absent choice contains all.
pub(super) fn allows(choice: Option<&Namespaces>, namespace: &Text, read: &Reader) -> bool {
    let Some(choice) = choice else { return true };
    match choice.from {
        NamespacesFrom::All => true,
        NamespacesFrom::None => false,
        NamespacesFrom::Selector => {
            let selector = choice.selector.as_ref().map(selector);
            let choice = gateway::Namespaces { from: Some("Selector".into()), selector };
            attach::admits(&choice, namespace, namespace, read)
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

/// The hostnames that the namespace may use, lower case, in the order written; `None` if the service takes all of its
/// listeners' and may.
pub(super) fn hostnames(meta: &Meta, spec: &GrpcServiceSpec, read: &Reader) -> (Option<Vec<Text>>, Vec<Refusal>) {
    let claims = match profile::named(GATEWAY_CLASS, read) {
        Ok(profile) => profile.and_then(|profile| profile.hostnames.as_deref()).unwrap_or_default(),
        Err(problem) => return (Some(Vec::new()), vec![Refusal::Platform(problem)]),
    };
    let excludes = |claim: &HostnameClaim| !allows(Some(&claim.namespaces), &meta.key.namespace, read);
    let Some(written) = &spec.hostnames else { return every_hostname(claims, excludes) };
    let (mut kept, mut refusals) = (Vec::new(), Vec::new());
    for hostname in written {
        let hostname: Text = hostname.to_ascii_lowercase().into();
        match claim_against(&Hostname::parse(Some(&hostname)), claims, excludes) {
            Some(claim) => refusals.push(Refusal::Hostname { hostname, suffix: claim.suffix.as_str().into() }),
            None => kept.push(hostname),
        }
    }
    (Some(kept), refusals)
}

/// Which names the listeners have is for others to decide, at any time: any claim of others may be among them.
fn every_hostname(
    claims: &[HostnameClaim],
    excludes: impl Fn(&HostnameClaim) -> bool,
) -> (Option<Vec<Text>>, Vec<Refusal>) {
    match claims.iter().find(|claim| excludes(claim)) {
        None => (None, Vec::new()),
        Some(claim) => (Some(Vec::new()), vec![Refusal::EveryHostname { suffix: claim.suffix.as_str().into() }]),
    }
}

/// A claim that keeps the hostname from being used: the longest that covers it, or any that it reaches into.
fn claim_against<'c>(
    hostname: &Hostname,
    claims: &'c [HostnameClaim],
    excludes: impl Fn(&HostnameClaim) -> bool,
) -> Option<&'c HostnameClaim> {
    let inside = claims.iter().filter(|claim| domain(claim).iter().any(|name| name.covers(hostname)));
    let decisive = inside.max_by_key(|claim| claim.suffix.len());
    let mut reached = claims.iter().filter(|claim| is_within(claim, hostname));
    decisive.filter(|claim| excludes(claim)).or_else(|| reached.find(|claim| excludes(claim)))
}

/// A claim takes in its suffix and every name below it.
fn domain(claim: &HostnameClaim) -> [Hostname; 2] {
    [claim.suffix.clone(), format!("*.{}", claim.suffix)].map(|name| Hostname::parse(Some(&name)))
}

/// Whether a wildcard stands for names of the claim, its own among them or not.
fn is_within(claim: &HostnameClaim, hostname: &Hostname) -> bool {
    let own = domain(claim);
    own.iter().any(|name| hostname.covers(name)) && !own.contains(hostname)
}
