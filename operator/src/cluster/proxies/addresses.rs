//! Where a Gateway is reached.
//!
//! the proxies' Service as it is in the cluster → the Gateway and its addresses; `spec.addresses` → those that a Service can ask for
//!
//! Must not know: who listens.

use super::names;
use kube::core::ObjectMeta;
use serde::Deserialize as _;
use serde_json::Value;
use sluice_api::{MANAGED_BY, MANAGED_BY_LABEL};
use sluice_core::{
    key::{NsName, Text},
    translate::infrastructure::Infrastructure,
};
use std::net::IpAddr;

/// The Gateway of a proxy Service, and the addresses that it has by now; `None` for any other Service.
pub(crate) fn of(service: &Value) -> Option<(NsName, Vec<Text>)> {
    let metadata = service.get("metadata")?;
    // Of most Services this is all that is looked at.
    metadata.get("labels")?.get(MANAGED_BY_LABEL).filter(|owner| *owner == MANAGED_BY)?;
    let (gateway, _) = names::owner(&ObjectMeta::deserialize(metadata).ok()?)?;
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let external = || texts(spec, "/externalIPs");
    let addresses = match spec.get("type").and_then(Value::as_str) {
        Some("LoadBalancer") => ingress(service),
        _ if !external().is_empty() => external(),
        Some("NodePort") => return None,
        _ => texts(spec, "/clusterIPs").into_iter().filter(|address| &**address != "None").collect(),
    };
    Some((gateway, addresses))
}

/// What can be asked for: IP addresses. Anything else has no address, and its Gateway says so.
pub(super) fn requested(of: &Infrastructure) -> Vec<&str> {
    of.requested.iter().map(|text| &**text).filter(|text| text.parse::<IpAddr>().is_ok()).collect()
}

fn ingress(service: &Value) -> Vec<Text> {
    let points = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let address = |point: &Value| -> Option<Text> {
        let field = |name: &str| point.get(name)?.as_str().filter(|text| !text.is_empty());
        Some(field("ip").or_else(|| field("hostname"))?.into())
    };
    points.into_iter().flatten().filter_map(address).collect()
}

fn texts(value: &Value, pointer: &str) -> Vec<Text> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(Text::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: &Value, status: &Value) -> Value {
        json!({
            "metadata": {
                "namespace": "shop",
                "labels": {
                    "app.kubernetes.io/component": "proxy",
                    "app.kubernetes.io/managed-by": "sluice",
                    "gateway.networking.k8s.io/gateway-class-name": "sluice",
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Gateway", "name": "edge.one", "uid": "1"}],
            },
            "spec": spec,
            "status": status,
        })
    }

    #[test]
    fn each_type_of_service_has_its_own_addresses() {
        let gateway = NsName::new("shop", "edge.one");
        let balanced = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "lb.example.com"}]}});
        let load_balancer = json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]});
        for (spec, status, expected) in [
            (load_balancer.clone(), balanced, Some(vec!["10.0.0.1", "lb.example.com"])),
            (load_balancer, json!({"loadBalancer": {}}), Some(vec![])),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1", "fd00::1"]}),
                json!({}),
                Some(vec!["10.96.0.1", "fd00::1"]),
            ),
            (json!({"type": "NodePort", "externalIPs": ["192.0.2.1"]}), json!({}), Some(vec!["192.0.2.1"])),
            (json!({"type": "NodePort"}), json!({}), None),
        ] {
            let expected = expected.map(|list| (gateway.clone(), list.into_iter().map(Text::from).collect()));
            assert_eq!(of(&service(&spec, &status)), expected, "{spec}");
        }
    }

    #[test]
    fn a_service_of_somebody_else_is_nobodys_address() {
        let mut foreign = service(&json!({"type": "LoadBalancer"}), &json!({}));
        foreign["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("somebody");
        assert_eq!(of(&foreign), None);
    }
}
