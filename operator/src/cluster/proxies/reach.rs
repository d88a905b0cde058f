//! Where each Gateway is reached, and by which proxies: told whether this process leads or not, so that it is known when it begins to.
//!
//! pods and Services of proxies as they change → what is new of them to the engine; how many pods a Gateway has
//!
//! **Invariant:** a Gateway has the addresses of all its Services, so that one that goes takes its own away and no others.
//! **Invariant:** one task tells of the pods and of the Services of a Gateway: what is told last is what holds.
//!
//! Must not know: who writes the Services, and what proxies serve.

use super::{
    addresses::{self, At},
    keep::Office,
    names, pods,
};
use crate::cluster::seats::Seats;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event, watcher},
};
use sluice_core::{
    key::{NsName, Text},
    world::Change,
};
use sluice_engine::{Input, ProxyEvent};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    pin::pin,
};

/// Follows the proxies of a namespace or of all, and tells the engine, for ever.
pub(super) async fn follow(office: &Office, namespace: Option<&str>) {
    let config = watcher::Config::default().labels(names::SELECTOR);
    let pods = watcher(pods::api(&office.writer, namespace), config.clone())
        .default_backoff()
        .map_ok(|event| News::Pod(Box::new(event)));
    let services = watcher(pods::api(&office.writer, namespace), config)
        .default_backoff()
        .map_ok(|event| News::Service(Box::new(event)));
    let mut changes = pin!(stream::select(pods, services));
    let (mut reach, mut was_read) = (Reach::new(office.seats.clone()), false);
    while let Some(change) = changes.next().await {
        match change {
            Ok(news) => {
                let inputs = reach.hear(news);
                // Fails only when the engine has ended.
                let _ = if inputs.is_empty() { Ok(()) } else { office.inputs.send(inputs).await };
            }
            Err(error) => tracing::warn!("watching pods and Services of proxies: {error}"),
        }
        if !mem::replace(&mut was_read, reach.is_read()) && was_read {
            office.unread.send_modify(|unread| *unread -= 1);
        }
    }
}

/// What a watch says.
enum News {
    Pod(Box<Event<Pod>>),
    Service(Box<Event<Service>>),
}

/// What the engine was told.
#[derive(Debug)]
struct Reach {
    seats: Seats,
    pods: Watched<pods::Proxy>,
    services: Watched<At>,
    told: BTreeMap<NsName, Place>,
}

/// Where a Gateway is reached: its addresses, and the ports there by those of its listeners; one that is not in it is reached at its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    addresses: Vec<Text>,
    ports: BTreeMap<u16, u16>,
}

impl Reach {
    fn new(seats: Seats) -> Self {
        Self { seats, pods: Watched::default(), services: Watched::default(), told: BTreeMap::new() }
    }

    /// Whether everything that there was in the beginning has been told.
    fn is_read(&self) -> bool {
        self.pods.is_read && self.services.is_read
    }

    /// Takes what a watch says, and returns what is new to the engine.
    fn hear(&mut self, news: News) -> Vec<Input> {
        let (mut inputs, mut gateways) = (Vec::new(), BTreeSet::new());
        match news {
            News::Pod(event) => {
                for (key, before) in self.pods.hear(*event, pods::proxy) {
                    inputs.extend(said(&key, before.as_ref(), self.pods.now.get(&key)).map(Input::from));
                    gateways.insert(key.0);
                }
                for gateway in &gateways {
                    self.seats.provide(gateway, self.pods.of(gateway).count());
                }
            }
            News::Service(event) => {
                gateways.extend(self.services.hear(*event, addresses::of).into_iter().map(|((gateway, _), _)| gateway));
            }
        }
        inputs.extend(gateways.into_iter().flat_map(|gateway| self.moved(gateway)).map(Input::from));
        inputs
    }

    /// Where a Gateway is reached, if that is another place than was told.
    fn moved(&mut self, gateway: NsName) -> Vec<Change> {
        let now = self.place(&gateway);
        let before = if now == Place::default() {
            self.told.remove(&gateway).unwrap_or_default()
        } else {
            self.told.insert(gateway.clone(), now.clone()).unwrap_or_default()
        };
        let ports = (before.ports != now.ports).then(|| Change::Ports(gateway.clone(), now.ports));
        let addresses = (before.addresses != now.addresses).then_some(Change::Addresses(gateway, now.addresses));
        ports.into_iter().chain(addresses).collect()
    }

    /// Any node with a proxy answers at a port of the nodes.
    fn place(&self, gateway: &NsName) -> Place {
        let Place { mut addresses, mut ports } = Place::default();
        for at in self.services.of(gateway) {
            match at {
                At::Addresses(own) => addresses.extend(own.iter().cloned()),
                At::Nodes(there) => {
                    let nodes: BTreeSet<_> = self.pods.of(gateway).filter_map(pods::Proxy::node).cloned().collect();
                    addresses.extend(nodes);
                    ports.extend(there);
                }
            }
        }
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        Place { addresses, ports }
    }
}

/// What is new of a pod.
fn said((gateway, proxy): &Key, before: Option<&pods::Proxy>, now: Option<&pods::Proxy>) -> Option<ProxyEvent> {
    let (gateway, proxy) = (gateway.clone(), proxy.clone());
    let Some(now) = now else { return Some(ProxyEvent::Gone { gateway, proxy }) };
    if before.is_some_and(|before| before.takes_calls == now.takes_calls) {
        return None;
    }
    Some(if now.takes_calls { ProxyEvent::Ready { gateway, proxy } } else { ProxyEvent::Unready { gateway, proxy } })
}

/// The Gateway of an object, and the object's name.
type Key = (NsName, Text);

/// What a watch has said of objects so far.
#[derive(Debug)]
struct Watched<V> {
    now: BTreeMap<Key, V>,
    /// Those of a list that is still being read.
    listed: BTreeSet<Key>,
    /// Whether a list was read.
    is_read: bool,
}

impl<V> Default for Watched<V> {
    fn default() -> Self {
        Self { now: BTreeMap::new(), listed: BTreeSet::new(), is_read: false }
    }
}

impl<V: PartialEq> Watched<V> {
    /// Takes what a watch says, and returns what is different, with what it was before.
    fn hear<O>(&mut self, event: Event<O>, read: impl Fn(&O) -> Option<(Key, V)>) -> Vec<(Key, Option<V>)> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let found = read(&object);
                self.listed.extend(found.as_ref().map(|(key, _)| key.clone()));
                self.set(found)
            }
            Event::InitDone => {
                self.is_read = true;
                let listed = mem::take(&mut self.listed);
                let lost: Vec<_> = self.now.keys().filter(|key| !listed.contains(key)).cloned().collect();
                lost.into_iter().filter_map(|key| self.remove(key)).collect()
            }
            Event::Apply(object) => self.set(read(&object)),
            Event::Delete(object) => read(&object).into_iter().filter_map(|(key, _)| self.remove(key)).collect(),
        }
    }

    /// All of one Gateway.
    fn of(&self, gateway: &NsName) -> impl Iterator<Item = &V> {
        let first = (gateway.clone(), Text::default());
        self.now.range(first..).take_while(move |((owner, _), _)| owner == gateway).map(|(_, value)| value)
    }

    fn set(&mut self, found: Option<(Key, V)>) -> Vec<(Key, Option<V>)> {
        let Some((key, value)) = found.filter(|(key, value)| self.now.get(key) != Some(value)) else {
            return Vec::new();
        };
        let before = self.now.insert(key.clone(), value);
        vec![(key, before)]
    }

    fn remove(&mut self, key: Key) -> Option<(Key, Option<V>)> {
        self.now.remove(&key).map(|before| (key, Some(before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn pod(name: &str, ready: &str, node: &str) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "annotations": {names::POD_GATEWAY: "edge"}},
            "status": {"hostIP": node, "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn leaving(mut pod: Value) -> Value {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod
    }

    /// The Service that Gateway edge has for a class.
    fn service(class: &str, kind: &str, ip: Option<&str>) -> Value {
        let labels = json!({
            "app.kubernetes.io/component": "proxy",
            "app.kubernetes.io/managed-by": "sluice",
            "gateway.networking.k8s.io/gateway-class-name": class,
        });
        let owner =
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "1"});
        let name = format!("edge-{class}");
        json!({
            "metadata": {"namespace": "shop", "name": name, "labels": labels, "ownerReferences": [owner]},
            "spec": {"type": kind},
            "status": {"loadBalancer": {"ingress": ip.map(|ip| json!({"ip": ip})).into_iter().collect::<Vec<_>>()}},
        })
    }

    fn decoded<O: DeserializeOwned>(value: &Value) -> O {
        serde_json::from_value(value.clone()).unwrap()
    }

    impl Reach {
        fn pod(&mut self, event: fn(Pod) -> Event<Pod>, pod: &Value) -> String {
            let inputs = self.hear(News::Pod(event(decoded(pod)).into()));
            words(inputs)
        }

        fn service(&mut self, event: fn(Service) -> Event<Service>, service: &Value) -> String {
            let inputs = self.hear(News::Service(event(decoded(service)).into()));
            words(inputs)
        }
    }

    fn words(inputs: Vec<Input>) -> String {
        let word = |input| match input {
            Input::Proxy(ProxyEvent::Ready { proxy, .. }) => format!("{proxy} ready"),
            Input::Proxy(ProxyEvent::Unready { proxy, .. }) => format!("{proxy} unready"),
            Input::Proxy(ProxyEvent::Gone { proxy, .. }) => format!("{proxy} gone"),
            Input::Change(Change::Addresses(gateway, all)) => format!("{} at [{}]", gateway.name, all.join(" ")),
            Input::Change(Change::Ports(gateway, all)) => format!("{} by {all:?}", gateway.name),
            other => format!("{other:?}"),
        };
        inputs.into_iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_is_new_of_a_pod_is_told_once() {
        let mut reach = Reach::new(Seats::new(0));
        let (ready, unready) = (pod("a", "True", "10.0.0.1"), pod("a", "False", "10.0.0.1"));
        assert_eq!(reach.pod(Event::Apply, &unready), "a unready");
        assert_eq!(reach.pod(Event::Apply, &ready), "a ready");
        assert_eq!(reach.pod(Event::Apply, &ready), "");
        assert_eq!(reach.pod(Event::Apply, &leaving(ready.clone())), "a unready");
        assert_eq!(reach.pod(Event::Delete, &leaving(ready.clone())), "a gone");
        assert_eq!(reach.pod(Event::Delete, &leaving(ready)), "");
        reach.pod(Event::Apply, &pod("b", "True", "10.0.0.1"));
        reach.hear(News::Pod(Event::Init.into()));
        assert_eq!(reach.pod(Event::InitApply, &pod("c", "True", "10.0.0.1")), "c ready");
        assert!(!reach.is_read());
        assert_eq!(words(reach.hear(News::Pod(Event::InitDone.into()))), "b gone", "what a list lacks");
        reach.hear(News::Service(Event::InitDone.into()));
        assert!(reach.is_read());
    }

    #[test]
    fn a_gateway_that_moves_to_another_class_keeps_the_address_of_the_service_that_stays() {
        let mut reach = Reach::new(Seats::new(0));
        let balanced = |class, ip| service(class, "LoadBalancer", Some(ip));
        assert_eq!(reach.service(Event::Apply, &balanced("sluice", "192.0.2.1")), "edge at [192.0.2.1]");
        assert_eq!(reach.service(Event::Apply, &balanced("sluice", "192.0.2.1")), "");
        assert_eq!(reach.service(Event::Apply, &service("internal", "LoadBalancer", None)), "");
        let both = "edge at [192.0.2.2 192.0.2.1]";
        assert_eq!(reach.service(Event::Apply, &balanced("internal", "192.0.2.2")), both);
        assert_eq!(reach.service(Event::Delete, &balanced("sluice", "192.0.2.1")), "edge at [192.0.2.2]");
        reach.hear(News::Service(Event::Init.into()));
        assert_eq!(words(reach.hear(News::Service(Event::InitDone.into()))), "edge at []", "it went unseen");
        assert_eq!(reach.service(Event::Apply, &balanced("internal", "192.0.2.2")), "edge at [192.0.2.2]");
    }

    #[test]
    fn a_service_on_ports_of_nodes_is_reached_at_each_node_with_a_proxy() {
        let mut reach = Reach::new(Seats::new(0));
        reach.service(Event::Apply, &service("sluice", "LoadBalancer", Some("192.0.2.1")));
        for (name, node) in [("a", "10.0.0.2"), ("b", "10.0.0.1"), ("c", "10.0.0.2")] {
            assert_eq!(reach.pod(Event::Apply, &pod(name, "True", node)), format!("{name} ready"));
        }
        let mut on_nodes = service("sluice", "NodePort", None);
        on_nodes["spec"]["ports"] = json!([{"port": 443, "nodePort": 30443}]);
        assert_eq!(reach.service(Event::Apply, &on_nodes), "edge by {443: 30443}, edge at [10.0.0.1 10.0.0.2]");
        assert_eq!(reach.pod(Event::Delete, &pod("c", "True", "10.0.0.2")), "c gone");
        assert_eq!(reach.pod(Event::Apply, &leaving(pod("b", "True", "10.0.0.1"))), "b unready, edge at [10.0.0.2]");
        assert_eq!(reach.pod(Event::Apply, &pod("a", "False", "10.0.0.2")), "a unready, edge at []");
        let balanced = service("sluice", "LoadBalancer", Some("192.0.2.1"));
        assert_eq!(reach.service(Event::Apply, &balanced), "edge by {}, edge at [192.0.2.1]");
    }
}
