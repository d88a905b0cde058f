//! What an import keeps, what it leaves alone, and what it says.

use super::object;
use crate::{
    author::{Imported, import},
    key::Kind,
};
use serde_json::{Value, json};

const ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

fn backend(name: &str) -> Value {
    json!({"name": name, "port": 9000})
}

fn route(changes: &Value) -> Value {
    let mut spec = json!({
        "parentRefs": [{"name": "edge"}],
        "hostnames": ["grpc.example.com"],
        "rules": [{"backendRefs": [backend("echo")]}],
    });
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    object(Kind::GrpcRoute, "echo-route", json!({"spec": spec}))
}

fn spec(imported: &Imported) -> Value {
    serde_json::to_value(&imported.services[0].spec).unwrap()
}

/// Whether a note about a path says something.
fn says(imported: &Imported, path: &str, words: &str) -> bool {
    imported.notes.iter().any(|note| note.path == path && note.message.contains(words))
}

#[test]
fn a_route_becomes_a_service_of_its_name_that_refers_to_its_gateways() {
    let parents = json!([
        {"name": "edge", "sectionName": "https"},
        {"name": "edge", "namespace": "infra", "sectionName": "alt", "port": 8443},
        {"kind": "ListenerSet", "name": "extra.set"},
    ]);
    let imported = import(&[route(&json!({"parentRefs": parents}))]);
    assert_eq!(imported.services[0].metadata.name.as_deref(), Some("echo-route"));
    assert_eq!(imported.services[0].metadata.namespace.as_deref(), Some("shop"));
    let gateways = spec(&imported)["gateways"].clone();
    let names: Vec<_> = gateways.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["edge", "edge-alt", "extra-set"]);
    assert_eq!(gateways[1]["ref"], parents[1]);
    assert!(says(
        &imported,
        "metadata.name",
        "kubectl annotate grpcroute echo-route -n shop sluice.dev/adopt=echo-route"
    ));
}

#[test]
fn backends_are_named_after_their_services_and_told_apart_where_needed() {
    let (port, namespace) =
        (json!({"name": "echo", "port": 9001}), json!({"name": "echo", "port": 9000, "namespace": "team-b"}));
    let refs = json!([backend("echo"), port, namespace, backend("echo")]);
    let imported = import(&[route(&json!({"rules": [{"backendRefs": refs}, {"backendRefs": [backend("echo")]}]}))]);
    let spec = spec(&imported);
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&spec["backends"]), ["echo", "echo-9001", "echo-team-b", "echo-9000"]);
    assert_eq!(names(&spec["rules"][0]["backends"]), names(&spec["backends"]));
    assert_eq!(names(&spec["rules"][1]["backends"]), ["echo"]);
}

#[test]
fn a_weight_on_one_backend_of_a_rule_is_written_on_all_of_them() {
    let refs = json!([{"name": "echo", "port": 9000, "weight": 9}, backend("canary")]);
    let weights = |refs: Value| {
        let backends =
            spec(&import(&[route(&json!({"rules": [{"backendRefs": refs}]}))]))["rules"][0]["backends"].clone();
        backends.as_array().unwrap().iter().map(|backend| backend["weight"].as_i64()).collect::<Vec<_>>()
    };
    assert_eq!(weights(refs), [Some(9), Some(1)]);
    assert_eq!(weights(json!([backend("echo"), backend("canary")])), [None, None]);
}

#[test]
fn a_rule_for_reflection_becomes_the_field_unless_it_says_more() {
    let wanted = |service: &str| json!({"method": {"service": service}});
    let reflection = json!({"matches": [wanted(ALPHA)], "backendRefs": [backend("echo")]});
    let rest = json!({"backendRefs": [backend("canary")]});
    let with = |changes: Value| {
        let mut rule = reflection.clone();
        rule.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
        rule
    };
    let table = [
        ("alone in its rule", json!([reflection, rest]), true),
        ("under the usual name", json!([with(json!({"name": "reflection"})), rest]), true),
        (
            "in both versions",
            json!([with(json!({"matches": [wanted(ALPHA), wanted("grpc.reflection.v1.ServerReflection")]})), rest]),
            true,
        ),
        ("under a name of its own", json!([with(json!({"name": "mirror"})), rest]), false),
        ("with another service", json!([with(json!({"matches": [wanted(ALPHA), wanted("echo.Echo")]})), rest]), false),
        (
            "with a header",
            json!([
                with(json!({"matches": [{"method": {"service": ALPHA}, "headers": [{"name": "a", "value": "b"}]}]})),
                rest
            ]),
            false,
        ),
        (
            "with a filter",
            json!([
                with(
                    json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}]})
                ),
                rest
            ]),
            false,
        ),
        ("with two backends", json!([with(json!({"backendRefs": [backend("echo"), backend("canary")]})), rest]), false),
        ("as the only rule", json!([reflection]), false),
    ];
    for (name, rules, expected) in table {
        let spec = spec(&import(&[route(&json!({"rules": rules}))]));
        assert_eq!(spec["reflection"] == json!({"backend": "echo"}), expected, "{name}");
        assert_eq!(
            spec["rules"].as_array().unwrap().len() + usize::from(expected),
            rules.as_array().unwrap().len(),
            "{name}"
        );
    }
}

#[test]
fn rules_without_a_usable_name_get_one_that_no_other_has() {
    let rule = |name: Option<&str>| {
        let mut rule = json!({"backendRefs": [backend("echo")]});
        if let Some(name) = name {
            rule["name"] = name.into();
        }
        rule
    };
    let imported =
        import(&[route(&json!({"rules": [rule(None), rule(Some("rule-0")), rule(Some("a.b")), rule(Some("keep"))]}))]);
    let rules = spec(&imported)["rules"].clone();
    let names: Vec<_> = rules.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rule-0-1", "rule-0", "a-b", "keep"]);
    assert!(says(&imported, "spec.rules[2].name", "the rule is called a-b"));
}

#[test]
fn the_policy_in_force_goes_into_each_rule() {
    let policy = |name: &str, section: Option<&str>, created: &str, request: &str| {
        let mut target = json!({"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": "echo-route"});
        if let Some(section) = section {
            target["sectionName"] = section.into();
        }
        let mut value =
            object(Kind::GrpcPolicy, name, json!({"spec": {"targetRefs": [target], "timeouts": {"request": request}}}));
        value["metadata"]["creationTimestamp"] = created.into();
        value
    };
    let rules =
        json!([{"name": "a", "backendRefs": [backend("echo")]}, {"name": "b", "backendRefs": [backend("echo")]}]);
    let imported = import(&[
        policy("new", None, "2026-02-01T00:00:00Z", "9s"),
        policy("old", None, "2026-01-01T00:00:00Z", "2s"),
        policy("rule", Some("b"), "2026-03-01T00:00:00Z", "3s"),
        route(&json!({"rules": rules})),
    ]);
    let spec = spec(&imported);
    assert_eq!(spec["rules"][0]["timeouts"], json!({"request": "2s"}));
    assert_eq!(spec["rules"][1]["timeouts"], json!({"request": "3s"}));
    assert!(
        imported.notes.iter().any(|note| &*note.object.key.name == "old" && note.message.contains("delete the policy"))
    );
}

#[test]
fn only_a_grant_that_the_service_would_issue_itself_is_carried_over() {
    let grant = |to: Value| {
        let from = json!([{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": "app-b"}]);
        object(Kind::ReferenceGrant, "grant", json!({"spec": {"from": from, "to": to}}))
    };
    let service = |name: &str| json!({"group": "", "kind": "Service", "name": name});
    let table = [
        ("exactly the backends", json!([service("echo"), service("canary")]), true),
        ("one of the backends", json!([service("echo")]), false),
        ("another Service too", json!([service("echo"), service("canary"), service("db")]), false),
        ("every Service", json!([{"group": "", "kind": "Service"}]), false),
        ("a Gateway", json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]), false),
    ];
    for (name, to, expected) in table {
        let rules = json!([{"backendRefs": [backend("echo"), backend("canary")]}]);
        let grants = spec(&import(&[grant(to), route(&json!({"rules": rules}))]))["grants"].clone();
        let wanted = if expected { json!([{"to": "Service", "namespace": "app-b"}]) } else { Value::Null };
        assert_eq!(grants, wanted, "a grant to {name}");
    }
}

#[test]
fn a_route_that_is_more_than_a_service_holds_is_refused_whole() {
    let rule = json!({"backendRefs": [backend("echo")]});
    let many: Vec<Value> = (0..17).map(|at| backend(&format!("echo-{at}"))).collect();
    let matches = vec![json!({"method": {"service": "echo.Echo"}}); 64];
    let wide = json!({"matches": matches, "backendRefs": [backend("echo")]});
    let table = [
        ("16 rules", json!(vec![rule; 16]), "16 rules"),
        ("128 matches", json!([wide, wide]), "128 matches"),
        ("17 backends", json!([{"backendRefs": many[..9]}, {"backendRefs": many[9..]}]), "17 backends"),
        ("no rule", json!([]), "no rule has a Service"),
        ("no backend", json!([{"matches": [{}]}]), "no rule has a Service"),
    ];
    for (name, rules, words) in table {
        let imported = import(&[route(&json!({"rules": rules}))]);
        assert!(imported.services.is_empty() && says(&imported, "spec", words), "{name}: {:?}", imported.notes);
    }
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let imported = import(&[
        route(&json!({
            "parentRefs": [{"group": "", "kind": "Service", "name": "mesh"}],
            "rules": [
                {
                    "backendRefs": [backend("echo"), {"group": "x.io", "kind": "Bucket", "name": "b"}],
                    "sessionPersistence": {},
                },
                {"matches": [{"method": {"service": "echo.Echo"}}]},
            ],
        })),
        object(Kind::GrpcRoute, "broken", json!({"spec": {"rules": 1}})),
    ]);
    for (path, words) in [
        ("spec.parentRefs[0]", "a Service is no parent"),
        ("spec.parentRefs", "names no Gateway"),
        ("spec.rules[0].backendRefs[1]", "only a Service with a port"),
        ("spec.rules[0].sessionPersistence", "not carried over"),
        ("spec.rules", "rule rule-1 has no backend"),
        ("", "not imported"),
    ] {
        assert!(says(&imported, path, words), "{path}: {:?}", imported.notes);
    }
    assert_eq!(spec(&imported)["rules"][1]["backends"], json!([{"name": "echo", "weight": 0}]));
}
