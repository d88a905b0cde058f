//! Each form of `spec.gateways`, and the guard rails around them.

use super::{authored, field, names, object, profile, service, world};
use crate::key::Kind;
use serde_json::{Value, json};

/// An own Gateway's or a ListenerSet's listener for `grpc.example.com`, with everything that an API server would
/// default.
fn listener(port: u16) -> Value {
    json!({
        "name": "grpc-example-com",
        "hostname": "grpc.example.com",
        "port": port,
        "protocol": "HTTPS",
        "tls": {
            "mode": "Terminate",
            "certificateRefs": [{"group": "", "kind": "Secret", "namespace": "shop", "name": "echo-tls"}],
        },
        "allowedRoutes": {
            "namespaces": {"from": "Same"},
            "kinds": [{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute"}],
        },
    })
}

fn parent(kind: &str, namespace: &str, name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": kind, "namespace": namespace, "name": name})
}

#[test]
fn an_own_gateway_has_a_listener_for_each_hostname_and_is_the_parent_of_the_route() {
    let authored = authored(&world(&[service(&json!({}))]));
    assert_eq!(names(&authored), ["Gateway echo-public", "GRPCRoute echo"]);
    let spec = field(&authored, Kind::Gateway, "/spec");
    assert_eq!(spec, json!({"gatewayClassName": "sluice", "listeners": [listener(443)]}));
    let parents = field(&authored, Kind::GrpcRoute, "/spec/parentRefs");
    assert_eq!(parents, json!([parent("Gateway", "shop", "echo-public")]));
}

#[test]
fn what_is_written_for_an_own_gateway_is_kept() {
    let own = json!({
        "gatewayClassName": "istio",
        "port": 8443,
        "allowedRoutes": {"namespaces": {"from": "All"}},
        "infrastructure": {"annotations": {"example.com/lb": "internal"}},
    });
    let gateways = json!([{"name": "edge", "own": own}]);
    let spec = field(&authored(&world(&[service(&json!({"gateways": gateways}))])), Kind::Gateway, "/spec");
    assert_eq!(spec["gatewayClassName"], "istio");
    assert_eq!(spec["infrastructure"], own["infrastructure"]);
    assert_eq!(spec["listeners"][0]["port"], 8443);
    assert_eq!(spec["listeners"][0]["allowedRoutes"]["namespaces"], json!({"from": "All"}));
}

#[test]
fn listeners_are_named_after_hostnames_without_two_sharing_a_name() {
    let hostnames =
        json!(["grpc.example.com", "grpc-example.com", "*.example.com", "wildcard.example.com", "GRPC.example.org"]);
    let authored = authored(&world(&[service(&json!({"hostnames": hostnames}))]));
    let listeners = field(&authored, Kind::Gateway, "/spec/listeners");
    let mut names: Vec<_> =
        listeners.as_array().unwrap().iter().map(|listener| listener["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["grpc-example-com", "grpc--example-com", "wildcard.example-com"]);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 5);
    assert_eq!(listeners[4]["hostname"], "grpc.example.org");
}

#[test]
fn a_reference_without_a_certificate_is_a_parent_and_nothing_else() {
    let table = [
        (json!({"name": "edge"}), parent("Gateway", "shop", "edge")),
        (json!({"name": "edge", "namespace": "infra", "sectionName": "https"}), {
            let mut parent = parent("Gateway", "infra", "edge");
            parent["sectionName"] = "https".into();
            parent
        }),
        (json!({"kind": "ListenerSet", "name": "extra"}), parent("ListenerSet", "shop", "extra")),
    ];
    for (reference, expected) in table {
        let spec = json!({"gateways": [{"name": "shared", "ref": reference}], "tls": null});
        let authored = authored(&world(&[service(&spec)]));
        assert_eq!(names(&authored), ["GRPCRoute echo"], "{reference}");
        assert_eq!(field(&authored, Kind::GrpcRoute, "/spec/parentRefs"), json!([expected]));
    }
}

#[test]
fn a_reference_with_a_certificate_adds_listeners_by_a_listener_set() {
    for (port, expected) in [(None, 443), (Some(8443), 8443)] {
        let mut reference = json!({"name": "edge", "namespace": "infra"});
        if let Some(port) = port {
            reference["port"] = port.into();
        }
        let authored = authored(&world(&[service(&json!({"gateways": [{"name": "shared", "ref": reference}]}))]));
        assert_eq!(names(&authored), ["ListenerSet echo-shared", "GRPCRoute echo"]);
        let spec = field(&authored, Kind::ListenerSet, "/spec");
        assert_eq!(spec, json!({"parentRef": parent("Gateway", "infra", "edge"), "listeners": [listener(expected)]}));
        let parents = field(&authored, Kind::GrpcRoute, "/spec/parentRefs");
        assert_eq!(parents, json!([parent("ListenerSet", "shop", "echo-shared")]));
    }
}

#[test]
fn a_service_that_names_no_gateway_brings_listeners_to_the_default_one() {
    let [rails, class] = profile(&json!({"defaultGateway": {"namespace": "infra", "name": "edge"}}));
    for gateways in [Value::Null, json!([])] {
        let service = service(&json!({"gateways": gateways, "tls": null}));
        let authored = authored(&world(&[service, rails.clone(), class.clone()]));
        assert_eq!(names(&authored), ["ListenerSet echo-default", "GRPCRoute echo"]);
        let reference = field(&authored, Kind::ListenerSet, "/spec/parentRef");
        assert_eq!(reference, parent("Gateway", "infra", "edge"));
        assert_eq!(authored.issues.len(), 1, "a CA for a certificate of its own");
    }
}

#[test]
fn a_service_that_may_have_no_gateway_gets_no_route() {
    let nobody = json!({"ownGateways": {"from": "None"}});
    let claimed = json!({"hostnames": [{"suffix": "example.com", "namespaces": {"from": "None"}}]});
    let table = [
        ("without a default Gateway", json!({"gateways": null}), json!({})),
        ("whose namespace may have none of its own", json!({}), nobody),
        ("whose hostnames belong to others", json!({}), claimed),
    ];
    for (name, spec, rails) in table {
        let [rails, class] = profile(&rails);
        let authored = authored(&world(&[service(&spec), rails, class]));
        assert_eq!(names(&authored), Vec::<String>::new(), "a service {name}");
    }
}

#[test]
fn the_longest_claim_decides_over_a_hostname() {
    let namespaces =
        |name: &str| json!({"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let claims = json!({"hostnames": [
        {"suffix": "example.com", "namespaces": namespaces("other")},
        {"suffix": "shop.example.com", "namespaces": namespaces("shop")},
    ]});
    let hostnames =
        json!(["a.shop.example.com", "shop.example.com", "*.shop.example.com", "b.example.com", "myexample.com"]);
    let [rails, class] = profile(&claims);
    let mut namespace = object(Kind::Namespace, "shop", json!({}));
    namespace["metadata"]["labels"] = json!({"kubernetes.io/metadata.name": "shop"});
    let authored = authored(&world(&[service(&json!({"hostnames": hostnames})), rails, class, namespace]));
    let kept = field(&authored, Kind::GrpcRoute, "/spec/hostnames");
    assert_eq!(kept, json!(["a.shop.example.com", "shop.example.com", "*.shop.example.com", "myexample.com"]));
}
