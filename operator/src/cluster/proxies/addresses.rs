//! Where a Gateway is reached.
//!
//! the proxies' Service as it is in the cluster → the Gateway and its addresses; `spec.addresses` → those that a Service can ask for
//!
//! Must not know: who listens.

use super::names;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServicePort, ServiceSpec};
use sluice_core::{
    key::{NsName, Text},
    translate::infrastructure::Infrastructure,
};
use std::{collections::BTreeMap, net::IpAddr};

/// Where a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At these addresses, by now.
    Addresses(Vec<Text>),
    /// At ports of nodes, by those of listeners.
    Nodes(BTreeMap<u16, u16>),
}

/// Where a Service of proxies is reached, by its Gateway and its name; `None` for any other Service.
pub(super) fn of(service: &Service) -> Option<((NsName, Text), At)> {
    let (gateway, _) = names::owner(&service.metadata)?;
    let spec = service.spec.clone().unwrap_or_default();
    let external = spec.external_ips.as_deref().unwrap_or_default();
    let at = match spec.type_.as_deref() {
        Some("LoadBalancer") => At::Addresses(ingress(service)),
        _ if !external.is_empty() => At::Addresses(texts(external)),
        Some("NodePort") => At::Nodes(on_nodes(&spec)),
        _ => At::Addresses(texts(spec.cluster_ips.as_deref().unwrap_or_default())),
    };
    Some(((gateway, service.metadata.name.as_deref()?.into()), at))
}

/// What can be asked for: IP addresses. Anything else has no address, and its Gateway says so.
pub(super) fn requested(of: &Infrastructure) -> Vec<&str> {
    of.requested.iter().map(|text| &**text).filter(|text| text.parse::<IpAddr>().is_ok()).collect()
}

fn ingress(service: &Service) -> Vec<Text> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let address = |point: &LoadBalancerIngress| -> Option<Text> {
        let names = [&point.ip, &point.hostname].into_iter().flatten();
        names.map(String::as_str).find(|name| !name.is_empty()).map(Text::from)
    };
    points.iter().filter_map(address).collect()
}

fn on_nodes(spec: &ServiceSpec) -> BTreeMap<u16, u16> {
    let pair = |port: &ServicePort| Some((port.port.try_into().ok()?, port.node_port?.try_into().ok()?));
    spec.ports.iter().flatten().filter_map(pair).collect()
}

/// A Service without an address of its own says None.
fn texts(list: &[String]) -> Vec<Text> {
    list.iter().filter(|address| *address != "None").map(|address| address.as_str().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(owner: &str, spec: &Value, status: &Value) -> Service {
        let service = json!({
            "metadata": {
                "namespace": "shop",
                "name": "edge-sluice",
                "labels": {
                    "app.kubernetes.io/component": "proxy",
                    "app.kubernetes.io/managed-by": owner,
                    "gateway.networking.k8s.io/gateway-class-name": "sluice",
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Gateway", "name": "edge.one", "uid": "1"}],
            },
            "spec": spec,
            "status": status,
        });
        serde_json::from_value(service).unwrap()
    }

    #[test]
    fn each_type_of_service_has_its_own_addresses() {
        let key = (NsName::new("shop", "edge.one"), Text::from("edge-sluice"));
        let at = |addresses: &[&str]| At::Addresses(addresses.iter().copied().map(Text::from).collect());
        let balanced = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "lb.example.com"}]}});
        let load_balancer = json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]});
        for (spec, status, expected) in [
            (load_balancer.clone(), balanced, at(&["10.0.0.1", "lb.example.com"])),
            (load_balancer, json!({"loadBalancer": {}}), at(&[])),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1", "fd00::1"]}),
                json!({}),
                at(&["10.96.0.1", "fd00::1"]),
            ),
            (json!({"type": "ClusterIP", "clusterIPs": ["None"]}), json!({}), at(&[])),
            (json!({"type": "NodePort", "externalIPs": ["192.0.2.1"]}), json!({}), at(&["192.0.2.1"])),
            (
                json!({"type": "NodePort", "ports": [{"port": 443, "nodePort": 30443}, {"port": 80}]}),
                json!({}),
                At::Nodes(BTreeMap::from([(443, 30443)])),
            ),
        ] {
            assert_eq!(of(&service("sluice", &spec, &status)), Some((key.clone(), expected)), "{spec}");
        }
    }

    #[test]
    fn a_service_of_somebody_else_is_nobodys_address() {
        assert_eq!(of(&service("somebody", &json!({"type": "LoadBalancer"}), &json!({}))), None);
    }
}
