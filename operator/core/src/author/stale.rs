//! What a service has and wants no more.
//!
//! the objects that it owns, those that it wants, what the parents of its route say → the objects that go, now or later
//!
//! **Invariant:** a Gateway or ListenerSet goes only once every wanted one serves the route: callers never lose both.
//! **Invariant:** Secrets stay as long as their service: clients may trust a CA that no listener uses today.
//!
//! Knows nothing of who wrote what: what a process that is gone has written is found here as well.

use super::{
    Draft, GatewayReport, existing,
    gateways::Reach,
    status::{find, same},
};
use crate::{
    key::{Kind, Ref},
    world::{Reader, gateway::Gateway, meta::Meta, observed::ObservedCondition},
};

/// The parents that the route keeps for now although the service wants them no more. One that somebody deletes is given up.
pub(super) fn leaving(service: &Meta, wanted: &[Draft], reach: &Reach, read: &Reader) -> Vec<Ref> {
    let is_parent = |object: &Ref| matches!(object.kind, Kind::Gateway | Kind::ListenerSet);
    let stays = |object: &Ref| existing(object, read).is_some_and(|meta| !meta.deleting);
    let unwanted = unwanted(service, wanted, read).filter(|object| is_parent(object) && stays(object));
    let unwanted: Vec<Ref> = unwanted.cloned().collect();
    let served = || reach.gateways.iter().all(|report| serves(service, report, read));
    if unwanted.is_empty() || served() { Vec::new() } else { unwanted }
}

/// What goes now.
pub(super) fn list(service: &Meta, wanted: &[Draft], leaving: &[Ref], read: &Reader) -> Vec<Ref> {
    let unwanted = unwanted(service, wanted, read);
    unwanted.filter(|object| object.kind != Kind::Secret && !leaving.contains(object)).cloned().collect()
}

/// O(owned · wanted): some dozens each.
fn unwanted<'r>(service: &Meta, wanted: &'r [Draft], read: &Reader<'r>) -> impl Iterator<Item = &'r Ref> {
    let is_wanted = |object: &Ref| wanted.iter().any(|draft| draft.reference == *object);
    read.owned(service).into_iter().filter(move |object| !is_wanted(object))
}

/// Whether a Gateway that can be reached serves the route. Which generation of it does not matter: the route moves once more when the
/// old parents go. Other controllers than ours do not say Programmed of a route.
fn serves(service: &Meta, report: &GatewayReport, read: &Reader) -> bool {
    let status = read.observed(&Ref::new(Kind::GrpcRoute, service.key.clone()));
    let mut parents = status.into_iter().flat_map(|status| &status.parents);
    let Some(parent) = parents.find(|parent| same(&parent.parent_ref, &report.parent_ref, &service.key)) else {
        return false;
    };
    let says = |kind| find(&parent.conditions, kind).map(is_true);
    says("sluice.dev/Programmed").or(says("Accepted")) == Some(true) && is_reached(report, read)
}

/// A Gateway that cannot be seen from here is taken to be reached.
fn is_reached(report: &GatewayReport, read: &Reader) -> bool {
    let status = read.observed(&Ref::new(Kind::Gateway, report.gateway.clone()));
    let programmed = status.and_then(|status| find(&status.conditions, "Programmed"));
    read.get::<Gateway>(&report.gateway).is_none() || programmed.is_some_and(is_true)
}

fn is_true(condition: &ObservedCondition) -> bool {
    &*condition.status == "True"
}
