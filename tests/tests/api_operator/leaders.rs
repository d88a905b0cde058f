//! Two replicas, of which one writes.

use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    load::Target as _,
    operator::Operator,
};
use tokio::task::spawn_blocking;

use crate::{
    front::{Front, is_served},
    proxies::{programmed, say},
    room::{BRIEF, Room, condition, is_judged, server, service},
};

fn is_held_by(name: &str) -> impl Fn(&Value) -> bool {
    move |lease| lease["spec"]["holderIdentity"] == name
}

/// Two operators, the first of which leads.
async fn pair(room: &Room, terms: [&str; 3]) -> (Operator, Operator) {
    let first = room.operator_for("one", terms, &[]);
    room.until("Lease", "sluice", is_held_by("one")).await;
    let second = room.operator_for("two", terms, &[]);
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_is_followed_and_writes_nothing_when_it_goes_on() {
    let room = Room::new("paused").await;
    let (first, _second) = pair(&room, BRIEF).await;
    room.settle("before").await;
    first.signal("STOP").unwrap();
    // It finds this in its sockets when it goes on, at the same time as the lost lease.
    for count in 0..20 {
        room.apply(&service("paused", &format!("meanwhile-{count}"))).await;
    }
    room.until("Lease", "sluice", is_held_by("two")).await;
    let audit = server().audit().unwrap();
    first.signal("CONT").unwrap();
    for count in 0..20 {
        room.until("GrpcService", &format!("meanwhile-{count}"), is_judged).await;
    }
    room.settle("after").await;
    let written = room.written(&audit, "one");
    assert_eq!(written, [], "the former leader wrote");
    let slice = room.get("EndpointSlice", "sluice-xds").await.unwrap();
    assert_eq!(slice["endpoints"], json!([{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}]));
    let lease = room.get("Lease", "sluice").await.unwrap();
    assert_eq!(
        (lease["spec"]["leaseTransitions"].as_i64(), &lease["spec"]["holderIdentity"]),
        (Some(2), &json!("two"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_gives_the_lease_back() {
    let room = Room::new("handover").await;
    // Whoever waited for the lease to run out would wait for longer than this test.
    let terms = ["10m", "9m", "200ms"];
    let (first, _second) = pair(&room, terms).await;
    room.settle("before").await;
    first.signal("TERM").unwrap();
    assert_eq!(first.ended().await.unwrap(), 0);
    room.until("Lease", "sluice", is_held_by("two")).await;
    room.settle("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_waits_for_whoever_led_and_leads_for_as_long_as_its_lease_says() {
    let room = Room::new("cleaned").await;
    let _operator = room.operator("one", &[]);
    room.settle("before").await;
    assert!(room.get("GrpcService", "before").await.unwrap()["metadata"]["finalizers"].is_array());
    let mut cleanup = Command::new(std::env::var_os("SLUICE_BIN").unwrap());
    cleanup.args(["cleanup", "--namespace", "cleaned", "--watch-namespaces", "cleaned"]);
    cleanup.env("KUBECONFIG", server().kubeconfig("two").unwrap());
    assert!(spawn_blocking(move || cleanup.status()).await.unwrap().unwrap().success());
    assert!(room.get("GrpcService", "before").await.unwrap()["metadata"]["finalizers"].is_null());
    let lease = room.get("Lease", "sluice").await.unwrap();
    // The three seconds of the one before, and its own two minutes.
    let spec = ["holderIdentity", "leaseDurationSeconds"].map(|field| lease["spec"][field].clone());
    assert_eq!(spec, [json!("sluice-cleanup"), json!(123)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_writes_nothing() {
    let room = Room::new("standby").await;
    let audit = server().audit().unwrap();
    let (_first, second) = pair(&room, BRIEF).await;
    room.settle("one").await;
    room.settle("two").await;
    second.signal("TERM").unwrap();
    second.ended().await.unwrap();
    assert_eq!(room.written(&audit, "two"), []);
}

/// The pod of the one proxy, as the kubelet tells of it.
async fn runs(room: &Room) {
    let labels = json!({"app.kubernetes.io/managed-by": "sluice", "app.kubernetes.io/component": "proxy"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": room.namespace, "name": "pod", "labels": labels, "annotations": {"sluice.dev/gateway": "echo-public"}},
        "spec": {
            "serviceAccountName": "echo-public-sluice", "automountServiceAccountToken": false, "nodeName": "node",
            "containers": [{"name": "envoy", "image": "proxy"}],
        },
    });
    room.apply(&pod).await;
    say(room, "Pod", "pod", json!({"conditions": [{"type": "Ready", "status": "True"}]})).await;
}

async fn answer(front: &Front) -> Outcome {
    call(&front.connect(0).await.unwrap(), Speech::Grpc, "/echo.Echo/Echo", &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_takes_calls_and_cannot_reach_the_leader_keeps_what_it_has_and_is_waited_for_with_what_is_new() {
    let room = Room::new("severed").await;
    let near = room.operator("one", &[]);
    let front = Front::set(&room).await;
    let _proxy = Front::proxy(&room).await;
    runs(&room).await;
    room.until("GrpcService", "echo", is_served).await;
    let since = programmed(&room, "echo-public").await;

    // The Envoy looks for its control plane where the first operator was, and nowhere else.
    near.signal("TERM").unwrap();
    near.ended().await.unwrap();
    let far = room.operator("two", &[]);
    room.until("Lease", "sluice", is_held_by("two")).await;
    let edited = json!([{"name": "never", "matches": [{"headers": [{"name": "never", "value": "sent"}]}]}]);
    room.merge("GrpcService", "echo", &json!({"spec": {"rules": edited}})).await;
    let is_pending =
        |service: &Value| is_judged(service) && condition(&service["status"], "Ready")["reason"] == "Pending";
    let service = room.until("GrpcService", "echo", is_pending).await;
    let ready = condition(&service["status"], "Ready");
    assert!(ready["message"].as_str().unwrap().contains("pod pod of Gateway severed/echo-public"), "{ready}");
    assert!(!is_served(&service));
    assert_eq!(answer(&front).await, Outcome::Answered("echo".into()), "callers are served as before");
    assert_eq!(programmed(&room, "echo-public").await, since, "what it had before it has still");

    let _near = room.operator("one", &[]);
    far.signal("TERM").unwrap();
    far.ended().await.unwrap();
    room.until("GrpcService", "echo", is_served).await;
    assert_ne!(answer(&front).await, Outcome::Answered("echo".into()), "it heard of the rule");
}
