//! Everyday changes, which are faults of those who do not drain.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::{cluster::says, manifests::Certificate};

use crate::stage::{CALLS, LOAD, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_backends_are_rolled() {
    let stage = Stage::set("rolled-backends");
    stage
        .unnoticed(CALLS, Duration::from_secs(10), |stage| {
            let restart = ["rollout", "restart", "--namespace", stage.namespace(), "deployment/v1"];
            stage.cluster.kubectl(&restart).unwrap();
            stage.scene.rolled_out("v1").unwrap();
        })
        .await;
}

/// The service with the weights of `stable` and `canary`.
fn weighted(stage: &Stage, canary: u32) -> Value {
    let mut service = sluice_tests::cluster::grpc_service("echo", &stage.callers.name);
    service["spec"]["backends"][0]["weight"] = json!(100 - canary);
    service["spec"]["backends"][1]["weight"] = json!(canary);
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_and_no_stream_is_cut_while_a_canary_is_shifted_in_20_steps() {
    let stage = Stage::set("shifted-canary");
    stage
        .unnoticed(LOAD, Duration::from_secs(10), |stage| {
            for step in 1..=20 {
                stage.scene.apply(&weighted(stage, step * 5)).unwrap();
                stage
                    .cluster
                    .until(stage.namespace(), "grpcservice/echo", |service| {
                        says(service, "Ready", "True")
                            && service["status"]["servedGeneration"] == service["metadata"]["generation"]
                    })
                    .unwrap();
            }
        })
        .await;
}

fn secret(certificate: &Certificate, namespace: &str) -> Value {
    let mut secret = certificate.secret("rotated");
    secret["metadata"] = json!({"name": "rotated", "namespace": namespace});
    secret
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handshake_fails_while_a_certificate_is_rotated_every_five_seconds() {
    let mut stage = Stage::set("rotated-certificate");
    let host = stage.callers.name.clone();
    let certificates: Vec<Certificate> = (0..6).map(|_| Certificate::new(&[&host]).unwrap()).collect();
    stage.scene.apply(&secret(&certificates[0], stage.namespace())).unwrap();
    let mut service = sluice_tests::cluster::grpc_service("echo", &host);
    service["spec"]["tls"] = json!({"type": "Secret", "certificateRefs": [{"name": "rotated"}]});
    stage.scene.apply(&service).unwrap();
    let mut callers = sluice_tests::cluster::Hostname::of(&stage.cluster, stage.namespace(), "echo").unwrap();
    callers.authority = certificates.iter().map(|certificate| certificate.pem.as_str()).collect();
    stage.callers = std::sync::Arc::new(callers);
    // Every call of these shakes hands anew.
    let handshakes = sluice_tests::load::Plan { per_second: 50, fresh: 1, ..LOAD };
    stage
        .unnoticed(handshakes, Duration::from_secs(30), |stage| {
            for certificate in &certificates[1..] {
                stage.scene.apply(&secret(certificate, stage.namespace())).unwrap();
                // house(sleep): the pace is what is tested
                std::thread::sleep(Duration::from_secs(5));
            }
        })
        .await;
}
