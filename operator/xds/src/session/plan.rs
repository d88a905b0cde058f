//! What goes now, what waits, and what is settled.
//!
//! pending names → responses, in the order of the types
//!
//! **Invariant:** make before break. A form goes once the clusters that it requires are warm; a resource leaves once no form at the
//! proxy requires it, and a form of unknown content requires everything.
//!
//! Must not know: why a name is pending.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::Session;
use super::channel::{Channel, Doubt, Flight};
use super::gates::Gate;
use crate::message::{Output, Response};
use crate::resource::{Id, Name, PerType, Resource, ResourceType};
use crate::snapshot::Snapshot;

/// What is to be done about a pending name.
enum Verdict {
    /// The proxy has, refused or does not want it.
    Settled,
    /// The proxy has this form from an earlier stream.
    Adopt(Arc<Resource>),
    /// Nobody asks for it any more.
    Forget,
    /// Something must come first.
    Hold,
    /// Something else must come first that counts for itself, or never comes because it was refused.
    Park,
    Send(Arc<Resource>),
    Remove,
}

/// What forms at the proxy still require although the snapshot may not have it.
struct Needed<'a> {
    by_unsettled: FxHashSet<&'a Id>,
    by_outliving: FxHashSet<&'a Id>,
}

impl<'a> Needed<'a> {
    /// Costs O(names under way, pending or refused). Settled forms are those of the snapshot, which is closed.
    fn of(channels: &'a PerType<Channel>) -> Self {
        let by_unsettled = channels.iter().flat_map(|(_, channel)| channel.unsettled()).flat_map(|r| r.requires.iter());
        let by_outliving = channels.iter().flat_map(|(_, channel)| channel.outliving()).flat_map(|r| r.requires.iter());
        Self { by_unsettled: by_unsettled.collect(), by_outliving: by_outliving.collect() }
    }
}

/// What goes in one response; `None` is a removal.
type Items = BTreeMap<Name, Option<Arc<Resource>>>;

impl Session {
    /// Sends all that can go. Each round settles or sends a pending name, so there are at most as many rounds as names.
    pub(super) fn plan(&mut self, out: &mut Vec<Output>) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let mut moved = true;
        while std::mem::take(&mut moved) {
            self.fold(&snapshot);
            for kind in ResourceType::ALL {
                moved |= self.plan_type(kind, &snapshot, out);
            }
        }
        self.say_nothing(&snapshot, out);
        for kind in ResourceType::ALL {
            self.channels.get_mut(kind).share(kind);
        }
    }

    /// Envoy 1.40 waits 15 s for the first word about clusters, and serves nothing meanwhile: where there are none, that is said.
    fn say_nothing(&mut self, snapshot: &Snapshot, out: &mut Vec<Output>) {
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            if self.channels.get(kind).waits_for_nothing() {
                self.send(kind, Items::new(), snapshot, out);
            }
        }
    }

    fn fold(&mut self, snapshot: &Arc<Snapshot>) {
        for kind in ResourceType::ALL {
            // What changes while an answer is awaited stays in the tables. Assignments and clusters that stalled go on.
            let channel = self.channels.get_mut(kind);
            if channel.flights.is_empty() || kind.is_leaf() || channel.flights.iter().all(|flight| flight.stalled) {
                channel.fold(kind, snapshot);
            }
        }
    }

    fn may_send(&self, kind: ResourceType) -> bool {
        let channel = self.channels.get(kind);
        let asked = channel.subscription.asked() || !channel.sponsored.is_empty();
        let free = match channel.flights.back() {
            None => true,
            Some(flight) if flight.stalled => {
                flight.overdue || channel.pending.keys().any(|name| flight.items.contains_key(name))
            }
            Some(_) => {
                kind.is_leaf() && channel.parts.is_empty() && channel.flights.len() < self.config.max_unanswered_leaves
            }
        };
        asked && free && !channel.pending.is_empty()
    }

    /// Settles and sends names of one type; whether any was.
    fn plan_type(&mut self, kind: ResourceType, snapshot: &Snapshot, out: &mut Vec<Output>) -> bool {
        if !self.may_send(kind) {
            return false;
        }
        let needed = OnceCell::new();
        let pending = &self.channels.get(kind).pending;
        let judged = pending.keys().map(|name| (name.clone(), self.judge(kind, name, &needed)));
        let verdicts: Vec<(Name, Verdict)> = judged.collect();
        let (ready, settled) = self.channels.get_mut(kind).apply(verdicts);
        if ready.is_empty() {
            return settled;
        }
        self.send(kind, ready, snapshot, out);
        true
    }

    fn judge<'a>(&'a self, kind: ResourceType, name: &Name, needed: &OnceCell<Needed<'a>>) -> Verdict {
        let channel = self.channels.get(kind);
        let is_host = kind == ResourceType::VirtualHost;
        let gate = if is_host { self.gate(name) } else { Gate::Open };
        let wanted = channel.subscription.wants(name) || channel.sponsored.contains(name);
        if gate == Gate::Waiting && wanted {
            // What the proxy still has may be old, and keep clusters. The gate opens with all hosts pending.
            let has = channel.assumed(name).is_some() || channel.claims(name) || channel.is_under_way(name);
            return if has { Verdict::Park } else { Verdict::Settled };
        }
        let table = self.snapshot.as_ref().map(|snapshot| snapshot.table(kind));
        match table.and_then(|table| table.get(name)).filter(|_| gate == Gate::Open && wanted) {
            Some(resource) => self.judge_form(channel, resource),
            None if !wanted => Verdict::Forget,
            None if channel.assumed(name).is_none() && !channel.doubt.contains_key(name) => Verdict::Settled,
            // The proxy asked for what does not exist: until it is told so, it waits. A refused cluster or listener may be there.
            None if channel.assumed(name).is_none() && !channel.claims(name) && !kind.is_applied_in_part() => {
                Verdict::Remove
            }
            None if channel.assumed(name).is_none() => {
                channel.repair(name).unwrap_or_else(|| self.judge_removal(&Id::new(kind, name.clone()), needed))
            }
            None => self.judge_removal(&Id::new(kind, name.clone()), needed),
        }
    }

    fn judge_form(&self, channel: &Channel, resource: &Arc<Resource>) -> Verdict {
        let name = &resource.id.name;
        let doubt = channel.doubt.get(name);
        let told = doubt.is_none() && channel.assumed(name).is_some_and(|form| form.version == resource.version);
        if channel.refused.get(name) == Some(&resource.version) {
            channel.repair(name).unwrap_or(Verdict::Settled)
        } else if told {
            Verdict::Settled
        } else if doubt == Some(&Doubt::Claimed(Some(resource.version))) {
            Verdict::Adopt(Arc::clone(resource))
        } else if resource.requires.iter().any(|id| self.is_cold(id)) {
            Verdict::Hold
        } else {
            Verdict::Send(Arc::clone(resource))
        }
    }

    /// Whether this is a cluster that the proxy should have, has not, and did not refuse.
    fn is_cold(&self, id: &Id) -> bool {
        let clusters = self.channels.get(ResourceType::Cluster);
        id.kind == ResourceType::Cluster
            && self.snapshot.as_ref().is_some_and(|snapshot| snapshot.get(id).is_some())
            && !(clusters.held.contains_key(&id.name)
                || clusters.claims(&id.name)
                || clusters.refused.contains_key(&id.name))
    }

    fn judge_removal<'a>(&'a self, id: &Id, needed: &OnceCell<Needed<'a>>) -> Verdict {
        let needed = needed.get_or_init(|| Needed::of(&self.channels));
        if needed.by_outliving.contains(id) {
            Verdict::Park
        } else if needed.by_unsettled.contains(id) || self.may_be_required(id) {
            Verdict::Hold
        } else if self.may_outlive(id.kind) {
            Verdict::Park
        } else {
            Verdict::Remove
        }
    }

    /// Whether forms that are unknown and stay could require such a resource.
    fn may_outlive(&self, kind: ResourceType) -> bool {
        let mut others = self.channels.iter().filter(|(other, _)| other.may_require(kind));
        others.any(|(_, channel)| channel.has_unknown_outliving())
    }

    /// Whether forms that are unknown, or were last compared with a snapshot that has it, could require such a resource.
    fn may_be_required(&self, id: &Id) -> bool {
        self.channels.iter().filter(|(other, _)| other.may_require(id.kind)).any(|(_, channel)| {
            let unheard = !channel.subscription.asked() && !self.late;
            let last_had = channel.base.as_ref().is_none_or(|base| base.get(id).is_some());
            unheard || last_had || channel.has_unknown_forms()
        })
    }

    fn send(&mut self, kind: ResourceType, items: Items, snapshot: &Snapshot, out: &mut Vec<Output>) {
        self.nonce += 1;
        let resources: Vec<Arc<Resource>> = items.values().flatten().cloned().collect();
        let removed = items.iter().filter(|(_, item)| item.is_none()).map(|(name, _)| name.clone()).collect();
        let due = (kind == ResourceType::Cluster && !items.is_empty()).then(|| self.warm_by(resources.len()));
        let since = self.channels.get_mut(kind).launch(items, self.nonce, due);
        if kind == ResourceType::Cluster {
            self.sponsor(&resources, since, snapshot);
        }
        out.push(Output::Send(Response { kind, nonce: self.nonce, resources, removed }));
    }

    pub(super) fn warm_by(&self, clusters: usize) -> u64 {
        let clusters = u64::try_from(clusters).unwrap_or(u64::MAX);
        let allowance = self.config.stalled_per_cluster_ms.saturating_mul(clusters);
        self.now.saturating_add(self.config.stalled_after_ms).saturating_add(allowance)
    }

    /// Sends the assignments and secrets of clusters right behind them: Envoy withholds the acknowledgement of a changed cluster for
    /// 15 s when its assignment is not sent again. A new cluster's proxy asks for it, too; what is under way by then is the answer.
    fn sponsor(&mut self, clusters: &[Arc<Resource>], since: u64, snapshot: &Snapshot) {
        for id in clusters.iter().flat_map(|cluster| cluster.requires.iter()) {
            if id.kind.is_leaf() && snapshot.get(id).is_some() {
                let channel = self.channels.get_mut(id.kind);
                channel.sponsored.insert(id.name.clone());
                channel.resend(&id.name, since);
            }
        }
    }
}

impl Channel {
    /// What undoes a refused form: the one before it, or none, even if routes name it: they are answered UNAVAILABLE either way.
    fn repair(&self, name: &Name) -> Option<Verdict> {
        let before = || self.held.get(name).map_or(Verdict::Remove, |form| Verdict::Send(Arc::clone(form)));
        (self.doubt.get(name) == Some(&Doubt::Refused)).then(before)
    }

    /// Carries out the verdicts; what goes now, and whether any name was settled.
    fn apply(&mut self, verdicts: Vec<(Name, Verdict)>) -> (Items, bool) {
        self.parked.clear();
        let before = self.pending.len();
        let mut ready = Items::new();
        for (name, verdict) in verdicts {
            match verdict {
                Verdict::Hold => {}
                Verdict::Park => drop(self.parked.insert(name)),
                // The name of the resource is shared; that of the request goes.
                Verdict::Send(resource) => drop(ready.insert(resource.id.name.clone(), Some(resource))),
                Verdict::Remove => drop(ready.insert(name, None)),
                Verdict::Settled => self.settle(&name),
                Verdict::Adopt(resource) => {
                    self.doubt.remove(&name);
                    self.settle(&name);
                    self.held.insert(resource.id.name.clone(), resource);
                }
                Verdict::Forget => {
                    self.forget(&name);
                    self.settle(&name);
                }
            }
        }
        let settled = self.pending.len() < before;
        (self.alone(ready), settled)
    }

    fn settle(&mut self, name: &Name) {
        self.pending.remove(name);
        self.sponsored.remove(name);
        if self.refused.contains_key(name) && self.doubt.get(name) == Some(&Doubt::Resend) {
            self.doubt.remove(name);
        }
    }

    /// While a culprit is searched, only one part of the search.
    fn alone(&mut self, ready: Items) -> Items {
        let pending = &self.pending;
        match self.parts.take(|name| pending.contains_key(name), |name| ready.contains_key(name)) {
            None => ready,
            Some(part) => only(ready, &part),
        }
    }

    /// Notes a response as under way; the oldest revision in it. One that stalled is taken over by the next.
    fn launch(&mut self, items: Items, nonce: u64, due: Option<u64>) -> u64 {
        self.told = true;
        let mut since = self.folded;
        let mut claims = BTreeMap::new();
        for name in items.keys() {
            since = self.pending.remove(name).map_or(since, |of_name| since.min(of_name));
            self.sponsored.remove(name);
            let doubt = self.doubt.remove(name).filter(|doubt| matches!(doubt, Doubt::Claimed(_)));
            claims.extend(doubt.map(|doubt| (name.clone(), doubt)));
        }
        let stalled =
            if self.flights.back().is_some_and(|flight| flight.stalled) { self.flights.pop_back() } else { None };
        let mut flight = Flight { nonce, items, since, due, overdue: false, stalled: stalled.is_some(), claims };
        if let Some(old) = stalled {
            flight.since = flight.since.min(old.since);
            let newer = std::mem::replace(&mut flight.items, old.items);
            flight.items.extend(newer);
            flight.claims.extend(old.claims);
        }
        self.flights.push_back(flight);
        since
    }
}

fn only(mut items: Items, part: &BTreeSet<Name>) -> Items {
    items.retain(|name, _| part.contains(name));
    items
}
