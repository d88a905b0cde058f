//! Routes: what each became, where it sits, and who counts it.

use super::host::Seat;
use crate::{deps::Task, effects::Event, engine::Engine, few::Few};
use chrono::{DateTime, Utc};
use rustc_hash::FxHashMap;
use sluice_core::{
    hostname::Hostname,
    key::{Kind, NsName, Ref, Text},
    status,
    translate::{Attachment, Binding, HostKey, ListenerId, Lowered, conflict::Claim, lower},
    world::Parent,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What became of every route.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    memo: FxHashMap<Ref, Entry>,
    of_gateway: BTreeMap<NsName, BTreeSet<Ref>>,
    attached: FxHashMap<ListenerId, u32>,
}

/// What became of one route.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The generation that it was lowered from.
    pub(crate) generation: i64,
    created: DateTime<Utc>,
    /// What it became, refusals aside.
    pub(crate) raw: Arc<Lowered>,
    /// What it became for the proxies.
    pub(crate) lowered: Arc<Lowered>,
    places: Few<(HostKey, Hostname), ()>,
    /// The listeners that count it as attached.
    listeners: Few<ListenerId, ()>,
}

impl Entry {
    /// The Gateways that it attaches to.
    pub(crate) fn gateways(&self) -> BTreeSet<NsName> {
        self.lowered.attachments.iter().map(|attachment| attachment.gateway.clone()).collect()
    }
}

/// A new form of a route.
struct Form {
    generation: i64,
    created: DateTime<Utc>,
    raw: Arc<Lowered>,
    lowered: Arc<Lowered>,
}

/// The listeners that take an attachment, conflicts aside.
pub(crate) fn listeners(attachment: &Attachment) -> BTreeSet<&ListenerId> {
    attachment.bindings.iter().map(|binding| &binding.listener).collect()
}

impl Routes {
    /// What became of a route.
    pub(crate) fn get(&self, route: &Ref) -> Option<&Entry> {
        self.memo.get(route)
    }

    /// The routes that attach to a Gateway. O(routes of the Gateway).
    pub(crate) fn of_gateway(&self, gateway: &NsName) -> Vec<Ref> {
        self.of_gateway.get(gateway).into_iter().flatten().cloned().collect()
    }

    /// The routes that name one of these clusters, as written or in a last good form. O(routes).
    pub(crate) fn naming(&self, clusters: &BTreeSet<Text>) -> Vec<Ref> {
        let names = |entry: &Entry| {
            let mut all = entry.raw.clusters.iter().chain(&entry.lowered.clusters);
            all.any(|candidate| clusters.contains(&candidate.name()))
        };
        self.memo.iter().filter(|(_, entry)| names(entry)).map(|(route, _)| route.clone()).collect()
    }

    /// The Gateways of which a route has one of these Services as a backend. O(routes).
    pub(crate) fn leading_to(&self, services: &BTreeSet<NsName>) -> BTreeSet<NsName> {
        self.memo.values().flat_map(|entry| status::backend_tls::gateways(&entry.raw, services)).collect()
    }

    /// How many routes are attached to a listener.
    pub(crate) fn attached(&self, listener: &ListenerId) -> u32 {
        self.attached.get(listener).copied().unwrap_or(0)
    }

    fn join(&mut self, gateway: NsName, route: &Ref) {
        self.of_gateway.entry(gateway).or_default().insert(route.clone());
    }

    fn leave(&mut self, gateway: &NsName, route: &Ref) {
        let emptied = self.of_gateway.get_mut(gateway).is_some_and(|routes| routes.remove(route) && routes.is_empty());
        if emptied {
            self.of_gateway.remove(gateway);
        }
    }

    fn count(&mut self, listener: &ListenerId) {
        *self.attached.entry(listener.clone()).or_default() += 1;
    }

    fn discount(&mut self, listener: &ListenerId) {
        if let Some(count) = self.attached.get_mut(listener) {
            *count -= 1;
            if *count == 0 {
                self.attached.remove(listener);
            }
        }
    }
}

impl Engine {
    /// Lowers a route anew. Stops here if it became what it was.
    pub(crate) fn lower(&mut self, route: &Ref) {
        let task = Task::Lower(route.clone());
        let quarantine = self.state.quarantine.clone();
        let lowered = self.evaluate(&task, |read| {
            let raw = lower::lower(route, read)?;
            Some((quarantine.amend(route, raw.clone(), read), raw))
        });
        let written = self.state.world.routes().get(route).map(|object| &object.metadata);
        let (Some((lowered, raw)), Some((generation, created))) =
            (lowered, written.map(|meta| (meta.generation, meta.created)))
        else {
            self.deps.forget(&task);
            self.drop_route(route);
            return;
        };
        self.recover(route, &raw);
        let before = self.routes.memo.get(route);
        let same =
            before.is_some_and(|entry| *entry.lowered == lowered && *entry.raw == raw && entry.created == created);
        if same && before.is_some_and(|entry| entry.generation == generation) {
            return;
        }
        if same {
            self.renumber(route, generation);
        } else {
            let raw = Arc::new(raw);
            let lowered = if *raw == lowered { raw.clone() } else { Arc::new(lowered) };
            self.replace(route, Form { generation, created, raw, lowered });
        }
        self.dirty.mark(Task::Project(route.clone()));
        self.dirty.arrivals.insert(route.clone());
    }

    /// The generation moved and nothing else: the status says the new one.
    fn renumber(&mut self, route: &Ref, generation: i64) {
        if let Some(entry) = self.routes.memo.get_mut(route) {
            entry.generation = generation;
        }
    }

    /// A rule that was refused and is not there any more was mended.
    fn recover(&mut self, route: &Ref, raw: &Lowered) {
        if !self.state.quarantine.has(route) {
            return;
        }
        for refusal in Arc::make_mut(&mut self.state.quarantine).keep_present(route, raw) {
            self.effects.events.push(Event::Recovered { route: route.clone(), rule: refusal.label.to_string() });
        }
    }

    fn replace(&mut self, route: &Ref, form: Form) {
        let before = self.routes.memo.remove(route);
        let (places, listeners) =
            before.as_ref().map(|entry| (entry.places.clone(), entry.listeners.clone())).unwrap_or_default();
        let Form { generation, created, raw, lowered } = form;
        let after = Entry { generation, created, raw, lowered, places, listeners };
        for gateway in after.gateways() {
            self.trials.edited(&gateway, route, before.as_ref().map(|entry| entry.lowered.clone()));
        }
        self.move_claims(route, before.as_ref(), Some(&after));
        self.move_gateways(route, before.as_ref(), Some(&after));
        self.mark_backend_tls(&after.raw);
        self.routes.memo.insert(route.clone(), after);
        if let Some(before) = before {
            self.mark_backend_tls(&before.raw);
            self.refresh_seats(route, &before);
        }
        self.reseat(route);
    }

    fn drop_route(&mut self, route: &Ref) {
        let Some(before) = self.routes.memo.remove(route) else {
            self.dirty.mark(Task::Project(route.clone()));
            return;
        };
        if self.state.quarantine.has(route) {
            Arc::make_mut(&mut self.state.quarantine).forget(route);
        }
        self.mark_backend_tls(&before.raw);
        self.move_claims(route, Some(&before), None);
        self.move_gateways(route, Some(&before), None);
        for (key, written) in before.places.keys() {
            self.unseat(key, route, written);
        }
        for listener in before.listeners.keys() {
            self.routes.discount(listener);
            self.dirty.mark(Task::Project(listener.parent.reference()));
        }
        self.dirty.mark(Task::Project(route.clone()));
    }

    fn move_gateways(&mut self, route: &Ref, before: Option<&Entry>, after: Option<&Entry>) {
        let [before, after] = [before, after].map(|entry| entry.map(Entry::gateways).unwrap_or_default());
        for gateway in before.difference(&after) {
            self.routes.leave(gateway, route);
            self.state.fleet.withdraw(gateway, route);
        }
        for gateway in after {
            self.routes.join(gateway, route);
        }
    }

    fn move_claims(&mut self, route: &Ref, before: Option<&Entry>, after: Option<&Entry>) {
        let [before, mut after] = [before, after].map(|entry| entry.map(|e| claims_of(route, e)).unwrap_or_default());
        for listener in before.into_keys() {
            after.entry(listener).or_default();
        }
        for (listener, claims) in after {
            let touched = self.claims.put(&listener, route, claims);
            self.dirty.contests.extend(touched.into_iter().map(|rival| (listener.clone(), rival)));
        }
    }

    /// Judges the claims that moved; routes whose verdict moved sit elsewhere and say so.
    pub(crate) fn judge(&mut self) {
        let mut contests: BTreeMap<ListenerId, BTreeSet<Ref>> = BTreeMap::new();
        for (listener, route) in std::mem::take(&mut self.dirty.contests) {
            contests.entry(listener).or_default().insert(route);
        }
        for (listener, routes) in contests {
            for route in self.claims.judge(&listener, routes) {
                self.reseat(&route);
                self.dirty.mark(Task::Project(route));
            }
        }
    }

    /// Puts a route on the hosts that its bindings and verdicts give it. O(hosts of the route).
    pub(crate) fn reseat(&mut self, route: &Ref) {
        let Some(entry) = self.routes.memo.get(route) else { return };
        let (places, listeners) = self.standing_of(route, entry);
        let seat = Seat { created: entry.created, lowered: entry.lowered.clone() };
        let (old_places, old_listeners) = (entry.places.clone(), entry.listeners.clone());
        for (key, written) in old_places.difference(&places) {
            self.unseat(key, route, written);
        }
        for (key, written) in places.difference(&old_places) {
            self.seat(key, route, written, seat.clone());
        }
        self.recount(&old_listeners, &listeners);
        if old_listeners != listeners || old_places != places {
            self.dirty.mark(Task::Project(route.clone()));
        }
        // A host that is new to the route comes with a revision that nobody has acknowledged.
        let entered = places.difference(&old_places).map(|(key, _)| (key.gateway.clone(), route.clone()));
        self.dirty.moved.extend(entered);
        if let Some(entry) = self.routes.memo.get_mut(route) {
            entry.places = places;
            entry.listeners = listeners;
        }
    }

    /// Where a route sits, and which listeners count it: those that take it and where it lost to nobody.
    fn standing_of(&self, route: &Ref, entry: &Entry) -> (Few<(HostKey, Hostname), ()>, Few<ListenerId, ()>) {
        let bindings = entry.lowered.attachments.iter().flat_map(|attachment| &attachment.bindings);
        let won: Vec<_> = bindings.filter(|binding| self.winner(&binding.listener, route).is_none()).collect();
        let places = won.iter().filter_map(|binding| Some((self.seat_of(route, binding)?, binding.written.clone())));
        (places.collect(), won.iter().map(|binding| binding.listener.clone()).collect())
    }

    /// The host that a binding puts a route on: none if its listener is not served or went to another route.
    pub(crate) fn seat_of(&self, route: &Ref, binding: &Binding) -> Option<HostKey> {
        let place = || self.gateways.place(&binding.listener, &binding.domain);
        self.winner(&binding.listener, route).is_none().then(place).flatten()
    }

    /// Who keeps a route off a listener; nobody where the class lets kinds share hostnames.
    pub(crate) fn winner(&self, listener: &ListenerId, route: &Ref) -> Option<&Ref> {
        let shares = self.surfaces.get(&listener.parent).is_some_and(|surface| surface.policy.shared_hostnames);
        self.claims.winner(listener, route).filter(|_| !shares)
    }

    fn recount(&mut self, before: &Few<ListenerId, ()>, after: &Few<ListenerId, ()>) {
        for listener in before.difference(after) {
            self.routes.discount(listener);
        }
        for listener in after.difference(before) {
            self.routes.count(listener);
        }
        for listener in before.difference(after).chain(after.difference(before)) {
            self.dirty.mark(Task::Project(listener.parent.reference()));
        }
    }

    /// The hosts where a route stays get its new form, and are merged again only if what they read of it moved.
    fn refresh_seats(&mut self, route: &Ref, before: &Entry) {
        let Some(entry) = self.routes.memo.get(route) else { return };
        let seat = Seat { created: entry.created, lowered: entry.lowered.clone() };
        let moved = before.created != entry.created
            || before.lowered.routes != entry.lowered.routes
            || before.lowered.clusters != entry.lowered.clusters;
        for (key, written) in before.places.keys() {
            if moved {
                self.seat(key, route, written, seat.clone());
            } else {
                self.reform(key, route, written, &seat);
            }
        }
    }

    /// Lets an object that appeared or whose generation moved wait for the latest revision of each Gateway that serves it.
    pub(crate) fn arrive(&mut self, object: &Ref) {
        let (generation, gateways) = self.served_by(object);
        for gateway in gateways {
            self.state.fleet.deliver(&gateway, object, generation);
        }
        self.dirty.mark(Task::Project(object.clone()));
    }

    /// The generation of an object, and the Gateways that serve it.
    pub(crate) fn served_by(&self, object: &Ref) -> (i64, BTreeSet<NsName>) {
        use sluice_core::world::gateway::{Gateway, ListenerSet};
        let (world, key) = (&self.state.world, &object.key);
        match object.kind {
            Kind::Gateway => {
                let generation = world.all::<Gateway>().get(key).map_or(0, |gateway| gateway.metadata.generation);
                (generation, self.gateways.plan(key).map(|plan| plan.gateway.clone()).into_iter().collect())
            }
            Kind::ListenerSet => {
                let generation = world.all::<ListenerSet>().get(key).map_or(0, |set| set.metadata.generation);
                let surface = self.surfaces.get(&Parent::ListenerSet(key.clone()));
                (generation, surface.map(|surface| surface.gateway.clone()).into_iter().collect())
            }
            _ => {
                let entry = self.routes.get(object);
                entry.map_or((0, BTreeSet::new()), |entry| (entry.generation, entry.gateways()))
            }
        }
    }
}

/// What a route claims, by listener.
fn claims_of(route: &Ref, entry: &Entry) -> BTreeMap<ListenerId, Vec<Claim>> {
    let mut claims: BTreeMap<ListenerId, Vec<Claim>> = BTreeMap::new();
    for binding in entry.lowered.attachments.iter().flat_map(|attachment| &attachment.bindings) {
        claims.entry(binding.listener.clone()).or_default().push(Claim {
            route: route.clone(),
            created: entry.created,
            domain: binding.domain.clone(),
        });
    }
    claims
}
