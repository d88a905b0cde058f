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
    let Some(parameters) = &class.spec.parameters_ref else { return Ok(attachment(&GatewayProfileSpec::default())) };
    if Kind::named(&parameters.group, &parameters.kind) != Some(Kind::GatewayProfile) {
        return Err(ProfileProblem::Kind { group: parameters.group.clone(), kind: parameters.kind.clone() });
    }
    let profile = read.get::<Own<GatewayProfileSpec>>(&NsName::cluster(parameters.name.clone()));
    profile.map(|profile| attachment(&profile.spec)).ok_or_else(|| ProfileProblem::Absent(parameters.name.clone()))
}

fn attachment(profile: &GatewayProfileSpec) -> AttachmentPolicy {
    AttachmentPolicy {
        cleartext: profile.cleartext == Cleartext::Allow,
        shared_hostnames: profile.shared_hostnames == SharedHostnames::ByContentType,
        grant_for_attachment: profile.cross_namespace_attachment
            == CrossNamespaceAttachment::AllowedRoutesAndReferenceGrant,
    }
}
