//! Proxies come and go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_tests::cluster::{Audit, Process, Release, says};

use crate::stage::{CALLS, Stage};

/// The pods of the default Gateway's proxies that are Ready.
fn ready_proxies(stage: &Stage) -> Vec<String> {
    let selector = "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=sluice";
    let arguments = ["get", "pods", "--namespace", Release::NAMESPACE, "--selector", selector, "--output", "json"];
    let list: Value = serde_json::from_str(&stage.cluster.kubectl(&arguments).unwrap()).unwrap();
    let ready = |pod: &&Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        pod.pointer("/metadata/deletionTimestamp").is_none()
            && conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
    };
    let pods = list["items"].as_array().unwrap().iter().filter(ready);
    pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Runs the proxies of the default Gateway in another number, and waits for them.
fn scale(stage: &Stage, replicas: usize) {
    let patch = json!({"spec": {"proxies": {"replicas": replicas}}}).to_string();
    stage.cluster.kubectl(&["patch", "gatewayprofile", "sluice", "--type", "merge", "--patch", &patch]).unwrap();
    let gateway = default_gateway(stage);
    let scaled = |deployment: &Value| {
        deployment["status"]["readyReplicas"] == json!(replicas) && deployment["status"]["replicas"] == json!(replicas)
    };
    stage.cluster.until(Release::NAMESPACE, &format!("deployment/{gateway}-sluice"), scaled).unwrap();
}

fn default_gateway(stage: &Stage) -> String {
    let profile = stage.cluster.get("", "gatewayprofile/sluice").unwrap();
    profile["spec"]["defaultGateway"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_proxies_moves_no_condition_and_fails_no_call() {
    let stage = Stage::set("scaled-proxies");
    // What earlier tests have left is still being taken down, and its statuses are written.
    let gone = ["wait", "--for=delete", "namespace", "--field-selector", "status.phase=Terminating", "--timeout=240s"];
    stage.cluster.kubectl(&gone).unwrap();
    scale(&stage, 1);
    let audit = Audit::now().unwrap();
    stage.unnoticed(CALLS, Duration::from_secs(5), |stage| scale(stage, 5)).await;
    let writes = audit.writes(Release::ACCOUNT).unwrap();
    let of_status =
        |resource: &str| matches!(resource, "grpcservices/status" | "grpcroutes/status" | "listenersets/status");
    let moved: Vec<_> = writes.iter().filter(|write| of_status(&write.resource)).collect();
    assert!(moved.is_empty(), "{moved:?}");
    scale(&stage, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_proxies_fails_no_call() {
    let stage = Stage::set("rolled-proxies");
    let what = format!("deployment/{}-sluice", default_gateway(&stage));
    stage
        .unnoticed(CALLS, Duration::from_secs(5), |stage| {
            let cluster = &stage.cluster;
            cluster.kubectl(&["rollout", "restart", "--namespace", Release::NAMESPACE, &what]).unwrap();
            cluster
                .kubectl(&["rollout", "status", "--namespace", Release::NAMESPACE, &what, "--timeout=180s"])
                .unwrap();
        })
        .await;
}

/// The time within which the kubelet and kube-proxy hear of a proxy that is gone, and send its callers elsewhere.
const HEARD: Duration = Duration::from_secs(3);

/// What Kubernetes says of a pod's proxy.
fn envoy(pod: &Value) -> &Value {
    let mut containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    containers.find(|container| container["name"] == "envoy").unwrap()
}

/// Ends one of two proxies without leave, and waits until Kubernetes has said why, and has started it again.
///
/// What is under way in it is lost with it, and new connections that kube-proxy still sends there; of the calls on the other proxy's
/// connections none.
async fn costs_little(stage: &Stage, reason: &str, end: impl FnOnce(Process)) {
    scale(stage, 2);
    let begin = Instant::now();
    let mut ended = Duration::ZERO;
    let report = stage
        .under(CALLS, Duration::from_secs(15), |stage| {
            let proxy = &ready_proxies(stage)[0];
            let what = format!("pod/{proxy}");
            let before =
                envoy(&stage.cluster.get(Release::NAMESPACE, &what).unwrap())["restartCount"].as_u64().unwrap();
            ended = begin.elapsed();
            end(Process::of(proxy, "/envoy").unwrap());
            let back = |pod: &Value| envoy(pod)["restartCount"] == json!(before + 1) && envoy(pod)["ready"] == true;
            let pod = stage.cluster.until(Release::NAMESPACE, &what, back).unwrap();
            assert_eq!(envoy(&pod)["lastState"]["terminated"]["reason"], reason);
        })
        .await;
    let late: Vec<_> = report.failed.iter().filter(|call| call.started > ended + HEARD).collect();
    assert!(late.is_empty(), "{} calls failed after {HEARD:?}, such as {}", late.len(), late[0]);
    let lost = report.failed.len();
    assert!(lost * 20 <= usize::try_from(report.intended).unwrap(), "{lost} of {} calls failed", report.intended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_proxy_costs_what_was_under_way_in_it_and_what_is_sent_to_it_before_that_is_known() {
    let stage = Stage::set("killed-proxy");
    costs_little(&stage, "Error", |proxy| proxy.signal("KILL").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_runs_out_of_memory_costs_no_more_and_its_gateway_says_what_is_true() {
    let stage = Stage::set("exhausted-proxy");
    let what = format!("gateway/{}", default_gateway(&stage));
    let programmed = || {
        let gateway = stage.cluster.until(Release::NAMESPACE, &what, |it| says(it, "Programmed", "True")).unwrap();
        let mut conditions = gateway["status"]["conditions"].as_array().unwrap().iter();
        conditions.find(|it| it["type"] == "Programmed").unwrap()["lastTransitionTime"].clone()
    };
    let since = programmed();
    costs_little(&stage, "OOMKilled", |proxy| proxy.exhaust().unwrap()).await;
    assert_eq!(programmed(), since, "the other proxy has served all the while");
}
