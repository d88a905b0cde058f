//! One ADS stream of one proxy.
//!
//! [`Input`] + time → [`Output`]s
//!
//! **Invariant:** at most one response of a type is unanswered, except assignments and secrets, which never wait, and clusters
//! after they stalled.
//! **Invariant:** memory is that of the names under way or refused: what the proxy has is shared with the snapshot, and changes for a
//! reader that does not answer are not collected but found later as the difference of two tables.
//!
//! Must not know: what the resources mean. Order follows from types and from `requires`.

mod bisect;
mod channel;
mod gates;
mod names;
mod plan;
mod subscription;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use channel::{Channel, Doubt, Flight};
use gates::Gates;
use subscription::Moved;

use crate::message::{Event, Input, Output, Request};
use crate::resource::{Id, Name, PerType, Resource, ResourceType, Version};
use crate::snapshot::Snapshot;

/// Bounds of a session, in milliseconds and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A stream without a request for clusters for so long is sent them unasked: Envoy does not ask on a reconnect after a cluster
    /// wedged its previous stream. Types not asked for by then are taken as not used, so that removals need not wait for them.
    pub unasked_after_ms: u64,
    /// A response with clusters that is unanswered for so long is stalled; more than a cluster needs to warm.
    pub stalled_after_ms: u64,
    /// Further time to warm for each cluster in the response. Envoy needs about one millisecond at 10,000 clusters.
    pub stalled_per_cluster_ms: u64,
    /// So many responses with assignments, or with secrets, may be unanswered; then changes coalesce.
    pub max_unanswered_leaves: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { unasked_after_ms: 1_000, stalled_after_ms: 2_000, stalled_per_cluster_ms: 2, max_unanswered_leaves: 32 }
    }
}

/// The state of one stream.
#[derive(Debug)]
pub struct Session {
    config: Config,
    channels: PerType<Channel>,
    gates: Gates,
    snapshot: Option<Arc<Snapshot>>,
    /// What acknowledged listeners and extensions require and the proxy has not yet taken, each with the revision that needs it.
    awaited: BTreeMap<Id, u64>,
    nonce: u64,
    synced: u64,
    started: Option<u64>,
    now: u64,
    /// `unasked_after_ms` have passed.
    late: bool,
}

impl Session {
    /// A stream that was just opened.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            channels: PerType::default(),
            gates: Gates::default(),
            snapshot: None,
            awaited: BTreeMap::new(),
            nonce: 0,
            synced: 0,
            started: None,
            now: 0,
            late: false,
        }
    }

    /// Takes one input at `now_ms`, on any clock that never goes back. The first step starts the stream.
    ///
    /// Costs O((names changed, pending or under way) · log n). Nothing is sent before the first snapshot: without one, nobody
    /// knows what to remove.
    pub fn step(&mut self, input: Input, now_ms: u64) -> Vec<Output> {
        self.now = self.now.max(now_ms);
        self.started.get_or_insert(self.now);
        let mut out = Vec::new();
        match input {
            Input::Request(request) => self.request(&request, &mut out),
            Input::Snapshot(snapshot) => self.adopt(snapshot),
            Input::Tick => {}
        }
        self.expire(&mut out);
        self.plan(&mut out);
        self.report(&mut out);
        out
    }

    /// When the next [`Input::Tick`] is wanted, on the clock of [`Self::step`].
    pub fn deadline(&self) -> Option<u64> {
        let unasked = self.started.filter(|_| !self.late).map(|started| started + self.config.unasked_after_ms);
        let stalled = self.channels.get(ResourceType::Cluster).flights.iter().filter_map(|flight| flight.due);
        stalled.chain(unasked).min()
    }

    fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        if self.snapshot.as_ref().is_none_or(|old| old.revision() < snapshot.revision()) {
            self.snapshot = Some(snapshot);
        }
    }

    /// The revision from which something that the proxy asks for again counts as missing.
    const fn anew(&self) -> u64 {
        self.synced + 1
    }

    fn request(&mut self, request: &Request, out: &mut Vec<Output>) {
        let kind = request.kind;
        let channel = self.channels.get_mut(kind);
        let moved = channel.subscription.take(request);
        if moved.first {
            self.claim(request);
        }
        self.follow(kind, &moved);
        if kind == ResourceType::RouteConfiguration {
            self.follow_gates(&moved);
        }
        if let Ok(nonce) = request.nonce.parse() {
            self.answer(kind, nonce, request.error.as_deref(), out);
        }
    }

    /// Notes what the proxy claims to have from an earlier stream.
    fn claim(&mut self, request: &Request) {
        let since = self.anew();
        let channel = self.channels.get_mut(request.kind);
        channel.told |= !request.initial_versions.is_empty();
        for (name, version) in &request.initial_versions {
            if channel.assumed(name).is_none() {
                channel.doubt.insert(name.clone(), Doubt::Claimed(Version::parse(version)));
                channel.touch(name, since);
            }
        }
    }

    /// Makes pending what a changed subscription concerns.
    fn follow(&mut self, kind: ResourceType, moved: &Moved) {
        let since = self.anew();
        if moved.opened {
            self.open(kind);
        }
        let channel = self.channels.get_mut(kind);
        for name in &moved.subscribed {
            if moved.first && channel.claims(name) {
                continue;
            }
            if moved.fresh.contains(name) && channel.is_coming(kind, name) {
                channel.touch(name, since);
            } else {
                channel.resend(name, since);
            }
        }
        for name in &moved.unsubscribed {
            // Under a subscription to everything, the proxy cannot tell whether it still gets this one.
            if channel.subscription.wants(name) {
                channel.resend(name, since);
            } else {
                channel.touch(name, since);
            }
        }
        if moved.closed {
            let known: Vec<Name> = channel.held.keys().chain(channel.doubt.keys()).cloned().collect();
            for name in &known {
                channel.touch(name, since);
            }
        }
    }

    /// Makes every resource of a type pending.
    fn open(&mut self, kind: ResourceType) {
        let since = self.anew();
        let Some(snapshot) = &self.snapshot else { return };
        let channel = self.channels.get_mut(kind);
        for name in snapshot.table(kind).keys() {
            channel.touch(name, since);
        }
    }

    fn answer(&mut self, kind: ResourceType, nonce: u64, error: Option<&str>, out: &mut Vec<Output>) {
        let Some(flight) = self.channels.get_mut(kind).answered(nonce) else { return };
        match error {
            None => self.accept(kind, flight),
            Some(message) => self.refuse(kind, flight, message, out),
        }
    }

    fn accept(&mut self, kind: ResourceType, flight: Flight) {
        let taken: Vec<Arc<Resource>> = flight.items.values().flatten().cloned().collect();
        self.await_requirements(kind, &taken, flight.since);
        self.channels.get_mut(kind).commit(flight);
        if kind == ResourceType::RouteConfiguration {
            for resource in &taken {
                self.open_gate(&resource.id.name);
            }
        }
    }

    /// A listener is acknowledged before the proxy asks for what it names; until then it is not complete.
    /// A cluster is acknowledged once it is warm: it waits for nothing more.
    fn await_requirements(&mut self, kind: ResourceType, taken: &[Arc<Resource>], since: u64) {
        if kind == ResourceType::Cluster {
            return;
        }
        for id in taken.iter().flat_map(|resource| resource.requires.iter()) {
            if !id.kind.is_wildcard_by_default() {
                self.awaited.entry(id.clone()).or_insert(since);
            }
        }
    }

    /// Refuses the culprit, or queues smaller parts until it stands alone.
    fn refuse(&mut self, kind: ResourceType, flight: Flight, message: &str, out: &mut Vec<Output>) {
        let channel = self.channels.get_mut(kind);
        let sent: Vec<Arc<Resource>> = flight.items.values().flatten().cloned().collect();
        if sent.is_empty() {
            // A proxy that refuses a removal would refuse it for ever.
            channel.commit(flight);
            return;
        }
        flight.items.keys().for_each(|name| channel.touch(name, flight.since));
        channel.doubt.extend(flight.claims.clone());
        for resource in &sent {
            let name = &resource.id.name;
            if kind.is_applied_in_part() || channel.held.get(name).is_some_and(|held| held.version == resource.version)
            {
                channel.doubt.entry(name.clone()).or_insert(Doubt::Resend);
            }
        }
        let names: Vec<Name> = sent.iter().map(|resource| resource.id.name.clone()).collect();
        let culprit = if let [only] = names.as_slice() { Some(only) } else { bisect::named(message, &names) };
        match culprit {
            None => channel.parts.halve(&names),
            Some(culprit) => {
                let spoilt = kind == ResourceType::Cluster;
                let next: Vec<Name> = names.iter().filter(|name| spoilt || *name != culprit).cloned().collect();
                channel.parts.first(&next);
                sent.iter().filter(|resource| resource.id.name == *culprit).for_each(|resource| {
                    channel.refused.insert(culprit.clone(), resource.version);
                    out.push(Output::Event(refused(resource, message)));
                });
                if spoilt {
                    channel.spoil(culprit);
                }
            }
        }
        let removed: Vec<Name> =
            flight.items.iter().filter(|(_, item)| item.is_none()).map(|(n, _)| n.clone()).collect();
        for name in &removed {
            // Who asked for what does not exist is still to be told so.
            channel.doubt.entry(name.clone()).or_insert(Doubt::Resend);
        }
        channel.parts.first(&removed);
    }

    /// What time alone brings about.
    fn expire(&mut self, out: &mut Vec<Output>) {
        let waited = self.started.map_or(0, |started| self.now - started) >= self.config.unasked_after_ms;
        if waited && !std::mem::replace(&mut self.late, true) {
            self.touch_claimed_hosts();
        }
        let clusters = self.channels.get_mut(ResourceType::Cluster);
        if self.late && self.snapshot.is_some() && !clusters.subscription.asked() {
            clusters.subscription.assume_everything();
            // Envoy that does not ask is past its start: it does not wait for a first word.
            clusters.told = true;
            self.open(ResourceType::Cluster);
        }
        self.stall(out);
    }

    /// A proxy that asked for every assignment is slow and gets the same time again. One that did not ask for some may wait for a
    /// cluster that it will never warm: those are told.
    fn stall(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        let assignments = self.channels.get(ResourceType::Assignment);
        let unasked = |resource: &&Arc<Resource>| {
            let mut needs = resource.requires.iter().filter(|id| id.kind == ResourceType::Assignment);
            needs.any(|id| !assignments.subscription.names(&id.name))
        };
        let flights = &self.channels.get(ResourceType::Cluster).flights;
        let Some(flight) = flights.iter().find(|flight| flight.due.is_some_and(|due| due <= now)) else { return };
        let sent = flight.items.values().flatten();
        let forms: Vec<(Id, Version)> =
            sent.clone().filter(unasked).map(|resource| (resource.id.clone(), resource.version)).collect();
        let due = forms.is_empty().then(|| self.warm_by(sent.count()));
        if due.is_none() {
            out.push(Output::Event(Event::Stalled { forms }));
        }
        for flight in &mut self.channels.get_mut(ResourceType::Cluster).flights {
            (flight.due, flight.overdue, flight.stalled) = (due, true, true);
        }
    }

    /// Tells how far the proxy is, when that moved.
    fn report(&mut self, out: &mut Vec<Output>) {
        let Some(snapshot) = &self.snapshot else { return };
        let channels = &self.channels;
        self.awaited.retain(|id, _| {
            let channel = channels.get(id.kind);
            let settled = channel.held.contains_key(&id.name) || channel.refused.contains_key(&id.name);
            snapshot.get(id).is_some() && !settled
        });
        let unasked = [ResourceType::Cluster, ResourceType::Listener]
            .into_iter()
            .any(|kind| !channels.get(kind).subscription.asked() && !snapshot.table(kind).is_empty());
        let awaited = self.awaited.values().map(|since| since.saturating_sub(1));
        let through =
            channels.iter().map(|(_, channel)| channel.acknowledged()).chain(awaited).min().unwrap_or_default();
        if through > self.synced && !unasked {
            self.synced = through;
            out.push(Output::Event(Event::Synced { revision: through }));
        }
    }
}

fn refused(resource: &Resource, message: &str) -> Event {
    Event::Refused { id: resource.id.clone(), version: resource.version, message: message.to_owned() }
}
