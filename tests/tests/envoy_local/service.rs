//! A GrpcService with a Gateway of its own: what its status tells, and what becomes of what it generated.

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    local::Sluice,
    manifests::{endpoints, file, service},
    wire::Connection,
};

const HOST: &str = "grpc.example.com";
const ECHO: &str = "/echo.Echo/Echo";

/// Sluice with a service of two backends, and these.
struct Scene {
    sluice: Sluice,
    _backends: [Echo; 2],
}

fn weighted(stable: u32, canary: u32) -> String {
    let backend =
        |name: &str, weight: u32| json!({"name": name, "weight": weight, "service": {"name": name, "port": 9000}});
    file([json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "metadata": {"name": "echo"},
        "spec": {
            "hostnames": [HOST],
            "gateways": [{"name": "public", "own": {"gatewayClassName": "sluice", "port": 443}}],
            "tls": {"type": "SelfSigned"},
            "backends": [backend("stable", stable), backend("canary", canary)],
        },
    })])
}

impl Scene {
    async fn set() -> Self {
        let backends = [Echo::start("stable").await.unwrap(), Echo::start("canary").await.unwrap()];
        let services = file([
            service("stable"),
            endpoints("stable", backends[0].address()),
            service("canary"),
            endpoints("canary", backends[1].address()),
        ]);
        let sluice = Sluice::start(&[("services.yaml", services), ("echo.yaml", weighted(1, 0))]).await.unwrap();
        sluice.condition(("GrpcService", "echo"), "Ready", "True").await.unwrap();
        Self { sluice, _backends: backends }
    }

    fn status(&self) -> Value {
        self.sluice.object("GrpcService", "echo").unwrap()["status"].clone()
    }

    fn authority(&self) -> String {
        let map = self.status()["certificate"]["caConfigMapName"].as_str().unwrap().to_owned();
        self.sluice.object("ConfigMap", &map).unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned()
    }

    async fn answered_by(&self) -> Outcome {
        let connection = Connection::open(self.sluice.https(), HOST, &self.authority()).await.unwrap();
        call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_where_it_is_served_and_which_generation() {
    let scene = Scene::set().await;
    let status = scene.status();
    let port = scene.sluice.https().port();
    let expected = json!([{"gateway": "public", "hostname": HOST, "address": "127.0.0.1", "port": port}]);
    assert_eq!(status["endpoints"], expected);
    assert_eq!((&status["observedGeneration"], &status["servedGeneration"]), (&json!(1), &json!(1)));
    assert_eq!(scene.answered_by().await, Outcome::Answered("stable".to_owned()));

    scene.sluice.apply("echo.yaml", &weighted(0, 1)).unwrap();
    let served = || (scene.status()["servedGeneration"] == json!(2)).then_some(());
    scene.sluice.until("the second generation", served).await.unwrap();
    assert_eq!(scene.answered_by().await, Outcome::Answered("canary".to_owned()), "served is what callers get");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_that_clients_trust_survives_a_restart() {
    let mut scene = Scene::set().await;
    let before = scene.authority();
    scene.sluice.stop();
    scene.sluice.run().await.unwrap();
    scene.sluice.condition(("GrpcService", "echo"), "Ready", "True").await.unwrap();
    assert_eq!(scene.authority(), before);
    assert_eq!(scene.answered_by().await, Outcome::Answered("stable".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_deleted_takes_along_what_it_generated() {
    let scene = Scene::set().await;
    scene.sluice.delete("echo.yaml").unwrap();
    // Certificates stay: who saves a file by deleting it first shall not have to trust another authority.
    let generated = |object: &Value| {
        object["kind"] != "Secret" && object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "sluice"
    };
    let gone = || {
        let status = scene.sluice.status().ok()?;
        let left = status["objects"].as_array()?.iter().any(generated);
        (!left && scene.sluice.envoys().is_empty()).then_some(())
    };
    assert!(gone().is_none(), "there was something to take along");
    scene.sluice.until("end of what was generated", gone).await.unwrap();
    scene.sluice.apply("echo.yaml", &weighted(1, 0)).unwrap();
    scene.sluice.condition(("GrpcService", "echo"), "Ready", "True").await.unwrap();
    assert_eq!(scene.answered_by().await, Outcome::Answered("stable".to_owned()));
}
