//! What has to run for a Gateway.
//!
//! Gateway, its plan, GatewayProfile → [`Infrastructure`]
//!
//! **Invariant:** it says what is wanted, and nothing of how it is deployed; where the profile says nothing, the methods of
//! [`Proxies`] name the defaults.
//!
//! Knows nothing of Deployments or of processes.

use super::profile;
use crate::{
    key::{NsName, Text},
    network,
    world::{
        Reader,
        gateway::{Gateway, GatewayClass},
    },
};
use sluice_api::profile::{Proxies, ServiceType};
use std::collections::{BTreeMap, BTreeSet};

/// The proxies of one Gateway, as they are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Infrastructure {
    /// The Gateway.
    pub gateway: NsName,
    /// Its uid: the owner of everything that is made for it.
    pub uid: Text,
    /// Its class.
    pub class: Text,
    /// The ports that callers use, in order: those of listeners that are accepted. Empty while none is.
    pub ports: BTreeSet<u16>,
    /// `spec.infrastructure.labels`, for everything that is made.
    pub labels: BTreeMap<Text, Text>,
    /// `spec.infrastructure.annotations`, for everything that is made.
    pub annotations: BTreeMap<Text, Text>,
    /// `spec.addresses[].value`: what is asked for by value, and may be.
    pub requested: Vec<Text>,
    /// The profile's `proxies`.
    pub proxies: Proxies,
}

/// What has to run for a Gateway whose class has a policy.
pub(super) fn wanted(gateway: &Gateway, class: &GatewayClass, ports: BTreeSet<u16>, read: &Reader) -> Infrastructure {
    let (metadata, spec) = (&gateway.metadata, &gateway.spec);
    let proxies = proxies(class, read);
    let asked = spec.addresses.iter().filter_map(|address| address.value.clone());
    Infrastructure {
        gateway: metadata.key.clone(),
        uid: metadata.uid.clone(),
        class: spec.gateway_class_name.clone(),
        ports,
        labels: spec.infrastructure.labels.clone(),
        annotations: spec.infrastructure.annotations.clone(),
        requested: asked.filter(|address| may_have(&proxies, address)).collect(),
        proxies,
    }
}

/// How the proxies of a class run.
pub(super) fn proxies(class: &GatewayClass, read: &Reader) -> Proxies {
    let profile = profile::spec(class, read).ok().flatten();
    profile.and_then(|profile| profile.proxies.clone()).unwrap_or_default()
}

/// Whether a Gateway whose proxies run so may ask for an address. A load balancer decides itself what it gives; in front of any other
/// Service nobody would, and whoever makes a Gateway could take calls that were meant for others (CVE-2020-8554).
pub(super) fn may_have(proxies: &Proxies, address: &str) -> bool {
    let service = proxies.service.clone().unwrap_or_default();
    service.service_type() == ServiceType::LoadBalancer
        || service.external_ips().iter().any(|network| network::holds(network, address))
}

#[cfg(test)]
mod tests {
    use super::{Infrastructure, NsName, Reader};
    use crate::{
        key::Kind,
        translate::attach,
        world::{Object, Settings, Surfaces, World},
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn wanted(profile: Option<Value>, spec: &Value) -> Option<Arc<Infrastructure>> {
        let mut world = World::new(Settings::default());
        let parameters = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"});
        let class = json!({"controllerName": "sluice.dev/gateway-controller", "parametersRef": parameters});
        let objects = [
            (Kind::GatewayClass, Some(json!({"metadata": {"name": "sluice"}, "spec": class}))),
            (Kind::GatewayProfile, profile.map(|spec| json!({"metadata": {"name": "p"}, "spec": spec}))),
            (Kind::Gateway, Some(json!({"metadata": {"namespace": "a", "name": "gw", "uid": "u"}, "spec": spec}))),
        ];
        for (kind, object) in objects {
            if let Some(object) = object {
                world.apply(Object::decode(kind, object).unwrap().into());
            }
        }
        attach::plan(&NsName::new("a", "gw"), &Reader::new(&world, &Surfaces::new())).unwrap().infrastructure
    }

    fn spec(listeners: &Value) -> Value {
        json!({"gatewayClassName": "sluice", "listeners": listeners})
    }

    #[test]
    fn it_is_what_the_gateway_and_its_profile_say() {
        let mut gateway = spec(&json!([
            {"name": "one", "port": 80, "protocol": "HTTP"},
            {"name": "two", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "absent"}]}},
            {"name": "odd", "port": 53, "protocol": "UDP"},
        ]));
        gateway["infrastructure"] = json!({"labels": {"team": "x"}, "annotations": {"example.com/lb": "internal"}});
        gateway["addresses"] = json!([{"type": "IPAddress", "value": "10.0.0.1"}]);
        let found = wanted(Some(json!({"proxies": {"replicas": 5}})), &gateway).unwrap();
        assert_eq!((&*found.uid, &*found.class, found.proxies.replicas()), ("u", "sluice", 5));
        assert_eq!(found.ports.iter().copied().collect::<Vec<_>>(), [80, 443], "accepted ones, served or not");
        assert_eq!(found.labels.get("team").map(|value| &**value), Some("x"));
        assert_eq!(found.annotations.get("example.com/lb").map(|value| &**value), Some("internal"));
        assert_eq!(found.requested, ["10.0.0.1".into()]);
    }

    #[test]
    fn without_a_load_balancer_only_addresses_in_the_profiles_networks_are_asked_for() {
        let mut gateway = spec(&json!([{"name": "one", "port": 80, "protocol": "HTTP"}]));
        gateway["addresses"] = json!([{"value": "10.0.0.1"}, {"value": "192.0.2.1"}]);
        for (service, expected) in [
            (json!({}), vec!["10.0.0.1", "192.0.2.1"]),
            (json!({"type": "NodePort"}), vec![]),
            (json!({"type": "ClusterIP"}), vec![]),
            (json!({"type": "NodePort", "externalIPs": ["192.0.2.0/24"]}), vec!["192.0.2.1"]),
        ] {
            let found = wanted(Some(json!({"proxies": {"service": service}})), &gateway).unwrap();
            assert_eq!(found.requested.iter().map(|address| &**address).collect::<Vec<_>>(), expected, "{service}");
        }
    }

    #[test]
    fn a_refused_gateway_wants_nothing_and_one_without_listeners_no_port() {
        assert_eq!(wanted(None, &spec(&json!([{"name": "one", "port": 80, "protocol": "HTTP"}]))), None);
        let none = wanted(Some(json!({})), &spec(&json!([{"name": "odd", "port": 53, "protocol": "UDP"}]))).unwrap();
        assert!(none.ports.is_empty());
    }
}
