//! Backends: what a reference resolves to, and the endpoints behind it.
//!
//! a reference → [`ir::Cluster`], or why not; a cluster → [`ir::Assignment`]
//!
//! **Invariant:** a cluster is a Service's port and a protocol, whoever refers to it: shared by all rules.
//! **Invariant:** endpoints are a leaf: no route is lowered again because an endpoint came or went.
//!
//! Knows nothing of rules and weights.

use super::{backend_tls, grant};
use crate::{
    ir,
    key::{Kind, NsName, Ref},
    status::route::BackendFault,
    world::{
        Reader,
        backend::{Endpoint, EndpointSlice, EndpointState, Service, ServicePort},
        route::BackendTarget,
    },
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The cluster that a reference from `route` means; `speak` chooses the protocol by `appProtocol`, or none. Of a port that a
/// policy has spoken to over TLS, `appProtocol` need not say so.
///
/// The order of checks is the order of what a refusal may tell: nothing about a Service before the grant for it.
pub(super) fn resolve(
    target: &BackendTarget,
    route: &Ref,
    speak: impl Fn(Option<&str>) -> Option<ir::Upstream>,
    read: &Reader<'_>,
) -> Result<ir::Cluster, BackendFault> {
    if Kind::named(&target.group, &target.kind) != Some(Kind::Service) {
        return Err(BackendFault::Kind { group: target.group.clone(), kind: target.kind.clone() });
    }
    let service = service_of(target, route);
    let wanted = Ref::new(Kind::Service, service.clone());
    if !grant::permits(route.kind, &route.key.namespace, &wanted, read) {
        return Err(BackendFault::NotPermitted { remedy: grant::remedy(route.kind, &route.key.namespace, &wanted) });
    }
    let found = read.get::<Service>(&service).ok_or(BackendFault::NotFound)?;
    let port = port_of(found, target.port)?;
    let tls = backend_tls::of(&service, &port.name, read);
    let tls = tls.map_err(|policy| BackendFault::Tls { service: service.clone(), policy })?;
    let spoken = port.app_protocol.as_deref().filter(|protocol| tls.is_none() || !is_tls(protocol));
    let upstream = speak(spoken).ok_or_else(|| BackendFault::Protocol {
        port: port.port,
        protocol: port.app_protocol.clone().unwrap_or_default(),
    })?;
    Ok(ir::Cluster { service, port: port.port, upstream, tls: tls.map(Arc::new) })
}

fn is_tls(app_protocol: &str) -> bool {
    ["https", "tls"].iter().any(|name| app_protocol.eq_ignore_ascii_case(name))
}

/// The name that a reference means, seen from the route's namespace.
pub(super) fn service_of(target: &BackendTarget, route: &Ref) -> NsName {
    let namespace = target.namespace.clone().unwrap_or_else(|| route.key.namespace.clone());
    NsName { namespace, name: target.name.clone() }
}

fn port_of(service: &Service, wanted: Option<u16>) -> Result<&ServicePort, BackendFault> {
    if service.spec.kind.as_deref() == Some("ExternalName") {
        return Err(BackendFault::ExternalName);
    }
    let offered = || service.spec.ports.iter().map(|port| port.port).collect();
    let wanted = wanted.ok_or_else(|| BackendFault::NoPort { offered: offered() })?;
    tcp_port(service, wanted).ok_or_else(|| BackendFault::Port { wanted, offered: offered() })
}

/// A port number may be there twice, once for TCP and once for UDP.
fn tcp_port(service: &Service, number: u16) -> Option<&ServicePort> {
    let is_tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    service.spec.ports.iter().filter(|port| port.port == number).find(is_tcp)
}

/// The endpoints of a cluster, from every slice of its Service. O(endpoints · log endpoints).
pub fn assignment(cluster: &ir::Cluster, read: &Reader<'_>) -> ir::Assignment {
    let service = read.get::<Service>(&cluster.service);
    let port = service.and_then(|service| tcp_port(service, cluster.port));
    let endpoints = port.map(|port| targets(&read.slices(&cluster.service), port)).unwrap_or_default();
    ir::Assignment { cluster: cluster.name(), endpoints: serving(endpoints) }
}

/// States by address and target port. While a pod moves, two slices may both have it: ready counts more than draining.
fn targets(slices: &[&Arc<EndpointSlice>], port: &ServicePort) -> BTreeMap<(IpAddr, u16), EndpointState> {
    let mut states = BTreeMap::new();
    for slice in slices {
        let numbers = slice.ports.iter().filter(|candidate| candidate.name == port.name);
        for number in numbers.filter_map(|candidate| candidate.port) {
            for endpoint in &slice.endpoints {
                let state = states.entry((endpoint.address, number)).or_insert(endpoint.state);
                *state = endpoint.state.min(*state);
            }
        }
    }
    states
}

/// With no ready endpoint left, terminating ones that still serve take the traffic, as kube-proxy has it: Envoy sends
/// nothing to hosts that drain.
fn serving(states: BTreeMap<(IpAddr, u16), EndpointState>) -> Vec<ir::Target> {
    let any_ready = states.values().any(|state| *state == EndpointState::Ready);
    let states = states.into_iter().map(|((address, port), state)| {
        let state = if any_ready { state } else { EndpointState::Ready };
        ir::Target { endpoint: Endpoint { address, state }, port }
    });
    states.collect()
}

#[cfg(test)]
mod tests {
    use super::assignment;
    use crate::{
        ir::{Cluster, Upstream},
        key::{Kind, NsName},
        world::{Change, Object, Reader, Settings, Surfaces, World, backend::EndpointState},
    };
    use serde_json::{Value, json};

    fn slice(name: &str, port: &Value, endpoints: &Value) -> Value {
        let labels = json!({"kubernetes.io/service-name": "echo"});
        json!({"metadata": {"namespace": "default", "name": name, "labels": labels}, "ports": [port], "endpoints": endpoints})
    }

    fn endpoint(address: &str, conditions: &Value) -> Value {
        json!({"addresses": [address], "conditions": conditions})
    }

    fn read(slices: &[Value]) -> Vec<String> {
        let mut world = World::new(Settings::default());
        let ports = json!([{"name": "grpc", "port": 9000}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let service = json!({"metadata": {"namespace": "default", "name": "echo"}, "spec": {"ports": ports}});
        world.apply(Change::Upsert(Object::decode(Kind::Service, service).unwrap()));
        for slice in slices {
            world.apply(Change::Upsert(Object::decode(Kind::EndpointSlice, slice.clone()).unwrap()));
        }
        let cluster =
            Cluster { service: NsName::new("default", "echo"), port: 9000, upstream: Upstream::H2, tls: None };
        let assignment = assignment(&cluster, &Reader::new(&world, &Surfaces::new()));
        let short = |state| if state == EndpointState::Ready { "" } else { " draining" };
        let targets = assignment.endpoints.iter();
        targets
            .map(|target| format!("{}:{}{}", target.endpoint.address, target.port, short(target.endpoint.state)))
            .collect()
    }

    #[test]
    fn endpoints_follow_the_name_of_the_port_and_the_state_of_the_pods() {
        let grpc = json!({"name": "grpc", "port": 8080});
        let terminating = json!({"ready": false, "serving": true, "terminating": true});
        let table = [
            ("no slice", vec![], vec![]),
            (
                "a slice of another port",
                vec![slice("a", &json!({"name": "x", "port": 1}), &json!([endpoint("10.0.0.1", &json!({}))]))],
                vec![],
            ),
            (
                "two slices of two families, in order",
                vec![
                    slice("b", &grpc, &json!([endpoint("fd00::1", &json!({}))])),
                    slice(
                        "a",
                        &grpc,
                        &json!([endpoint("10.0.0.2", &json!({})), endpoint("10.0.0.1", &json!({"ready": true}))]),
                    ),
                ],
                vec!["10.0.0.1:8080", "10.0.0.2:8080", "fd00::1:8080"],
            ),
            (
                "a pod in two slices, once, ready",
                vec![
                    slice("a", &grpc, &json!([endpoint("10.0.0.1", &terminating)])),
                    slice("b", &grpc, &json!([endpoint("10.0.0.1", &json!({}))])),
                ],
                vec!["10.0.0.1:8080"],
            ),
            (
                "a terminating pod beside a ready one, draining",
                vec![slice("a", &grpc, &json!([endpoint("10.0.0.1", &terminating), endpoint("10.0.0.2", &json!({}))]))],
                vec!["10.0.0.1:8080 draining", "10.0.0.2:8080"],
            ),
            (
                "a terminating pod alone, as ready",
                vec![slice("a", &grpc, &json!([endpoint("10.0.0.1", &terminating)]))],
                vec!["10.0.0.1:8080"],
            ),
            (
                "a pod that is not ready",
                vec![slice("a", &grpc, &json!([endpoint("10.0.0.1", &json!({"ready": false}))]))],
                vec![],
            ),
        ];
        for (name, slices, expected) in table {
            assert_eq!(read(&slices), expected, "{name}");
        }
    }
}
