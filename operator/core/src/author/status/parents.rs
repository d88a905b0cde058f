//! What the controller of each Gateway says about the generated route.

use super::GatewayState;
use crate::{
    author::{Authored, GatewayReport},
    key::{Kind, NsName, Ref},
    world::{
        Reader,
        gateway::{Gateway, ListenerSet},
        observed::{Observed, ObservedCondition, ObservedParent},
        route::ParentRef,
    },
};
use std::sync::Arc;

/// One parent of the route.
pub(super) struct Parent<'a> {
    pub(super) report: &'a GatewayReport,
    /// Whether the Gateway exists.
    pub(super) exists: bool,
    /// Conditions of the route's parent entry, of the route's current generation.
    pub(super) conditions: Vec<ObservedCondition>,
    /// Conditions of the Gateway, of its current generation.
    pub(super) gateway: Vec<ObservedCondition>,
    /// Conditions of the ListenerSet in between, if there is one, of its current generation.
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
    let object = read.get::<Gateway>(&report.gateway);
    let gateway = read.observed(&Ref::new(Kind::Gateway, report.gateway.clone()));
    let gateway = Said::of(gateway, object.map_or(0, |object| object.metadata.generation));
    let set = report.listener_set.as_ref().map(|key| listener_set(key, read)).unwrap_or_default();
    let is_own =
        report.listener_set.is_none() && report.gateway.namespace == service.namespace && report.port.is_some();
    Parent {
        report,
        exists: object.is_some(),
        conditions,
        listeners: if is_own { gateway.listeners } else { set.listeners },
        gateway: gateway.conditions,
        listener_set: set.conditions,
    }
}

fn listener_set(key: &NsName, read: &Reader) -> Said {
    let generation = read.get::<ListenerSet>(key).map_or(0, |set| set.metadata.generation);
    Said::of(read.observed(&Ref::new(Kind::ListenerSet, key.clone())), generation)
}

/// What a status says of the generation that is there; what is about an older one is not an answer.
#[derive(Default)]
struct Said {
    conditions: Vec<ObservedCondition>,
    listeners: Vec<ObservedCondition>,
}

impl Said {
    fn of(status: Option<&Arc<Observed>>, generation: i64) -> Self {
        let Some(status) = status else { return Self::default() };
        let listeners = status.listeners.iter().flat_map(|listener| &listener.conditions);
        Self {
            conditions: of_generation(&status.conditions, generation),
            listeners: of_generation(listeners, generation),
        }
    }
}

fn of_generation<'c>(
    conditions: impl IntoIterator<Item = &'c ObservedCondition>,
    generation: i64,
) -> Vec<ObservedCondition> {
    conditions.into_iter().filter(|condition| condition.observed_generation >= generation).cloned().collect()
}

/// The parent's conditions of the route's current generation.
fn current(
    service: &NsName,
    report: &GatewayReport,
    parents: &[ObservedParent],
    generation: i64,
) -> Vec<ObservedCondition> {
    let ours = parents.iter().find(|parent| same(&parent.parent_ref, &report.parent_ref, service));
    let conditions = ours.map(|parent| parent.conditions.as_slice()).unwrap_or_default();
    of_generation(conditions, generation)
}

/// References are equal if they mean the same: an absent namespace is the route's.
fn same(a: &ParentRef, b: &ParentRef, service: &NsName) -> bool {
    let namespace = |parent: &ParentRef| parent.namespace.clone().unwrap_or_else(|| service.namespace.clone());
    let rest = |parent: &ParentRef| ParentRef { namespace: None, ..parent.clone() };
    namespace(a) == namespace(b) && rest(a) == rest(b)
}
