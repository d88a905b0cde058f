//! Who serves a Gateway, and how far each of them has come.
//!
//! Connects, acknowledgements, published revisions and what becomes of pods → the [`Delivery`] of every object, and which objects an
//! event moves.
//!
//! **Invariant:** a proxy counts from its first complete acknowledgement on; one that is still starting changes nothing.
//! **Invariant:** a proxy counts for as long as its pod takes calls, whether it is connected or cut off from here: callers reach it.
//! **Invariant:** nothing is delivered by proxies alone to which no new calls are sent, such as those of an earlier Gateway of the
//! same name, which are on their way out; but they are waited for while they are connected, since calls that they have go on.
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
    is_connected: bool,
    pod: Pod,
    has: Has,
}

/// What is known of a proxy's pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pod {
    /// Nothing, such as where there are no pods: calls are sent to whoever is connected.
    #[default]
    Unknown,
    TakesCalls,
    /// No new calls are sent to it.
    TakesNone,
}

/// The revision that a proxy has. A new stream does not take it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Has {
    /// It is not ready.
    #[default]
    Nothing,
    /// It takes calls, and what it has was not said to this process: that much, by what whoever led before was told.
    Presumed(u64),
    Acknowledged(u64),
}

impl Proxy {
    /// What is waited for it to have, if it is counted.
    fn revision(&self) -> Option<u64> {
        match self.has {
            Has::Presumed(revision) | Has::Acknowledged(revision) if self.is_connected || self.takes_calls() => {
                Some(revision)
            }
            _ => None,
        }
    }

    /// What it said itself, on the stream that is open or on one before: of a process that was started again meanwhile, nobody knows.
    fn heard(&self) -> Option<u64> {
        match self.has {
            Has::Acknowledged(revision) if self.is_connected => Some(revision),
            _ => None,
        }
    }

    fn takes_calls(&self) -> bool {
        self.pod == Pod::TakesCalls
    }

    /// Whether callers reach it and nobody here does.
    fn is_cut_off(&self) -> bool {
        self.takes_calls() && !self.is_connected
    }

    /// Callers may be answered by anything: what is delivered stays so, and what is due waits.
    fn presume_nothing(&mut self) {
        if self.is_cut_off() && self.has == Has::Nothing {
            self.has = Has::Presumed(0);
        }
    }
}

impl Squad {
    /// Takes note of a stream of a proxy; `None` if the proxy has a later one.
    fn on(&mut self, proxy: Text, stream: u64) -> Option<&mut Proxy> {
        let known = self.proxies.entry(proxy).or_default();
        if known.stream > stream {
            return None;
        }
        (known.stream, known.is_connected) = (stream, true);
        Some(known)
    }

    /// Whether nobody and nothing is left: whoever opens a stream names any Gateway.
    fn is_vacant(&self) -> bool {
        self.proxies.is_empty() && self.objects.is_empty()
    }

    /// The proxies that are counted and take new calls.
    fn ready(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values().filter(|proxy| proxy.revision().is_some() && proxy.pod != Pod::TakesNone)
    }

    fn is_ready(&self) -> bool {
        self.ready().next().is_some()
    }

    /// The revision that every counted proxy has. O(proxies).
    fn floor(&self) -> Option<u64> {
        self.proxies.values().filter_map(Proxy::revision).min()
    }

    /// The counted proxies that nobody here reaches, and what they have. O(proxies).
    fn cut_off(&self) -> BTreeMap<Text, u64> {
        let cut_off = self.proxies.iter().filter(|(_, proxy)| proxy.is_cut_off());
        cut_off.filter_map(|(name, proxy)| Some((name.clone(), proxy.revision()?))).collect()
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

    /// Runs `change`, and says which objects it moved: all of them if the Gateway got or lost its only proxy, and those that wait if
    /// other proxies are cut off than before, since their words name these. O(proxies + moved objects).
    fn moved_by(&mut self, change: impl FnOnce(&mut Self)) -> Vec<Ref> {
        let (ready, before) = (self.is_ready(), self.cut_off());
        change(self);
        let mut moved = self.settle();
        if ready != self.is_ready() {
            return self.objects.keys().cloned().collect();
        }
        if before != self.cut_off() {
            moved.extend(self.due.keys().cloned());
        }
        moved
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
            self.owe(object);
        }
    }

    fn owe(&mut self, object: &Ref) {
        self.due.insert(object.clone(), self.published);
        self.waiting.entry(self.published).or_default().insert(object.clone());
    }
}

impl Fleet {
    /// Whoever begins to write has heard of no proxy: those that take calls are presumed to have what was said to be delivered at its
    /// generation, and everything else is waited for. O(objects · log objects + proxies), of Gateways with such a proxy.
    pub(crate) fn presume(&mut self, was_said: impl Fn(&NsName, &Ref, i64) -> bool) {
        for (gateway, squad) in &mut self.0 {
            if !squad.proxies.values().any(Proxy::is_cut_off) {
                continue;
            }
            let before = Has::Presumed(squad.published.saturating_sub(1));
            squad.proxies.values_mut().filter(|proxy| proxy.is_cut_off()).for_each(|proxy| proxy.has = before);
            for (object, generation) in squad.objects.clone() {
                squad.release(&object);
                if !was_said(gateway, &object, generation) {
                    squad.owe(&object);
                }
            }
        }
    }

    /// Nobody is connected any more: another process leads. Returns the objects whose delivery moved. O(proxies of all Gateways).
    pub(crate) fn abandon(&mut self) -> Vec<Ref> {
        let mut moved = Vec::new();
        for squad in self.0.values_mut() {
            moved.extend(squad.moved_by(|squad| {
                squad.proxies.retain(|_, proxy| proxy.pod != Pod::Unknown);
                for proxy in squad.proxies.values_mut() {
                    (proxy.is_connected, proxy.has) = (false, Has::Nothing);
                }
            }));
        }
        self.0.retain(|_, squad| !squad.is_vacant());
        moved
    }

    /// Whether every proxy that takes calls has been heard of. O(proxies of all Gateways).
    pub(crate) fn is_complete(&self) -> bool {
        let mut proxies = self.0.values().flat_map(|squad| squad.proxies.values());
        proxies.all(|proxy| !proxy.takes_calls() || matches!(proxy.has, Has::Acknowledged(_)))
    }

    /// A proxy connected: it counts once it is ready. Returns the objects whose delivery moved.
    pub(crate) fn connected(&mut self, gateway: &NsName, proxy: Text, stream: u64) -> Vec<Ref> {
        self.squad(gateway).moved_by(|squad| _ = squad.on(proxy, stream))
    }

    /// A proxy has everything up to `revision`. Returns the objects whose delivery moved, at O(those objects + proxies of the Gateway).
    pub(crate) fn synced(&mut self, gateway: &NsName, proxy: Text, stream: u64, revision: u64) -> Vec<Ref> {
        self.squad(gateway).moved_by(|squad| {
            if let Some(known) = squad.on(proxy, stream) {
                known.has = match known.has {
                    Has::Acknowledged(earlier) => Has::Acknowledged(earlier.max(revision)),
                    Has::Nothing | Has::Presumed(_) => Has::Acknowledged(revision),
                };
            }
        })
    }

    /// No new calls are sent to a proxy. Returns the objects whose delivery moved.
    pub(crate) fn unready(&mut self, gateway: &NsName, proxy: Text) -> Vec<Ref> {
        self.squad(gateway).moved_by(|squad| squad.proxies.entry(proxy).or_default().pod = Pod::TakesNone)
    }

    /// New calls are sent to a proxy. Returns the objects whose delivery moved.
    pub(crate) fn ready(&mut self, gateway: &NsName, proxy: Text) -> Vec<Ref> {
        self.squad(gateway).moved_by(|squad| {
            let known = squad.proxies.entry(proxy).or_default();
            known.pod = Pod::TakesCalls;
            known.presume_nothing();
        })
    }

    /// A proxy is gone for good. Returns the objects whose delivery moved.
    pub(crate) fn gone(&mut self, gateway: &NsName, proxy: &Text) -> Vec<Ref> {
        self.reduced(gateway, |squad| _ = squad.proxies.remove(proxy))
    }

    /// A stream of a proxy ended. If the proxy has no later one, it is gone, unless its pod takes calls. Returns the objects whose
    /// delivery moved.
    pub(crate) fn disconnected(&mut self, gateway: &NsName, proxy: &Text, stream: u64) -> Vec<Ref> {
        self.reduced(gateway, |squad| {
            let Some(known) = squad.proxies.get_mut(proxy).filter(|known| known.stream <= stream) else { return };
            known.is_connected = false;
            match known.pod {
                Pod::Unknown => _ = squad.proxies.remove(proxy),
                Pod::TakesNone => known.has = Has::Nothing,
                Pod::TakesCalls => known.presume_nothing(),
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
        let Some(squad) = self.0.get(gateway).filter(|squad| squad.is_ready()) else {
            return Delivery::NoProxy(format!("no proxy of Gateway {gateway} is ready").into());
        };
        let due = squad.due.get(object).copied();
        if due.is_none() && squad.objects.contains_key(object) {
            return Delivery::Programmed;
        }
        let is_behind = |proxy: &Proxy| proxy.is_cut_off() && proxy.revision() < due;
        let what = match squad.proxies.iter().find(|(_, proxy)| is_behind(proxy)) {
            Some((proxy, _)) => {
                format!("waiting for pod {proxy} of Gateway {gateway}: it takes calls, and has no connection to Sluice")
            }
            None => format!("waiting for the proxies of Gateway {gateway} to acknowledge it"),
        };
        Delivery::Pending(what.into())
    }

    /// Whether a proxy other than this one said that it has everything up to a revision. O(proxies of the Gateway).
    pub(crate) fn is_with_another(&self, gateway: &NsName, proxy: &Text, revision: u64) -> bool {
        let proxies = self.0.get(gateway).into_iter().flat_map(|squad| &squad.proxies);
        proxies.into_iter().any(|(name, known)| name != proxy && known.heard() >= Some(revision))
    }

    /// What every connected proxy of a Gateway that is ready has said to have; `None` while there is none. One that is cut off is not
    /// waited for: what is tried on the others must not hang on it.
    pub(crate) fn heard(&self, gateway: &NsName) -> Option<u64> {
        self.0.get(gateway)?.proxies.values().filter_map(Proxy::heard).min()
    }

    /// How many proxies of a Gateway are ready, and how many are connected.
    pub fn count(&self, gateway: &NsName) -> (usize, usize) {
        let connected = |squad: &Squad| squad.proxies.values().filter(|proxy| proxy.is_connected).count();
        self.0.get(gateway).map_or((0, 0), |squad| (squad.ready().count(), connected(squad)))
    }

    fn squad(&mut self, gateway: &NsName) -> &mut Squad {
        self.0.entry(gateway.clone()).or_default()
    }
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
        assert_eq!(fleet.ready(&g, "p".into()), std::slice::from_ref(&a));
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
    fn a_proxy_that_is_cut_off_counts_for_as_long_as_its_pod_takes_calls() {
        let (mut fleet, g, a, b) = (Fleet::default(), gateway(), route("a"), route("b"));
        fleet.published(&g, 1);
        for proxy in ["p", "q"] {
            fleet.ready(&g, proxy.into());
            fleet.synced(&g, proxy.into(), 1, 1);
        }
        fleet.deliver(&g, &a, 1);
        assert_eq!(fleet.disconnected(&g, &"p".into(), 1), []);
        assert_eq!(fleet.count(&g), (2, 1));
        assert!(is_programmed(&fleet, &a), "it has it");
        fleet.published(&g, 2);
        fleet.deliver(&g, &b, 1);
        assert_eq!(fleet.synced(&g, "q".into(), 1, 2), []);
        assert_eq!(fleet.heard(&g), Some(2), "what is tried does not hang on it");
        let Delivery::Pending(what) = fleet.delivery(&g, &b) else { panic!("it answers callers as before") };
        assert!(what.contains("pod p of Gateway ns/gw"), "{what}");
        assert_eq!(fleet.connected(&g, "p".into(), 2), std::slice::from_ref(&b), "the words are others");
        assert_eq!(fleet.disconnected(&g, &"p".into(), 2), std::slice::from_ref(&b));
        assert_eq!(fleet.unready(&g, "p".into()), std::slice::from_ref(&b));
        assert!(is_programmed(&fleet, &b), "nobody is sent to it");
        fleet.ready(&g, "p".into());
        fleet.deliver(&g, &b, 2);
        assert!(!is_programmed(&fleet, &b), "what it had is known");
        assert_eq!(fleet.gone(&g, &"p".into()), std::slice::from_ref(&b));
        assert!(is_programmed(&fleet, &b));
    }

    #[test]
    fn a_proxy_that_takes_calls_and_is_not_heard_of_is_presumed_to_have_what_was_published_before() {
        let (mut fleet, g, a, b) = (Fleet::default(), gateway(), route("a"), route("b"));
        fleet.ready(&g, "p".into());
        fleet.published(&g, 1);
        fleet.deliver(&g, &a, 1);
        assert!(!fleet.is_complete());
        fleet.deliver(&g, &route("c"), 1);
        fleet.presume(|_, object, _| *object == a);
        assert!(!fleet.is_complete() && is_programmed(&fleet, &a));
        assert!(!is_programmed(&fleet, &route("c")), "whoever led before did not say so");
        fleet.published(&g, 2);
        fleet.deliver(&g, &b, 1);
        assert!(!is_programmed(&fleet, &b));
        fleet.connected(&g, "p".into(), 1);
        assert!(!fleet.is_complete());
        assert_eq!(fleet.synced(&g, "p".into(), 1, 2), [route("c"), b.clone()]);
        assert!(fleet.is_complete());
        assert_eq!(fleet.abandon(), [a, b, route("c")]);
        assert!(!fleet.is_complete());
    }

    #[test]
    fn what_a_proxy_has_that_lost_its_stream_while_it_took_no_calls_or_had_nothing_is_unknown() {
        let (mut fleet, g, a, b) = (Fleet::default(), gateway(), route("a"), route("b"));
        fleet.published(&g, 1);
        fleet.synced(&g, "p".into(), 1, 1);
        fleet.deliver(&g, &a, 1);
        fleet.unready(&g, "p".into());
        fleet.disconnected(&g, &"p".into(), 1);
        fleet.published(&g, 2);
        fleet.deliver(&g, &b, 1);
        fleet.ready(&g, "p".into());
        assert!(is_programmed(&fleet, &a) && !is_programmed(&fleet, &b), "its network may be back, and not its stream");
        fleet.synced(&g, "q".into(), 1, 2);
        fleet.synced(&g, "p".into(), 2, 2);
        assert!(is_programmed(&fleet, &b));
        fleet.connected(&g, "r".into(), 1);
        fleet.ready(&g, "r".into());
        fleet.disconnected(&g, &"r".into(), 1);
        fleet.published(&g, 3);
        fleet.deliver(&g, &b, 2);
        for proxy in ["p", "q"] {
            fleet.synced(&g, proxy.into(), 2, 3);
        }
        assert!(!is_programmed(&fleet, &b), "calls are sent to it");
    }
}
