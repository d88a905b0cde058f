//! Guard rails that come after what they forbid: what was written for a service is taken back, and the service says why.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::key::Kind;
use sluice_engine::{Engine, Input};
use world::{Server, class, delete, engine, meta, profile, put, service};

fn grpc_service() -> Input {
    let spec = json!({
        "hostnames": ["pay.example.com", "shop.example.com"],
        "gateways": [{"name": "own", "own": {"gatewayClassName": "sluice"}}],
        "tls": {"type": "SelfSigned"},
        "backends": [{"name": "only", "service": {"name": "s", "port": 9000}}],
        "grants": [{"to": "Service", "namespace": "b"}],
    });
    put(Kind::GrpcService, json!({"metadata": meta("a", "svc", 1, 5), "spec": spec}))
}

/// What of the service's stands in the cluster, by kind and name.
fn standing(server: &Server) -> Vec<String> {
    server.desired.keys().map(|object| format!("{} {}", object.kind, object.key.name)).collect()
}

fn said(server: &Server, condition: &str) -> (String, String) {
    let status = server.statuses.iter().find(|(object, _)| object.kind == Kind::GrpcService).unwrap().1;
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|found| found["type"] == condition).unwrap();
    (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

/// A service whose objects stood before the platform wrote a rule, and after that.
fn after(rails: &Value) -> (Engine, Server) {
    let (mut engine, mut server) = (engine(), Server::default());
    server.take(&engine.step([class(Some("p")), profile(&json!({})), service("a", "s", 9000), grpc_service()]));
    assert_eq!(standing(&server), ["Gateway svc-own", "GRPCRoute svc", "ReferenceGrant svc-service-b"]);
    server.take(&engine.step([profile(rails)]));
    (engine, server)
}

#[test]
fn what_the_platform_forbids_is_taken_back() {
    let nobody = json!({"from": "None"});
    let table = [
        (json!({"ownGateways": nobody}), vec!["ReferenceGrant svc-service-b"], "Generated", "OwnGatewayNotAllowed"),
        (json!({"grants": nobody}), vec!["Gateway svc-own", "GRPCRoute svc"], "Generated", "GrantNotAllowed"),
        (
            json!({"hostnames": [{"suffix": "example.com", "namespaces": nobody}]}),
            vec!["ReferenceGrant svc-service-b"],
            "Accepted",
            "HostnameNotAllowed",
        ),
    ];
    for (rails, left, condition, reason) in table {
        let (mut engine, mut server) = after(&rails);
        assert_eq!(standing(&server), left, "{rails}");
        assert_eq!(said(&server, condition), ("False".to_owned(), reason.to_owned()), "{rails}");
        server.statuses.retain(|object, _| engine.state().world.contains(object));
        server.take(&engine.step([profile(&json!({}))]));
        assert_eq!(standing(&server).len(), 3, "allowed again after {rails}");
    }
}

#[test]
fn a_hostname_that_others_come_to_claim_goes_and_the_rest_stays() {
    let (_, server) = after(&json!({"hostnames": [{"suffix": "pay.example.com", "namespaces": {"from": "None"}}]}));
    let route = server.desired.iter().find(|(object, _)| object.kind == Kind::GrpcRoute).unwrap().1;
    assert_eq!(route["spec"]["hostnames"], json!(["shop.example.com"]));
    let gateway = server.desired.iter().find(|(object, _)| object.kind == Kind::Gateway).unwrap().1;
    assert_eq!(gateway["spec"]["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(said(&server, "Accepted"), ("False".to_owned(), "HostnameNotAllowed".to_owned()));
}

#[test]
fn a_profile_that_goes_takes_everything_back() {
    let (mut engine, mut server) = after(&json!({}));
    server.take(&engine.step([delete(Kind::GatewayProfile, "", "p")]));
    assert_eq!(standing(&server), Vec::<String>::new());
    assert_eq!(said(&server, "Generated"), ("False".to_owned(), "ProfileInvalid".to_owned()));
}
