//! One type on one stream: what the proxy has, what is under way, and what may have to be told.
//!
//! table changes, answers → `pending` names
//!
//! **Invariant:** a name whose form at the proxy may differ from what it should be is pending, under way, or refused in that form.
//!
//! Must not know: other types. Whether and when a pending name goes is decided in `plan`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::bisect::Parts;
use super::subscription::Subscription;
use crate::resource::{Name, Resource, ResourceType, Version};
use crate::snapshot::{Snapshot, Table};

/// Why the proxy is told a name again although its form may be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It claims to have this form from an earlier stream; `None` is a version of somebody else.
    Claimed(Option<Version>),
    /// It asked, or what it did with the last response is unknown.
    Resend,
    /// It refused the last form. What Envoy keeps of a refused cluster holds back every later answer of the type, so the name is
    /// told again at once: as it was before, or as removed.
    Refused,
}

/// A response without an answer.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) nonce: u64,
    /// `None` is a removal.
    pub(super) items: BTreeMap<Name, Option<Arc<Resource>>>,
    /// The oldest revision of which something is in it.
    pub(super) since: u64,
    /// When it is taken as stalled, on the clock of the session; `None` once its proxy was told of.
    pub(super) due: Option<u64>,
    /// Its time has passed: the next response need not wait for its answer.
    pub(super) overdue: bool,
    /// It was not answered in time, or took over one that was not.
    pub(super) stalled: bool,
    /// The claimed forms that it replaces.
    pub(super) claims: BTreeMap<Name, Doubt>,
}

/// The state of one type.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) subscription: Subscription,
    /// Something was sent on this stream, or on an earlier one.
    pub(super) told: bool,
    /// The revision whose changes are in `pending`.
    pub(super) folded: u64,
    /// The snapshot of that revision.
    pub(super) base: Option<Arc<Snapshot>>,
    /// What the proxy acknowledged. Shares its nodes with the snapshot's table whenever the two are equal.
    pub(super) held: Table,
    pub(super) doubt: BTreeMap<Name, Doubt>,
    /// Names to look at, each with the oldest revision that needs it.
    pub(super) pending: BTreeMap<Name, u64>,
    pub(super) refused: BTreeMap<Name, Version>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) parts: Parts,
    /// Names that a cluster under way needs, subscribed to or not.
    pub(super) sponsored: BTreeSet<Name>,
    /// Pending names that wait for what counts for itself or was refused, so they do not hold back `Synced`.
    pub(super) parked: BTreeSet<Name>,
}

impl Channel {
    pub(super) fn touch(&mut self, name: &Name, since: u64) {
        self.parked.remove(name);
        self.pending.entry(name.clone()).or_insert(since);
    }

    /// Tells a name again whatever the proxy has; a claimed form stays one of unknown content.
    pub(super) fn resend(&mut self, name: &Name, since: u64) {
        let doubt = match self.doubt.get(name) {
            Some(Doubt::Claimed(_)) => Doubt::Claimed(None),
            Some(Doubt::Refused) => Doubt::Refused,
            Some(Doubt::Resend) | None => Doubt::Resend,
        };
        self.doubt.insert(name.clone(), doubt);
        self.touch(name, since);
    }

    /// Notes that the refused form of a name may be kept in part. A claimed form stays one of unknown content, and a form that was
    /// held is no repair once it is refused itself.
    pub(super) fn spoil(&mut self, name: &Name) {
        if self.held.get(name).map(|form| form.version) == self.refused.get(name).copied() {
            self.held.remove(name);
        }
        let doubt = if self.claims(name) { Doubt::Claimed(None) } else { Doubt::Refused };
        self.doubt.insert(name.clone(), doubt);
    }

    /// The form that the proxy has, or will have once all that is under way has arrived.
    pub(super) fn assumed(&self, name: &Name) -> Option<&Arc<Resource>> {
        let under_way = self.flights.iter().rev().find_map(|flight| flight.items.get(name));
        under_way.map_or_else(|| self.held.get(name), Option::as_ref)
    }

    /// Whether the proxy asked for everything and nothing was or will be sent, since there is nothing.
    pub(super) fn waits_for_nothing(&self) -> bool {
        self.subscription.is_for_everything() && !self.told && self.pending.is_empty()
    }

    pub(super) fn is_under_way(&self, name: &Name) -> bool {
        self.flights.iter().any(|flight| flight.items.contains_key(name))
    }

    /// Whether a form of a leaf is under way, which can go before anybody asks for it. A proxy answers what it has seen before it asks
    /// for more: one that asks meanwhile without answering anything will see that form when it waits for it.
    pub(super) fn is_coming(&self, kind: ResourceType, name: &Name) -> bool {
        kind.is_leaf() && self.flights.iter().any(|flight| matches!(flight.items.get(name), Some(Some(_))))
    }

    pub(super) fn claims(&self, name: &Name) -> bool {
        matches!(self.doubt.get(name), Some(Doubt::Claimed(_)))
    }

    /// Whether this proxy has, gets or asked for the name.
    fn concerns(&self, name: &Name) -> bool {
        self.subscription.wants(name)
            || self.held.contains_key(name)
            || self.doubt.contains_key(name)
            || self.is_under_way(name)
    }

    /// Makes the changes up to `snapshot` pending. Costs O(changes · log n): shared nodes of the tables are skipped.
    pub(super) fn fold(&mut self, kind: ResourceType, snapshot: &Arc<Snapshot>) {
        if self.folded == snapshot.revision() {
            return;
        }
        let next = snapshot.table(kind);
        let names: Vec<Name> = if snapshot.previous() == self.folded {
            snapshot.changed().iter().filter(|id| id.kind == kind).map(|id| id.name.clone()).collect()
        } else {
            let empty = Table::new();
            let base = self.base.as_ref().map_or(&empty, |base| base.table(kind));
            base.diff(next).map(|item| changed_name(&item).clone()).collect()
        };
        let since = self.folded + 1;
        for name in names {
            self.refused.remove(&name);
            if self.concerns(&name) {
                self.touch(&name, since);
            }
        }
        self.base = Some(Arc::clone(snapshot));
        self.folded = snapshot.revision();
    }

    /// Forgets a name that the proxy no longer asks for.
    pub(super) fn forget(&mut self, name: &Name) {
        self.held.remove(name);
        self.doubt.remove(name);
        self.refused.remove(name);
    }

    /// Takes out the response with this nonce, and commits those before it: a proxy answers the responses of a type in order.
    pub(super) fn answered(&mut self, nonce: u64) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.nonce == nonce)?;
        let before: Vec<Flight> = self.flights.drain(..at).collect();
        for flight in before {
            self.commit(flight);
        }
        self.flights.pop_front()
    }

    /// The proxy has applied all of it.
    pub(super) fn commit(&mut self, flight: Flight) {
        for (name, item) in flight.items {
            match item {
                Some(resource) if self.subscription.wants(&name) => drop(self.held.insert(name, resource)),
                _ => drop(self.held.remove(&name)),
            }
        }
    }

    /// Shares the table of the snapshot again once the proxy has exactly that, and lets go of what was needed until then.
    pub(super) fn share(&mut self, kind: ResourceType) {
        let Some(table) = self.base.as_ref().map(|base| base.table(kind)) else { return };
        let settled =
            self.pending.is_empty() && self.flights.is_empty() && self.doubt.is_empty() && self.refused.is_empty();
        if settled && self.held.len() == table.len() && !self.held.ptr_eq(table) {
            self.held = table.clone();
            self.subscription.share(table);
            // Each keeps a node or a row for the next entry.
            (self.pending, self.doubt, self.flights) = Default::default();
        }
    }

    /// The revision through which nothing is missing.
    pub(super) fn acknowledged(&self) -> u64 {
        let waiting = self.pending.iter().filter(|(name, _)| !self.parked.contains(*name)).map(|(_, since)| *since);
        let under_way = self.flights.iter().map(|flight| flight.since);
        waiting.chain(under_way).min().map_or(self.folded, |since| since.saturating_sub(1))
    }

    /// The forms that may differ from the snapshot's: those that can still name what the snapshot no longer has.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let names = self.pending.keys().chain(self.doubt.keys());
        let held = names.filter_map(|name| self.held.get(name)).chain(self.outliving());
        held.chain(self.flights.iter().flat_map(|flight| self.around(flight)))
    }

    /// The forms that stay because a newer one was refused, and those that stay for them.
    pub(super) fn outliving(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.refused.keys().chain(&self.parked).filter_map(|name| self.held.get(name))
    }

    /// The forms before and after a response.
    fn around<'a>(&'a self, flight: &'a Flight) -> impl Iterator<Item = &'a Arc<Resource>> {
        let before = flight.items.keys().filter_map(|name| self.held.get(name));
        before.chain(flight.items.values().filter_map(Option::as_ref))
    }

    /// Whether there are forms of which only a claim is known and which will be replaced.
    pub(super) fn has_unknown_forms(&self) -> bool {
        let claimed = self.claimed().any(|name| !self.outlives(name));
        claimed || self.flights.iter().any(|flight| !flight.claims.is_empty())
    }

    /// Whether there are forms of which only a claim is known and which stay because a newer one was refused.
    pub(super) fn has_unknown_outliving(&self) -> bool {
        self.claimed().any(|name| self.outlives(name))
    }

    fn outlives(&self, name: &Name) -> bool {
        self.refused.contains_key(name) || self.parked.contains(name)
    }

    fn claimed(&self) -> impl Iterator<Item = &Name> {
        self.doubt.iter().filter(|(_, doubt)| matches!(doubt, Doubt::Claimed(_))).map(|(name, _)| name)
    }
}

const fn changed_name<'a>(item: &imbl::ordmap::DiffItem<'a, 'a, Name, Arc<Resource>>) -> &'a Name {
    use imbl::ordmap::DiffItem;
    match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    }
}
