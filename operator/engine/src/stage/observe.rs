//! Statuses as the API server has them.
//!
//! an [`Observed`] status → the world, apart from what this process says itself
//!
//! **Invariant:** what this process says as the leader, it hears at once from itself and from nobody else: the API server repeats it
//! late, and sometimes an earlier one last. So an echo never moves a status.
//! **Invariant:** what others say is always taken from the API server; a standby takes everything from there.

use crate::{deps::Task, effects::Status, engine::Engine};
use sluice_core::{
    key::{Kind, NsName, Ref},
    status::said_delivered,
    world::{
        Change,
        observed::{Observed, ObservedParent},
        route::ParentRef,
    },
};

impl Engine {
    /// Takes what the API server says of an object.
    pub(crate) fn observe(&mut self, object: Ref, status: Option<Observed>) {
        if object.kind == Kind::GrpcService {
            self.recall(object, status);
        } else if self.is_read(&object) {
            let heard = if self.statuses.speak_of(&object) {
                Some(self.merged(&object, self.known(&object), status.unwrap_or_default()))
            } else {
                status
            };
            self.change(Change::Observe(object, heard));
        } else {
            // A route that is no service's any more.
            self.change(Change::Observe(object, None));
        }
    }

    /// Takes what this process says of an object, without waiting for the API server to repeat it.
    pub(crate) fn hear_ourselves(&mut self, object: &Ref, status: &Status) {
        if object.kind == Kind::GrpcService || !self.is_read(object) {
            return;
        }
        if let Some(said) = status.read::<Observed>() {
            let heard = self.merged(object, said, self.known(object));
            self.change(Change::Observe(object.clone(), Some(heard)));
        }
    }

    fn known(&self, object: &Ref) -> Observed {
        self.state.world.observed(object).map(|status| (**status).clone()).unwrap_or_default()
    }

    fn merged(&self, object: &Ref, own: Observed, others: Observed) -> Observed {
        Observed::merged(own, others, object.kind, &self.state.world.settings.controller)
    }

    /// Whether level 1 may read the status of an object that is there. Those of routes that no service generated are left out: nobody
    /// reads them, and there may be ten thousand.
    fn is_read(&self, object: &Ref) -> bool {
        let world = &self.state.world;
        let generated = || world.routes().get(object).is_some_and(|route| route.metadata.controller.is_some());
        match object.kind {
            Kind::GatewayClass => false,
            kind if kind.is_route() => generated(),
            _ => world.contains(object),
        }
    }

    /// What proxies that are not yet heard of have, is what whoever led before said. Statuses that are not kept are taken to have said
    /// that all was well.
    pub(crate) fn presume(&mut self) {
        let mut fleet = std::mem::take(&mut self.state.fleet);
        fleet.presume(|gateway, object, generation| self.was_delivered(gateway, object, generation));
        self.state.fleet = fleet;
    }

    fn was_delivered(&self, gateway: &NsName, object: &Ref, generation: i64) -> bool {
        let Some(status) = self.state.world.observed(object) else { return !self.is_read(object) };
        let Some(entry) = self.routes.get(object) else {
            return said_delivered(&status.conditions, object.kind, generation);
        };
        let controller = &self.state.world.settings.controller;
        let said = |parent: &ParentRef| {
            let own = |of: &&ObservedParent| of.controller_name == *controller && of.parent_ref == *parent;
            let said = status.parents.iter().find(own);
            said.is_some_and(|of| said_delivered(&of.conditions, object.kind, generation))
        };
        let mut attachments = entry.lowered.attachments.iter().filter(|attachment| attachment.gateway == *gateway);
        attachments.all(|attachment| said(&attachment.parent_ref))
    }

    /// Of the status of a service only the generation that is served is kept, from whoever led before.
    fn recall(&mut self, service: Ref, status: Option<Observed>) {
        let Some(served) = status.and_then(|status| status.served_generation) else { return };
        if self.statuses.speak_of(&service) || !self.state.world.contains(&service) {
            return;
        }
        if self.state.served.insert(service.key.clone(), served) != Some(served) {
            self.dirty.mark(Task::Project(service));
        }
    }
}
