//! Kinds of the Gateway API: whatever its CRDs refuse on a server is refused without one, and by the same rule.

use serde_json::{Value, json};

use crate::{accepts, edited, refuses};

fn object(kind: &str, spec: &Value) -> Value {
    let metadata = json!({"name": "echo", "namespace": "default"});
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn listener() -> Value {
    json!({
        "name": "https", "protocol": "HTTPS", "port": 443, "hostname": "*.example.com",
        "tls": {"certificateRefs": [{"name": "cert", "namespace": "certs"}]},
        "allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}], "namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}},
    })
}

fn gateway() -> Value {
    object(
        "Gateway",
        &json!({
            "gatewayClassName": "sluice",
            "addresses": [{"type": "IPAddress", "value": "10.0.0.1"}, {"type": "Hostname", "value": "a.example.com"}],
            "infrastructure": {"labels": {"a": "b"}, "annotations": {"example.com/a": "b"}},
            "allowedListeners": {"namespaces": {"from": "Same"}},
            "listeners": [listener(), {"name": "http", "protocol": "HTTP", "port": 80}],
        }),
    )
}

fn listener_set() -> Value {
    object("ListenerSet", &json!({"parentRef": {"name": "edge", "namespace": "infra"}, "listeners": [listener()]}))
}

fn mirror() -> Value {
    json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "a", "port": 1}, "percent": 10}})
}

fn set_header() -> Value {
    json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}})
}

fn grpc_route() -> Value {
    object(
        "GRPCRoute",
        &json!({
            "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "https"}],
            "hostnames": ["grpc.example.com", "*.grpc.example.com"],
            "rules": [{
                "name": "first",
                "matches": [
                    {"method": {"type": "Exact", "service": "echo.Echo", "method": "Echo"}},
                    {"headers": [{"type": "RegularExpression", "name": "env", "value": "a|b"}]},
                ],
                "filters": [set_header(), mirror()],
                "backendRefs": [{"name": "echo", "port": 9000, "weight": 1, "filters": [set_header()]}],
            }],
        }),
    )
}

fn http_route() -> Value {
    object(
        "HTTPRoute",
        &json!({
            "parentRefs": [{"name": "edge"}], "hostnames": ["www.example.com"],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET", "queryParams": [{"name": "q", "value": "1"}]}],
                "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}}}],
                "timeouts": {"request": "10s", "backendRequest": "2s"},
                "backendRefs": [{"name": "web", "port": 80}],
            }],
        }),
    )
}

fn grant() -> Value {
    object(
        "ReferenceGrant",
        &json!({
            "from": [{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": "app"}],
            "to": [{"group": "", "kind": "Service", "name": "echo"}],
        }),
    )
}

/// As many as a list is long, each its own.
fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn named(mut item: Value, name: &str) -> Value {
    item["name"] = json!(name);
    item
}

#[test]
fn gateways_are_judged_as_a_server_judges_them() {
    accepts(&edited(gateway(), "/spec/addresses/0", json!({"type": "example.com/pool", "value": "blue"})));
    accepts(&edited(gateway(), "/spec/listeners", many(64, |at| named(listener_on(at), &format!("l{at}")))));
    refuses(
        &gateway(),
        vec![
            ("/metadata/name", json!("Edge"), "metadata.name"),
            ("/spec/gatewayClassName", Value::Null, "spec.gatewayClassName: Required value"),
            ("/spec/gatewayClassName", json!(1), "spec.gatewayClassName"),
            ("/spec/gatewayclass", json!("sluice"), "gatewayclass"),
            ("/spec/listeners", json!({}), "spec.listeners"),
            ("/spec/listeners", many(65, |at| named(listener_on(at), &format!("l{at}"))), "Too many"),
            ("/spec/listeners/1", named(listener(), "https"), "duplicate"),
            (
                "/spec/listeners/1",
                named(listener(), "again"),
                "Combination of port, protocol and hostname must be unique",
            ),
            ("/spec/listeners/0/name", json!("HTTPS"), "spec.listeners[0].name"),
            ("/spec/listeners/0/port", json!(0), "spec.listeners[0].port"),
            ("/spec/listeners/0/port", json!("443"), ".port: expected numeric"),
            ("/spec/listeners/0/port", Value::Null, "spec.listeners[0].port: Required value"),
            ("/spec/listeners/0/protocol", json!("HTTP"), "tls must not be specified for protocols"),
            ("/spec/listeners/0/protocol", json!("H TTP"), "spec.listeners[0].protocol"),
            (
                "/spec/listeners/1",
                json!({"name": "tcp", "protocol": "TCP", "port": 1, "hostname": "a.b"}),
                "hostname must not be specified",
            ),
            ("/spec/listeners/0/hostname", json!("a.*.example.com"), "spec.listeners[0].hostname"),
            ("/spec/listeners/0/tls/mode", json!("Passthrough"), "tls mode must be Terminate for protocol HTTPS"),
            ("/spec/listeners/0/tls/mode", json!("Mutual"), "Unsupported value"),
            ("/spec/listeners/0/tls/certificateRefs", Value::Null, "certificateRefs or options must be specified"),
            ("/spec/listeners/0/tls/certificateRefs/0/name", Value::Null, "Required value"),
            ("/spec/listeners/0/allowedRoutes/namespaces/from", json!("Some"), "Unsupported value"),
            ("/spec/listeners/0/allowedRoutes/kinds/0/kind", json!("GRPC Route"), "allowedRoutes.kinds[0].kind"),
            (
                "/spec/addresses/0",
                json!({"type": "Hostname", "value": "a.example.com"}),
                "Hostname values must be unique",
            ),
            ("/spec/addresses/1/value", json!("a_b"), "Hostname value must be empty or contain only valid characters"),
            ("/spec/addresses/0/value", json!("10.0.0.256"), "spec.addresses[0]"),
            ("/spec/infrastructure/labels", json!({"a b": "c"}), "Label keys must be in the form"),
            ("/spec/infrastructure/labels", many_labels(9), "Too many"),
            ("/spec/infrastructure/annotations", json!({"-/a": "c"}), "Annotation keys must be in the form"),
        ],
    );
}

fn listener_on(at: usize) -> Value {
    json!({"name": "http", "protocol": "HTTP", "port": 1000 + at})
}

fn many_labels(count: usize) -> Value {
    Value::Object((0..count).map(|at| (format!("l{at}"), json!("a"))).collect())
}

#[test]
fn listener_sets_are_judged_as_a_server_judges_them() {
    accepts(&edited(listener_set(), "/spec/listeners/0/protocol", json!("TLS")));
    refuses(
        &listener_set(),
        vec![
            ("/spec/parentRef", Value::Null, "spec.parentRef: Required value"),
            ("/spec/parentRef/name", json!(""), "spec.parentRef.name"),
            ("/spec/parentRefs", json!([]), "parentRefs"),
            ("/spec/listeners", Value::Null, "spec.listeners: Required value"),
            ("/spec/listeners", json!([listener(), listener()]), "duplicate"),
            ("/spec/listeners", json!([listener(), named(listener(), "b")]), "must be unique for each listener"),
            ("/spec/listeners/0/port", json!(65_536), "spec.listeners[0].port"),
            ("/spec/listeners/0/tls", json!({"mode": "Terminate"}), "certificateRefs or options must be specified"),
            ("/spec/listeners/0/hostname", json!("*"), "spec.listeners[0].hostname"),
        ],
    );
}

#[test]
fn grpcroutes_are_judged_as_a_server_judges_them() {
    accepts(&edited(grpc_route(), "/spec/rules", json!([{"name": "a"}, {"name": "a"}])));
    let twice = json!([{"name": "edge"}, {"name": "edge", "sectionName": "https"}]);
    let same = json!([{"name": "edge", "sectionName": "a"}, {"name": "edge", "sectionName": "a"}]);
    let crowd = json!([{"matches": many(64, method)}, {"matches": many(64, method)}, {"matches": many(1, method)}]);
    let both = json!({"backendRef": {"name": "a", "port": 1}, "percent": 1, "fraction": {"numerator": 1}});
    let fraction = json!({"backendRef": {"name": "a", "port": 1}, "fraction": {"numerator": 2, "denominator": 1}});
    accepts(&edited(
        grpc_route(),
        "/spec/rules/0/backendRefs/0",
        json!({"group": "example.com", "kind": "A", "name": "a"}),
    ));
    refuses(
        &grpc_route(),
        vec![
            ("/spec/parentRefs", twice, "sectionName must be specified when parentRefs includes 2 or more"),
            ("/spec/parentRefs", same, "sectionName must be unique when parentRefs includes 2 or more"),
            ("/spec/parentRefs", many(33, |at| json!({"name": format!("p{at}")})), "Too many"),
            ("/spec/parentRefs/0/namespace", json!("In.fra"), "spec.parentRefs[0].namespace"),
            ("/spec/parentRefs/0/port", json!(1.5), "spec.parentRefs[0].port"),
            ("/spec/hostname", json!("grpc.example.com"), "hostname"),
            ("/spec/hostnames", json!("grpc.example.com"), "spec.hostnames"),
            ("/spec/hostnames/0", json!("Grpc.example.com"), "spec.hostnames[0]"),
            ("/spec/hostnames", many(17, |at| json!(format!("h{at}.example.com"))), "Too many"),
            ("/spec/rules", many(17, |_| json!({})), "Too many"),
            ("/spec/rules", crowd, "the total number of matches across all rules in a route must be less than 128"),
            ("/spec/rules/0/name", json!("First"), "spec.rules[0].name"),
            (
                "/spec/rules/0/matches/0/method",
                json!({"type": "Exact"}),
                "One or both of 'service' or 'method' must be specified",
            ),
            (
                "/spec/rules/0/matches/0/method/service",
                json!("echo/Echo"),
                "service must only contain valid characters",
            ),
            ("/spec/rules/0/matches/0/method/method", json!("a.B"), "method must only contain valid characters"),
            ("/spec/rules/0/matches/0/method/type", json!("Prefix"), "Unsupported value"),
            ("/spec/rules/0/matches/1/headers/0/name", json!("e nv"), "headers[0].name"),
            ("/spec/rules/0/matches/1/headers/0/value", Value::Null, "Required value"),
            (
                "/spec/rules/0/matches/1/headers",
                json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]),
                "duplicate",
            ),
            (
                "/spec/rules/0/filters",
                json!([set_header(), set_header()]),
                "RequestHeaderModifier filter cannot be repeated",
            ),
            ("/spec/rules/0/filters/0/type", json!("ExtensionRef"), "filter.extensionRef must be specified"),
            ("/spec/rules/0/filters/0/type", json!("URLRewrite"), "Unsupported value"),
            ("/spec/rules/0/filters/1/requestMirror", both, "Only one of percent or fraction may be specified"),
            ("/spec/rules/0/filters/1/requestMirror", fraction, "numerator must be less than or equal to denominator"),
            ("/spec/rules/0/filters/1/requestMirror/percent", json!(101), "percent"),
            ("/spec/rules/0/backendRefs/0/port", Value::Null, "Must have port for Service reference"),
            ("/spec/rules/0/backendRefs/0/weight", json!(-1), "weight"),
            ("/spec/rules/0/backendRefs/0/weight", json!(1_000_001), "weight"),
            (
                "/spec/rules/0/backendRefs/0/filters",
                json!([mirror(), {"type": "RequestMirror"}]),
                "filter.requestMirror must be specified",
            ),
            ("/spec/rules/0/timeouts", json!({"request": "1s"}), "timeouts"),
        ],
    );
}

fn method(at: usize) -> Value {
    json!({"method": {"service": format!("a{at}")}})
}

#[test]
fn httproutes_are_judged_as_a_server_judges_them() {
    let redirect = json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]);
    let rewrite = |path: Value| json!([{"type": "URLRewrite", "urlRewrite": {"path": path}}]);
    let path = |kind: &str, value: &str| json!({"type": kind, "value": value});
    let plain = edited(http_route(), "/spec/rules/0/filters", Value::Null);
    accepts(&edited(plain, "/spec/rules/0/matches/0/path", path("RegularExpression", "a.*//")));
    refuses(
        &http_route(),
        vec![
            ("/spec/rules/0/filters", redirect, "RequestRedirect filter must not be used together with backendRefs"),
            ("/spec/rules/0/filters", rewrite(json!({"type": "ReplaceFullPath"})), "replaceFullPath must be specified"),
            ("/spec/rules/0/matches/0/path", path("Exact", "/a"), "exactly one PathPrefix match must be specified"),
            (
                "/spec/rules/0/matches/0/path",
                path("PathPrefix", "a"),
                "value must be an absolute path and start with '/'",
            ),
            ("/spec/rules/0/matches/0/path", path("PathPrefix", "/a//b"), "must not contain '//'"),
            ("/spec/rules/0/matches/0/path", path("PathPrefix", "/a/.."), "must not end with '/..'"),
            ("/spec/rules/0/matches/0/path", path("PathPrefix", "/ä"), "must only contain valid characters"),
            ("/spec/rules/0/matches/0/path", path("Glob", "/a"), "spec.rules[0].matches[0].path"),
            ("/spec/rules/0/matches/0/method", json!("FETCH"), "Unsupported value"),
            ("/spec/rules/0/matches/0/queryParams/0/name", json!(""), "queryParams[0].name"),
            (
                "/spec/rules/0/timeouts/backendRequest",
                json!("20s"),
                "backendRequest timeout cannot be longer than request timeout",
            ),
            ("/spec/rules/0/timeouts/request", json!("1 s"), "timeouts.request"),
            ("/spec/rules/0/backendRefs/0/port", Value::Null, "Must have port for Service reference"),
            ("/spec/rules/0/backendRefs/0/name", Value::Null, "Required value"),
            ("/spec/rules/0/backendRef", json!({"name": "a"}), "backendRef"),
            ("/spec/hostnames/0", json!("www.example.com:443"), "spec.hostnames[0]"),
        ],
    );
}

#[test]
fn reference_grants_are_judged_as_a_server_judges_them() {
    accepts(&edited(grant(), "/apiVersion", json!("gateway.networking.k8s.io/v1beta1")));
    refuses(
        &grant(),
        vec![
            ("/spec/from", Value::Null, "spec.from: Required value"),
            ("/spec/to", json!([]), "spec.to"),
            ("/spec/to/0/group", Value::Null, "Required value"),
            ("/spec/to/0/kind", json!("Ser vice"), "spec.to[0].kind"),
            ("/spec/to/0/namespace", json!("default"), "namespace"),
            ("/spec/from/0/namespace", Value::Null, "Required value"),
            ("/spec/from/0/namespace", json!("*"), "spec.from[0].namespace"),
            ("/spec/from/0/group", json!("gateway/networking"), "spec.from[0].group"),
            ("/spec/from", many(17, |at| json!({"group": "", "kind": "A", "namespace": format!("n{at}")})), "Too many"),
        ],
    );
}
