//! Statuses: what the core says of each object, emitted once.

use crate::{
    deps::Task,
    effects::{Status, StatusUpdate},
    engine::Engine,
    hash::fingerprint_of,
};
use rustc_hash::FxHashMap;
use serde::Serialize;
use sluice_core::{
    author::{self, Progress},
    key::{Kind, NsName, Ref},
    status::{self, route::Standing},
    translate::{Attachment, ListenerId, Lowered},
    world::{Own, Parent, backend::BackendTlsPolicy, gateway::GatewayClass},
};
use std::collections::BTreeSet;

/// What was said last of each object.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    emitted: FxHashMap<Ref, u64>,
}

impl Statuses {
    /// Whoever begins to write says everything once, and whoever ends it has said nothing.
    pub(crate) fn forget(&mut self) {
        self.emitted.clear();
    }

    /// What was said of an object went with it, and is said of the next of its name, even if that comes within the same step.
    pub(crate) fn forget_one(&mut self, object: &Ref) -> Option<Task> {
        self.emitted.remove(object).map(|_| Task::Project(object.clone()))
    }

    /// Whether this process said something of an object since it began to write.
    pub(crate) fn speak_of(&self, object: &Ref) -> bool {
        self.emitted.contains_key(object)
    }
}

/// A status with the generation that it is about.
pub(crate) struct Said {
    pub(crate) generation: i64,
    pub(crate) status: Status,
}

impl Said {
    fn new(generation: i64, status: &impl Serialize) -> Option<Self> {
        Status::of(status).map(|status| Self { generation, status })
    }
}

impl Engine {
    /// Says anew what is the matter with an object.
    pub(crate) fn project(&mut self, object: &Ref) {
        let said = match object.kind {
            Kind::GrpcService => self.service_status(object),
            Kind::GatewayClass => self.class_status(object),
            Kind::Gateway => self.gateway_status(object),
            Kind::ListenerSet => self.set_status(object),
            Kind::GrpcPolicy => self.policy_status(object),
            Kind::BackendTlsPolicy => self.backend_tls_status(object),
            kind if kind.is_route() => self.route_status(object),
            _ => None,
        };
        match said {
            Some(said) => self.emit(object, said),
            None => drop(self.statuses.emitted.remove(object)),
        }
    }

    fn emit(&mut self, object: &Ref, said: Said) {
        let print = fingerprint_of(&said.status);
        if !self.state.leads || self.statuses.emitted.insert(object.clone(), print) == Some(print) {
            return;
        }
        self.hear_ourselves(object, &said.status);
        self.effects.statuses.push(StatusUpdate {
            target: object.clone(),
            generation: said.generation,
            status: said.status,
        });
    }

    fn service_status(&mut self, object: &Ref) -> Option<Said> {
        let service = &object.key;
        let authored = self.authors.get(service)?.clone();
        let generation = self.state.world.all::<Own<sluice_api::GrpcServiceSpec>>().get(service)?.metadata.generation;
        let served = self.state.served.get(service).copied();
        let outcomes = self.state.outcomes.clone();
        let progress = Progress { outcomes: &outcomes, served };
        let task = Task::Project(object.clone());
        let status = self.evaluate(&task, |read| author::status(service, &authored, progress, read))?;
        if let Some(served) = status.served_generation() {
            self.state.served.insert(service.clone(), served);
        }
        Said::new(generation, &status)
    }

    fn class_status(&mut self, object: &Ref) -> Option<Said> {
        let task = Task::Project(object.clone());
        let status = self.evaluate(&task, |read| status::class::project(&object.key, read));
        let class = self.state.world.all::<GatewayClass>().get(&object.key);
        if class.is_none() {
            self.deps.forget(&task);
        }
        Said::new(class?.metadata.generation, &status?)
    }

    fn policy_status(&mut self, object: &Ref) -> Option<Said> {
        let task = Task::Project(object.clone());
        let status = self.evaluate(&task, |read| status::policy::project(&object.key, read));
        let policy = self.state.world.all::<Own<sluice_api::GrpcPolicySpec>>().get(&object.key);
        if policy.is_none() {
            self.deps.forget(&task);
        }
        Said::new(policy?.metadata.generation, &status?)
    }

    /// O(routes): policies of this kind are few.
    fn backend_tls_status(&mut self, object: &Ref) -> Option<Said> {
        let task = Task::Project(object.clone());
        let Some(policy) = self.state.world.all::<BackendTlsPolicy>().get(&object.key) else {
            self.deps.forget(&task);
            return None;
        };
        let (generation, services) = (policy.metadata.generation, status::backend_tls::services(policy).collect());
        let gateways = self.routes.leading_to(&services);
        let status = self.evaluate(&task, |read| status::backend_tls::project(&object.key, &gateways, read))?;
        Said::new(generation, &status)
    }

    /// The policies whose status names Gateways that lead to one of the route's backends. O(policies of the kind).
    pub(crate) fn mark_backend_tls(&mut self, lowered: &Lowered) {
        let backends: BTreeSet<&NsName> = status::backend_tls::backends(lowered).collect();
        let about = |service: NsName| backends.contains(&service);
        let policies = self.state.world.all::<BackendTlsPolicy>().iter();
        let concerned = policies.filter(|(_, policy)| status::backend_tls::services(policy).any(about));
        let tasks = concerned.map(|(key, _)| Task::Project(Ref::new(Kind::BackendTlsPolicy, key.clone())));
        let tasks: Vec<Task> = tasks.collect();
        self.dirty.mark_all(tasks);
    }

    fn gateway_status(&mut self, object: &Ref) -> Option<Said> {
        let task = Task::Project(object.clone());
        let addresses = self.evaluate(&task, |read| read.addresses(&object.key).to_vec());
        let Some(plan) = self.gateways.plan(&object.key) else {
            self.deps.forget(&task);
            return None;
        };
        let delivery = self.state.served(&object.key, object);
        let report = self.state.quarantine.report(plan);
        let attached = |listener: &ListenerId| self.routes.attached(listener);
        let status = status::gateway::project(&report, &attached, &delivery, &addresses);
        Said::new(plan.report.generation, &status)
    }

    fn set_status(&self, object: &Ref) -> Option<Said> {
        let surface = self.surfaces.get(&Parent::ListenerSet(object.key.clone()))?;
        let plan = self.gateways.plan(&surface.gateway)?;
        let whole = self.state.quarantine.report(plan);
        let report = whole.sets.iter().find(|report| report.set == object.key)?;
        let delivery = self.state.served(&surface.gateway, object);
        let attached = |listener: &ListenerId| self.routes.attached(listener);
        Said::new(report.generation, &status::listener_set::project(report, &attached, &delivery))
    }

    fn route_status(&self, object: &Ref) -> Option<Said> {
        let entry = self.routes.get(object)?;
        let route = self.state.world.routes().get(object)?;
        let standings: Vec<Standing> = entry
            .lowered
            .attachments
            .iter()
            .map(|attachment| self.standing(object, &entry.lowered, attachment))
            .collect();
        let controller = &self.state.world.settings.controller;
        let status = status::route::project(route, &entry.lowered, controller, &standings);
        Said::new(entry.generation, &status)
    }

    /// An attachment lost only if every listener that takes it went to another route.
    fn standing(&self, route: &Ref, lowered: &Lowered, attachment: &Attachment) -> Standing {
        let winners: Option<Vec<&Ref>> =
            super::route::listeners(attachment).into_iter().map(|listener| self.winner(listener, route)).collect();
        let lost_to = winners.and_then(|winners| winners.first().map(|winner| (*winner).clone()));
        let place = |binding: &_| self.seat_of(route, binding);
        Standing { lost_to, delivery: self.state.delivery(route, lowered, attachment, place) }
    }
}
