//! The proxies that there are.
//!
//! pods → who is ready, and on which nodes; pods as they change → what the engine has to hear of them
//!
//! **Invariant:** a pod that is being deleted takes no new calls, whatever its readiness says.
//!
//! Must not know: what proxies serve, and who leads.

use super::names;
use crate::cluster::writer::{Fault, Writer};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Resource,
    api::ListParams,
    core::{NamespaceResourceScope, ObjectMeta},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use sluice_core::{
    key::{NsName, Text},
    world::Change,
};
use sluice_engine::{Input, ProxyEvent};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    mem,
};

/// A proxy that takes calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    gateway: NsName,
    name: Text,
    /// The address of its node.
    host: Option<Text>,
}

/// What a new leader has to know of before it speaks: the proxies that serve already, and where Services on ports of nodes are reached.
///
/// # Errors
/// When the API server does not answer.
pub(in crate::cluster) async fn recall(writer: &Writer, namespaces: &[Option<Text>]) -> Result<Vec<Input>, Fault> {
    let ready = ready(writer, namespaces).await?;
    let services: Vec<Service> = list(writer, namespaces).await?;
    let on_nodes = services.iter().filter(|service| is_on_nodes(service));
    let gateways = on_nodes.filter_map(|service| names::owner(&service.metadata)).map(|(gateway, _)| gateway);
    let addresses =
        addresses(&ready, gateways).into_iter().map(|(gateway, all)| Change::Addresses(gateway, all).into());
    let addresses: Vec<Input> = addresses.collect();
    let expected = ready.into_iter().map(|Ready { gateway, name: proxy, .. }| Input::Expect { gateway, proxy });
    Ok(expected.chain(addresses).collect())
}

fn is_on_nodes(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.type_.as_deref() == Some("NodePort") && spec.external_ips.as_deref().unwrap_or_default().is_empty()
    })
}

/// All proxies that take calls.
pub(super) async fn ready(writer: &Writer, namespaces: &[Option<Text>]) -> Result<Vec<Ready>, Fault> {
    let pods: Vec<Pod> = list(writer, namespaces).await?;
    Ok(pods.iter().filter_map(proxy).collect())
}

/// The nodes on which the proxies of each of these Gateways are: any of them answers at a port of the Service.
pub(super) fn addresses(ready: &[Ready], gateways: impl IntoIterator<Item = NsName>) -> BTreeMap<NsName, Vec<Text>> {
    let mut hosts: BTreeMap<_, BTreeSet<_>> = gateways.into_iter().map(|gateway| (gateway, BTreeSet::new())).collect();
    for proxy in ready {
        if let (Some(hosts), Some(host)) = (hosts.get_mut(&proxy.gateway), &proxy.host) {
            hosts.insert(host.clone());
        }
    }
    hosts.into_iter().map(|(gateway, hosts)| (gateway, hosts.into_iter().collect())).collect()
}

fn proxy(pod: &Pod) -> Option<Ready> {
    let (gateway, name) = identity(&pod.metadata)?;
    let host = pod.status.as_ref()?.host_ip.as_deref().map(Text::from);
    takes_calls(pod).then_some(Ready { gateway, name, host })
}

fn takes_calls(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The Gateway of a pod, and how the proxy in it calls itself.
fn identity(metadata: &ObjectMeta) -> Option<(NsName, Text)> {
    let gateway = metadata.annotations.as_ref()?.get(names::POD_GATEWAY)?;
    Some((NsName::new(metadata.namespace.as_deref()?, gateway.as_str()), metadata.name.as_deref()?.into()))
}

/// What the engine was told of pods, by Gateway and name: whether they take new calls.
#[derive(Debug, Default)]
pub(super) struct Told {
    pods: BTreeMap<(NsName, Text), bool>,
    /// Those of a list that is still being read.
    listed: BTreeSet<(NsName, Text)>,
}

impl Told {
    /// Takes what the watch says, and returns what is new to the engine.
    pub(super) fn hear(&mut self, event: Event<Pod>) -> Vec<ProxyEvent> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.extend(identity(&pod.metadata));
                return self.note(&pod).into_iter().collect();
            }
            Event::InitDone => {
                let listed = mem::take(&mut self.listed);
                let lost: Vec<_> = self.pods.keys().filter(|pod| !listed.contains(pod)).cloned().collect();
                return lost.into_iter().filter_map(|pod| self.forget(pod)).collect();
            }
            Event::Apply(pod) => return self.note(&pod).into_iter().collect(),
            Event::Delete(pod) => {
                return identity(&pod.metadata).and_then(|pod| self.forget(pod)).into_iter().collect();
            }
        }
        Vec::new()
    }

    fn note(&mut self, pod: &Pod) -> Option<ProxyEvent> {
        let (gateway, proxy) = identity(&pod.metadata)?;
        let is_ready = takes_calls(pod);
        let before = self.pods.insert((gateway.clone(), proxy.clone()), is_ready);
        (before != Some(is_ready)).then_some(if is_ready {
            ProxyEvent::Ready { gateway, proxy }
        } else {
            ProxyEvent::Unready { gateway, proxy }
        })
    }

    fn forget(&mut self, pod: (NsName, Text)) -> Option<ProxyEvent> {
        self.pods.remove(&pod)?;
        Some(ProxyEvent::Gone { gateway: pod.0, proxy: pod.1 })
    }
}

async fn list<K>(writer: &Writer, namespaces: &[Option<Text>]) -> Result<Vec<K>, Fault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    for namespace in namespaces {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(writer.client.clone(), namespace),
            None => Api::all(writer.client.clone()),
        };
        all.extend(writer.ask(api.list(&ListParams::default().labels(names::SELECTOR))).await?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, ready: &str, host: &str) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name, "annotations": {names::POD_GATEWAY: "edge"}},
            "status": {"hostIP": host, "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn found(pods: &[Value]) -> Vec<Ready> {
        pods.iter().filter_map(|pod| proxy(&serde_json::from_value(pod.clone()).unwrap())).collect()
    }

    #[test]
    fn a_proxy_counts_while_it_is_ready_and_stays() {
        let mut leaving = pod("c", "True", "10.0.0.3");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let ready = found(&[pod("a", "True", "10.0.0.1"), pod("b", "False", "10.0.0.2"), leaving]);
        assert_eq!(ready.iter().map(|proxy| &*proxy.name).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn what_is_new_of_a_pod_is_told_once() {
        let decoded =
            |name: &str, ready: &str| -> Pod { serde_json::from_value(pod(name, ready, "10.0.0.1")).unwrap() };
        let leaving = || {
            let mut leaving = pod("a", "True", "10.0.0.1");
            leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            serde_json::from_value::<Pod>(leaving).unwrap()
        };
        let mut told = Told::default();
        let mut hear = |event| {
            let events = told.hear(event);
            let words = events.iter().map(|event| match event {
                ProxyEvent::Ready { proxy, .. } => format!("{proxy} ready"),
                ProxyEvent::Unready { proxy, .. } => format!("{proxy} unready"),
                ProxyEvent::Gone { proxy, .. } => format!("{proxy} gone"),
                other => format!("{other:?}"),
            });
            words.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(hear(Event::Apply(decoded("a", "False"))), "a unready");
        assert_eq!(hear(Event::Apply(decoded("a", "True"))), "a ready");
        assert_eq!(hear(Event::Apply(decoded("a", "True"))), "");
        assert_eq!(hear(Event::Apply(leaving())), "a unready");
        assert_eq!(hear(Event::Delete(leaving())), "a gone");
        assert_eq!(hear(Event::Delete(leaving())), "");
        hear(Event::Apply(decoded("b", "True")));
        assert_eq!(hear(Event::Init), "");
        assert_eq!(hear(Event::InitApply(decoded("c", "True"))), "c ready");
        assert_eq!(hear(Event::InitDone), "b gone", "what a list lacks");
    }

    #[test]
    fn each_node_with_a_proxy_is_an_address_once() {
        let ready = found(&[pod("a", "True", "10.0.0.2"), pod("b", "True", "10.0.0.1"), pod("c", "True", "10.0.0.2")]);
        let (edge, other) = (NsName::new("shop", "edge"), NsName::new("shop", "other"));
        let addresses = addresses(&ready, [edge.clone(), other.clone()]);
        assert_eq!(addresses[&edge], ["10.0.0.1".into(), "10.0.0.2".into()]);
        assert!(addresses[&other].is_empty());
    }
}
