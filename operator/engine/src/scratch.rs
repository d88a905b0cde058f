//! Everything recomputed from the state, without memory: what the incremental engine must agree with.
//!
//! [`State`] → [`Output`]
//!
//! **Invariant:** no memo, index or reference count of the engine is used, so that a defect of one of them shows as a difference.
//!
//! Costs O(world), and O(routes²) for conflicts between kinds: for tests and for offline commands.

use crate::{stage, state::State};
use sluice_api::{GrpcPolicySpec, GrpcServiceSpec};
use sluice_core::{
    author::{self, Desired, Progress},
    hostname::Hostname,
    ir::{self, Fallback},
    key::{Kind, NsName, Ref, Text},
    status::{self, route::Standing},
    translate::{
        Attachment, Binding, HostKey, ListenerId, Lowered,
        attach::{self, Plan},
        backend,
        conflict::{self, Claim},
        infrastructure::Infrastructure,
        lower,
        merge::{Contribution, merge},
    },
    world::{
        Own, Reader, Surfaces,
        backend::BackendTlsPolicy,
        gateway::{Gateway, GatewayClass},
    },
};
use sluice_envoy::encode;
use sluice_xds::{Id, Resource, Version};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All that follows from a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What the proxies of each Gateway shall have.
    pub resources: BTreeMap<NsName, BTreeMap<Id, Version>>,
    /// What is said of each object; objects of which nothing is said are left out.
    pub statuses: BTreeMap<Ref, serde_json::Value>,
    /// What level 1 wants to exist.
    pub desired: BTreeMap<Ref, serde_json::Value>,
    /// What level 1 wants no more, and leaves there until callers are served elsewhere.
    pub leaving: BTreeSet<Ref>,
    /// What has to run for each Gateway of ours; one that is refused keeps what it had.
    pub infrastructure: BTreeMap<NsName, Arc<Infrastructure>>,
}

/// Recomputes everything.
pub fn scratch(state: &State) -> Output {
    let view = View::new(state);
    Output {
        resources: view.resources(),
        statuses: view.statuses(),
        desired: view.desired(),
        leaving: view.leaving(),
        infrastructure: view.infrastructure(),
    }
}

/// The hosts of all Gateways, each with its routes in the order in which they are tried.
pub fn hosts(state: &State) -> BTreeMap<HostKey, ir::VirtualHost> {
    View::new(state).hosts()
}

struct View<'s> {
    state: &'s State,
    surfaces: Surfaces,
    plans: BTreeMap<NsName, Plan>,
    lowered: BTreeMap<Ref, Arc<Lowered>>,
    claims: BTreeMap<ListenerId, Vec<Claim>>,
}

impl<'s> View<'s> {
    fn new(state: &'s State) -> Self {
        let none = Surfaces::new();
        let gateways = state.world.all::<Gateway>().keys();
        let plans: BTreeMap<NsName, Plan> = gateways
            .filter_map(|key| Some((key.clone(), attach::plan(key, &Reader::new(&state.world, &none))?)))
            .collect();
        let surfaces = plans.values().flat_map(|plan| plan.surfaces.iter().cloned()).collect();
        let mut view = Self { state, surfaces, plans, lowered: BTreeMap::new(), claims: BTreeMap::new() };
        let routes = state.world.routes().keys();
        view.lowered = routes.filter_map(|route| Some((route.clone(), Arc::new(view.lower(route)?)))).collect();
        view.claims = view.all_claims();
        view
    }

    fn read(&self) -> Reader<'_> {
        Reader::new(&self.state.world, &self.surfaces)
    }

    fn lower(&self, route: &Ref) -> Option<Lowered> {
        let read = self.read();
        lower::lower(route, &read).map(|lowered| self.state.quarantine.amend(route, lowered, &read))
    }

    fn all_claims(&self) -> BTreeMap<ListenerId, Vec<Claim>> {
        let mut claims: BTreeMap<ListenerId, Vec<Claim>> = BTreeMap::new();
        for (route, lowered) in &self.lowered {
            for binding in lowered.attachments.iter().flat_map(|attachment| &attachment.bindings) {
                claims.entry(binding.listener.clone()).or_default().push(Claim {
                    route: route.clone(),
                    created: self.created(route),
                    domain: binding.domain.clone(),
                });
            }
        }
        claims
    }

    fn created(&self, route: &Ref) -> chrono::DateTime<chrono::Utc> {
        self.state.world.routes().get(route).map(|route| route.metadata.created).unwrap_or_default()
    }

    fn winner(&self, listener: &ListenerId, route: &Ref) -> Option<Ref> {
        if self.surfaces.get(&listener.parent)?.policy.shared_hostnames {
            return None;
        }
        let claims = self.claims.get(listener)?;
        let mut mine = claims.iter().filter(|claim| claim.route == *route);
        mine.find_map(|claim| conflict::loses_to(claim, claims.iter()))
    }

    fn attached(&self, listener: &ListenerId) -> u32 {
        let claims = self.claims.get(listener).map(Vec::as_slice).unwrap_or_default();
        let routes: BTreeSet<&Ref> = claims.iter().map(|claim| &claim.route).collect();
        let attached = routes.into_iter().filter(|route| self.winner(listener, route).is_none()).count();
        u32::try_from(attached).unwrap_or(u32::MAX)
    }

    fn hosts(&self) -> BTreeMap<HostKey, ir::VirtualHost> {
        let mut hosts: BTreeMap<HostKey, (Fallback, Vec<Contribution>)> = BTreeMap::new();
        for (key, fallback) in self.plans.values().flat_map(Plan::standing_hosts) {
            hosts.insert(key, (fallback, Vec::new()));
        }
        for (key, route, written) in self.seats() {
            let Some(lowered) = self.lowered.get(&route).cloned() else { continue };
            let created = self.created(&route);
            let host = hosts.entry(key).or_insert((Fallback::NotFound, Vec::new()));
            host.1.push(Contribution { written, created, route, lowered });
        }
        hosts.into_iter().map(|(key, (fallback, routes))| (key.clone(), merge(&key, fallback, &routes))).collect()
    }

    fn seats(&self) -> BTreeSet<(HostKey, Ref, Hostname)> {
        let mut seats = BTreeSet::new();
        for (route, lowered) in &self.lowered {
            for binding in lowered.attachments.iter().flat_map(|attachment| &attachment.bindings) {
                if let Some(key) = self.place(route, binding) {
                    seats.insert((key, route.clone(), binding.written.clone()));
                }
            }
        }
        seats
    }

    fn place(&self, route: &Ref, binding: &Binding) -> Option<HostKey> {
        let place = self.plans.get(&binding.listener.gateway)?.place(&binding.listener, &binding.domain);
        place.filter(|_| self.winner(&binding.listener, route).is_none())
    }

    fn resources(&self) -> BTreeMap<NsName, BTreeMap<Id, Version>> {
        let mut all: BTreeMap<NsName, Vec<Arc<Resource>>> = BTreeMap::new();
        for (gateway, plan) in &self.plans {
            all.insert(gateway.clone(), self.of_plan(plan));
        }
        let clusters = self.clusters();
        for (key, host) in self.hosts() {
            let shown = self.plans.get(&key.gateway).and_then(|plan| Some(plan.shown.as_ref()?.to_string().into()));
            let resources = all.entry(key.gateway).or_default();
            for cluster in stage::named(&host).iter().filter_map(|name| clusters.get(name)) {
                resources.push(encode::cluster_showing(cluster, shown.as_ref()));
                resources.push(encode::assignment(&backend::assignment(cluster, &self.read())));
                resources.extend(stage::trusted(cluster).and_then(|it| stage::material(&it, &self.read())));
            }
            resources.push(encode::virtual_host(&host));
        }
        let versions = |resources: Vec<Arc<Resource>>| {
            resources.into_iter().map(|resource| (resource.id.clone(), resource.version)).collect()
        };
        all.into_iter().map(|(gateway, resources)| (gateway, versions(resources))).collect()
    }

    fn of_plan(&self, plan: &Plan) -> Vec<Arc<Resource>> {
        let listeners = plan.listeners.iter().map(encode::listener);
        let routing = plan.routing.iter().map(|routing| ir::RouteConfiguration { name: routing.name.clone() });
        let secrets = plan.materials.iter().filter_map(|material| stage::material(material, &self.read()));
        listeners
            .chain(routing.map(|configuration| encode::route_configuration(&configuration)))
            .chain(secrets)
            .collect()
    }

    fn clusters(&self) -> BTreeMap<Text, ir::Cluster> {
        let clusters = self.lowered.values().flat_map(|lowered| &lowered.clusters);
        clusters.map(|cluster| (cluster.name(), cluster.clone())).collect()
    }

    fn desired(&self) -> BTreeMap<Ref, serde_json::Value> {
        let services = self.state.world.all::<Own<GrpcServiceSpec>>().keys();
        let authored = services.filter_map(|service| author::author(service, &self.read()));
        let objects = authored.flat_map(|authored| authored.objects).filter(Desired::is_writable);
        objects.map(|desired| (desired.reference, desired.value)).collect()
    }

    fn leaving(&self) -> BTreeSet<Ref> {
        let services = self.state.world.all::<Own<GrpcServiceSpec>>().keys();
        let authored = services.filter_map(|service| author::author(service, &self.read()));
        authored.flat_map(|authored| authored.leaving).collect()
    }

    fn infrastructure(&self) -> BTreeMap<NsName, Arc<Infrastructure>> {
        let plans = self.plans.iter();
        plans.filter_map(|(gateway, plan)| Some((gateway.clone(), plan.infrastructure.clone()?))).collect()
    }

    fn statuses(&self) -> BTreeMap<Ref, serde_json::Value> {
        let routes = self.state.world.routes().keys();
        let routes = routes.filter_map(|route| Some((route.clone(), self.route_status(route)?)));
        let classes = self.state.world.all::<GatewayClass>().keys();
        let classes = classes.filter_map(|class| {
            let status = status::class::project(class, &self.read())?;
            Some((Ref::new(Kind::GatewayClass, class.clone()), serde_json::to_value(status).ok()?))
        });
        let policies = self.state.world.all::<Own<GrpcPolicySpec>>().keys();
        let policies = policies.filter_map(|policy| {
            let status = status::policy::project(policy, &self.read())?;
            Some((Ref::new(Kind::GrpcPolicy, policy.clone()), serde_json::to_value(status).ok()?))
        });
        let services = self.state.world.all::<Own<GrpcServiceSpec>>().keys();
        let services = services
            .filter_map(|service| Some((Ref::new(Kind::GrpcService, service.clone()), self.service_status(service)?)));
        let own = policies.chain(services).chain(self.backend_tls());
        routes.chain(classes).chain(own).chain(self.plans.values().flat_map(|plan| self.statuses_of(plan))).collect()
    }

    fn backend_tls(&self) -> Vec<(Ref, serde_json::Value)> {
        let policies = self.state.world.all::<BackendTlsPolicy>().iter();
        let said = policies.filter_map(|(key, policy)| {
            let services = status::backend_tls::services(policy).collect();
            let routes = self.lowered.values();
            let gateways = routes.flat_map(|lowered| status::backend_tls::gateways(lowered, &services));
            let status = status::backend_tls::project(key, &gateways.collect(), &self.read())?;
            Some((Ref::new(Kind::BackendTlsPolicy, key.clone()), serde_json::to_value(status).ok()?))
        });
        said.collect()
    }

    fn service_status(&self, service: &NsName) -> Option<serde_json::Value> {
        let authored = author::author(service, &self.read())?;
        let served = self.state.served.get(service).copied();
        let progress = Progress { outcomes: &self.state.outcomes, served };
        serde_json::to_value(author::status(service, &authored, progress, &self.read())?).ok()
    }

    fn statuses_of(&self, plan: &Plan) -> Vec<(Ref, serde_json::Value)> {
        let attached = |listener: &ListenerId| self.attached(listener);
        let gateway = Ref::new(Kind::Gateway, plan.gateway.clone());
        let delivery = self.state.served(&plan.gateway, &gateway);
        let report = self.state.quarantine.report(plan);
        let read = self.read();
        let status = status::gateway::project(&report, &attached, &delivery, read.addresses(&plan.gateway));
        let sets = report.sets.iter().map(|report| {
            let set = Ref::new(Kind::ListenerSet, report.set.clone());
            let delivery = self.state.served(&plan.gateway, &set);
            (set, serde_json::to_value(status::listener_set::project(report, &attached, &delivery)))
        });
        let all = sets.chain([(gateway, serde_json::to_value(status))]);
        all.filter_map(|(object, status)| Some((object, status.ok()?))).collect()
    }

    fn route_status(&self, object: &Ref) -> Option<serde_json::Value> {
        let lowered = self.lowered.get(object)?;
        let route = self.state.world.routes().get(object)?;
        let standings: Vec<Standing> =
            lowered.attachments.iter().map(|attachment| self.standing(object, lowered, attachment)).collect();
        let status = status::route::project(route, lowered, &self.state.world.settings.controller, &standings);
        serde_json::to_value(status).ok()
    }

    fn standing(&self, route: &Ref, lowered: &Lowered, attachment: &Attachment) -> Standing {
        let listeners: BTreeSet<&ListenerId> = attachment.bindings.iter().map(|binding| &binding.listener).collect();
        let winners: Option<Vec<Ref>> = listeners.into_iter().map(|listener| self.winner(listener, route)).collect();
        let lost_to = winners.and_then(|winners| winners.into_iter().next());
        let delivery = self.state.delivery(route, lowered, attachment, |binding| self.place(route, binding));
        Standing { lost_to, delivery }
    }
}
