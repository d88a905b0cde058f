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
    world::{
        Reader,
        gateway::{Gateway, GatewayClass},
    },
};
use sluice_api::profile::Proxies;
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
    /// `spec.addresses[].value`: what is asked for by value.
    pub requested: Vec<Text>,
    /// The profile's `proxies`.
    pub proxies: Proxies,
}

/// What has to run for a Gateway whose class has a policy.
pub(super) fn wanted(gateway: &Gateway, class: &GatewayClass, ports: BTreeSet<u16>, read: &Reader) -> Infrastructure {
    let (metadata, spec) = (&gateway.metadata, &gateway.spec);
    let profile = profile::spec(class, read).ok().flatten();
    Infrastructure {
        gateway: metadata.key.clone(),
        uid: metadata.uid.clone(),
        class: spec.gateway_class_name.clone(),
        ports,
        labels: spec.infrastructure.labels.clone(),
        annotations: spec.infrastructure.annotations.clone(),
        requested: spec.addresses.iter().filter_map(|address| address.value.clone()).collect(),
        proxies: profile.and_then(|profile| profile.proxies.clone()).unwrap_or_default(),
    }
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
    fn a_refused_gateway_wants_nothing_and_one_without_listeners_no_port() {
        assert_eq!(wanted(None, &spec(&json!([{"name": "one", "port": 80, "protocol": "HTTP"}]))), None);
        let none = wanted(Some(json!({})), &spec(&json!([{"name": "odd", "port": 53, "protocol": "UDP"}]))).unwrap();
        assert!(none.ports.is_empty());
    }
}
