//! The proxies that there are.
//!
//! pods → who is ready, and on which nodes
//!
//! Must not know: what proxies serve, and who leads.

use super::names;
use crate::cluster::writer::{Fault, Writer};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use sluice_core::{
    key::{NsName, Text},
    world::Change,
};
use sluice_engine::Input;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
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
    let metadata = &pod.metadata;
    let gateway = metadata.annotations.as_ref()?.get(names::POD_GATEWAY)?;
    let status = pod.status.as_ref()?;
    let is_ready =
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    (is_ready && metadata.deletion_timestamp.is_none()).then_some(())?;
    Some(Ready {
        gateway: NsName::new(metadata.namespace.as_deref()?, gateway.as_str()),
        name: metadata.name.as_deref()?.into(),
        host: status.host_ip.as_deref().map(Text::from),
    })
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
    fn each_node_with_a_proxy_is_an_address_once() {
        let ready = found(&[pod("a", "True", "10.0.0.2"), pod("b", "True", "10.0.0.1"), pod("c", "True", "10.0.0.2")]);
        let (edge, other) = (NsName::new("shop", "edge"), NsName::new("shop", "other"));
        let addresses = addresses(&ready, [edge.clone(), other.clone()]);
        assert_eq!(addresses[&edge], ["10.0.0.1".into(), "10.0.0.2".into()]);
        assert!(addresses[&other].is_empty());
    }
}
