//! The generated route: rules, weights, filters, reflection, policies.

use super::{authored, field, names, service, world};
use crate::{key::Kind, world::Change};
use serde_json::{Value, json};

fn rules(changes: &Value) -> Value {
    field(&authored(&world(&[service(changes)])), Kind::GrpcRoute, "/spec/rules")
}

fn backend(name: &str, weight: i64) -> Value {
    json!({"group": "", "kind": "Service", "namespace": "shop", "name": name, "port": 9000, "weight": weight})
}

fn two_backends() -> Value {
    json!([
        {"name": "stable", "weight": 90, "service": {"name": "echo", "port": 9000}},
        {"name": "canary", "weight": 10, "service": {"name": "echo-v2", "namespace": "team-b", "port": 9000}},
    ])
}

#[test]
fn without_rules_one_rule_takes_every_call() {
    assert_eq!(rules(&json!({})), json!([{"name": "default", "backendRefs": [backend("echo", 1)]}]));
}

#[test]
fn a_rule_without_backends_divides_its_calls_as_the_service_says() {
    let mut canary = backend("echo-v2", 10);
    canary["namespace"] = "team-b".into();
    let rules = rules(&json!({"backends": two_backends(), "rules": [{"name": "all"}]}));
    assert_eq!(rules[0]["backendRefs"], json!([backend("echo", 90), canary]));
}

#[test]
fn a_rule_with_backends_has_weights_and_filters_of_its_own() {
    let mirror = json!({"backendRef": {"name": "shadow", "port": 1}, "fraction": {"numerator": 3}});
    let filters = json!([{"type": "RequestMirror", "requestMirror": mirror}]);
    let chosen = json!([{"name": "canary", "filters": filters}]);
    let rules = rules(&json!({"backends": two_backends(), "rules": [{"name": "some", "backends": chosen}]}));
    let reference = &rules[0]["backendRefs"][0];
    assert_eq!((&reference["name"], &reference["weight"]), (&json!("echo-v2"), &json!(1)));
    let target = json!({"group": "", "kind": "Service", "name": "shadow", "port": 1});
    let mirror = json!({"backendRef": target, "fraction": {"numerator": 3, "denominator": 100}});
    assert_eq!(reference["filters"], json!([{"type": "RequestMirror", "requestMirror": mirror}]));
}

#[test]
fn matches_and_filters_are_written_with_their_defaults() {
    let matches = json!([{"method": {"service": "echo.Echo"}, "headers": [{"name": "env", "value": "canary"}]}]);
    let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["type"]}}]);
    let rules = rules(&json!({"rules": [{"name": "one", "matches": matches, "filters": filters}]}));
    let headers = json!([{"type": "Exact", "name": "env", "value": "canary"}]);
    assert_eq!(rules[0]["matches"], json!([{"method": {"type": "Exact", "service": "echo.Echo"}, "headers": headers}]));
    assert_eq!(rules[0]["filters"], filters);
}

#[test]
fn reflection_is_the_last_rule_and_takes_a_name_that_is_free() {
    for (user, expected) in [("default", "reflection"), ("reflection", "grpc-reflection")] {
        let rules = rules(&json!({"rules": [{"name": user}], "reflection": {"backend": "stable"}}));
        let wanted = |version: &str| {
            let service = format!("grpc.reflection.{version}.ServerReflection");
            json!({"method": {"type": "Exact", "service": service}})
        };
        let matches = [wanted("v1"), wanted("v1alpha")];
        let rule = json!({"name": expected, "matches": matches, "backendRefs": [backend("echo", 1)]});
        assert_eq!(rules[1], rule);
    }
}

#[test]
fn timeouts_and_retries_go_into_a_policy_for_the_rule() {
    let timeouts = json!({"request": "2s"});
    let retry = json!({"attempts": 2});
    let written = json!([{"name": "slow", "timeouts": timeouts}, {"name": "plain"}, {"name": "flaky", "retry": retry}]);
    let authored = authored(&world(&[service(&json!({"rules": written}))]));
    let expected = ["Gateway echo-public", "GrpcPolicy echo-slow", "GrpcPolicy echo-flaky", "GRPCRoute echo"];
    assert_eq!(names(&authored), expected);
    let target =
        json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": "echo", "sectionName": "slow"});
    assert_eq!(field(&authored, Kind::GrpcPolicy, "/spec"), json!({"targetRefs": [target], "timeouts": timeouts}));
}

#[test]
fn every_object_carries_the_owner_the_labels_and_what_the_user_adds() {
    let generated = json!({"labels": {"team": "shop"}, "annotations": {"example.com/ttl": "60"}});
    let grants = json!([{"to": "Service", "namespace": "app-b"}]);
    let rules = json!([{"name": "slow", "timeouts": {"request": "2s"}}]);
    let authored =
        authored(&world(&[service(&json!({"generatedMetadata": generated, "grants": grants, "rules": rules}))]));
    assert_eq!(authored.objects.len(), 4);
    let owner = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "name": "echo", "uid": "uid-echo",
        "controller": true,
    });
    let labels = json!({"team": "shop", "app.kubernetes.io/managed-by": "sluice", "sluice.dev/grpcservice": "echo"});
    let secrets = authored.issues.iter().map(|issue| &issue.metadata);
    for metadata in authored.objects.iter().map(|desired| &desired.value["metadata"]).chain(secrets) {
        assert_eq!(metadata["ownerReferences"], json!([owner]), "{metadata}");
        assert_eq!((&metadata["labels"], &metadata["annotations"]), (&labels, &generated["annotations"]));
        assert_eq!(metadata["namespace"], "shop");
    }
}

#[test]
fn where_rules_have_no_names_routes_are_written_without_and_policies_are_not() {
    let mut world = world(&[service(&json!({"rules": [{"name": "slow", "timeouts": {"request": "2s"}}]}))]);
    assert_eq!(names(&authored(&world)), ["Gateway echo-public", "GrpcPolicy echo-slow", "GRPCRoute echo"]);
    world.apply(Change::Served(Kind::BackendTlsPolicy, false));
    let authored = authored(&world);
    assert_eq!(names(&authored), ["Gateway echo-public", "GRPCRoute echo"]);
    assert_eq!(field(&authored, Kind::GrpcRoute, "/spec/rules/0"), json!({"backendRefs": [backend("echo", 1)]}));
}
