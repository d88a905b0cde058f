//! A Gateway that no load balancer stands before.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sluice_tests::{
    cluster::{Hostname, Scene, grpc_service},
    load::Load,
};

use super::{CALLS, Turn};

#[tokio::test(flavor = "multi_thread")]
async fn on_ports_of_nodes_a_service_is_reached_where_its_status_says() {
    let turn = Turn::take();
    let scene = Scene::set(&turn.cluster, "on-nodes").unwrap();
    let profile = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GatewayProfile", "metadata": {"name": "on-nodes"},
        "spec": {"proxies": {"service": {"type": "NodePort"}}},
    });
    let reference = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "on-nodes"});
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "on-nodes"},
        "spec": {"controllerName": "sluice.dev/gateway-controller", "parametersRef": reference},
    });
    scene.apply(&profile).unwrap();
    scene.apply(&class).unwrap();
    let mut service = grpc_service("echo", "on-nodes.example.com");
    service["spec"]["gateways"] = json!([{"name": "own", "own": {"gatewayClassName": "on-nodes"}}]);
    scene.apply(&service).unwrap();
    let callers = Hostname::of(&turn.cluster, "on-nodes", "echo").unwrap();
    assert!(callers.address.port() >= 30_000, "{}", callers.address);
    let load = Load::start(Arc::new(callers), CALLS).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await; // house(sleep): load lasts
    load.stop().await.unwrap().flawless().unwrap();
    turn.cluster.kubectl(&["delete", "grpcservice", "echo", "--namespace", "on-nodes", "--timeout=60s"]).unwrap();
    turn.cluster.kubectl(&["delete", "gatewayclass,gatewayprofile", "on-nodes"]).unwrap();
}
