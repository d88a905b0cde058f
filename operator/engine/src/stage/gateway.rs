//! Gateways: their plans, what these offer to routes, and the snapshots of their proxies.

use crate::{deps::Task, dirty::Stage, engine::Engine};
use rustc_hash::FxHashMap;
use sluice_core::{
    ir,
    key::{Kind, NsName, Ref},
    translate::{
        HostKey, ListenerId, Surface,
        attach::{self, Plan, Routing},
    },
    world::{Dep, Parent},
};
use sluice_envoy::encode;
use sluice_xds::{Id, Name, Resource, ResourceType, Snapshot, Version};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is known of each Gateway of ours.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    plans: BTreeMap<NsName, Arc<Plan>>,
    snapshots: BTreeMap<NsName, Arc<Snapshot>>,
    /// What the next snapshot changes; later entries for a name win.
    drafts: BTreeMap<NsName, BTreeMap<Id, Option<Arc<Resource>>>>,
    published: BTreeMap<NsName, Arc<Snapshot>>,
    /// The revision that brought each cluster of a Gateway in the form that it has.
    brought: BTreeMap<NsName, FxHashMap<Name, u64>>,
}

impl Gateways {
    /// The plan of a Gateway of ours.
    pub(crate) fn plan(&self, gateway: &NsName) -> Option<&Arc<Plan>> {
        self.plans.get(gateway)
    }

    /// All plans, by name. O(Gateways).
    pub(crate) fn plans(&self) -> impl Iterator<Item = (&NsName, &Arc<Plan>)> {
        self.plans.iter()
    }

    /// The host that serves a name for a listener.
    pub(crate) fn place(&self, listener: &ListenerId, domain: &sluice_core::hostname::Hostname) -> Option<HostKey> {
        self.plans.get(&listener.gateway)?.place(listener, domain)
    }

    /// What the proxies of a Gateway shall have.
    pub(crate) fn snapshot(&self, gateway: &NsName) -> Option<&Arc<Snapshot>> {
        self.snapshots.get(gateway)
    }

    /// All latest snapshots, by Gateway.
    pub(crate) fn snapshots(&self) -> &BTreeMap<NsName, Arc<Snapshot>> {
        &self.snapshots
    }

    /// Puts a resource into the next snapshot of a Gateway.
    pub(crate) fn set(&mut self, gateway: &NsName, resource: Arc<Resource>) {
        self.drafts.entry(gateway.clone()).or_default().insert(resource.id.clone(), Some(resource));
    }

    /// Takes a resource out of the next snapshot of a Gateway.
    pub(crate) fn remove(&mut self, gateway: &NsName, id: Id) {
        self.drafts.entry(gateway.clone()).or_default().insert(id, None);
    }

    /// The snapshots that are new since the last call, the latest of each Gateway.
    pub(crate) fn take_published(&mut self) -> Vec<(NsName, Arc<Snapshot>)> {
        std::mem::take(&mut self.published).into_iter().collect()
    }

    /// Lets a Gateway have a snapshot even if there is nothing in it: until its proxies are told so, they do not start.
    fn announce(&mut self, gateway: &NsName) {
        if !self.snapshots.contains_key(gateway) {
            self.drafts.entry(gateway.clone()).or_default();
        }
    }

    /// Notes when clusters came: O(what moved).
    fn note_clusters(&mut self, gateway: &NsName, snapshot: &Snapshot) {
        let brought = self.brought.entry(gateway.clone()).or_default();
        for id in snapshot.changed().iter().filter(|id| id.kind == ResourceType::Cluster) {
            match snapshot.get(id) {
                Some(_) => brought.insert(id.name.clone(), snapshot.revision()),
                None => brought.remove(&id.name),
            };
        }
    }

    /// The Gateways that have a cluster in this form, and the revisions that brought it to them. O(Gateways).
    pub(crate) fn with_cluster(&self, id: &Id, version: Version) -> impl Iterator<Item = (&NsName, u64)> {
        self.brought.iter().filter_map(move |(gateway, brought)| {
            let held = self.snapshot(gateway)?.get(id)?.version == version;
            held.then_some((gateway, *brought.get(&id.name)?))
        })
    }

    /// Publishes what the drafts move: O(moved names · log n) each. Returns the Gateways with a new revision.
    fn publish(&mut self) -> Vec<(NsName, u64)> {
        let mut moved = Vec::new();
        for (gateway, draft) in std::mem::take(&mut self.drafts) {
            let known = self.snapshots.get(&gateway);
            let mut edit = known.map_or_else(|| Snapshot::empty().edit(), |snapshot| snapshot.edit());
            for (id, resource) in draft {
                match resource {
                    Some(resource) => edit.set(resource),
                    None => edit.remove(&id),
                }
            }
            let next = if known.is_none() { Some(edit.publish_anyway()) } else { edit.publish() };
            if let Some(snapshot) = next {
                self.note_clusters(&gateway, &snapshot);
                moved.push((gateway.clone(), snapshot.revision()));
                self.snapshots.insert(gateway.clone(), snapshot.clone());
                self.published.insert(gateway, snapshot);
            }
        }
        moved
    }
}

/// What distinguishes two plans of one Gateway: pairs of before and after.
struct Replaced {
    before: Option<Arc<Plan>>,
    after: Option<Arc<Plan>>,
}

impl Replaced {
    /// A list of both plans; empty where there is no plan.
    fn lists<T: Clone>(&self, of: fn(&Plan) -> &Vec<T>) -> (Vec<T>, Vec<T>) {
        let list = |plan: &Option<Arc<Plan>>| plan.as_deref().map(|plan| of(plan).clone()).unwrap_or_default();
        (list(&self.before), list(&self.after))
    }

    /// Whether routes sit where they sat: places are the same, and which kinds share hostnames.
    fn seat_alike(&self) -> bool {
        let sharing = |plan: &Plan| -> Vec<(Parent, bool)> {
            plan.surfaces.iter().map(|(parent, surface)| (parent.clone(), surface.policy.shared_hostnames)).collect()
        };
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return false };
        before.places_alike(after) && sharing(before) == sharing(after)
    }

    fn standing(&self) -> (BTreeMap<HostKey, ir::Fallback>, BTreeMap<HostKey, ir::Fallback>) {
        let hosts = |plan: &Option<Arc<Plan>>| plan.iter().flat_map(|plan| plan.standing_hosts()).collect();
        (hosts(&self.before), hosts(&self.after))
    }
}

impl Engine {
    /// Plans a Gateway anew. Stops here if the plan is as it was; else costs O(listeners), and O(routes of the Gateway) only if
    /// hosts may have moved between route configurations.
    pub(crate) fn plan(&mut self, gateway: &NsName) {
        let task = Task::Plan(gateway.clone());
        let after = self.evaluate(&task, |read| attach::plan(gateway, read)).map(Arc::new);
        let before = self.gateways.plans.get(gateway).cloned();
        if self.state.world.all::<sluice_core::world::gateway::Gateway>().get(gateway).is_none() {
            self.deps.forget(&task);
        }
        self.dirty.holds.insert(Ref::new(Kind::Gateway, gateway.clone()));
        if before == after {
            return;
        }
        match after.clone() {
            Some(plan) => drop(self.gateways.plans.insert(gateway.clone(), plan)),
            None => drop(self.gateways.plans.remove(gateway)),
        }
        self.replaced(gateway, &Replaced { before, after });
    }

    fn replaced(&mut self, gateway: &NsName, plans: &Replaced) {
        self.gateways.announce(gateway);
        self.swap_surfaces(gateway, plans);
        self.swap_listeners(gateway, plans);
        self.swap_routing(gateway, plans);
        self.swap_materials(gateway, plans);
        self.swap_standing(plans);
        self.dirty.mark(Task::Project(Ref::new(Kind::Gateway, gateway.clone())));
        self.dirty.arrivals.insert(Ref::new(Kind::Gateway, gateway.clone()));
        if !plans.seat_alike() {
            for route in self.routes.of_gateway(gateway) {
                self.count(Stage::Seat);
                self.reseat(&route);
            }
        }
    }

    fn swap_surfaces(&mut self, gateway: &NsName, plans: &Replaced) {
        let (before, after) = plans.lists(|plan| &plan.surfaces);
        let after: BTreeMap<Parent, Arc<Surface>> = after.into_iter().collect();
        for (parent, _) in before.into_iter().filter(|(parent, _)| !after.contains_key(parent)) {
            // A ListenerSet that moved to another Gateway may already offer that one's surface.
            if self.surfaces.get(&parent).is_some_and(|surface| surface.gateway == *gateway) {
                self.surfaces.remove(&parent);
                self.state.fleet.withdraw(gateway, &parent.reference());
                self.surface_moved(parent);
            }
        }
        for (parent, surface) in after {
            if self.surfaces.get(&parent) != Some(&surface) {
                self.surfaces.insert(parent.clone(), surface);
                self.surface_moved(parent);
            }
        }
        self.mark_sets(plans);
    }

    fn surface_moved(&mut self, parent: Parent) {
        self.touch(&Dep::Surface(parent));
    }

    /// The statuses of the ListenerSets come out of the plan.
    fn mark_sets(&mut self, plans: &Replaced) {
        let (before, after) = plans.lists(|plan| &plan.surfaces);
        let parents: BTreeSet<Parent> = before.into_iter().chain(after).map(|(parent, _)| parent).collect();
        for parent in parents {
            if let Parent::ListenerSet(key) = parent {
                self.dirty.mark(Task::Project(Ref::new(Kind::ListenerSet, key.clone())));
                self.dirty.arrivals.insert(Ref::new(Kind::ListenerSet, key));
            }
        }
    }

    fn swap_listeners(&mut self, gateway: &NsName, plans: &Replaced) {
        let (before, after) = plans.lists(|plan| &plan.listeners);
        let encoded = |listeners: Vec<ir::Listener>| listeners.iter().map(encode::listener).collect();
        self.swap(gateway, encoded(before), encoded(after));
    }

    fn swap_routing(&mut self, gateway: &NsName, plans: &Replaced) {
        let (before, after) = plans.lists(|plan| &plan.routing);
        let encoded = |routing: Vec<Routing>| {
            let names = routing.into_iter().map(|routing| ir::RouteConfiguration { name: routing.name });
            names.map(|configuration| encode::route_configuration(&configuration)).collect()
        };
        self.swap(gateway, encoded(before), encoded(after));
    }

    fn swap(&mut self, gateway: &NsName, before: Vec<Arc<Resource>>, after: Vec<Arc<Resource>>) {
        for resource in before {
            self.gateways.remove(gateway, resource.id.clone());
        }
        for resource in after {
            self.gateways.set(gateway, resource);
        }
    }

    fn swap_materials(&mut self, gateway: &NsName, plans: &Replaced) {
        let (before, after) = plans.lists(|plan| &plan.materials);
        for material in after.iter().filter(|material| !before.contains(material)) {
            self.use_material(gateway, material);
        }
        for material in before.iter().filter(|material| !after.contains(material)) {
            self.drop_material(gateway, material);
        }
        let shown = |plan: &Option<Arc<Plan>>| plan.as_ref().and_then(|plan| plan.shown.clone());
        if shown(&plans.before) != shown(&plans.after) {
            self.show_anew(gateway);
        }
    }

    fn swap_standing(&mut self, plans: &Replaced) {
        let (before, after) = plans.standing();
        for key in before.keys().filter(|key| !after.contains_key(key)) {
            self.set_standing(key, None);
        }
        for (key, fallback) in &after {
            self.set_standing(key, Some(*fallback));
        }
    }

    /// A resource that moved on is not a refused one any more.
    fn forget_moved(&mut self, gateway: &NsName) {
        let snapshot = self.gateways.snapshot(gateway).filter(|_| !self.state.quarantine.has_no_resources()).cloned();
        for id in snapshot.iter().flat_map(|snapshot| snapshot.changed()) {
            if !Arc::make_mut(&mut self.state.quarantine).moved(gateway, id) {
                continue;
            }
            self.mark_listeners(gateway);
            if id.kind == ResourceType::VirtualHost {
                let seated = self.hosts.seated(gateway, &id.name);
                self.dirty.moved.extend(seated.into_iter().map(|route| (gateway.clone(), route)));
            }
        }
    }

    /// Whatever reports listeners of a Gateway says anew how they are: O(ListenerSets of the Gateway).
    pub(crate) fn mark_listeners(&mut self, gateway: &NsName) {
        let sets = self.gateways.plan(gateway).into_iter().flat_map(|plan| &plan.report.sets);
        let sets = sets.map(|report| Task::Project(Ref::new(Kind::ListenerSet, report.set.clone())));
        self.dirty.mark_all(sets.chain([Task::Project(Ref::new(Kind::Gateway, gateway.clone()))]));
    }

    /// Publishes what moved, and lets what appeared wait for it.
    pub(crate) fn assemble(&mut self) {
        for (gateway, revision) in self.gateways.publish() {
            self.state.fleet.published(&gateway, revision);
            self.forget_moved(&gateway);
        }
        for gateway in self.trials.gateways() {
            let revision = self.gateways.snapshot(&gateway).map_or(0, |snapshot| snapshot.revision());
            self.trials.published(&gateway, revision);
            self.advance_trials(&gateway);
        }
        for (gateway, route) in std::mem::take(&mut self.dirty.moved) {
            self.state.fleet.redeliver(&gateway, &route);
            self.dirty.mark(Task::Project(route));
        }
        for object in std::mem::take(&mut self.dirty.arrivals) {
            self.arrive(&object);
        }
    }
}
