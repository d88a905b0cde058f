//! A model proxy that answers, refuses, falls behind and reconnects at random.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::PerType;

/// Clusters and hosts whose version ends in this octal digit are refused.
const POISON: u64 = 6;

#[derive(Clone, Debug)]
enum Act {
    /// Sets the clusters of a host and the version of everything touched.
    Route {
        host: u8,
        clusters: BTreeSet<u8>,
        version: u64,
    },
    DropRoute(u8),
    Cluster {
        cluster: u8,
        version: u64,
    },
    Endpoints {
        cluster: u8,
        version: u64,
    },
    Answer(ResourceType),
    Reconnect,
    Flap,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let clusters = proptest::collection::btree_set(0..4_u8, 0..3);
    let kind = proptest::sample::select(ResourceType::ALL.to_vec());
    let act = prop_oneof![
        4 => (0..4_u8, clusters, 1..8_u64).prop_map(|(host, clusters, version)| Act::Route { host, clusters, version }),
        2 => (0..4_u8).prop_map(Act::DropRoute),
        1 => (0..4_u8, 1..8_u64).prop_map(|(cluster, version)| Act::Cluster { cluster, version }),
        1 => (0..4_u8, 1..8_u64).prop_map(|(cluster, version)| Act::Endpoints { cluster, version }),
        12 => kind.prop_map(Act::Answer),
        1 => Just(Act::Reconnect),
        1 => Just(Act::Flap),
    ];
    proptest::collection::vec(act, 1..120)
}

/// What the control plane wants: hosts with the clusters that they name.
#[derive(Default)]
struct Wanted {
    hosts: BTreeMap<u8, (BTreeSet<u8>, u64)>,
    clusters: BTreeMap<u8, u64>,
    endpoints: BTreeMap<u8, u64>,
}

impl Wanted {
    /// The closed set of resources.
    fn resources(&self) -> BTreeMap<Id, Arc<Resource>> {
        let mut all = vec![
            form(Listener, "l", 1, &[id(RouteConfiguration, "rc")]),
            form(RouteConfiguration, "rc", 1, &[]),
            host("rc/*", 1, &[]),
        ];
        for (number, (clusters, version)) in &self.hosts {
            let names: Vec<String> = clusters.iter().map(|c| format!("c{c}")).collect();
            let shape = names.iter().fold(*version, |hash, name| hash * 16 + u64::from(name.as_bytes()[1] - b'0') + 1);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            all.push(host(&format!("rc/h{number}"), shape * 8 + version, &names));
        }
        for c in self.hosts.values().flat_map(|(clusters, _)| clusters) {
            all.push(cluster(&format!("c{c}"), self.clusters.get(c).copied().unwrap_or(1)));
            all.push(assignment(&format!("c{c}"), self.endpoints.get(c).copied().unwrap_or(1)));
        }
        all.into_iter().map(|resource| (resource.id.clone(), resource)).collect()
    }
}

/// A proxy as the facts describe it.
#[derive(Default)]
struct Proxy {
    has: PerType<BTreeMap<Name, Arc<Resource>>>,
    inbox: PerType<VecDeque<Response>>,
    /// Assignments of the clusters that it has. It drops any other.
    asked: BTreeSet<Name>,
    refused_clusters: BTreeSet<Name>,
}

impl Proxy {
    fn bad(resource: &Resource) -> bool {
        matches!(resource.id.kind, VirtualHost | Cluster) && resource.version.0 % 8 == POISON
    }

    /// Checks the rules on arrival; only then is the response put aside until it is answered.
    fn receive(&mut self, response: Response) {
        let kind = response.kind;
        for resource in &response.resources {
            for needed in resource.requires.iter().filter(|id| id.kind == Cluster && kind != Cluster) {
                let warm = self.has.get(Cluster).contains_key(&needed.name);
                assert!(warm || self.refused_clusters.contains(&needed.name), "{} before {needed}", resource.id);
            }
        }
        // What it has not may be removed: that undoes a refusal.
        for name in response.removed.iter().filter(|name| self.has.get(kind).contains_key(*name)) {
            let gone = Id { kind, name: name.clone() };
            let held = ResourceType::ALL.into_iter().flat_map(|kind| self.has.get(kind).values());
            let user = held.filter(|r| r.id.kind == VirtualHost).find(|r| r.requires.contains(&gone));
            assert!(user.is_none(), "{gone} removed while {:?} requires it", user.map(|r| &r.id));
        }
        let inbox = self.inbox.get_mut(kind);
        inbox.push_back(response);
        assert!(inbox.len() == 1 || matches!(kind, Assignment | Secret), "two unanswered responses of {kind}");
    }
}

impl Proxy {
    /// Forgets the assignments of clusters that are gone.
    fn unasked(&mut self) -> Vec<Name> {
        let clusters = self.has.get(Cluster);
        let gone: Vec<Name> = self.asked.iter().filter(|name| !clusters.contains_key(*name)).cloned().collect();
        for name in &gone {
            self.asked.remove(name);
            self.has.get_mut(Assignment).remove(name);
        }
        gone
    }
}

/// The proxy, the control plane, and the stream between them.
struct World {
    stream: Stream,
    proxy: Proxy,
    wanted: Wanted,
}

impl World {
    fn new() -> Self {
        let mut world = Self { stream: Stream::new(), proxy: Proxy::default(), wanted: Wanted::default() };
        world.publish();
        world.connect();
        world
    }

    fn publish(&mut self) {
        let next = self.wanted.resources();
        let mut edit = self.stream.snapshot.edit();
        let before = ResourceType::ALL.into_iter().flat_map(|kind| self.stream.snapshot.iter(kind));
        for gone in before.filter(|r| !next.contains_key(&r.id)) {
            edit.remove(&gone.id);
        }
        for resource in next.into_values() {
            edit.set(resource);
        }
        if let Some(snapshot) = edit.publish() {
            assert_eq!(snapshot.closure(), []);
            self.stream.snapshot = snapshot;
        }
        let snapshot = Arc::clone(&self.stream.snapshot);
        self.input(Input::Snapshot(snapshot));
    }

    fn input(&mut self, input: Input) {
        let from = self.stream.sent.len();
        self.stream.step(input);
        let sent = self.stream.sent.split_off(from);
        for response in sent {
            self.proxy.receive(response);
        }
    }

    /// The first requests of a stream, with claims of all that the proxy has.
    fn connect(&mut self) {
        self.proxy.inbox = PerType::default();
        self.proxy.refused_clusters.clear();
        self.proxy.asked = self.proxy.has.get(Cluster).keys().cloned().collect();
        let snapshot = Arc::clone(&self.stream.snapshot);
        self.stream = Stream::new();
        self.stream.snapshot = Arc::clone(&snapshot);
        self.input(Input::Snapshot(snapshot));
        for kind in [Cluster, Assignment, Listener, RouteConfiguration, VirtualHost] {
            let has = self.proxy.has.get(kind);
            let initial_versions = has.values().map(|r| (r.id.name.clone(), r.version.to_string())).collect();
            let subscribe = match kind {
                Assignment => self.proxy.asked.iter().cloned().collect(),
                RouteConfiguration if !self.proxy.has.get(Listener).is_empty() => names(&["rc"]),
                _ => Vec::new(),
            };
            self.input(Input::Request(Request { subscribe, initial_versions, ..first(kind) }));
        }
    }

    /// The proxy applies or refuses its oldest response of a type, and asks for what that names.
    fn answer(&mut self, kind: ResourceType) -> bool {
        let Some(response) = self.proxy.inbox.get_mut(kind).pop_front() else { return false };
        let refused = response.resources.iter().any(|resource| Proxy::bad(resource));
        let nonce = response.nonce.to_string();
        let error = refused.then(|| "missing ): ((".to_owned());
        if refused && response.resources.len() == 1 && kind == Cluster {
            self.proxy.refused_clusters.insert(response.resources[0].id.name.clone());
        }
        let new = if refused { Vec::new() } else { self.apply(&response) };
        self.input(Input::Request(Request { nonce, error, ..first(kind) }));
        for needed in new {
            if needed.kind == Assignment {
                self.proxy.asked.insert(needed.name.clone());
            }
            self.input(Input::Request(subscribe(needed.kind, &[&needed.name])));
        }
        for gone in self.proxy.unasked() {
            self.input(Input::Request(unsubscribe(Assignment, &[&gone])));
        }
        true
    }

    /// What the applied resources newly name.
    fn apply(&mut self, response: &Response) -> Vec<Id> {
        let (asked, has) = (&self.proxy.asked, self.proxy.has.get_mut(response.kind));
        response.removed.iter().for_each(|name| drop(has.remove(name)));
        let seen = response.resources.iter().filter(|r| r.id.kind != Assignment || asked.contains(&r.id.name));
        let fresh = seen.filter(|r| has.insert(r.id.name.clone(), Arc::clone(r)).is_none());
        let needed: Vec<Id> = fresh.flat_map(|resource| resource.requires.iter().cloned()).collect();
        needed.into_iter().filter(|id| id.kind != Cluster).collect()
    }

    /// The listener goes and comes back at once: its route configuration is subscribed to anew.
    fn flap(&mut self) {
        if self.proxy.has.get(Listener).is_empty() {
            return;
        }
        self.input(Input::Request(unsubscribe(RouteConfiguration, &["rc"])));
        self.input(Input::Request(subscribe(RouteConfiguration, &["rc"])));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Answer(kind) => {
                self.answer(kind);
                return;
            }
            Act::Reconnect => return self.connect(),
            Act::Flap => return self.flap(),
            Act::Route { host, clusters, version } => drop(self.wanted.hosts.insert(host, (clusters, version))),
            Act::DropRoute(host) => drop(self.wanted.hosts.remove(&host)),
            Act::Cluster { cluster, version } => drop(self.wanted.clusters.insert(cluster, version)),
            Act::Endpoints { cluster, version } => drop(self.wanted.endpoints.insert(cluster, version)),
        }
        self.publish();
    }

    /// Answers everything until nothing is left to answer.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.stream.now += 1;
            self.input(Input::Tick);
            let mut busy = false;
            for kind in ResourceType::ALL {
                busy |= self.answer(kind);
            }
            if !busy {
                return;
            }
        }
        panic!("the proxy is never left alone");
    }
}

proptest! {
    #[test]
    fn any_proxy_converges_to_the_newest_snapshot(acts in acts()) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        world.stream.now += 1_000;
        world.settle();
        prop_assert_eq!(world.stream.session.synced, world.stream.snapshot.revision());
        // Once nothing poisonous is wanted, the proxy has exactly the snapshot.
        world.wanted.hosts.values_mut().for_each(|(_, version)| *version = 1);
        world.wanted.clusters.values_mut().for_each(|version| *version = 1);
        world.publish();
        world.settle();
        for kind in [Cluster, Assignment, Listener, RouteConfiguration, VirtualHost] {
            let want: Vec<_> = world.stream.snapshot.iter(kind).map(|r| (r.id.clone(), r.version)).collect();
            let has: Vec<_> = world.proxy.has.get(kind).values().map(|r| (r.id.clone(), r.version)).collect();
            prop_assert_eq!(has, want);
        }
        prop_assert_eq!(world.stream.session.synced, world.stream.snapshot.revision());
    }
}
