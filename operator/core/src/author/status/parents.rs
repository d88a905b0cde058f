//! What the controller of each Gateway says about the generated route.

use super::GatewayState;
use crate::{
    author::{Authored, GatewayReport},
    key::{Kind, NsName, Ref, Text},
    world::{
        Reader,
        gateway::{Gateway, GatewayClass, ListenerSet},
        observed::{Observed, ObservedCondition, ObservedParent},
        route::ParentRef,
    },
};
use std::sync::Arc;

/// One parent of the route.
pub(super) struct Parent<'a> {
    pub(super) report: &'a GatewayReport,
    /// Who answers for the Gateway's class, as far as it is known.
    pub(super) controller: Option<Text>,
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
pub(in crate::author) fn find<'c>(conditions: &'c [ObservedCondition], kind: &str) -> Option<&'c ObservedCondition> {
    conditions.iter().find(|condition| &*condition.kind == kind)
}

pub(super) fn read<'a>(service: &NsName, authored: &'a Authored, read: &Reader) -> Vec<Parent<'a>> {
    let route = Ref::new(Kind::GrpcRoute, service.clone());
    let generation = read.route(&route).map_or(0, |route| route.metadata.generation);
    let observed = read.observed(&route).cloned();
    let parents = observed.as_deref().map(|status| status.parents.as_slice()).unwrap_or_default();
    let said = RouteSaid { parents, generation };
    authored.report.gateways.iter().map(|report| parent(service, report, &said, read)).collect()
}

/// What is said of the route.
struct RouteSaid<'s> {
    parents: &'s [ObservedParent],
    generation: i64,
}

fn parent<'a>(service: &NsName, report: &'a GatewayReport, said: &RouteSaid, read: &Reader) -> Parent<'a> {
    let object = read.get::<Gateway>(&report.gateway);
    let controller = object.and_then(|gateway| controller(&gateway.spec.gateway_class_name, read));
    let conditions = said.of(report, controller.as_ref(), service);
    let gateway = read.observed(&Ref::new(Kind::Gateway, report.gateway.clone()));
    let gateway = Said::of(gateway, object.map_or(0, |object| object.metadata.generation));
    let set = report.listener_set.as_ref().map(|key| listener_set(key, read)).unwrap_or_default();
    let is_own =
        report.listener_set.is_none() && report.gateway.namespace == service.namespace && report.port.is_some();
    Parent {
        report,
        controller,
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

/// `observedGeneration` is optional: a controller that leaves it out can only be taken to speak of what is there.
fn of_generation<'c>(
    conditions: impl IntoIterator<Item = &'c ObservedCondition>,
    generation: i64,
) -> Vec<ObservedCondition> {
    let is_current = |said: i64| said == 0 || said >= generation;
    conditions.into_iter().filter(|condition| is_current(condition.observed_generation)).cloned().collect()
}

fn controller(class: &Text, read: &Reader) -> Option<Text> {
    let class = read.get::<GatewayClass>(&NsName::cluster(class.clone()))?;
    Some(class.spec.controller_name.clone())
}

impl RouteSaid<'_> {
    /// Conditions of a parent, of the route's current generation. Where several controllers have an entry for it, as after a
    /// Gateway changed its class, the one that answers for the class counts.
    fn of(&self, report: &GatewayReport, controller: Option<&Text>, service: &NsName) -> Vec<ObservedCondition> {
        let all = self.parents.iter().filter(|parent| same(&parent.parent_ref, &report.parent_ref, service));
        let of_class = |parent: &&ObservedParent| controller.is_none_or(|wanted| parent.controller_name == *wanted);
        let entry = all.into_iter().find(of_class);
        of_generation(entry.map(|parent| parent.conditions.as_slice()).unwrap_or_default(), self.generation)
    }
}

/// References are equal if they mean the same: an absent namespace is the route's.
pub(in crate::author) fn same(a: &ParentRef, b: &ParentRef, service: &NsName) -> bool {
    let namespace = |parent: &ParentRef| parent.namespace.clone().unwrap_or_else(|| service.namespace.clone());
    let rest = |parent: &ParentRef| ParentRef { namespace: None, ..parent.clone() };
    namespace(a) == namespace(b) && rest(a) == rest(b)
}
