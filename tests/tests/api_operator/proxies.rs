//! What is deployed for a Gateway, and an Envoy that is served by way of it.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    envoy::Pod,
    load::Target as _,
};

use crate::{
    front::{Front, is_served},
    room::{Room, condition, free_port, server},
};

/// What is made for a Gateway with a Deployment.
const PIECES: [&str; 6] = ["ServiceAccount", "ConfigMap", "Secret", "Service", "Deployment", "PodDisruptionBudget"];

fn gateway(namespace: &str, name: &str, port: u16) -> Value {
    let any = json!({"namespaces": {"from": "All"}});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "gatewayClassName": "sluice",
            "listeners": [{"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": any}],
        },
    })
}

fn is_there(_: &Value) -> bool {
    true
}

/// Says what only a controller of Kubernetes would.
pub(crate) async fn say(room: &Room, kind: &str, name: &str, status: Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    room.api(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

pub(crate) async fn deployed(room: &Room, name: &str) {
    for piece in PIECES {
        room.until(piece, name, is_there).await;
    }
}

/// The CAs that a proxy trusts.
fn trusted(secret: &Value) -> BTreeSet<String> {
    let text = STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
}

/// Since when a Gateway is programmed.
pub(crate) async fn programmed(room: &Room, name: &str) -> Value {
    let is_programmed = |gateway: &Value| condition(&gateway["status"], "Programmed")["status"] == "True";
    condition(&room.until("Gateway", name, is_programmed).await["status"], "Programmed")["lastTransitionTime"].clone()
}

async fn ready(pod: &Pod) {
    pod.proxy().until("readiness", async || (pod.readiness().ok()? == 200).then_some(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_is_served_over_mutual_tls_and_outlives_every_certificate_and_the_ca() {
    let (room, port) = (Room::new("served").await, free_port());
    let _operator = room.operator("one", &[("SLUICE_CA_LIFETIME", "40s"), ("SLUICE_IDENTITY_LIFETIME", "10s")]);
    room.apply(&gateway("served", "edge", port)).await;
    deployed(&room, "edge-sluice").await;
    let mut secret = room.get("Secret", "edge-sluice").await.unwrap();
    let deployment = room.get("Deployment", "edge-sluice").await.unwrap();
    let pod = Pod::start(&deployment, &room.get("ConfigMap", "edge-sluice").await.unwrap(), &secret).unwrap();
    pod.proxy().listener(&format!("http-{port}")).await.unwrap();
    ready(&pod).await;
    let asked =
        [("GET", "/stats/prometheus"), ("GET", "/clusters"), ("POST", "/stats/prometheus"), ("GET", "/quitquitquit")];
    assert_eq!(asked.map(|(method, path)| pod.metrics(method, path).unwrap()), [200, 404, 404, 404]);
    say(&room, "Service", "edge-sluice", json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}})).await;
    let since = programmed(&room, "edge").await;

    let first = trusted(&secret);
    while !first.is_disjoint(&trusted(&secret)) {
        let seen = secret["metadata"]["resourceVersion"].clone();
        secret = room.until("Secret", "edge-sluice", |secret| secret["metadata"]["resourceVersion"] != seen).await;
        pod.rotate(&secret).unwrap();
    }
    let connections = pod.proxy().stat("cluster.sluice.upstream_cx_total").await.unwrap();
    assert!(connections > 2, "{connections}: streams end with the certificates that opened them");
    pod.proxy().until_stat("control_plane.connected_state", 1).await.unwrap();
    for failure in ["fail_verify_error", "fail_verify_san", "fail_verify_no_cert"] {
        assert_eq!(pod.proxy().stat(&format!("cluster.sluice.ssl.{failure}")).await, Some(0), "{failure}");
    }
    assert_eq!(programmed(&room, "edge").await, since, "nobody heard of it");

    assert!(pod.drain("3s", "1s").unwrap().success());
    assert_eq!(pod.readiness().unwrap(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_there_before_the_operator_waits_for_it_and_is_ready_once_it_answers_every_call() {
    let room = Room::new("early").await;
    let before = room.operator("one", &[]);
    let front = Front::set(&room).await;
    before.signal("TERM").unwrap();
    before.ended().await.unwrap();

    let pod = Front::proxy(&room).await;
    let failed = async || pod.proxy().stat("cluster.sluice.upstream_cx_connect_fail").await.filter(|count| *count > 0);
    pod.proxy().until("connection that failed", failed).await.unwrap();
    assert_ne!(pod.readiness().ok(), Some(200));
    let _operator = room.operator("one", &[]);
    ready(&pod).await;
    let answer = call(&front.connect(0).await.unwrap(), Speech::Grpc, "/echo.Echo/Echo", &[]).await.unwrap();
    assert_eq!(answer, Outcome::Answered("echo".into()));
    room.until("GrpcService", "echo", is_served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_is_repaired_and_what_is_somebody_elses_stays() {
    let room = Room::new("repaired").await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "repaired", "name": "taken-sluice"},
        "spec": {"ports": [{"port": 1}]},
    });
    let before = room.apply(&theirs).await;
    let _operator = room.operator("one", &[]);
    room.apply(&gateway("repaired", "taken", 80)).await;
    room.apply(&gateway("repaired", "edge", 80)).await;
    deployed(&room, "edge-sluice").await;
    room.until("PodDisruptionBudget", "taken-sluice", is_there).await;

    let uid = room.get("Deployment", "edge-sluice").await.unwrap()["metadata"]["uid"].clone();
    room.api("Deployment").delete("edge-sluice", &kube::api::DeleteParams::background()).await.unwrap();
    room.until("Deployment", "edge-sluice", |deployment| deployment["metadata"]["uid"] != uid).await;
    let ports = json!([{"name": "port-80", "port": 80, "targetPort": 1}]);
    room.merge("Service", "edge-sluice", &json!({"spec": {"ports": ports}})).await;
    room.until("Service", "edge-sluice", |service| service["spec"]["ports"][0]["targetPort"] == 80).await;
    room.merge("Deployment", "edge-sluice", &json!({"spec": {"replicas": 7}})).await;
    room.until("Deployment", "edge-sluice", |deployment| deployment["spec"]["replicas"] == 2).await;

    let after = room.get("Service", "taken-sluice").await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    room.api("Gateway").delete("taken", &kube::api::DeleteParams::background()).await.unwrap();
    room.until_gone("Deployment", "taken-sluice").await;
    assert_eq!(room.get("Service", "taken-sluice").await, Some(after));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_of_what_is_deployed() {
    let room = Room::new("restarted").await;
    let first = room.operator("one", &[]);
    room.apply(&gateway("restarted", "edge", 80)).await;
    deployed(&room, "edge-sluice").await;
    drop(first);
    let audit = server().audit().unwrap();
    let _second = room.operator("two", &[]);
    // Everything of the first Gateway is looked at before everything of a later one is made.
    room.apply(&gateway("restarted", "late", 80)).await;
    deployed(&room, "late-sluice").await;
    let written = room.written(&audit, "two").into_iter().filter(|write| write.name.ends_with("/edge-sluice"));
    assert_eq!(written.collect::<Vec<_>>(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_proxies_goes_to_an_autoscaler_and_another_workload_takes_over_before_the_first_goes() {
    let room = Room::new("scaled").await;
    let profile = tempfile::NamedTempFile::new().unwrap();
    let path = profile.path().display().to_string();
    let run = |proxies: Value| {
        std::fs::write(profile.path(), json!({ "proxies": proxies }).to_string()).unwrap();
        room.operator("one", &[("SLUICE_PROFILE", &path)])
    };
    let operator = run(json!({"replicas": 3}));
    room.apply(&gateway("scaled", "edge", 80)).await;
    deployed(&room, "edge-sluice").await;
    drop(operator);

    let operator = run(json!({"autoscaling": {"maxReplicas": 9}}));
    room.until("HorizontalPodAutoscaler", "edge-sluice", is_there).await;
    assert_eq!(room.get("Deployment", "edge-sluice").await.unwrap()["spec"]["replicas"], 3);
    drop(operator);

    let _operator = run(json!({"kind": "DaemonSet"}));
    room.until("DaemonSet", "edge-sluice", is_there).await;
    assert!(room.get("Deployment", "edge-sluice").await.is_some());
    let available = json!({"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0,
        "numberReady": 1, "numberAvailable": 1});
    say(&room, "DaemonSet", "edge-sluice", available).await;
    for piece in ["Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        room.until_gone(piece, "edge-sluice").await;
    }
}
