//! Manifests that the tests of the gateway have in common. They are JSON, which is YAML.
//!
//! names and addresses → documents
//!
//! **Invariant:** one document says one thing; what a test is about, it writes itself.

use std::{fmt::Display, net::SocketAddr};

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

/// A certificate that signs itself, and its manifest.
#[derive(Debug)]
pub struct Certificate {
    /// PEM: what clients trust.
    pub pem: String,
    /// PEM.
    pub key: String,
}

impl Certificate {
    /// For these names.
    pub fn new(names: &[&str]) -> Result<Self> {
        let key = KeyPair::generate()?;
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        Ok(Self { pem: certificate.pem(), key: key.serialize_pem() })
    }

    /// The Secret that holds it.
    pub fn secret(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": self.pem, "tls.key": self.key},
        })
    }
}

/// A ConfigMap with those who are trusted.
pub fn authorities(name: &str, pem: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name), "data": {"ca.crt": pem}})
}

/// A BackendTLSPolicy for a Service, of the same name, whose authorities are in the ConfigMap `authorities`.
pub fn backend_tls(service: &str, hostname: &str, names: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "metadata": metadata(service),
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": service}],
            "validation": {
                "hostname": hostname, "subjectAltNames": names,
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "authorities"}],
            },
        },
    })
}

/// A Gateway with an HTTPS listener on port 443 for each hostname, all with the certificate of one Secret. Listeners are called
/// `l0`, `l1` and so on; routes of all namespaces may attach.
pub fn gateway(name: &str, hostnames: &[&str], secret: &str) -> Value {
    let listener = |(index, hostname): (usize, &&str)| {
        json!({
            "name": format!("l{index}"), "protocol": "HTTPS", "port": 443, "hostname": hostname,
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": secret}]},
            "allowedRoutes": {"namespaces": {"from": "All"}},
        })
    };
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata(name),
        "spec": {
            "gatewayClassName": "sluice",
            "listeners": hostnames.iter().enumerate().map(listener).collect::<Vec<_>>(),
        },
    })
}

/// A Service with port 9000. `name` may be `namespace/name`.
pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(name),
        "spec": {"selector": {"app": name}, "ports": [{"name": "grpc", "port": 9000}]},
    })
}

/// The endpoints of such a Service: all of one port, as in a slice of Kubernetes.
pub fn endpoints(name: &str, address: SocketAddr) -> Value {
    let mut metadata = metadata(name);
    metadata["labels"] = json!({"kubernetes.io/service-name": metadata["name"]});
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": family,
        "ports": [{"name": "grpc", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
    })
}

/// A GRPCRoute of a hostname, attached to the Gateway `gateway`.
pub fn route(name: &str, hostname: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": metadata(name),
        "spec": {"parentRefs": [{"name": "gateway", "namespace": "default"}], "hostnames": [hostname], "rules": rules},
    })
}

/// Rule without matches: everything to one Service.
pub fn everything_to(service: &str) -> Value {
    json!([{"backendRefs": [backend(service)]}])
}

/// A reference to port 9000 of a Service.
pub fn backend(service: &str) -> Value {
    json!({"name": service, "port": 9000})
}

/// A GrpcPolicy for a whole GRPCRoute, of the same name.
pub fn policy(route: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["targetRefs"] = json!([{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": route}]);
    json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcPolicy", "metadata": metadata(route), "spec": spec})
}

/// Several documents as one file.
pub fn file(documents: impl IntoIterator<Item = impl Display>) -> String {
    documents.into_iter().map(|document| format!("{document:#}\n")).collect::<Vec<_>>().join("---\n")
}

fn metadata(name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    json!({"name": name, "namespace": namespace})
}
