//! Sluice as a package: installed, upgraded and rolled back under load, applied twice, taken away again.
//!
//! The tests take turns; the last of them uninstalls, and installs again for whoever comes after.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

mod namespaced;
mod nodes;
mod rights;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use sluice_tests::{
    api_server::repository,
    cluster::{Audit, Cluster, Hostname, Release, Scene, says},
    load::{Load, Plan},
};

const CALLS: Plan = Plan { per_second: 200, connections: 5, fresh: 100, streams: 0 };

struct Turn {
    cluster: Cluster,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            Release::doubt();
        }
    }
}

impl Turn {
    fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::from_environment().unwrap();
        Release::ensure(&cluster).unwrap();
        Self { cluster, _turn: turn }
    }

    /// Changes the release under load, and waits until operator and proxies run as the new revision wants them.
    async fn change(&self, callers: &Arc<Hostname>, arguments: &[&str]) {
        let load = Load::start(callers.clone(), CALLS).await.unwrap();
        tokio::task::block_in_place(|| {
            self.cluster.helm(arguments).unwrap();
            for what in ["deployment/sluice", "deployment/default-sluice"] {
                let status = ["rollout", "status", "--namespace", Release::NAMESPACE, what, "--timeout=180s"];
                self.cluster.kubectl(&status).unwrap();
            }
        });
        load.stop().await.unwrap().flawless().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_a_rollback_under_load_fail_no_call() {
    let turn = Turn::take();
    let scene = Scene::set(&turn.cluster, "upgraded").unwrap();
    let callers = Arc::new(scene.expose("echo", "upgraded.example.com").unwrap());
    // Another revision of everything that runs: the operator's pods by an annotation, the proxies by their labels.
    let settings =
        ["--set", "podAnnotations.revision=second", "--set", "defaultGateway.infrastructure.labels.revision=second"];
    turn.change(&callers, &Release::upgrade(&settings).unwrap().iter().map(String::as_str).collect::<Vec<_>>()).await;
    let rollback = ["rollback", Release::NAME, "--namespace", Release::NAMESPACE, "--wait", "--timeout", "120s"];
    turn.change(&callers, &rollback).await;
}

/// Waits until nothing is left to be said: a Gateway's status, and a ListenerSet's, is written once a second at most.
fn all_is_said() {
    // house(sleep): nothing tells that nothing more is said.
    std::thread::sleep(Duration::from_secs(2));
}

/// Everything of the guide's third scenario in both forms, under names that do not meet.
fn applied_objects() -> Vec<String> {
    ["03-reflection/gateway-api.yaml", "03-reflection/grpcservice.yaml"]
        .map(|file| std::fs::read_to_string(repository().join("samples/guide").join(file)).unwrap())
        .map(|text| text.replace("grpc.example.com", "twice.example.com"))
        .into()
}

#[test]
fn what_is_applied_twice_shows_no_difference_and_makes_nobody_write() {
    let turn = Turn::take();
    let (plain, ours) = (turn.cluster.namespace("twice").unwrap(), turn.cluster.namespace("twice-ours").unwrap());
    let objects = applied_objects();
    let apply = || {
        turn.cluster.apply(&plain.name, &objects[0]).unwrap();
        turn.cluster.apply(&ours.name, &objects[1]).unwrap();
    };
    apply();
    let settled = || {
        // Neither has backends or, in the first form, a certificate: what is said of that is said once.
        turn.cluster.until(&plain.name, "grpcroute/echo-route", |it| says(it, "ResolvedRefs", "False")).unwrap();
        turn.cluster.until(&ours.name, "grpcservice/echo", |it| says(it, "Ready", "False")).unwrap();
        turn.cluster.until(&ours.name, "gateway/echo-public", |it| says(it, "Programmed", "True")).unwrap();
    };
    settled();
    for (namespace, object) in [(&plain.name, &objects[0]), (&ours.name, &objects[1])] {
        let difference = ["diff", "--namespace", namespace, "--filename", "-"];
        assert_eq!(turn.cluster.kubectl_reading(&difference, object).unwrap(), "");
    }
    all_is_said();
    let audit = Audit::now().unwrap();
    apply();
    // A third party's edit that is heard of by the same watch, after whatever the second apply may have caused.
    turn.cluster
        .kubectl(&["annotate", "--namespace", &ours.name, "grpcservice", "echo", "example.com/seen=yes"])
        .unwrap();
    a_change_is_judged(&turn.cluster, &ours.name);
    let about_these = |name: &str| name.starts_with("twice") && !name.ends_with("/marker");
    let written: Vec<_> =
        audit.writes(Release::ACCOUNT).unwrap().into_iter().filter(|write| about_these(&write.name)).collect();
    assert!(written.is_empty(), "{written:#?}");
}

/// Whatever was to be written before this has been written after it. Of a kind that the listener does not take, it moves nothing else.
fn a_change_is_judged(cluster: &Cluster, namespace: &str) {
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "marker"},
        "spec": {"parentRefs": [{"name": "echo-public"}]},
    });
    cluster.apply(namespace, &route.to_string()).unwrap();
    cluster.until(namespace, "httproute/marker", |it| says(it, "Accepted", "False")).unwrap();
}

#[test]
fn a_restart_of_the_operator_writes_nothing() {
    let turn = Turn::take();
    let scene = Scene::set(&turn.cluster, "restarted").unwrap();
    scene.expose("echo", "restarted.example.com").unwrap();
    let former = Release::leader(&turn.cluster).unwrap();
    all_is_said();
    let audit = Audit::now().unwrap();
    let restart = ["rollout", "restart", "--namespace", Release::NAMESPACE, "deployment/sluice"];
    turn.cluster.kubectl(&restart).unwrap();
    let status = ["rollout", "status", "--namespace", Release::NAMESPACE, "deployment/sluice", "--timeout=120s"];
    turn.cluster.kubectl(&status).unwrap();
    let led_by_another = |lease: &Value| {
        lease.pointer("/spec/holderIdentity").is_some_and(|holder| holder != "" && *holder != json!(former))
    };
    turn.cluster.until(Release::NAMESPACE, "lease/sluice", led_by_another).unwrap();
    // The new leader has said what it has to say before it says what this needs.
    let mut service = sluice_tests::cluster::grpc_service("marker", "marker.restarted.example.com");
    service["spec"]["gateways"] = json!([{"name": "absent", "ref": {"name": "no-gateway"}}]);
    service["spec"]["tls"] = Value::Null;
    scene.apply(&service).unwrap();
    turn.cluster.until("restarted", "grpcservice/marker", |it| says(it, "Accepted", "False")).unwrap();
    // The endpoint of the one that serves proxies moves with the lease; nothing else does.
    let moved =
        |write: &sluice_tests::cluster::Write| !write.name.ends_with("/marker") && write.resource != "endpointslices";
    let written: Vec<_> = audit.writes(Release::ACCOUNT).unwrap().into_iter().filter(moved).collect();
    assert!(written.is_empty(), "{written:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_leaves_services_and_lets_them_be_deleted() {
    let turn = Turn::take();
    let scene = Scene::set(&turn.cluster, "left").unwrap();
    scene.expose("echo", "left.example.com").unwrap();
    let removed = turn
        .cluster
        .helm(&["uninstall", Release::NAME, "--namespace", Release::NAMESPACE, "--wait", "--timeout", "120s"])
        .unwrap();
    assert!(removed.contains("uninstalled"), "{removed}");
    let left = turn.cluster.get("left", "grpcservice/echo").unwrap();
    assert_eq!(left["metadata"].get("finalizers"), None, "{left}");
    turn.cluster.kubectl(&["delete", "grpcservice", "echo", "--namespace", "left", "--timeout=30s"]).unwrap();
    // Services that stay are served again by the next installation.
    scene.apply(&sluice_tests::cluster::grpc_service("kept", "kept.left.example.com")).unwrap();
    Release::install(&turn.cluster).unwrap();
    let kept = Hostname::of(&turn.cluster, "left", "kept").unwrap();
    let load = Load::start(Arc::new(kept), CALLS).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await; // house(sleep): load lasts
    load.stop().await.unwrap().flawless().unwrap();
    let _: Value = turn.cluster.get("left", "grpcservice/kept").unwrap();
}
