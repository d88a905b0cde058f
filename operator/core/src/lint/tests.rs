//! Each trap, and its neighbour that is none.

use super::{Finding, lint};
use crate::{
    key::Kind,
    world::{Object, Settings, World},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

fn findings(objects: &[Value]) -> Vec<Finding> {
    let mut world = World::new(Settings::default());
    for object in objects {
        let kind = Kind::ALL.into_iter().find(|kind| object["kind"] == kind.name()).unwrap();
        world.apply(Object::decode(kind, object.clone()).unwrap().into());
    }
    lint(&world)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"kind": kind, "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

fn service(name: &str, selector: &Value) -> Value {
    object("Service", name, &json!({"selector": selector, "ports": [{"port": 9000}]}))
}

/// A route with a rule for each backend.
fn route(backends: &[&str]) -> Value {
    let rules = backends.iter().enumerate().map(|(at, name)| {
        json!({"matches": [{"method": {"service": format!("s{at}")}}], "backendRefs": [{"name": name, "port": 9000}]})
    });
    object("GRPCRoute", "echo", &json!({"rules": rules.collect::<Vec<_>>()}))
}

#[track_caller]
fn assert_one(found: &[Finding], object: &str, path: &str, words: &str) {
    let [finding] = found else { panic!("one finding: {found:?}") };
    assert_eq!((finding.object.to_string().as_str(), finding.path.as_str()), (object, path));
    assert!(finding.message.contains(words), "{}", finding.message);
}

#[test]
fn a_selector_that_contains_another_backends_is_told_the_label_to_add() {
    let guide = [
        service("grpc-echo", &json!({"app": "grpc-echo"})),
        service("grpc-echo-v2", &json!({"app": "grpc-echo", "version": "v2"})),
        route(&["grpc-echo", "grpc-echo-v2"]),
    ];
    let words = "add version to its selector, with the value of its own pods (not v2)";
    assert_one(&findings(&guide), "Service shop/grpc-echo", "spec.selector", words);
}

#[test]
fn selectors_that_differ_or_meet_in_no_route_are_no_trap() {
    let v1 = service("v1", &json!({"app": "echo", "version": "v1"}));
    let v2 = service("v2", &json!({"app": "echo", "version": "v2"}));
    let all = service("all", &json!({"app": "echo"}));
    let none = service("none", &json!({}));
    let table = [
        ("different values", vec![v1.clone(), v2, route(&["v1", "v2"])]),
        ("a wider Service that the route does not have", vec![v1.clone(), all, route(&["v1"])]),
        ("a Service without a selector", vec![v1.clone(), none, route(&["v1", "none"])]),
        ("a Service that is absent", vec![v1, route(&["v1", "absent"])]),
    ];
    for (name, objects) in table {
        assert_eq!(findings(&objects), [], "{name}");
    }
}

#[test]
fn equal_selectors_are_said_once() {
    let labels = json!({"app": "echo"});
    let found = findings(&[service("a", &labels), service("b", &labels), route(&["a", "b"])]);
    assert_one(&found, "Service shop/b", "spec.selector", "select each by a label that the other's pods do not have");
}

#[test]
fn backends_with_an_endpoint_in_common_are_said() {
    let slice = |service: &str, address: &str| {
        json!({
            "kind": "EndpointSlice",
            "metadata": {"namespace": "shop", "name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"port": 9000}], "endpoints": [{"addresses": [address]}],
        })
    };
    let with = |address: &str| findings(&[slice("a", "10.0.0.1"), slice("b", address), route(&["a", "b"])]);
    assert_one(&with("10.0.0.1"), "Service shop/b", "spec", "has the endpoint 10.0.0.1:9000 like Service shop/a");
    assert_eq!(with("10.0.0.2"), []);
}

#[test]
fn an_http_route_for_grpc_is_told_the_match_to_write() {
    let http = |wanted: Value| findings(&[object("HTTPRoute", "web", &json!({"rules": [{"matches": [wanted]}]}))]);
    let path = |kind: &str, value: &str| json!({"path": {"type": kind, "value": value}});
    let grpc = json!({"headers": [{"name": "Content-Type", "value": "application/grpc"}]});
    let table = [
        (path("Exact", "/echo.Echo/EchoV2"), Some("[{method: {service: echo.Echo, method: EchoV2}}]")),
        (path("PathPrefix", "/com.example.User"), Some("[{method: {service: com.example.User}}]")),
        (path("PathPrefix", "/com.example.User/"), Some("[{method: {service: com.example.User}}]")),
        (grpc, Some("the services and methods that are meant")),
        (path("PathPrefix", "/"), None),
        (path("PathPrefix", "/api/v1.2/users"), None),
        (path("Exact", "/assets.v1/Logo.png"), None),
        (path("Exact", "/favicon.ico"), None),
        (json!({"headers": [{"name": "content-type", "value": "application/json"}]}), None),
    ];
    for (wanted, expected) in table {
        match (http(wanted.clone()), expected) {
            (found, Some(words)) => assert_one(&found, "HTTPRoute shop/web", "spec.rules[0].matches[0]", words),
            (found, None) => assert_eq!(found, [], "{wanted}"),
        }
    }
}

#[test]
fn a_rule_whose_calls_an_earlier_one_takes_never_matches() {
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let by_service = json!({"method": {"service": "echo.Echo"}});
    let explicit = json!({"method": {"type": "Exact", "service": "echo.Echo"}});
    let two = json!({"headers": [header("a", "1"), header("b", "2")]});
    let swapped = json!({"headers": [header("B", "2"), header("a", "1"), header("A", "9")]});
    let table = [
        ("the same", json!([{"matches": [by_service]}, {"matches": [by_service]}]), true),
        ("the same, with the default written out", json!([{"matches": [by_service]}, {"matches": [explicit]}]), true),
        ("the same headers in another order", json!([{"matches": [two]}, {"matches": [swapped]}]), true),
        ("everything, twice", json!([{}, {}]), true),
        ("one match of two", json!([{"matches": [by_service]}, {"matches": [by_service, two]}]), false),
        (
            "a narrower match",
            json!([{"matches": [by_service]}, {"matches": [{"method": {"service": "echo.Echo", "method": "X"}}]}]),
            false,
        ),
    ];
    for (name, rules, expected) in table {
        let mut route = object("GRPCRoute", "echo", &json!({"rules": rules}));
        let found = findings(&[route.clone()]);
        assert_eq!(found.iter().any(|finding| finding.path == "spec.rules[1]"), expected, "{name}: {found:?}");
        route["metadata"]["ownerReferences"] = json!([{"kind": "GrpcService", "name": "echo", "controller": true}]);
        assert_eq!(findings(&[route]), [], "a GrpcService's own status says it");
    }
}

fn secret(name: &str, sans: &[&str]) -> Value {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(sans.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let data = json!({
        "tls.crt": STANDARD.encode(params.self_signed(&key).unwrap().pem()),
        "tls.key": STANDARD.encode(key.serialize_pem()),
    });
    json!({"kind": "Secret", "metadata": {"namespace": "shop", "name": name}, "type": "kubernetes.io/tls", "data": data})
}

const WILD: &str = "*.example.com";

/// Names of the certificate, hostname of the listener, hostname of the route, and what is said.
type Row = (&'static [&'static str], &'static str, Option<&'static str>, Option<&'static str>);

#[test]
fn a_certificate_is_held_against_the_hostnames_that_are_served_with_it() {
    let gateway = |hostname: &str| {
        let tls = json!({"certificateRefs": [{"name": "cert"}]});
        let listener = json!({"name": "https", "hostname": hostname, "port": 443, "protocol": "HTTPS", "tls": tls});
        object("Gateway", "edge", &json!({"gatewayClassName": "sluice", "listeners": [listener]}))
    };
    let route = |hostname: &str| {
        object("GRPCRoute", "echo", &json!({"parentRefs": [{"name": "edge"}], "hostnames": [hostname], "rules": []}))
    };
    let table: [Row; 8] = [
        (&["a.example.com"], "a.example.com", None, None),
        (&[WILD], "a.example.com", None, None),
        (&[WILD], WILD, None, None),
        (&[WILD], WILD, Some("a.example.com"), None),
        (&[WILD], "a.b.example.com", None, Some("*.example.com in a certificate stands for one label only")),
        (&[WILD], WILD, Some("a.b.example.com"), Some("does not cover a.b.example.com: *.example.com")),
        (
            &["a.example.com"],
            "b.example.com",
            None,
            Some("does not cover b.example.com, only a.example.com: add b.example.com"),
        ),
        (&[], "a.example.com", None, Some("names no host as a subject alternative name")),
    ];
    for (sans, listener, hostname, expected) in table {
        let objects: Vec<Value> =
            [secret("cert", sans), gateway(listener)].into_iter().chain(hostname.map(route)).collect();
        match (findings(&objects), expected) {
            (found, Some(words)) => {
                assert_one(&found, "Gateway shop/edge", "spec.listeners[0].tls.certificateRefs", words);
            }
            (found, None) => assert_eq!(found, [], "{sans:?} for {listener} and {hostname:?}"),
        }
    }
}
