//! A GrpcService whose calls are answered: an echo server behind it, and a real Envoy in front of it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};
use sluice_tests::{echoes::Echo, envoy::Pod, load::Target, manifests::endpoints, wire::Connection};

use crate::{
    proxies::{deployed, say},
    room::{Room, free_port, is_judged, service},
};

/// Of the service `echo` with a Gateway of its own.
pub(crate) struct Front {
    address: SocketAddr,
    host: String,
    /// What its callers trust.
    authority: String,
    _echo: Echo,
}

impl Front {
    /// Applies it with its backend, and waits until its proxies are deployed. They do not run before [`Front::proxy`].
    pub(crate) async fn set(room: &Room) -> Self {
        let (namespace, port) = (&room.namespace, free_port());
        let echo = Echo::start_outside("echo").await.unwrap();
        let backend = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": "echo"},
            "spec": {"selector": {"app": "echo"}, "ports": [{"name": "grpc", "port": 9000}]},
        });
        room.apply(&backend).await;
        room.apply(&endpoints(&format!("{namespace}/echo"), echo.address())).await;
        let mut service = service(namespace, "echo");
        service["spec"]["gateways"][0]["own"]["port"] = json!(port);
        service["spec"]["rules"] = json!([{"name": "default"}]);
        room.apply(&service).await;
        room.until("GrpcService", "echo", is_judged).await;
        deployed(room, "echo-public-sluice").await;
        say(room, "Service", "echo-public-sluice", json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}})).await;
        let authority = room.get("ConfigMap", "echo-ca").await.unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned();
        let host = service["spec"]["hostnames"][0].as_str().unwrap().to_owned();
        Self { address: (Ipv4Addr::LOCALHOST, port).into(), host, authority, _echo: echo }
    }

    /// Starts one of its proxies.
    pub(crate) async fn proxy(room: &Room) -> Pod {
        let name = "echo-public-sluice";
        let [deployment, config, secret] = ["Deployment", "ConfigMap", "Secret"].map(|kind| room.get(kind, name));
        let (deployment, config, secret) = tokio::join!(deployment, config, secret);
        Pod::start(&deployment.unwrap(), &config.unwrap(), &secret.unwrap()).unwrap()
    }
}

impl Target for Front {
    async fn connect(&self, _: u64) -> Result<Connection> {
        Connection::open(self.address, &self.host, &self.authority).await
    }
}

/// Whether callers get what is written now.
pub(crate) fn is_served(service: &Value) -> bool {
    is_judged(service) && service["status"]["servedGeneration"] == service["metadata"]["generation"]
}
