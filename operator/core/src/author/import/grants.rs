//! ReferenceGrants that a service can issue itself.

use crate::{
    key::{Kind, NsName},
    world::backend::{GrantFrom, GrantTo, ReferenceGrant},
};
use sluice_api::grpcservice::{Grant, GrantTarget};
use std::sync::Arc;

/// Grants that let GRPCRoutes use exactly the service's own Services. Wider and narrower ones stay objects of their
/// own: a service would grant less or more than they do. Grants to Gateways stay as well, since Gateways are not the
/// service's own.
pub(super) fn carried(grants: &[Arc<ReferenceGrant>], route: &NsName, services: &[&str]) -> Option<Vec<Grant>> {
    let near = grants.iter().filter(|grant| grant.metadata.key.namespace == route.namespace);
    let exact = near.filter(|grant| covers(&grant.spec.to, services) && grant.spec.from.iter().all(is_route));
    let mut namespaces: Vec<String> =
        exact.flat_map(|grant| &grant.spec.from).map(|from| from.namespace.to_string()).collect();
    namespaces.sort();
    namespaces.dedup();
    let carried: Vec<Grant> =
        namespaces.into_iter().map(|namespace| Grant { to: GrantTarget::Service, namespace }).collect();
    Some(carried).filter(|grants| !grants.is_empty())
}

fn is_route(from: &GrantFrom) -> bool {
    Kind::named(&from.group, &from.kind) == Some(Kind::GrpcRoute)
}

/// Whether the targets are these Services, by name, and nothing else.
fn covers(targets: &[GrantTo], services: &[&str]) -> bool {
    let mut names: Vec<&str> = Vec::new();
    for target in targets {
        match &target.name {
            Some(name) if Kind::named(&target.group, &target.kind) == Some(Kind::Service) => names.push(name),
            _ => return false,
        }
    }
    names.sort_unstable();
    names.dedup();
    !names.is_empty() && names == services
}
