//! The one writer: inputs → state → stale evaluations → effects.

use crate::{
    claims::Claims,
    deps::{Deps, Task},
    dirty::{Dirty, Stage},
    effects::{Effects, Input, ProxyEvent},
    quarantine::Memory,
    stage::{Authors, Backends, Certificates, Departures, Deployed, Gateways, Hosts, Routes, Statuses, Trials},
    state::{Settings, State},
};
use chrono::{DateTime, Utc};
use sluice_api::{GrpcPolicySpec, GrpcServiceSpec};
use sluice_core::{
    key::{Kind, NsName, Ref},
    translate::{attach::Plan, certificate::is_fit},
    world::{Change, Dep, Object, Own, Reader, Stored, Surfaces, World, secret::Secret},
};
use sluice_xds::Snapshot;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How often level 1 may answer to its own output in one step before the rest waits for the next one. Two rounds are the rule: what is
/// authored, and what its statuses say.
const ROUNDS: usize = 8;

/// How often each stage evaluated something, since the start.
pub type Evaluations = BTreeMap<Stage, u64>;

/// The engine: all state, and everything remembered about it.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) deps: Deps,
    pub(crate) dirty: Dirty,
    pub(crate) surfaces: Surfaces,
    pub(crate) authors: Authors,
    pub(crate) gateways: Gateways,
    pub(crate) departures: Departures,
    pub(crate) deployed: Deployed,
    pub(crate) routes: Routes,
    pub(crate) claims: Claims,
    pub(crate) hosts: Hosts,
    pub(crate) backends: Backends,
    pub(crate) certificates: Certificates,
    pub(crate) statuses: Statuses,
    pub(crate) trials: Trials,
    pub(crate) effects: Effects,
    evaluations: Evaluations,
}

impl Engine {
    /// An engine that knows nothing yet, and does not write before it is told that it leads.
    pub fn new(settings: Settings) -> Self {
        let state = State { world: World::new(settings.world.clone()), ..State::default() };
        Self {
            settings,
            state,
            deps: Deps::default(),
            dirty: Dirty::default(),
            surfaces: Surfaces::default(),
            authors: Authors::default(),
            gateways: Gateways::default(),
            departures: Departures::default(),
            deployed: Deployed::default(),
            routes: Routes::default(),
            claims: Claims::default(),
            hosts: Hosts::default(),
            backends: Backends::default(),
            certificates: Certificates::default(),
            statuses: Statuses::default(),
            trials: Trials::default(),
            effects: Effects::default(),
            evaluations: Evaluations::default(),
        }
    }

    /// What outputs are a function of.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How often each stage evaluated something.
    pub fn evaluations(&self) -> &Evaluations {
        &self.evaluations
    }

    /// Takes inputs in, evaluates what they made stale, and says what has to be done. Costs what moved, times log n.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Effects {
        self.dirty.mark_all(self.authors.begin());
        for input in inputs {
            self.take(input);
        }
        self.settle();
        let mut effects = std::mem::take(&mut self.effects);
        effects.snapshots = self.gateways.take_published();
        let deadlines = [self.deps.next_deadline(), self.grace_end(), self.departures.next_deadline()];
        effects.wake = deadlines.into_iter().flatten().min();
        effects
    }

    fn grace_end(&self) -> Option<DateTime<Utc>> {
        self.state.grace_until.filter(|_| self.state.is_in_grace())
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Change(Change::Observe(object, status)) => self.observe(object, status),
            Input::Change(change) => self.change(change),
            Input::Proxy(event) => self.hear(event),
            Input::Remember(memory) => self.remember(memory),
            Input::Leader(true) => self.take_lead(),
            Input::Leader(false) => self.lose_lead(),
            Input::Wrote { reference, generation, outcome } => self.wrote(reference, generation, outcome),
        }
    }

    /// Applies a change to the world and marks what read what it touched.
    pub(crate) fn change(&mut self, change: Change) {
        if let Change::Clock(now) = change {
            let grace = self.settings.grace;
            self.state.grace_until.get_or_insert(now + grace);
            self.dirty.mark_all(self.deps.expire(now));
            if self.state.quarantine.is_due(now) {
                Arc::make_mut(&mut self.state.quarantine).release_due(now);
            }
        }
        if let Change::Upsert(object) = &change
            && self.succeeds(object)
        {
            self.change(Change::Delete(object.reference()));
        }
        if let Change::Delete(reference) = &change {
            self.forget(reference);
        }
        if let Change::Served(kind, false) = change {
            for object in self.authors.kind_lost(kind) {
                self.state.forget_outcome(&object);
            }
        }
        for change in self.kept_beside(&change).into_iter().chain([change]) {
            for dep in self.state.world.apply(change) {
                self.touch(&dep);
            }
        }
    }

    /// A certificate that becomes unfit stays in service as it was; the process that starts after that does not know it.
    fn kept_beside(&self, change: &Change) -> Option<Change> {
        match change {
            Change::Upsert(Object::Secret(new)) => {
                let key = &new.metadata.key;
                let before = self.state.world.all::<Secret>().get(key).filter(|before| *before != new)?;
                match (is_fit(before), is_fit(new)) {
                    (_, true) => Some(Change::Keep(key.clone(), None)),
                    (true, false) => Some(Change::Keep(key.clone(), Some(before.clone()))),
                    (false, false) => None,
                }
            }
            Change::Delete(Ref { kind: Kind::Secret, key }) => Some(Change::Keep(key.clone(), None)),
            _ => None,
        }
    }

    /// Whether an object comes in the place of another of its name, whose end was not heard of.
    fn succeeds(&self, object: &Object) -> bool {
        let known = self.state.world.metadata(&object.reference());
        known.zip(object.metadata()).is_some_and(|(known, new)| known.uid != new.uid)
    }

    /// What was said of an object that is gone is not said of the next of its name, nor delivered.
    fn forget(&mut self, object: &Ref) {
        self.dirty.mark_all(self.authors.lost(object));
        self.dirty.mark_all(self.statuses.forget_one(object));
        self.end_departure(object);
        if object.kind == Kind::GrpcService {
            self.state.served.remove(&object.key);
        }
        for gateway in self.served_by(object).1 {
            self.state.fleet.withdraw(&gateway, object);
            self.dirty.arrivals.insert(object.clone());
        }
    }

    /// Marks whatever read `dep`, and what exists because of it.
    pub(crate) fn touch(&mut self, dep: &Dep) {
        self.dirty.mark_all(self.deps.readers(dep));
        if let Dep::Object(object) = dep {
            if object.kind == Kind::Secret {
                self.dirty.mark_all(self.authors.answered(&object.key));
                self.state.forget_outcome(object);
            }
            if matches!(object.kind, Kind::Gateway | Kind::GrpcService) {
                self.dirty.holds.insert(object.clone());
            }
            self.dirty.mark_all(self.authors.moved(object));
            self.dirty.mark_all(roots(object));
        }
    }

    fn remember(&mut self, memory: Memory) {
        let route = memory.route().clone();
        Arc::make_mut(&mut self.state.quarantine).remember(memory);
        self.dirty.mark_all([Task::Lower(route.clone()), Task::Project(route)]);
    }

    fn hear(&mut self, event: ProxyEvent) {
        let moved = match event {
            ProxyEvent::Connected { gateway, proxy, stream } => self.state.fleet.connected(&gateway, proxy, stream),
            ProxyEvent::Synced { gateway, proxy, stream, revision } => {
                let moved = self.state.fleet.synced(&gateway, proxy, stream, revision);
                self.advance_trials(&gateway);
                moved
            }
            ProxyEvent::Disconnected { gateway, proxy, stream } => {
                self.state.fleet.disconnected(&gateway, &proxy, stream)
            }
            ProxyEvent::Unready { gateway, proxy } => self.state.fleet.unready(&gateway, proxy),
            ProxyEvent::Ready { gateway, proxy } => self.state.fleet.ready(&gateway, proxy),
            ProxyEvent::Gone { gateway, proxy } => self.state.fleet.gone(&gateway, &proxy),
            ProxyEvent::Refused { gateway, id, version, message, .. } => {
                self.refused(&gateway, &[(id, version)], &message);
                Vec::new()
            }
            ProxyEvent::Stalled { gateway, proxy, forms } => {
                self.stalled(&gateway, &proxy, forms);
                Vec::new()
            }
        };
        self.dirty.mark_all(moved.into_iter().map(Task::Project));
    }

    /// Whoever begins to write says everything once: O(objects), at each change of the lease. Writers drop what is already there.
    fn take_lead(&mut self) {
        if self.state.leads {
            return;
        }
        // What came with the lease is not said before it is known what was said of it.
        self.settle();
        self.presume();
        self.state.leads = true;
        self.state.begin_grace(self.settings.grace);
        self.statuses.forget();
        self.departures.forget();
        self.deployed.forget();
        self.state.outcomes = Arc::default();
        self.dirty.mark_all(self.authors.forget_written());
        let objects = with_status(&self.state.world);
        let held = objects.iter().filter(|object| matches!(object.kind, Kind::Gateway | Kind::GrpcService));
        self.dirty.holds.extend(held.cloned());
        self.dirty.mark_all(objects.into_iter().map(Task::Project));
    }

    /// Nothing is written from here on; everything goes on being computed.
    fn lose_lead(&mut self) {
        self.state.leads = false;
        let moved = self.state.fleet.abandon();
        self.dirty.mark_all(moved.into_iter().map(Task::Project));
        self.statuses.forget();
        self.departures.forget();
    }

    /// Counts what is not a task of its own, for those who pin what runs again.
    pub(crate) fn count(&mut self, stage: Stage) {
        *self.evaluations.entry(stage).or_default() += 1;
    }

    /// The ports that each Gateway wants to serve: what has to be bound. O(listeners).
    pub fn ports(&self) -> BTreeMap<NsName, BTreeSet<u16>> {
        let of = |plan: &Plan| {
            let offers = plan.surfaces.iter().flat_map(|(_, surface)| &surface.listeners);
            offers.filter(|offer| offer.serves).map(|offer| offer.port).collect()
        };
        self.gateways.plans().map(|(gateway, plan)| (gateway.clone(), of(plan))).collect()
    }

    /// The latest snapshots, by Gateway; that of a Gateway which is gone is empty.
    pub fn snapshots(&self) -> &BTreeMap<NsName, Arc<Snapshot>> {
        self.gateways.snapshots()
    }

    /// Runs the stages in order until nothing is stale.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.drain(Stage::Lower);
            self.judge();
            self.merge_hosts();
            self.drain(Stage::Certify);
            self.assemble();
            if !self.state.is_in_grace() {
                self.drain(Stage::RollUp);
            }
            if self.dirty.is_settled(Stage::Certify) {
                break;
            }
        }
        self.settle_holds();
    }

    fn drain(&mut self, last: Stage) {
        while let Some(task) = self.dirty.next(last) {
            match task {
                Task::Author(service) => self.author(&service),
                Task::Plan(gateway) => self.plan(&gateway),
                Task::Lower(route) => self.lower(&route),
                Task::Assign(cluster) => self.assign(&cluster),
                Task::Certify(material) => self.certify(&material),
                Task::Project(object) => self.project(&object),
            }
        }
    }

    /// Runs a pure function, and remembers what it read.
    pub(crate) fn evaluate<T>(&mut self, task: &Task, run: impl FnOnce(&Reader<'_>) -> T) -> T {
        let reader = Reader::new(&self.state.world, &self.surfaces);
        let value = run(&reader);
        self.deps.record(task, reader.into_reads());
        *self.evaluations.entry(task.stage()).or_default() += 1;
        value
    }
}

/// The evaluations that exist because an object does.
fn roots(object: &Ref) -> impl Iterator<Item = Task> {
    let key = object.key.clone();
    let status = || Task::Project(object.clone());
    let (first, second) = match object.kind {
        Kind::GrpcService => (Some(Task::Author(key)), Some(status())),
        Kind::Gateway => (Some(Task::Plan(key)), Some(status())),
        Kind::GatewayClass | Kind::ListenerSet | Kind::GrpcPolicy | Kind::BackendTlsPolicy => (Some(status()), None),
        kind if kind.is_route() => (Some(Task::Lower(object.clone())), None),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

/// Every object that has a status. O(objects).
fn with_status(world: &World) -> Vec<Ref> {
    use sluice_core::world::{
        backend::BackendTlsPolicy,
        gateway::{Gateway, GatewayClass, ListenerSet},
    };
    fn of<T: Stored + 'static>(world: &World) -> impl Iterator<Item = Ref> {
        world.all::<T>().keys().map(|key| Ref::new(T::KIND, key.clone()))
    }
    of::<GatewayClass>(world)
        .chain(of::<Gateway>(world))
        .chain(of::<ListenerSet>(world))
        .chain(of::<Own<GrpcPolicySpec>>(world))
        .chain(of::<BackendTlsPolicy>(world))
        .chain(of::<Own<GrpcServiceSpec>>(world))
        .chain(world.routes().keys().cloned())
        .collect()
}
