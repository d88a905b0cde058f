//! What a service may write: grants for its own objects, and nothing in the place of somebody else's.

use super::{Value, authored, field, names, object, profile, put, service, world};
use crate::key::{Kind, NsName};
use serde_json::json;

#[test]
fn grants_are_for_the_services_own_objects_by_name() {
    let backends = json!([
        {"name": "a", "service": {"name": "echo", "port": 9000}},
        {"name": "b", "service": {"name": "echo", "port": 9001}},
        {"name": "c", "service": {"name": "theirs", "namespace": "team-b", "port": 9000}},
    ]);
    let gateways =
        json!([{"name": "public", "own": {"gatewayClassName": "sluice"}}, {"name": "shared", "ref": {"name": "edge"}}]);
    let table = [
        ("Service", "service", json!([{"group": "", "kind": "Service", "name": "echo"}])),
        (
            "Gateway",
            "gateway",
            json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "echo-public"}]),
        ),
    ];
    for (to, word, targets) in table {
        let grants = json!([{"to": to, "namespace": "app-b"}]);
        let authored =
            authored(&world(&[service(&json!({"backends": backends, "gateways": gateways, "grants": grants}))]));
        assert!(names(&authored).contains(&format!("ReferenceGrant echo-{word}-app-b")), "{:?}", names(&authored));
        let from = json!([{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": "app-b"}]);
        assert_eq!(field(&authored, Kind::ReferenceGrant, "/spec"), json!({"from": from, "to": targets}));
    }
}

#[test]
fn a_grant_to_nothing_is_not_written_since_it_would_be_one_to_everything() {
    let backends = json!([{"name": "a", "service": {"name": "theirs", "namespace": "team-b", "port": 9000}}]);
    let grants = json!([{"to": "Service", "namespace": "app-b"}]);
    let authored = authored(&world(&[service(&json!({"backends": backends, "grants": grants}))]));
    assert!(!names(&authored).iter().any(|name| name.starts_with("ReferenceGrant")));
}

#[test]
fn a_namespace_that_may_issue_no_grants_gets_the_rest() {
    let [rails, class] = profile(&json!({"grants": {"from": "None"}}));
    let grants = json!([{"to": "Service", "namespace": "app-b"}]);
    let authored = authored(&world(&[service(&json!({"grants": grants})), rails, class]));
    assert_eq!(names(&authored), ["Gateway echo-public", "GRPCRoute echo"]);
}

fn owned_by(kind: &str, name: &str, uid: &str) -> Value {
    json!({"ownerReferences": [{"kind": kind, "name": name, "uid": uid, "controller": true}]})
}

#[test]
fn an_object_that_another_made_is_left_alone_unless_it_is_handed_over() {
    let table = [
        ("nobody's", json!({}), Some("nobody")),
        ("another owner's", owned_by("Deployment", "web", "1"), Some("Deployment web")),
        ("a namesake's of before", owned_by("GrpcService", "echo", "old"), Some("GrpcService echo")),
        ("its own", owned_by("GrpcService", "echo", "uid-echo"), None),
        ("nobody's, handed over", json!({"annotations": {"sluice.dev/adopt": "echo"}}), None),
        ("nobody's, handed to another", json!({"annotations": {"sluice.dev/adopt": "other"}}), Some("nobody")),
        (
            "another owner's, handed over",
            {
                let mut metadata = owned_by("Deployment", "web", "1");
                metadata["annotations"] = json!({"sluice.dev/adopt": "echo"});
                metadata
            },
            Some("Deployment web"),
        ),
    ];
    for (whose, metadata, expected) in table {
        let mut route = object(Kind::GrpcRoute, "echo", json!({"spec": {}}));
        route["metadata"].as_object_mut().unwrap().append(&mut metadata.as_object().unwrap().clone());
        let authored = authored(&world(&[service(&json!({})), route]));
        let desired = authored.objects.iter().find(|desired| desired.reference.kind == Kind::GrpcRoute).unwrap();
        assert_eq!(desired.foreign.as_deref(), expected, "a route that is {whose}");
    }
}

#[test]
fn a_secret_that_another_made_is_not_made_anew() {
    for (name, issued) in [("echo-ca", None), ("echo-tls", Some("echo-ca"))] {
        let mut world = world(&[service(&json!({}))]);
        put(&mut world, &object(Kind::Secret, name, json!({"data": {}})));
        let issues = authored(&world).issues;
        let secrets: Vec<&NsName> = issues.iter().map(|issue| &issue.secret).collect();
        assert_eq!(secrets, issued.map(|name| NsName::new("shop", name)).iter().collect::<Vec<_>>(), "{name}");
        let foreign = authored(&world).report.foreign;
        assert_eq!(foreign.len(), 1, "{name} is said to be foreign");
    }
}
