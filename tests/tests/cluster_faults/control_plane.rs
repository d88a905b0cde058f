//! The operator and the API server come and go; proxies serve on.

use std::{process::Command, time::Duration};

use serde_json::json;
use sluice_tests::{
    api_server::repository,
    cluster::{Audit, Paused, Process, Release, grpc_service, says},
};

use crate::stage::{LOAD, Stage};

/// How long everybody may take to be back once the API server is: the clients of Kubernetes' own parts wait up to a minute before
/// they ask again, and then all ask at once.
const BACK: Duration = Duration::from_mins(3);

/// Applies a new service, and waits until it is served: the control plane is at work.
fn a_change_is_served(stage: &Stage, name: &str) {
    stage.scene.apply(&grpc_service(name, &format!("{name}.{}", stage.callers.name))).unwrap();
    let ready = |service: &serde_json::Value| says(service, "Ready", "True");
    stage.cluster.until_within(BACK, stage.namespace(), &format!("grpcservice/{name}"), ready).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_replaced_and_no_call_fails() {
    let stage = Stage::set("killed-leader");
    stage
        .unnoticed(LOAD, Duration::from_secs(20), |stage| {
            let leader = Release::leader(&stage.cluster).unwrap();
            Process::of(&leader, "/sluice").unwrap().signal("KILL").unwrap();
            a_change_is_served(stage, "after");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_that_wakes_up_again_writes_nothing() {
    let stage = Stage::set("paused-leader");
    stage
        .unnoticed(LOAD, Duration::from_secs(30), |stage| {
            let former = Release::leader(&stage.cluster).unwrap();
            let process = Process::of(&former, "/sluice").unwrap();
            let paused = Paused::new(process).unwrap();
            let taken = |lease: &serde_json::Value| {
                lease.pointer("/spec/holderIdentity").is_some_and(|holder| holder != "" && *holder != json!(former))
            };
            stage.cluster.until(Release::NAMESPACE, "lease/sluice", taken).unwrap();
            let audit = Audit::now().unwrap();
            stage.scene.apply(&grpc_service("before", &format!("before.{}", stage.callers.name))).unwrap();
            drop(paused);
            a_change_is_served(stage, "after");
            let by_former = |event: &serde_json::Value| {
                let pods = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"];
                let writes = matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete"));
                writes && pods[0] == json!(former) && event["objectRef"]["resource"] != "leases"
            };
            let written: Vec<_> = audit.events().unwrap().into_iter().filter(by_former).collect();
            assert!(written.is_empty(), "{written:#?}");
        })
        .await;
}

/// Kills a process of the cluster, and starts it again when this ends.
struct Stopped;

impl Stopped {
    fn new(daemon: &str) -> Self {
        let output = Command::new(repository().join("hack/cluster")).args(["kill", daemon]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let started = Command::new(repository().join("hack/cluster")).arg("up").output();
        let fine = started.as_ref().is_ok_and(|output| output.status.success());
        assert!(fine || std::thread::panicking(), "the cluster does not come back: {started:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_for_a_minute_is_not_noticed() {
    let stage = Stage::set("absent-api-server");
    stage
        .unnoticed(LOAD, Duration::from_secs(70), |stage| {
            let stopped = Stopped::new("kube-apiserver");
            // house(sleep): the length of the absence is what is tested
            std::thread::sleep(Duration::from_mins(1));
            drop(stopped);
            a_change_is_served(stage, "after");
        })
        .await;
}
