//! The objects of a benchmark's world.
//!
//! numbers → objects as JSON
//!
//! **Invariant:** every route has a host and a Service of its own, so that nothing is cheap by being shared.
//! **Invariant:** an edit changes a marker of constant length, which is found again in what the proxy is sent.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::manifests::Certificate;

/// Where routes and their backends are.
pub const APPS: &str = "apps";
/// Where the Gateway is.
pub const INFRA: &str = "infra";
/// The Gateway.
pub const EDGE: &str = "edge";
/// The port of the Gateway's only listener.
pub const PORT: u16 = 18443;
/// The Services that are real, and called.
pub const REAL: [&str; 3] = ["echo-a", "echo-b", REST];
/// The one that gets what no other rule of a route matches.
pub const REST: &str = "echo-rest";
/// Endpoints of each other Service. Nobody is there, and nobody calls them.
pub const ENDPOINTS: usize = 10;
/// The port of all backends.
const BACKEND_PORT: u16 = 9000;

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A Gateway with one HTTPS listener for a wildcard, open to routes and listeners of all namespaces.
pub fn gateway(class: &str) -> Value {
    let everyone = json!({"namespaces": {"from": "All"}});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"namespace": INFRA, "name": EDGE},
        "spec": {
            "gatewayClassName": class,
            "allowedListeners": everyone,
            "listeners": [{
                "name": "https", "port": PORT, "protocol": "HTTPS", "hostname": "*.example.com",
                "tls": {"certificateRefs": [{"name": "wildcard"}]}, "allowedRoutes": everyone,
            }],
        },
    })
}

/// The certificate of the Gateway's listener.
pub fn secret(certificate: &Certificate) -> Value {
    let mut secret = certificate.secret("wildcard");
    secret["metadata"]["namespace"] = json!(INFRA);
    secret
}

/// The host of a route.
pub fn host(index: usize) -> String {
    format!("host-{index}.example.com")
}

/// The name of the Service of a route.
pub fn backend(index: usize) -> String {
    format!("backend-{index}")
}

/// What makes an edit recognisable.
pub fn marker(number: usize) -> String {
    format!("edit-{number:09}")
}

/// A Service without an address of its own: proxies do not need it, and the range for them is small.
pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": APPS, "name": name},
        "spec": {"clusterIP": "None", "ports": [{"name": "grpc", "port": BACKEND_PORT}]},
    })
}

/// Addresses that nobody calls, 12,500 different ones at most.
pub fn addresses(index: usize, count: usize) -> Vec<String> {
    let third = |last: usize| index % 200 + last / 250;
    (0..count).map(|last| format!("10.{}.{}.{}", 64 + index / 200 % 100, third(last), last % 250 + 1)).collect()
}

/// One slice of a Service.
pub fn slice(service: &str, number: usize, addresses: &[String], port: u16) -> Value {
    let endpoints: Vec<Value> =
        addresses.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": APPS, "name": format!("{service}-{number}"), "labels": {"kubernetes.io/service-name": service},
        },
        "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// The slice of a Service whose only endpoint is real.
pub fn real_slice(service: &str, address: SocketAddr) -> Value {
    slice(service, 0, &[address.ip().to_string()], address.port())
}

/// What a route says.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Its number: of its name, its host and its own Service.
    pub index: usize,
    /// Calls of `Echo` with the header `x-edit` of this value go to `target`.
    pub marker: &'a str,
    /// A Service.
    pub target: &'a str,
}

/// A route of three rules, as a typical one has: a header, a method, the rest.
pub fn route(gateway: &Value, rules: Rules) -> Value {
    let Rules { index, marker, target } = rules;
    let own = json!([{"name": backend(index), "port": BACKEND_PORT}]);
    let method = |name: &str| json!({"service": "echo.Echo", "method": name});
    let edited = json!({"method": method("Echo"), "headers": [{"name": "x-edit", "value": marker}]});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"namespace": APPS, "name": format!("route-{index}")},
        "spec": {
            "parentRefs": [{"namespace": gateway["metadata"]["namespace"], "name": gateway["metadata"]["name"]}],
            "hostnames": [host(index)],
            "rules": [
                {"matches": [edited], "backendRefs": [{"name": target, "port": BACKEND_PORT}]},
                {"matches": [{"method": method("EchoV2")}], "backendRefs": own},
                {"backendRefs": [{"name": REST, "port": BACKEND_PORT}]},
            ],
        },
    })
}

/// A route that leads to every real Service, so that none of them comes or goes with the routes that are edited.
pub fn keeper(gateway: &Value) -> Value {
    let mut keeper = route(gateway, Rules { index: 0, marker: "keeper", target: REAL[0] });
    keeper["metadata"]["name"] = json!("keeper");
    keeper["spec"]["hostnames"] = json!(["keeper.example.com"]);
    let backends: Vec<Value> = REAL.iter().map(|name| json!({"name": name, "port": BACKEND_PORT})).collect();
    keeper["spec"]["rules"] = json!([{"backendRefs": backends}]);
    keeper
}

/// A route with its Service and endpoints.
pub fn application(gateway: &Value, index: usize) -> [Value; 3] {
    let name = backend(index);
    [
        service(&name),
        slice(&name, 0, &addresses(index, ENDPOINTS), BACKEND_PORT),
        route(gateway, Rules { index, marker: &marker(0), target: "echo-a" }),
    ]
}
