//! The platform's policy for a class: GatewayClass → GatewayProfile.
//!
//! a GatewayClass → the [`AttachmentPolicy`] of its Gateways, or why it has none
//!
//! **Invariant:** no profile means the defaults; a profile that is named and absent means no policy, never the
//! defaults: they may be looser than what the platform wrote.
//!
//! Knows nothing of Gateways and of routes.

use super::AttachmentPolicy;
use crate::{
    key::{Kind, NsName, Text},
    world::{Own, Reader, gateway::GatewayClass},
};
use sluice_api::{
    GatewayProfileSpec,
    profile::{Cleartext, CrossNamespaceAttachment, SharedHostnames},
};
use std::sync::Arc;

/// Why a class has no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileProblem {
    /// Something else than a GatewayProfile is named.
    #[error(
        "spec.parametersRef names {kind} of group {group:?}; only GatewayProfile of group sluice.dev is known: name \
         one, or remove \
         parametersRef for the defaults"
    )]
    Kind {
        /// As written.
        group: Text,
        /// As written.
        kind: Text,
    },
    /// There is no such profile.
    #[error("GatewayProfile {0} does not exist: create it, or remove spec.parametersRef for the defaults")]
    Absent(Text),
}

/// The class of that name, if we answer for it.
pub fn class<'w>(name: &Text, read: &Reader<'w>) -> Option<&'w Arc<GatewayClass>> {
    read.get::<GatewayClass>(&NsName::cluster(name.clone()))
        .filter(|class| class.spec.controller_name == *read.controller())
}

/// The policy of a class.
pub fn policy(class: &GatewayClass, read: &Reader) -> Result<AttachmentPolicy, ProfileProblem> {
    spec(class, read).map(|profile| profile.map_or_else(|| attachment(&GatewayProfileSpec::default()), attachment))
}

/// What the platform says of the class of that name, whoever answers for it; `None`: nothing. Parameters of another kind
/// are an error for our class only: what another controller takes is its own business.
pub fn named<'w>(name: &str, read: &Reader<'w>) -> Result<Option<&'w GatewayProfileSpec>, ProfileProblem> {
    let Some(class) = read.get::<GatewayClass>(&NsName::cluster(name)) else { return Ok(None) };
    match spec(class, read) {
        Err(ProfileProblem::Kind { .. }) if class.spec.controller_name != *read.controller() => Ok(None),
        found => found,
    }
}

/// The profile of a class; `None`: it names none.
pub fn spec<'w>(class: &GatewayClass, read: &Reader<'w>) -> Result<Option<&'w GatewayProfileSpec>, ProfileProblem> {
    let Some(parameters) = &class.spec.parameters_ref else { return Ok(None) };
    if Kind::named(&parameters.group, &parameters.kind) != Some(Kind::GatewayProfile) {
        return Err(ProfileProblem::Kind { group: parameters.group.clone(), kind: parameters.kind.clone() });
    }
    let profile = read.get::<Own<GatewayProfileSpec>>(&NsName::cluster(parameters.name.clone()));
    profile.map(|profile| Some(&profile.spec)).ok_or_else(|| ProfileProblem::Absent(parameters.name.clone()))
}

fn attachment(profile: &GatewayProfileSpec) -> AttachmentPolicy {
    AttachmentPolicy {
        cleartext: profile.cleartext == Cleartext::Allow,
        shared_hostnames: profile.shared_hostnames == SharedHostnames::ByContentType,
        grant_for_attachment: profile.cross_namespace_attachment
            == CrossNamespaceAttachment::AllowedRoutesAndReferenceGrant,
    }
}
