//! What the controller of each Gateway says about the generated route.

use super::GatewayState;
use crate::{
    author::{Authored, GatewayReport},
    key::{Kind, NsName, Ref},
    world::{
        Reader,
        observed::{Observed, ObservedCondition, ObservedParent},
        route::ParentRef,
    },
};

/// One parent of the route.
pub(super) struct Parent<'a> {
    pub(super) report: &'a GatewayReport,
    /// Whether the Gateway exists.
    pub(super) exists: bool,
    /// Conditions of the route's parent entry, of the route's current generation.
    pub(super) conditions: Vec<ObservedCondition>,
    /// Conditions of the Gateway.
    pub(super) gateway: Vec<ObservedCondition>,
    /// Conditions of the ListenerSet in between, if there is one.
    pub(super) listener_set: Vec<ObservedCondition>,
    /// `listeners[].conditions` of the object whose listeners are ours.
    pub(super) listeners: Vec<ObservedCondition>,
}

impl Parent<'_> {
    /// A condition of the route's parent entry.
    pub(super) fn condition(&self, kind: &str) -> Option<&ObservedCondition> {
        find(&self.conditions, kind)
    }

    pub(super) fn into_state(self) -> GatewayState {
        GatewayState { name: self.report.entry.to_string(), conditions: self.conditions }
    }
}

/// A condition by type.
pub(super) fn find<'c>(conditions: &'c [ObservedCondition], kind: &str) -> Option<&'c ObservedCondition> {
    conditions.iter().find(|condition| &*condition.kind == kind)
}

pub(super) fn read<'a>(service: &NsName, authored: &'a Authored, read: &Reader) -> Vec<Parent<'a>> {
    let route = Ref::new(Kind::GrpcRoute, service.clone());
    let generation = read.route(&route).map_or(0, |route| route.metadata.generation);
    let observed = read.observed(&route).cloned();
    let parents = observed.as_deref().map(|status| status.parents.as_slice()).unwrap_or_default();
    let reports = authored.report.gateways.iter();
    reports.map(|report| parent(service, report, current(service, report, parents, generation), read)).collect()
}

fn parent<'a>(
    service: &NsName,
    report: &'a GatewayReport,
    conditions: Vec<ObservedCondition>,
    read: &Reader,
) -> Parent<'a> {
    let gateway = read.observed(&Ref::new(Kind::Gateway, report.gateway.clone())).cloned();
    let set =
        report.listener_set.as_ref().and_then(|key| read.observed(&Ref::new(Kind::ListenerSet, key.clone()))).cloned();
    let is_own =
        report.listener_set.is_none() && report.gateway.namespace == service.namespace && report.port.is_some();
    let listeners = if is_own { gateway.as_deref() } else { set.as_deref() };
    Parent {
        report,
        exists: read.get::<crate::world::gateway::Gateway>(&report.gateway).is_some(),
        conditions,
        listeners: listeners.map(listener_conditions).unwrap_or_default(),
        gateway: gateway.as_deref().map(|status| status.conditions.clone()).unwrap_or_default(),
        listener_set: set.as_deref().map(|status| status.conditions.clone()).unwrap_or_default(),
    }
}

fn listener_conditions(status: &Observed) -> Vec<ObservedCondition> {
    status.listeners.iter().flat_map(|listener| listener.conditions.iter().cloned()).collect()
}

/// The parent's conditions of the route's current generation; what is about an older one is not an answer.
fn current(
    service: &NsName,
    report: &GatewayReport,
    parents: &[ObservedParent],
    generation: i64,
) -> Vec<ObservedCondition> {
    let ours = parents.iter().find(|parent| same(&parent.parent_ref, &report.parent_ref, service));
    let conditions = ours.map(|parent| parent.conditions.as_slice()).unwrap_or_default();
    conditions.iter().filter(|condition| condition.observed_generation >= generation).cloned().collect()
}

/// References are equal if they mean the same: an absent namespace is the route's.
fn same(a: &ParentRef, b: &ParentRef, service: &NsName) -> bool {
    let namespace = |parent: &ParentRef| parent.namespace.clone().unwrap_or_else(|| service.namespace.clone());
    let rest = |parent: &ParentRef| ParentRef { namespace: None, ..parent.clone() };
    namespace(a) == namespace(b) && rest(a) == rest(b)
}
