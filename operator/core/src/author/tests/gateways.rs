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
fn nothing_is_allowed_while_the_profile_that_is_named_is_absent() {
    let [_, class] = profile(&json!({}));
    let grants = json!([{"to": "Service", "namespace": "app-b"}]);
    let shared = json!([{"name": "edge", "ref": {"name": "edge"}}]);
    let table = [
        ("with a Gateway of its own and grants", json!({"grants": grants})),
        ("on a shared Gateway", json!({"gateways": shared, "tls": null})),
        ("on a shared Gateway, for all its names", json!({"gateways": shared, "tls": null, "hostnames": null})),
        ("without a Gateway", json!({"gateways": null})),
    ];
    for (name, spec) in table {
        let authored = authored(&world(&[service(&spec), class.clone()]));
        assert_eq!(names(&authored), Vec::<String>::new(), "a service {name}");
    }
}

#[test]
fn what_another_controllers_class_takes_as_parameters_is_its_own_business() {
    let class = |controller: &str| {
        let reference = json!({"group": "", "kind": "ConfigMap", "name": "options"});
        object(Kind::GatewayClass, "other", json!({"spec": {"controllerName": controller, "parametersRef": reference}}))
    };
    let gateways = json!([{"name": "public", "own": {"gatewayClassName": "other"}}]);
    for (controller, expected) in [("istio.io/gateway-controller", 2), ("sluice.dev/gateway-controller", 0)] {
        let authored = authored(&world(&[service(&json!({"gateways": gateways})), class(controller)]));
        assert_eq!(authored.objects.len(), expected, "a class of {controller}");
    }
}

#[test]
fn a_hostname_that_reaches_into_a_claim_of_others_is_refused() {
    let nobody = json!({"from": "None"});
    let all = json!({"from": "All"});
    let table = [
        ("the name itself", "pay.example.com", true),
        ("in capitals", "PAY.example.com", true),
        ("a name below it", "eu.pay.example.com", true),
        ("the wildcard below it", "*.pay.example.com", true),
        ("a wildcard above it", "*.example.com", true),
        ("a wildcard far above it", "*.com", true),
        ("a sibling", "shop.example.com", false),
        ("a wildcard beside it", "*.shop.example.com", false),
        ("a name that only ends alike", "repay.example.com", false),
        ("a name inside, claimed for all", "open.pay.example.com", false),
        ("a wildcard inside, claimed for all", "*.open.pay.example.com", false),
    ];
    let [rails, class] = profile(&json!({"hostnames": [
        {"suffix": "pay.example.com", "namespaces": nobody},
        {"suffix": "open.pay.example.com", "namespaces": all},
    ]}));
    for (name, hostname, refused) in table {
        let spec = json!({"hostnames": [hostname]});
        let authored = authored(&world(&[service(&spec), rails.clone(), class.clone()]));
        assert_eq!(authored.objects.is_empty(), refused, "{name}: {hostname}");
    }
}

#[test]
fn a_service_that_takes_every_name_of_a_listener_takes_none_that_others_claim() {
    let shared = json!([{"name": "edge", "ref": {"name": "edge"}}]);
    let spec = json!({"gateways": shared, "tls": null, "hostnames": null});
    for (from, expected) in [("None", 0), ("All", 1)] {
        let [rails, class] =
            profile(&json!({"hostnames": [{"suffix": "pay.example.com", "namespaces": {"from": from}}]}));
        let authored = authored(&world(&[service(&spec), rails, class]));
        assert_eq!(authored.objects.len(), expected, "claimed for {from}");
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
