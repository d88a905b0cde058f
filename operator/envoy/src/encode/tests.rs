use super::*;
use crate::json::view;
use sluice_core::{
    hostname::Hostname,
    key::{Kind, NsName},
    world::{
        backend::{Endpoint, EndpointState},
        secret::Sensitive,
    },
};
use std::time::Duration;

fn origin() -> ir::Origin {
    let route = NsName::new("default", "greeter");
    ir::Origin { kind: Kind::GrpcRoute, route, rule: 1, rule_name: Some("canary".into()), matched: 0 }
}

fn greeter() -> ir::Cluster {
    ir::Cluster { service: NsName::new("default", "greeter"), port: 50051, upstream: ir::Upstream::H2, tls: None }
}

fn share(weight: u32) -> ir::Share {
    ir::Share {
        cluster: greeter().name(),
        weight,
        request_headers: ir::Edits::default(),
        response_headers: ir::Edits::default(),
        mirrors: Vec::new(),
    }
}

fn forward(shares: Vec<ir::Share>, unavailable: u32) -> ir::Route {
    ir::Route {
        origin: origin(),
        matcher: ir::Matcher {
            path: ir::PathMatcher::Exact("/helloworld.Greeter/SayHello".into()),
            grpc_only: true,
            method: None,
            headers: vec![ir::ValueMatcher { name: "x-version".into(), value: ir::ValueTest::Exact("2".into()) }],
            query: Vec::new(),
        },
        action: ir::Action::Forward(ir::Forward { shares, unavailable, ..Default::default() }),
        request_headers: ir::HeaderEdits { set: vec![("x-share".into(), "100%".into())], ..Default::default() }.into(),
        response_headers: ir::HeaderEdits { remove: vec!["x-internal".into()], ..Default::default() }.into(),
        timeouts: ir::Timeouts { request: Some(Duration::from_millis(1500)), ..Default::default() },
        retry: None,
    }
}

fn host(routes: Vec<ir::Route>) -> ir::VirtualHost {
    ir::VirtualHost {
        routes_of: "https-443/*.example.com".into(),
        domain: Hostname::parse(Some("*.example.com")),
        routes: routes.into_iter().map(Arc::new).collect(),
        otherwise: ir::Fallback::NotFound,
    }
}

fn certificate() -> ir::Certificate {
    let (chain, key) = (Sensitive::new(*b"the chain"), Sensitive::new(*b"the private key"));
    ir::Certificate { name: "default/greeter-tls".into(), chain, key }
}

fn https() -> ir::Listener {
    let chain = |sni: &str| ir::Chain {
        sni: Hostname::parse(Some(sni)),
        certificates: vec!["default/greeter-tls".into()],
        clients: None,
        routes: format!("https-443/{sni}").into(),
    };
    ir::Listener {
        port: 443,
        bind: ([0, 0, 0, 0], 10443).into(),
        protocol: ir::Protocol::Https { chains: vec![chain("*.example.com"), chain("*")] },
    }
}

fn secure() -> ir::Cluster {
    let names =
        vec![ir::SubjectName::Dns("greeter.local".into()), ir::SubjectName::Uri("spiffe://local/greeter".into())];
    let authorities = vec![NsName::new("default", "ca")];
    ir::Cluster { tls: Some(Arc::new(ir::Tls { sni: "greeter.local".into(), names, authorities })), ..greeter() }
}

/// A port whose clients may show certificates.
fn asking() -> ir::Listener {
    let chain = ir::Chain {
        sni: Hostname::any(),
        certificates: vec!["default/greeter-tls".into()],
        clients: Some(ir::Clients { authorities: "configmap/default/ca".into(), required: false }),
        routes: "https-8443/*".into(),
    };
    let protocol = ir::Protocol::Https { chains: vec![chain] };
    ir::Listener { port: 8443, bind: ([0, 0, 0, 0], 18443).into(), protocol }
}

fn http() -> ir::Listener {
    let protocol = ir::Protocol::Http { routes: "http-80".into() };
    ir::Listener { port: 80, bind: ([0, 0, 0, 0], 10080).into(), protocol }
}

fn requirements(resource: &Resource) -> Vec<String> {
    resource.requires.iter().map(ToString::to_string).collect()
}

/// Follows keys and indices, as in `routes/0/action`.
fn at(resource: &Resource, path: &str) -> serde_json::Value {
    view(resource).pointer(path).cloned().unwrap_or_default()
}

#[test]
fn every_form_is_readable_json_without_keys() {
    let target = ir::Target {
        endpoint: Endpoint { address: [10, 0, 0, 7].into(), state: EndpointState::Draining },
        port: 50051,
    };
    let resources = [
        listener(&https()),
        listener(&http()),
        route_configuration(&ir::RouteConfiguration { name: "http-80".into() }),
        virtual_host(&host(vec![forward(vec![share(3)], 1)])),
        cluster(&greeter()),
        cluster_showing(&secure(), Some(&"default/greeter-tls".into())),
        listener(&asking()),
        authorities(&ir::Authorities { name: "configmap/default/ca".into(), pem: "the authorities".into() }),
        assignment(&ir::Assignment { cluster: greeter().name(), endpoints: vec![target] }),
        certificate_resource(),
    ];
    for resource in resources {
        let json = view(&resource);
        assert_eq!(json.get("unreadable"), None, "{}", resource.id);
        assert_eq!(json.get("@type").and_then(|url| url.as_str()), Some(resource.id.kind.type_url()));
        insta::with_settings!({ description => resource.id.to_string() }, {
            let name = resource.id.to_string().replace(['/', ' ', '*'], "_");
            insta::assert_yaml_snapshot!(name, json);
        });
    }
}

fn certificate_resource() -> Arc<Resource> {
    super::certificate(&certificate())
}

#[test]
fn a_key_is_in_the_bytes_and_not_in_the_view() {
    let resource = certificate_resource();
    assert!(resource.bytes.windows(15).any(|part| part == b"the private key"));
    assert_eq!(at(&resource, "/tls_certificate/private_key"), "[redacted]");
}

#[test]
fn a_resource_requires_what_it_names() {
    let with_mirror = ir::Forward {
        shares: vec![share(1)],
        unavailable: 1,
        mirrors: vec![ir::Mirror { cluster: "default/copy/80/h2".into(), parts_per_million: 1_000_000 }],
        rewrite: None,
    };
    let mirrored = ir::Route { action: ir::Action::Forward(with_mirror), ..forward(Vec::new(), 0) };
    let table = [
        (
            virtual_host(&host(vec![mirrored])),
            vec![
                "cluster default/copy/80/h2",
                "cluster default/greeter/50051/h2",
                "route-configuration https-443/*.example.com",
            ],
        ),
        (cluster(&greeter()), vec!["assignment default/greeter/50051/h2"]),
        // A certificate is shown to none that is spoken to in clear.
        (cluster_showing(&greeter(), Some(&"default/client".into())), vec!["assignment default/greeter/50051/h2"]),
        (
            cluster_showing(&secure(), Some(&"default/client".into())),
            vec![
                "assignment default/greeter/50051/h2tls/f3b8e280f2a32d76",
                "secret configmap/default/ca",
                "secret default/client",
            ],
        ),
        (
            listener(&asking()),
            vec!["secret configmap/default/ca", "secret default/greeter-tls", "route-configuration https-8443/*"],
        ),
        (listener(&http()), vec!["route-configuration http-80"]),
        (
            listener(&https()),
            vec![
                "secret default/greeter-tls",
                "route-configuration https-443/*",
                "route-configuration https-443/*.example.com",
            ],
        ),
        (certificate_resource(), vec![]),
    ];
    for (resource, expected) in table {
        assert_eq!(requirements(&resource), expected, "{}", resource.id);
    }
}

#[test]
fn the_name_of_a_host_is_the_name_of_its_resource() {
    let resource = virtual_host(&host(Vec::new()));
    assert_eq!(at(&resource, "/name"), *resource.id.name);
}

#[test]
fn envoys_own_timeout_is_off_and_a_deadline_sets_both_fields() {
    let limited = forward(vec![share(1)], 0);
    let unlimited = ir::Route { timeouts: ir::Timeouts::default(), ..limited.clone() };
    for (route, expected) in [(limited, "1.500s"), (unlimited, "0s")] {
        let resource = virtual_host(&host(vec![route]));
        assert_eq!(at(&resource, "/routes/0/route/timeout"), "0s");
        assert_eq!(at(&resource, "/routes/0/route/max_stream_duration/max_stream_duration"), expected);
        assert_eq!(at(&resource, "/routes/0/route/max_stream_duration/grpc_timeout_header_max"), expected);
    }
}

#[test]
fn weights_that_nobody_serves_go_to_the_static_cluster_or_are_answered_at_once() {
    let resource = virtual_host(&host(vec![forward(vec![share(3)], 1), forward(Vec::new(), 7)]));
    assert_eq!(at(&resource, "/routes/0/route/weighted_clusters/clusters/1/name"), UNAVAILABLE);
    assert_eq!(at(&resource, "/routes/0/route/weighted_clusters/clusters/1/weight"), 1);
    assert_eq!(at(&resource, "/routes/1/direct_response/status"), 503);
}

#[test]
fn the_edits_of_a_rule_go_with_its_shares_once_a_backend_has_edits_of_its_own() {
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let mut own = share(1);
    let edits = ir::HeaderEdits {
        set: vec![pair("x-both", "backend")],
        remove: vec!["x-dropped".into()],
        ..ir::HeaderEdits::default()
    };
    own.request_headers = edits.into();
    let mut route = forward(vec![own, share(2)], 1);
    let edits = ir::HeaderEdits {
        set: vec![pair("x-rule", "1")],
        add: vec![pair("x-both", "rule"), pair("x-dropped", "1")],
        remove: vec!["x-gone".into()],
    };
    route.request_headers = edits.into();
    let resource = virtual_host(&host(vec![route]));
    let names = |path: &str| {
        let added = at(&resource, &format!("{path}/request_headers_to_add"));
        let names = added.as_array().into_iter().flatten().map(|option| option["header"]["key"].to_string());
        names.collect::<Vec<_>>().join(" ").replace('"', "")
    };
    assert_eq!(names("/routes/0"), "");
    let shares = "/routes/0/route/weighted_clusters/clusters";
    assert_eq!(names(&format!("{shares}/0")), "x-rule x-both");
    assert_eq!(names(&format!("{shares}/1")), "x-rule x-both x-dropped");
    assert_eq!(names(&format!("{shares}/2")), "x-rule x-both x-dropped");
    let removed = at(&resource, &format!("{shares}/0/request_headers_to_remove"));
    assert_eq!(removed, serde_json::json!(["x-gone", "x-dropped"]));
}

#[test]
fn versions_are_equal_exactly_when_the_ir_is() {
    let routes = [
        forward(vec![share(1)], 0),
        forward(vec![share(2)], 0),
        forward(vec![share(1)], 1),
        ir::Route { timeouts: ir::Timeouts::default(), ..forward(vec![share(1)], 0) },
        ir::Route { action: ir::Action::Unavailable("gone".into()), ..forward(Vec::new(), 0) },
    ];
    for left in &routes {
        for right in &routes {
            let versions = [left, right].map(|route| virtual_host(&host(vec![route.clone()])).version);
            assert_eq!(versions[0] == versions[1], left == right, "{left:?} and {right:?}");
        }
    }
}

#[test]
fn a_reason_is_cut_at_a_character_before_envoy_refuses_the_host() {
    let reason = "ä".repeat(3000);
    let route = ir::Route { action: ir::Action::Unavailable(reason.into()), ..forward(Vec::new(), 0) };
    let body = at(&virtual_host(&host(vec![route])), "/routes/0/direct_response/body/inline_string");
    assert_eq!(body.as_str().map(str::len), Some(1024));
}

#[test]
fn a_redirect_names_a_port_only_where_it_has_to() {
    let (http, https, odd) = ("http-80", "https-443/*", "http-8080");
    let table = [
        (http, None, None, Some("a.io"), 0),
        (http, None, None, None, 0),
        (odd, None, None, Some("a.io"), 8080),
        (odd, None, None, None, 0),
        (http, Some("https"), None, Some("a.io"), 0),
        // Envoy would leave the request's 8080 in place.
        (odd, Some("https"), None, None, 443),
        (https, None, Some(8443), Some("a.io"), 8443),
        (odd, None, Some(80), Some("a.io"), 0),
    ];
    for (routes_of, scheme, port, hostname, expected) in table {
        let to = ir::Redirect {
            scheme: scheme.map(Into::into),
            hostname: hostname.map(Into::into),
            path: None,
            port,
            status: 302,
        };
        let route = ir::Route { action: ir::Action::Redirect(Box::new(to)), ..forward(Vec::new(), 0) };
        let resource = virtual_host(&ir::VirtualHost { routes_of: routes_of.into(), ..host(vec![route]) });
        let found = at(&resource, "/routes/0/redirect/port_redirect").as_u64().unwrap_or_default();
        assert_eq!(found, expected, "{routes_of} {scheme:?} {port:?} {hostname:?}");
    }
}

#[test]
fn what_envoy_cannot_weigh_is_split_into_cumulated_parts() {
    let copy = ir::Mirror { cluster: "default/copy/80/h2".into(), parts_per_million: 1_000_000 };
    let copied = ir::Share { mirrors: vec![copy], ..share(1) };
    let resource = virtual_host(&host(vec![forward(vec![copied, share(2)], 1)]));
    let part = |index: usize| at(&resource, &format!("/routes/{index}/match/runtime_fraction/default_value/numerator"));
    assert_eq!([part(0), part(1), part(2)], [250_000.into(), 500_000.into(), serde_json::Value::Null]);
    assert_eq!(at(&resource, "/routes/0/direct_response/status"), 503);
    assert_eq!(at(&resource, "/routes/1/route/request_mirror_policies/0/cluster"), "default/copy/80/h2");
    assert_eq!(at(&resource, "/routes/2/route/request_mirror_policies"), serde_json::Value::Null);
}

#[test]
fn the_share_of_an_http_route_that_cannot_be_used_answers_500() {
    let route = forward(vec![share(1)], 1);
    let route = ir::Route { origin: ir::Origin { kind: Kind::HttpRoute, ..origin() }, ..route };
    let resource = virtual_host(&host(vec![route]));
    assert_eq!(at(&resource, "/routes/0/direct_response/status"), 500);
    assert_eq!(at(&resource, "/routes/0/match/runtime_fraction/default_value/numerator"), 500_000);
    assert_eq!(at(&resource, "/routes/1/route/cluster"), *greeter().name());
}
