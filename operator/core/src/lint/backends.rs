//! Two backends of one route that reach the same pods: a share of the calls meant for one goes to the other's.

use super::Finding;
use crate::{
    key::{Kind, NsName, Ref},
    translate::selection,
    world::{
        World,
        backend::{EndpointSlice, Service},
        route::Route,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Compares the backends of each route with each other: at most 16 · 16 of them, so O(routes · backends²).
pub(super) fn overlaps(world: &World) -> Vec<Finding> {
    let addresses = addresses(world);
    let mut findings = Vec::new();
    for (reference, route) in world.routes() {
        let backends = backends(route);
        for wide in &backends {
            for narrow in backends.iter().filter(|narrow| *narrow != wide) {
                findings.extend(by_selector(world, reference, wide, narrow));
            }
            let later = backends.iter().filter(|other| *other > wide);
            findings.extend(later.filter_map(|other| by_address(&addresses, reference, wide, other)));
        }
    }
    findings
}

/// The Services of all rules.
fn backends(route: &Route) -> BTreeSet<NsName> {
    let targets = route.rules.iter().flat_map(|rule| &rule.backends).map(|backend| &backend.target);
    let services = targets.filter(|target| Kind::named(&target.group, &target.kind) == Some(Kind::Service));
    services
        .map(|target| {
            let namespace = target.namespace.clone().unwrap_or_else(|| route.metadata.key.namespace.clone());
            NsName { namespace, name: target.name.clone() }
        })
        .collect()
}

/// Whether every pod of `narrow` is one of `wide` as well.
fn by_selector(world: &World, route: &Ref, wide: &NsName, narrow: &NsName) -> Option<Finding> {
    let service = |key: &NsName| world.all::<Service>().get(key);
    let found = selection::inclusion(service(wide)?, service(narrow)?)?;
    let message = format!(
        "selects {} and so reaches the pods of Service {narrow} ({}) too, which {route} has as another backend: {}",
        found.selected,
        found.within,
        found.advice()
    );
    Some(Finding::new(Ref::new(Kind::Service, wide.clone()), "spec.selector", message))
}

type Addresses = BTreeMap<NsName, BTreeSet<SocketAddr>>;

fn addresses(world: &World) -> Addresses {
    let mut addresses = Addresses::new();
    for slice in world.all::<EndpointSlice>().values() {
        let service = NsName { namespace: slice.key.namespace.clone(), name: slice.service.clone() };
        let ports: Vec<u16> = slice.ports.iter().filter_map(|port| port.port).collect();
        let sockets = slice
            .endpoints
            .iter()
            .flat_map(|endpoint| ports.iter().map(|port| SocketAddr::from((endpoint.address, *port))));
        addresses.entry(service).or_default().extend(sockets);
    }
    addresses
}

fn by_address(addresses: &Addresses, route: &Ref, one: &NsName, other: &NsName) -> Option<Finding> {
    let (ours, theirs) = (addresses.get(one)?, addresses.get(other)?);
    let shared = ours.intersection(theirs).next()?;
    let message = format!(
        "has the endpoint {shared} like Service {one}, and {route} has both as backends, so that what is meant for one \
        reaches \
         the other: give each endpoints of its own"
    );
    Some(Finding::new(Ref::new(Kind::Service, other.clone()), "spec", message))
}
