//! How long it takes from hearing of a change until every proxy has acknowledged it.
//!
//! objects as they come, statuses as they go → durations
//!
//! **Invariant:** there is one entry for each object at most: a later generation takes the place of one that never got there.
//! **Invariant:** only what came and went under one lead is timed: in between, others said when it arrived.
//!
//! Must not know: what an object means.

use serde_json::Value;
use sluice_api::GrpcServiceSpec;
use sluice_core::{
    key::Ref,
    world::{Change, Object, Own, World, meta::Meta},
};
use sluice_engine::{Input, StatusUpdate};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The conditions by which objects say that they are in force.
const IN_FORCE: [&str; 2] = ["Programmed", "sluice.dev/Programmed"];

/// Routes and GrpcServices that are on their way.
#[derive(Debug, Default)]
pub(super) struct Deliveries(BTreeMap<Ref, Underway>);

#[derive(Clone, Copy, Debug)]
struct Underway {
    generation: i64,
    since: Instant,
}

impl Deliveries {
    /// Notes an input before the engine hears it: what has a generation that the world does not know is on its way.
    pub(super) fn note(&mut self, input: &Input, world: &World) {
        match input {
            Input::Change(Change::Upsert(object)) => {
                let Some(generation) = delivered(object).map(|meta| meta.generation) else { return };
                let reference = object.reference();
                if known(&reference, object, world) < Some(generation) {
                    self.0.insert(reference, Underway { generation, since: Instant::now() });
                }
            }
            Input::Change(Change::Delete(reference)) => drop(self.0.remove(reference)),
            _ => {}
        }
    }

    /// Nobody here says any more when something arrives.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether nothing is on its way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long a change took, if this status says that it has arrived.
    pub(super) fn arrived(&mut self, update: &StatusUpdate) -> Option<Duration> {
        let underway = self.0.get(&update.target).filter(|underway| underway.generation <= update.generation)?;
        let took = underway.since.elapsed();
        is_in_force(&update.status.value()).then(|| {
            self.0.remove(&update.target);
            took
        })
    }
}

/// What people apply and wait for.
fn delivered(object: &Object) -> Option<&Meta> {
    match object {
        Object::Route(route) => Some(&route.metadata),
        Object::GrpcService(service) => Some(&service.metadata),
        _ => None,
    }
}

/// The generation that the world has of an object.
fn known(reference: &Ref, object: &Object, world: &World) -> Option<i64> {
    match object {
        Object::Route(_) => world.routes().get(reference).map(|route| route.metadata.generation),
        Object::GrpcService(_) => {
            world.all::<Own<GrpcServiceSpec>>().get(&reference.key).map(|service| service.metadata.generation)
        }
        _ => None,
    }
}

fn is_in_force(status: &Value) -> bool {
    let parents = list(status, "parents").iter().chain([status]);
    parents.flat_map(|holder| list(holder, "conditions")).any(|condition| {
        let field = |name: &str| condition.get(name).and_then(Value::as_str);
        field("type").is_some_and(|kind| IN_FORCE.contains(&kind)) && field("status") == Some("True")
    })
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_core::key::Kind;

    fn route(generation: i64) -> Object {
        let metadata = json!({"namespace": "a", "name": "r", "generation": generation});
        Object::decode(Kind::GrpcRoute, json!({"metadata": metadata, "spec": {"parentRefs": [], "rules": []}})).unwrap()
    }

    fn said(generation: i64, status: &str) -> StatusUpdate {
        let condition = json!({"type": "sluice.dev/Programmed", "status": status});
        let status = json!({"parents": [{"conditions": [{"type": "Accepted", "status": "True"}, condition]}]});
        StatusUpdate { target: route(0).reference(), generation, status: status.into() }
    }

    #[test]
    fn a_change_takes_until_its_own_generation_is_in_force() {
        let (mut world, mut deliveries) = (World::default(), Deliveries::default());
        deliveries.note(&Input::Change(route(2).into()), &world);
        assert_eq!(deliveries.arrived(&said(1, "True")), None, "that was the one before");
        assert_eq!(deliveries.arrived(&said(2, "False")), None);
        assert!(deliveries.arrived(&said(2, "True")).is_some());
        assert_eq!(deliveries.arrived(&said(2, "True")), None, "once");
        world.apply(route(2).into());
        deliveries.note(&Input::Change(route(2).into()), &world);
        assert_eq!(deliveries.arrived(&said(2, "True")), None, "a status moved, and nothing else");
    }

    #[test]
    fn what_is_gone_is_not_waited_for() {
        let mut deliveries = Deliveries::default();
        deliveries.note(&Input::Change(route(1).into()), &World::default());
        deliveries.note(&Input::Change(Change::Delete(route(1).reference())), &World::default());
        assert!(deliveries.is_empty());
    }
}
