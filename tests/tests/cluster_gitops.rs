//! GitOps: what Argo CD makes of what people apply, of what becomes of it, and of the chart, by its own code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

use serde_json::{Value, json};
use sluice_tests::{
    api_server::repository,
    cluster::{Argo, Cluster, Release, Scene, grpc_service, says, unseen},
};

fn cluster() -> Cluster {
    let cluster = Cluster::from_environment().unwrap();
    Release::ensure(&cluster).unwrap();
    cluster
}

fn health(argo: &Argo<'_>, object: &Value) -> String {
    argo.health(object).unwrap().0
}

#[test]
fn a_service_is_progressing_then_healthy_and_progressing_again_while_a_new_generation_is_unseen() {
    let cluster = cluster();
    let argo = Argo::of(&cluster).unwrap();
    let scene = Scene::set(&cluster, "argo-healthy").unwrap();
    let wanted = grpc_service("echo", "healthy.argo.example.com");
    assert_eq!(health(&argo, &unseen(&wanted)), "Progressing");
    scene.expose("echo", "healthy.argo.example.com").unwrap();
    let live = cluster.get("argo-healthy", "grpcservice/echo").unwrap();
    assert_eq!(health(&argo, &live), "Healthy");
    let mut stale = live;
    stale["metadata"]["generation"] = json!(stale["metadata"]["generation"].as_u64().unwrap() + 1);
    assert_eq!(health(&argo, &stale), "Progressing");
}

#[test]
fn a_service_without_its_backend_is_degraded_and_the_message_names_it() {
    let cluster = cluster();
    let argo = Argo::of(&cluster).unwrap();
    let namespace = cluster.namespace("argo-degraded").unwrap();
    let service = grpc_service("echo", "degraded.argo.example.com").to_string();
    cluster.apply(&namespace.name, &service).unwrap();
    let live = cluster.until(&namespace.name, "grpcservice/echo", |it| says(it, "ResolvedRefs", "False")).unwrap();
    let (status, message) = argo.health(&live).unwrap();
    assert_eq!(status, "Degraded");
    assert!(message.contains("BackendNotFound") && message.contains("v1"), "{message}");
}

#[test]
fn what_a_service_becomes_is_healthy_to_argo_and_carries_no_key_by_which_it_tracks() {
    let cluster = cluster();
    let argo = Argo::of(&cluster).unwrap();
    let scene = Scene::set(&cluster, "argo-generated").unwrap();
    let mut service = grpc_service("echo", "generated.argo.example.com");
    service["metadata"]["labels"] = json!({"app.kubernetes.io/instance": "team-a"});
    service["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "team-a:sluice.dev/GrpcService:x/echo"});
    scene.apply(&service).unwrap();
    let ready = cluster.until("argo-generated", "grpcservice/echo", |it| says(it, "Ready", "True")).unwrap();
    let made = ready["status"]["resources"].as_array().unwrap();
    assert!(made.len() >= 2, "{ready}");
    for resource in made {
        let what = format!("{}/{}", resource["kind"].as_str().unwrap(), resource["name"].as_str().unwrap());
        let object = cluster.get("argo-generated", &what).unwrap();
        let metadata = object["metadata"].to_string();
        assert!(
            !metadata.contains("argocd.argoproj.io") && !metadata.contains("app.kubernetes.io/instance"),
            "{object}"
        );
        let status = health(&argo, &object);
        assert!(matches!(status.as_str(), "Healthy" | "none"), "{what}: {status}");
    }
}

#[test]
fn what_people_apply_is_in_sync_by_both_comparisons() {
    let cluster = cluster();
    let argo = Argo::of(&cluster).unwrap();
    let scene = Scene::set(&cluster, "argo-sync").unwrap();
    let service = grpc_service("echo", "sync.argo.example.com").to_string();
    scene.expose("echo", "sync.argo.example.com").unwrap();
    argo.in_sync("argo-sync", &service).unwrap();
    let text = std::fs::read_to_string(repository().join("samples/guide/03-reflection/gateway-api.yaml")).unwrap();
    let guide = text.replace("grpc.example.com", "guide.argo.example.com");
    cluster.apply("argo-sync", &guide).unwrap();
    cluster.until("argo-sync", "grpcroute/echo-route", |it| says(it, "Accepted", "True")).unwrap();
    argo.in_sync("argo-sync", &guide).unwrap();
    let edited = service.replace("\"weight\":100", "\"weight\":90");
    assert!(argo.in_sync("argo-sync", &edited).is_err(), "a difference that is there has to be seen");
}

#[test]
fn the_chart_is_in_sync_once_it_is_installed() {
    let cluster = cluster();
    let argo = Argo::of(&cluster).unwrap();
    let manifest = cluster.helm(&["get", "manifest", Release::NAME, "--namespace", Release::NAMESPACE]).unwrap();
    argo.in_sync(Release::NAMESPACE, &manifest).unwrap();
}
