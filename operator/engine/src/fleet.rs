//! Who serves a Gateway, and how far each of them has come.
//!
//! Connects, acknowledgements and published revisions → the [`Delivery`] of every object, and which objects an event moves.
//!
//! **Invariant:** a proxy counts from its first complete acknowledgement on; one that is still starting changes nothing.
//! **Invariant:** nothing is delivered by proxies alone to which no new calls are sent, such as those of an earlier Gateway of the
//! same name, which are on their way out; but they are waited for like all others, since calls that they have go on.
//! **Invariant:** what is delivered at a generation stays so, whatever proxies join later, as long as one is counted.
//!
//! Knows nothing of what is in a snapshot, and nothing of refusals (see `quarantine`).

use sluice_core::{
    key::{NsName, Ref, Text},
    status::Delivery,
};
use std::collections::{BTreeMap, BTreeSet};

/// The proxies of all Gateways.
#[derive(Clone, Debug, Default)]
pub struct Fleet(BTreeMap<NsName, Squad>);

/// The proxies of one Gateway, and the objects that they serve.
#[derive(Clone, Debug, Default)]
struct Squad {
    proxies: BTreeMap<Text, Proxy>,
    /// Those to which no new calls are sent.
    unready: BTreeSet<Text>,
    /// Known from before a restart and not yet back.
    expected: BTreeSet<Text>,
    /// The latest revision.
    published: u64,
    /// The generation at which each object was last asked to be delivered.
    objects: BTreeMap<Ref, i64>,
    /// The revision that an object waits for; absent once delivered.
    due: BTreeMap<Ref, u64>,
    /// The reverse of `due`.
    waiting: BTreeMap<u64, BTreeSet<Ref>>,
}

/// A proxy by its latest stream: the end of an earlier one may be told after the start of the next.
#[derive(Clone, Copy, Debug, Default)]
struct Proxy {
    stream: u64,
    /// What it has acknowledged; `None` until it is ready. A new stream of a proxy does not take away what it has.
    revision: Option<u64>,
}

impl Squad {
    fn revisions(&self) -> impl Iterator<Item = u64> {
        self.proxies.values().filter_map(|proxy| proxy.revision)
    }

    /// The proxy, unless it has a later stream than this one.
    fn on(&mut self, proxy: Text, stream: u64) -> Option<&mut Proxy> {
        let known = self.proxies.entry(proxy).or_default();
        known.stream = known.stream.max(stream);
        (known.stream == stream).then_some(known)
    }

    /// Whether nobody and nothing is left: whoever opens a stream names any Gateway.
    fn is_vacant(&self) -> bool {
        self.proxies.is_empty() && self.unready.is_empty() && self.expected.is_empty() && self.objects.is_empty()
    }

    /// The proxies that are counted and take new calls.
    fn ready(&self) -> impl Iterator<Item = &Text> {
        let counted = self.proxies.iter().filter(|(_, proxy)| proxy.revision.is_some()).map(|(name, _)| name);
        counted.filter(|name| !self.unready.contains(*name))
    }

    fn is_ready(&self) -> bool {
        self.ready().next().is_some()
    }

    /// The revision that every counted proxy has acknowledged. O(proxies).
    fn floor(&self) -> Option<u64> {
        self.revisions().min()
    }

    /// Takes the objects that wait for nothing any more.
    fn settle(&mut self) -> Vec<Ref> {
        let Some(floor) = self.floor() else { return Vec::new() };
        let mut delivered = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= floor) {
            delivered.extend(entry.remove());
        }
        for object in &delivered {
            self.due.remove(object);
        }
        delivered
    }

    /// Runs `change`, and says which objects it moved: all of them if the Gateway got or lost its only proxy.
    fn moved_by(&mut self, change: impl FnOnce(&mut Self)) -> Vec<Ref> {
        let ready = self.is_ready();
        change(self);
        let delivered = self.settle();
        if ready == self.is_ready() { delivered } else { self.objects.keys().cloned().collect() }
    }

    fn release(&mut self, object: &Ref) {
        let Some(revision) = self.due.remove(object) else { return };
        let emptied = self.waiting.get_mut(&revision).is_some_and(|set| set.remove(object) && set.is_empty());
        if emptied {
            self.waiting.remove(&revision);
        }
    }

    fn await_latest(&mut self, object: &Ref) {
        self.release(object);
        if self.floor().is_none_or(|floor| floor < self.published) {
            self.due.insert(object.clone(), self.published);
            self.waiting.entry(self.published).or_default().insert(object.clone());
        }
    }
}

impl Fleet {
    /// A proxy that served before a restart and is waited for.
    pub(crate) fn expect(&mut self, gateway: &NsName, proxy: Text) {
        self.squad(gateway).expected.insert(proxy);
    }

    /// Nobody is waited for any more. O(Gateways).
    pub(crate) fn expect_nobody(&mut self) {
        self.0.retain(|_, squad| {
            squad.expected.clear();
            !squad.is_vacant()
        });
    }

    /// Whether every expected proxy has come back and is ready. O(Gateways).
    pub(crate) fn is_complete(&self) -> bool {
        self.0.values().all(|squad| squad.expected.is_empty())
    }

    /// A proxy connected: it counts once it is ready.
    pub(crate) fn connected(&mut self, gateway: &NsName, proxy: Text, stream: u64) {
        self.squad(gateway).on(proxy, stream);
    }

    /// A proxy has everything up to `revision`. Returns the objects whose delivery moved, at O(those objects).
    pub(crate) fn synced(&mut self, gateway: &NsName, proxy: Text, stream: u64, revision: u64) -> Vec<Ref> {
        let squad = self.squad(gateway);
        squad.expected.remove(&proxy);
        squad.moved_by(|squad| {
            if let Some(known) = squad.on(proxy, stream) {
                known.revision = known.revision.max(Some(revision));
            }
        })
    }

    /// No new calls are sent to a proxy. Returns the objects whose delivery moved.
    pub(crate) fn unready(&mut self, gateway: &NsName, proxy: Text) -> Vec<Ref> {
        self.squad(gateway).moved_by(|squad| _ = squad.unready.insert(proxy))
    }

    /// New calls are sent to a proxy again. Returns the objects whose delivery moved.
    pub(crate) fn ready(&mut self, gateway: &NsName, proxy: &Text) -> Vec<Ref> {
        self.reduced(gateway, |squad| _ = squad.unready.remove(proxy))
    }

    /// A proxy is gone for good. Returns the objects whose delivery moved.
    pub(crate) fn gone(&mut self, gateway: &NsName, proxy: &Text) -> Vec<Ref> {
        self.reduced(gateway, |squad| {
            squad.unready.remove(proxy);
            squad.proxies.remove(proxy);
        })
    }

    /// A stream of a proxy ended: the proxy is gone if it has no later one. Returns the objects whose delivery moved.
    pub(crate) fn disconnected(&mut self, gateway: &NsName, proxy: &Text, stream: u64) -> Vec<Ref> {
        self.reduced(gateway, |squad| {
            if squad.proxies.get(proxy).is_some_and(|known| known.stream <= stream) {
                squad.proxies.remove(proxy);
            }
        })
    }

    /// Runs a change after which nobody may be left.
    fn reduced(&mut self, gateway: &NsName, change: impl FnOnce(&mut Squad)) -> Vec<Ref> {
        let Some(squad) = self.0.get_mut(gateway) else { return Vec::new() };
        let moved = squad.moved_by(change);
        if squad.is_vacant() {
            self.0.remove(gateway);
        }
        moved
    }

    /// A revision of the Gateway's snapshot is out.
    pub(crate) fn published(&mut self, gateway: &NsName, revision: u64) {
        self.squad(gateway).published = revision;
    }

    /// An object asks to be delivered at `generation` with the latest revision. Nothing happens if it already did.
    pub(crate) fn deliver(&mut self, gateway: &NsName, object: &Ref, generation: i64) {
        let squad = self.squad(gateway);
        if squad.objects.insert(object.clone(), generation) != Some(generation) {
            squad.await_latest(object);
        }
    }

    /// An object that was refused has been mended: it waits for the latest revision again.
    pub(crate) fn redeliver(&mut self, gateway: &NsName, object: &Ref) {
        self.squad(gateway).await_latest(object);
    }

    /// An object is no longer served by the Gateway.
    pub(crate) fn withdraw(&mut self, gateway: &NsName, object: &Ref) {
        if let Some(squad) = self.0.get_mut(gateway) {
            squad.objects.remove(object);
            squad.release(object);
        }
    }

    /// What is left after an object went waits for every counted proxy.
    pub(crate) fn await_withdrawal(&mut self, gateway: &NsName, object: &Ref) {
        self.squad(gateway).await_latest(object);
    }

    /// Whether every counted proxy of a Gateway has what is left; without any, nobody is served what went.
    pub(crate) fn has_withdrawn(&self, gateway: &NsName, object: &Ref) -> bool {
        self.0.get(gateway).is_none_or(|squad| squad.floor().is_none() || !squad.due.contains_key(object))
    }

    /// How far an object has come. Refusals are not known here.
    pub(crate) fn delivery(&self, gateway: &NsName, object: &Ref) -> Delivery {
        let Some(squad) = self.0.get(gateway) else { return no_proxy(gateway) };
        if !squad.is_ready() {
            return no_proxy(gateway);
        }
        if squad.objects.contains_key(object) && !squad.due.contains_key(object) {
            return Delivery::Programmed;
        }
        Delivery::Pending(format!("waiting for the proxies of Gateway {gateway} to acknowledge it").into())
    }

    /// Whether a proxy other than this one has everything up to a revision. O(proxies of the Gateway).
    pub(crate) fn is_with_another(&self, gateway: &NsName, proxy: &Text, revision: u64) -> bool {
        let proxies = self.0.get(gateway).into_iter().flat_map(|squad| &squad.proxies);
        proxies.into_iter().any(|(name, known)| name != proxy && known.revision >= Some(revision))
    }

    /// What every counted proxy of a Gateway has; `None` while none is counted.
    pub(crate) fn floor(&self, gateway: &NsName) -> Option<u64> {
        self.0.get(gateway).and_then(Squad::floor)
    }

    /// How many proxies of a Gateway are ready, and how many are connected.
    pub fn count(&self, gateway: &NsName) -> (usize, usize) {
        self.0.get(gateway).map_or((0, 0), |squad| (squad.ready().count(), squad.proxies.len()))
    }

    fn squad(&mut self, gateway: &NsName) -> &mut Squad {
        self.0.entry(gateway.clone()).or_default()
    }
}

fn no_proxy(gateway: &NsName) -> Delivery {
    Delivery::NoProxy(format!("no proxy of Gateway {gateway} is ready").into())
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Fleet, NsName, Ref};
    use sluice_core::key::Kind;

    fn gateway() -> NsName {
        NsName::new("ns", "gw")
    }

    fn route(name: &str) -> Ref {
        Ref::new(Kind::GrpcRoute, NsName::new("ns", name))
    }

    fn is_programmed(fleet: &Fleet, object: &Ref) -> bool {
        fleet.delivery(&gateway(), object) == Delivery::Programmed
    }

    #[test]
    fn an_object_is_programmed_once_every_counted_proxy_has_its_revision() {
        let (mut fleet, g, a) = (Fleet::default(), gateway(), route("a"));
        fleet.published(&g, 1);
        assert_eq!(fleet.synced(&g, "p1".into(), 1, 1), []);
        assert_eq!(fleet.synced(&g, "p2".into(), 1, 1), []);
        fleet.published(&g, 2);
        fleet.deliver(&g, &a, 7);
        assert!(!is_programmed(&fleet, &a));
        assert_eq!(fleet.synced(&g, "p1".into(), 1, 2), []);
        assert!(!is_programmed(&fleet, &a));
        assert_eq!(fleet.synced(&g, "p2".into(), 1, 2), std::slice::from_ref(&a));
        assert!(is_programmed(&fleet, &a));
    }

    #[test]
    fn scaling_out_moves_no_object() {
        let (mut fleet, g, a) = (Fleet::default(), gateway(), route("a"));
        fleet.published(&g, 1);
        fleet.deliver(&g, &a, 1);
        assert_eq!(fleet.synced(&g, "p1".into(), 1, 1), std::slice::from_ref(&a));
        for proxy in ["p2", "p3", "p4", "p5"] {
            fleet.connected(&g, proxy.into(), 1);
            assert!(is_programmed(&fleet, &a));
            assert_eq!(fleet.synced(&g, proxy.into(), 1, 1), []);
        }
        assert_eq!(fleet.disconnected(&g, &"p1".into(), 1), []);
        assert!(is_programmed(&fleet, &a));
    }

    #[test]
    fn losing_the_last_ready_proxy_moves_every_object_and_getting_one_back_too() {
        let (mut fleet, g) = (Fleet::default(), gateway());
        fleet.published(&g, 3);
        for object in [route("a"), route("b")] {
            fleet.deliver(&g, &object, 1);
        }
        fleet.synced(&g, "p1".into(), 1, 3);
        fleet.connected(&g, "p2".into(), 1);
        assert_eq!(fleet.disconnected(&g, &"p1".into(), 1), [route("a"), route("b")]);
        assert!(!is_programmed(&fleet, &route("a")));
        assert_eq!(fleet.synced(&g, "p2".into(), 1, 3), [route("a"), route("b")]);
        assert!(is_programmed(&fleet, &route("a")));
    }

    #[test]
    fn proxies_that_take_no_new_calls_deliver_nothing_and_are_waited_for() {
        let (mut fleet, g, a) = (Fleet::default(), gateway(), route("a"));
        fleet.published(&g, 1);
        fleet.deliver(&g, &a, 1);
        assert_eq!(fleet.unready(&g, "p".into()), []);
        assert_eq!(fleet.synced(&g, "p".into(), 1, 1), std::slice::from_ref(&a), "whoever waits for it has it");
        assert!(!is_programmed(&fleet, &a));
        assert_eq!(fleet.count(&g), (0, 1));
        assert_eq!(fleet.ready(&g, &"p".into()), std::slice::from_ref(&a));
        assert!(is_programmed(&fleet, &a));
        assert_eq!(fleet.unready(&g, "p".into()), std::slice::from_ref(&a));
        fleet.published(&g, 2);
        fleet.await_withdrawal(&g, &a);
        assert!(!fleet.has_withdrawn(&g, &a), "it still answers the calls that it has");
        fleet.synced(&g, "p".into(), 1, 2);
        assert!(fleet.has_withdrawn(&g, &a));
        fleet.withdraw(&g, &a);
        fleet.gone(&g, &"p".into());
        assert!(fleet.0.is_empty());
    }

    #[test]
    fn what_every_proxy_already_has_waits_for_nothing() {
        let (mut fleet, g, a) = (Fleet::default(), gateway(), route("a"));
        fleet.published(&g, 4);
        fleet.synced(&g, "p".into(), 1, 4);
        fleet.deliver(&g, &a, 1);
        assert!(is_programmed(&fleet, &a));
        fleet.deliver(&g, &a, 1);
        fleet.published(&g, 5);
        fleet.deliver(&g, &a, 1);
        assert!(is_programmed(&fleet, &a), "sticky at its generation");
        fleet.deliver(&g, &a, 2);
        assert!(!is_programmed(&fleet, &a));
    }

    #[test]
    fn the_end_of_an_earlier_stream_leaves_a_proxy_counted() {
        let (mut fleet, g, a) = (Fleet::default(), gateway(), route("a"));
        fleet.published(&g, 1);
        fleet.deliver(&g, &a, 1);
        fleet.connected(&g, "p".into(), 1);
        fleet.synced(&g, "p".into(), 1, 1);
        fleet.connected(&g, "p".into(), 2);
        assert_eq!(fleet.disconnected(&g, &"p".into(), 1), []);
        assert!(is_programmed(&fleet, &a));
        assert_eq!(fleet.disconnected(&g, &"p".into(), 2), [a]);
    }

    #[test]
    fn a_proxy_of_a_gateway_that_nobody_knows_leaves_nothing_behind() {
        let (mut fleet, g) = (Fleet::default(), gateway());
        fleet.connected(&g, "p".into(), 1);
        fleet.disconnected(&g, &"p".into(), 1);
        assert!(fleet.0.is_empty());
    }

    #[test]
    fn an_expected_proxy_is_waited_for_until_it_is_ready() {
        let (mut fleet, g) = (Fleet::default(), gateway());
        fleet.expect(&g, "p".into());
        fleet.connected(&g, "p".into(), 1);
        assert!(!fleet.is_complete());
        fleet.synced(&g, "p".into(), 1, 1);
        assert!(fleet.is_complete());
    }
}
