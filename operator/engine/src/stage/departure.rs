//! Objects that are being deleted, and the finalizer that makes them wait for us.
//!
//! GrpcServices and Gateways, what proxies acknowledged, the time → [`Hold`]s, and removals in the order in which callers lose nothing
//!
//! **Invariant:** whatever is being deleted is released [`PATIENCE`] after this process saw that as the leader, at the latest: whether
//! there are proxies or not, and whoever answers for the class. Only a service whose objects are to stay is held for as long as one
//! of them has it as its owner, since that one would be collected with it; so long it is said why.
//! **Invariant:** what a service made outlives it only if it says so; Secrets are left to the garbage collector.
//!
//! Knows nothing of how finalizers are written, and is of no use where there is no API server.

use crate::{
    effects::{Apply, Event, Hold},
    engine::Engine,
};
use chrono::{DateTime, TimeDelta, Utc};
use sluice_api::{FINALIZER, GrpcServiceSpec, grpcservice::DeletionPolicy};
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::{
        Own,
        gateway::{Gateway, GatewayClass},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How long proxies may take to acknowledge that something is withdrawn.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);

/// What is held, and what is going.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// What was said of a finalizer, until the object shows it.
    said: BTreeMap<Ref, Hold>,
    going: BTreeMap<Ref, Departure>,
}

/// An object that is being deleted.
#[derive(Debug)]
struct Departure {
    /// When it goes whatever the proxies say, or when it is said next that it does not.
    until: DateTime<Utc>,
    /// Whose proxies have to acknowledge.
    gateways: BTreeSet<NsName>,
    phase: Phase,
    /// Objects that have it as their owner and are not to have it: whoever writes was told.
    freed: BTreeSet<Ref>,
}

/// How far a deletion has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The route of a service goes before anything else.
    Route,
    /// The proxies have what is left.
    Acknowledgement,
    /// The objects of a service are to have no owner, or they would be collected with it.
    Independence,
    /// It may vanish.
    Done,
}

impl Departures {
    /// Whoever begins to write says everything once, and whoever ends it waits for nothing.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
        self.going.clear();
    }

    /// When something has to be done whatever the proxies say.
    pub(crate) fn next_deadline(&self) -> Option<DateTime<Utc>> {
        let waiting = self.going.values().filter(|departure| departure.phase != Phase::Done);
        waiting.map(|departure| departure.until).min()
    }

    /// Whether this was not said already.
    fn say(&mut self, object: &Ref, hold: Hold) -> bool {
        self.said.insert(object.clone(), hold) != Some(hold)
    }
}

impl Engine {
    /// Looks at what moved, and at everything that is being deleted: O(objects being deleted) a step, which are few and soon gone.
    pub(crate) fn settle_holds(&mut self) {
        let moved = std::mem::take(&mut self.dirty.holds);
        if !self.state.leads {
            return;
        }
        for object in moved {
            if object.kind == Kind::Gateway {
                self.deploy(&object.key);
            }
            if !self.settings.feedback {
                self.hold(&object);
            }
        }
        let going: Vec<Ref> = self.departures.going.keys().cloned().collect();
        for object in going {
            self.depart(&object);
        }
    }

    fn is_held(&self, object: &Ref) -> bool {
        self.state.world.metadata(object).is_some_and(|meta| meta.finalizers.iter().any(|name| **name == *FINALIZER))
    }

    /// Whether a service is being deleted: nothing is written for it any more.
    pub(crate) fn is_going(&self, service: &NsName) -> bool {
        let object = self.state.world.all::<Own<GrpcServiceSpec>>().get(service);
        object.is_some_and(|object| object.metadata.deleting)
    }

    fn hold(&mut self, object: &Ref) {
        let Some(meta) = self.state.world.metadata(object) else { return };
        let (deleting, held) = (meta.deleting, self.is_held(object));
        if deleting {
            self.begin_departure(object);
        } else if held && self.is_foreign(object) {
            self.release(object);
        } else if held {
            self.departures.said.remove(object);
        } else if self.is_ours(object) && self.departures.say(object, Hold::Keep) {
            self.effects.holds.push((object.clone(), Hold::Keep));
        }
    }

    /// An object is gone, whoever let it go.
    pub(crate) fn end_departure(&mut self, object: &Ref) {
        self.departures.said.remove(object);
        let departure = self.departures.going.remove(object);
        for gateway in departure.into_iter().flat_map(|departure| departure.gateways) {
            self.state.fleet.withdraw(&gateway, object);
        }
    }

    fn is_ours(&self, object: &Ref) -> bool {
        object.kind == Kind::GrpcService || self.gateways.plan(&object.key).is_some()
    }

    /// Whether another controller answers for a Gateway now. One whose class is away is nobody's: its class may come back.
    fn is_foreign(&self, object: &Ref) -> bool {
        let world = &self.state.world;
        let gateway = world.all::<Gateway>().get(&object.key).filter(|_| object.kind == Kind::Gateway);
        let class = gateway.map(|gateway| NsName::cluster(gateway.spec.gateway_class_name.clone()));
        let class = class.and_then(|class| world.all::<GatewayClass>().get(&class));
        class.is_some_and(|class| class.spec.controller_name != world.settings.controller)
    }

    fn release(&mut self, object: &Ref) {
        if !self.is_held(object) || !self.departures.say(object, Hold::Release) {
            return;
        }
        if object.kind == Kind::Gateway {
            self.dismantle(&object.key);
        }
        self.effects.holds.push((object.clone(), Hold::Release));
    }

    fn begin_departure(&mut self, object: &Ref) {
        if self.departures.going.contains_key(object) {
            return;
        }
        let (gateways, phase) = match object.kind {
            Kind::GrpcService => (self.reached_through(&object.key), self.first_phase(&object.key)),
            _ => (BTreeSet::from([object.key.clone()]), Phase::Acknowledgement),
        };
        let until = self.state.world.now + PATIENCE;
        let departure = Departure { until, gateways, phase, freed: BTreeSet::new() };
        self.departures.going.insert(object.clone(), departure);
        match phase {
            Phase::Route => self.remove_route(&object.key),
            Phase::Acknowledgement | Phase::Done => self.await_withdrawal(object),
            Phase::Independence => {}
        }
    }

    /// The Gateways whose proxies answer for a service: as its route is now, and as it says itself.
    fn reached_through(&self, service: &NsName) -> BTreeSet<NsName> {
        let route = self.routes.get(&Ref::new(Kind::GrpcRoute, service.clone()));
        let attached = route.map(super::route::Entry::gateways).unwrap_or_default();
        let written = self.authors.get(service).into_iter().flat_map(|authored| authored.gateways().cloned());
        attached.into_iter().chain(written).collect()
    }

    fn first_phase(&self, service: &NsName) -> Phase {
        let object = self.state.world.all::<Own<GrpcServiceSpec>>().get(service);
        match object.map(|object| object.spec.deletion_policy) {
            Some(DeletionPolicy::Orphan) => Phase::Independence,
            _ => Phase::Route,
        }
    }

    fn belongings(&self, service: &NsName) -> Vec<Ref> {
        let object = self.state.world.all::<Own<GrpcServiceSpec>>().get(service);
        let owned = object.map(|object| self.state.world.owned(&object.metadata)).unwrap_or_default();
        owned.into_iter().cloned().collect()
    }

    fn remove_route(&mut self, service: &NsName) {
        let route = Ref::new(Kind::GrpcRoute, service.clone());
        if self.belongings(service).contains(&route) {
            self.remove(service, &route);
        }
    }

    /// What is left of a service: nothing if it is to stay, or if the object is a Gateway.
    fn remove_rest(&mut self, object: &Ref) {
        let service = &object.key;
        if object.kind != Kind::GrpcService || self.first_phase(service) == Phase::Independence {
            return;
        }
        let mut all: BTreeSet<Ref> = self.authors.written_by(service).into_iter().collect();
        all.extend(self.belongings(service));
        for object in all.iter().filter(|object| object.kind != Kind::Secret) {
            self.remove(service, object);
        }
    }

    /// What has a service as its owner is not to have it: that is told once of each, also of what appears late.
    fn set_free(&mut self, object: &Ref) {
        let owned: BTreeSet<Ref> = self.belongings(&object.key).into_iter().collect();
        let now = self.state.world.now;
        let Some(departure) = self.departures.going.get_mut(object) else { return };
        for reference in owned.difference(&departure.freed).cloned() {
            self.effects.applies.push(Apply::Orphan { service: object.key.clone(), reference });
        }
        if now >= departure.until {
            departure.until = now + PATIENCE;
            self.effects.events.push(Event::Held { object: object.clone(), owned: owned.iter().cloned().collect() });
        }
        departure.freed = owned;
    }

    fn await_withdrawal(&mut self, object: &Ref) {
        let Some(departure) = self.departures.going.get(object) else { return };
        for gateway in &departure.gateways {
            self.state.fleet.await_withdrawal(gateway, object);
        }
    }

    /// Takes a deletion as far as it goes now.
    fn depart(&mut self, object: &Ref) {
        while let Some(next) = self.next_phase(object) {
            if let Some(departure) = self.departures.going.get_mut(object) {
                departure.phase = next;
            }
            match next {
                Phase::Acknowledgement => self.await_withdrawal(object),
                Phase::Done => self.remove_rest(object),
                _ => {}
            }
        }
        match self.departures.going.get(object).map(|departure| departure.phase) {
            Some(Phase::Done) => self.release(object),
            Some(Phase::Independence) => self.set_free(object),
            _ => {}
        }
    }

    fn next_phase(&self, object: &Ref) -> Option<Phase> {
        let departure = self.departures.going.get(object)?;
        let belongings = || self.belongings(&object.key);
        let (over, next) = match departure.phase {
            Phase::Route => {
                let route = Ref::new(Kind::GrpcRoute, object.key.clone());
                (!belongings().contains(&route), Phase::Acknowledgement)
            }
            Phase::Acknowledgement => (self.is_withdrawn(object, &departure.gateways), Phase::Done),
            Phase::Independence => return belongings().is_empty().then_some(Phase::Done),
            Phase::Done => return None,
        };
        (over || self.state.world.now >= departure.until).then_some(next)
    }

    /// After a start nobody knows who is served until the proxies are back.
    fn is_withdrawn(&self, object: &Ref, gateways: &BTreeSet<NsName>) -> bool {
        let fleet = &self.state.fleet;
        !self.state.is_in_grace() && gateways.iter().all(|gateway| fleet.has_withdrawn(gateway, object))
    }
}
