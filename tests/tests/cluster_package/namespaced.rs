//! An installation that sees some namespaces alone, with Roles and nothing beyond them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sluice_tests::{
    cluster::{Audit, Hostname, Release, Scene, condition, grpc_service, says},
    load::Load,
};

use super::{CALLS, Turn};

/// Where the operator runs.
const PLACE: &str = "tenant-platform";
/// The namespace that it sees.
const SEEN: &str = "tenant";

fn uninstall(turn: &Turn, namespace: &str) {
    let gone = ["uninstall", Release::NAME, "--namespace", namespace, "--wait", "--timeout", "120s"];
    turn.cluster.helm(&gone).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_roles_alone_the_services_of_its_namespaces_are_served() {
    let turn = Turn::take();
    uninstall(&turn, Release::NAMESPACE);
    let _place = turn.cluster.namespace(PLACE).unwrap();
    let scene = Scene::set(&turn.cluster, SEEN).unwrap();
    let audit = Audit::now().unwrap();
    let mut arguments = Release::upgrade(&["--set", "watchNamespaces={tenant}"]).unwrap();
    for argument in &mut arguments {
        if argument == Release::NAMESPACE {
            PLACE.clone_into(argument);
        }
    }
    turn.cluster.helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let selector = format!("app.kubernetes.io/instance={}", Release::NAME);
    let beyond =
        ["get", "clusterroles,clusterrolebindings,gatewayclasses", "--selector", &selector, "--output", "name"];
    assert_eq!(turn.cluster.kubectl(&beyond).unwrap(), "");
    let mut service = grpc_service("echo", "tenant.example.com");
    service["spec"]["gateways"] = json!([{"name": "own", "own": {"gatewayClassName": "sluice"}}]);
    scene.apply(&service).unwrap();
    let callers = Hostname::of(&turn.cluster, SEEN, "echo").unwrap();
    let load = Load::start(Arc::new(callers), CALLS).await.unwrap();
    assert_eq!(chosen_by_labels(&turn), "UnsupportedValue");
    tokio::time::sleep(Duration::from_secs(5)).await; // house(sleep): load lasts
    load.stop().await.unwrap().flawless().unwrap();
    assert_eq!(audit.denied(&format!("{PLACE}:{}", Release::NAME)).unwrap(), []);
    turn.cluster.kubectl(&["delete", "grpcservice", "echo", "--namespace", SEEN, "--timeout=60s"]).unwrap();
    uninstall(&turn, PLACE);
    Release::install(&turn.cluster).unwrap();
}

/// What a Gateway is told whose listener chooses namespaces by their labels, which nobody may read here.
fn chosen_by_labels(turn: &Turn) -> String {
    let chooses = json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}});
    let listeners = json!([{"name": "http", "port": 8080, "protocol": "HTTP", "allowedRoutes": chooses}]);
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "chosen"},
        "spec": {"gatewayClassName": "sluice", "listeners": listeners},
    });
    turn.cluster.apply(SEEN, &gateway.to_string()).unwrap();
    let told = turn.cluster.until(SEEN, "gateway/chosen", |it| says(it, "Programmed", "False")).unwrap();
    let listener: Value = json!({"status": {"conditions": told["status"]["listeners"][0]["conditions"]}});
    let (_, reason, message) = condition(&listener, "Accepted").unwrap();
    assert!(message.contains("which this install does not see"), "{message}");
    turn.cluster.kubectl(&["delete", "gateway", "chosen", "--namespace", SEEN, "--timeout=60s"]).unwrap();
    reason
}
