//! What a result depends on: the world, the proxies and what they refused.

use crate::{fleet::Fleet, quarantine::Quarantine};
use chrono::{DateTime, TimeDelta, Utc};
use sluice_core::{
    author::WriteOutcome,
    key::{NsName, Ref},
    status::{Delivery, look},
    translate::{Attachment, Binding, HostKey, Lowered},
    world::{self, Exposure, World},
};
use std::{collections::BTreeMap, sync::Arc};

/// What is decided where the process is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The core's part.
    pub world: world::Settings,
    /// Whether there is no API server: what level 1 wants is applied to the world as if one had accepted it.
    pub feedback: bool,
    /// How long statuses wait to hear of the proxies that take calls, counted from when this process begins to write.
    pub grace: TimeDelta,
}

impl Default for Settings {
    fn default() -> Self {
        Self { world: world::Settings::default(), feedback: false, grace: TimeDelta::seconds(30) }
    }
}

/// Everything that outputs are a function of. What happened before counts only as far as it is kept here.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The objects.
    pub world: World,
    /// The proxies, and what they acknowledged.
    pub fleet: Fleet,
    /// What the proxies refused.
    pub quarantine: Arc<Quarantine>,
    /// The generation of each GrpcService by which callers were answered last.
    pub served: BTreeMap<NsName, i64>,
    /// How the last write of each object that a service wants ended; absent while it is under way.
    pub outcomes: Arc<BTreeMap<Ref, WriteOutcome>>,
    /// Whether this process writes.
    pub(crate) leads: bool,
    /// Until when statuses wait to hear of the proxies that take calls.
    pub(crate) grace_until: Option<DateTime<Utc>>,
}

impl State {
    /// Whether this process writes.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// How far a route has come on its way to the proxies of an attachment's Gateway, refusals included. `place` is the host that takes
    /// what a binding brings, if any does: what proxies acknowledge of a route without hosts is nothing.
    pub(crate) fn delivery(
        &self,
        route: &Ref,
        lowered: &Lowered,
        attachment: &Attachment,
        place: impl Fn(&Binding) -> Option<HostKey>,
    ) -> Delivery {
        let gateway = &attachment.gateway;
        let hosts: Vec<HostKey> = attachment.bindings.iter().filter_map(place).collect();
        if hosts.is_empty() && !attachment.bindings.is_empty() {
            return Delivery::Pending(format!("no listener that takes it is served: see Gateway {gateway}").into());
        }
        let refused = self.quarantine.verdict(route, lowered, self.world.now);
        let refused = refused.or_else(|| hosts.iter().find_map(|host| self.quarantine.host_verdict(host)));
        refused.unwrap_or_else(|| self.served(gateway, route))
    }

    /// How far the proxies of a Gateway are with an object, refusals apart. In a cluster, where to look for those that are missing.
    pub(crate) fn served(&self, gateway: &NsName, object: &Ref) -> Delivery {
        match (self.fleet.delivery(gateway, object), self.world.settings.exposure) {
            (Delivery::NoProxy(what), Exposure::Service) => {
                Delivery::NoProxy(format!("{what}: {}", look("pods", gateway)).into())
            }
            (delivery, _) => delivery,
        }
    }

    /// An object is written anew, or is wanted no longer.
    pub(crate) fn forget_outcome(&mut self, object: &Ref) {
        if self.outcomes.contains_key(object) {
            Arc::make_mut(&mut self.outcomes).remove(object);
        }
    }

    /// Statuses wait to hear of the proxies that take calls from now on; from the first clock reading if there was none yet.
    pub(crate) fn begin_grace(&mut self, grace: TimeDelta) {
        let now = self.world.now;
        self.grace_until = (now > DateTime::UNIX_EPOCH).then(|| now + grace);
    }

    /// Whether statuses are still held back.
    pub(crate) fn is_in_grace(&self) -> bool {
        self.grace_until.is_none_or(|until| self.world.now < until) && !self.fleet.is_complete()
    }
}
