//! Many services at once, and namespaces that go.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::{
    cluster::{Hostname, condition, grpc_service, says},
    load::Target,
};

use crate::stage::{LOAD, Stage};

const CROWD: usize = 300;
/// The one that cannot work: its backend is not there.
const BROKEN: usize = 137;

fn name(index: usize) -> String {
    format!("crowd-{index}")
}

fn member(stage: &Stage, index: usize) -> Value {
    let mut service = grpc_service(&name(index), &format!("{}.{}", name(index), stage.callers.name));
    if index == BROKEN {
        service["spec"]["backends"] = json!([{"name": "absent", "service": {"name": "absent", "port": 9000}}]);
    }
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_service_among_300_is_the_only_one_that_says_so() {
    let stage = Stage::set("crowd");
    stage
        .unnoticed(LOAD, Duration::from_secs(10), |stage| {
            let items: Vec<Value> = (0..CROWD).map(|index| member(stage, index)).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            stage.cluster.apply(stage.namespace(), &list.to_string()).unwrap();
            let settled = |service: &Value, index: usize| {
                if index == BROKEN { says(service, "Ready", "False") } else { says(service, "Ready", "True") }
            };
            for index in 0..CROWD {
                let what = format!("grpcservice/{}", name(index));
                stage
                    .cluster
                    .until_within(Duration::from_mins(2), stage.namespace(), &what, |it| settled(it, index))
                    .unwrap();
            }
            let broken = stage.cluster.get(stage.namespace(), &format!("grpcservice/{}", name(BROKEN))).unwrap();
            let (_, reason, message) = condition(&broken, "Ready").unwrap();
            assert_eq!(reason, "BackendNotFound");
            assert!(message.contains("absent"), "{message}");
        })
        .await;
    for index in [0, CROWD / 2, CROWD - 1] {
        let callers = Hostname::of(&stage.cluster, stage.namespace(), &name(index)).unwrap();
        callers.connect(0).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_takes_its_services_along_and_nobody_elses() {
    let stage = Stage::set("staying");
    let leaving = stage.cluster.namespace("leaving").unwrap();
    stage
        .unnoticed(LOAD, Duration::from_secs(10), |stage| {
            let service = grpc_service("leaving", &format!("leaving.{}", stage.callers.name));
            stage.cluster.apply(&leaving.name, &service.to_string()).unwrap();
            stage.cluster.until(&leaving.name, "grpcservice/leaving", |it| says(it, "Accepted", "True")).unwrap();
            stage.cluster.kubectl(&["delete", "namespace", &leaving.name, "--timeout=60s"]).unwrap();
        })
        .await;
}
