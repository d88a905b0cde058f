//! Every form that the encoder writes, as Envoy judges it.

use std::{fs, net::Ipv4Addr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sluice_core::{
    ir::{
        Action, Cluster, Fallback, Forward, HeaderEdits, Matcher, Mirror, PathMatcher, Retry, Route, Timeouts,
        Upstream, ValueMatcher, ValueTest, VirtualHost,
    },
    world::backend::EndpointState,
};
use sluice_envoy::{
    bootstrap::{Admin, Bootstrap, Mutual, Node, Probes, Source, render},
    encode,
    json::view,
};
use sluice_tests::{
    envoy::{
        News, Rig,
        shapes::{assignment, certificate, cluster, configuration, forward, host, http, https, port, route, share},
    },
    manifests::Certificate,
};
use sluice_xds::{Event, Resource};

fn h1() -> Cluster {
    Cluster { upstream: Upstream::H1, ..cluster("h1") }
}

fn matching(edit: impl FnOnce(&mut Matcher)) -> Route {
    let mut route = forward(&[(&cluster("a"), 1)]);
    edit(&mut route.matcher);
    route
}

fn values(names: &[&str]) -> Vec<ValueMatcher> {
    let exact = |name: &&str| ValueMatcher { name: (*name).into(), value: ValueTest::Exact("one".into()) };
    let regex = ValueMatcher { name: "x-regex".into(), value: ValueTest::Regex("(?:a|b)+".into()) };
    names.iter().map(exact).chain([regex]).collect()
}

/// One route for each way to match, and one with all that can be done.
fn everything() -> VirtualHost {
    let paths = [
        PathMatcher::Any,
        PathMatcher::Exact("/echo.Echo/Echo".into()),
        PathMatcher::Prefix("/echo.Echo/".into()),
        PathMatcher::Segments("/echo".into()),
        PathMatcher::Regex("/[^/]+/Echo".into()),
    ];
    let by_path = paths.map(|path| matching(|matcher| matcher.path = path));
    let by_rest = matching(|matcher| {
        matcher.method = Some("POST".into());
        matcher.headers = values(&["x-one", "x-two"]);
        matcher.query = values(&["q"]);
        matcher.grpc_only = false;
    });
    let edits = HeaderEdits {
        set: vec![("x-set".into(), "100%".into()), ("x-empty".into(), "".into())],
        add: vec![("x-add".into(), "%REQ(".into())],
        remove: vec!["x-gone".into()],
    };
    let mut second = share(&h1(), 7);
    (second.request_headers, second.response_headers) = (edits.clone().into(), edits.clone().into());
    let mirrors = vec![Mirror { cluster: cluster("a").name(), parts_per_million: 10_000 }];
    let all = Route {
        request_headers: edits.clone().into(),
        response_headers: edits.into(),
        timeouts: Timeouts {
            request: Some(Duration::from_millis(1500)),
            idle: Some(Duration::from_mins(1)),
            max_stream: Some(Duration::MAX),
        },
        retry: Some(Box::new(Retry {
            attempts: 3,
            on: vec!["unavailable".into(), "resource-exhausted".into()],
            per_try: Some(Duration::from_millis(200)),
            budget_percent: Some(20),
        })),
        ..route(Action::Forward(Forward {
            shares: vec![share(&cluster("a"), 3), second],
            unavailable: 1,
            mirrors,
            rewrite: None,
        }))
    };
    let nobody = route(Action::Forward(Forward { shares: Vec::new(), unavailable: 3, ..Default::default() }));
    let refused = route(Action::Unavailable("ä%".repeat(2000).into()));
    host("http-80", "*.example.com", by_path.into_iter().chain([by_rest, all, nobody, refused]))
}

fn hosts() -> [Arc<Resource>; 2] {
    let elsewhere = VirtualHost { otherwise: Fallback::Misdirected, ..host("http-80", "a.example.com", []) };
    [everything(), elsewhere].map(|host| encode::virtual_host(&host))
}

/// The message without its type, as a field of another.
fn inlined(resource: &Resource) -> Value {
    let mut value = view(resource);
    value.as_object_mut().unwrap().remove("@type");
    value
}

/// The HTTP port with its hosts inline: in this mode Envoy asks nobody for them.
fn self_contained() -> Value {
    let mut listener = inlined(&encode::listener(&http(80)));
    let connections = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    connections.as_object_mut().unwrap().remove("rds");
    connections["route_config"] = json!({ "virtual_hosts": hosts().map(|host| inlined(&host)) });
    listener
}

#[test]
fn the_bootstrap_is_valid_in_all_its_forms() {
    let home = tempfile::tempdir().unwrap();
    let mutual = Mutual { host: "sluice-xds.sluice-system.svc".into(), port: 18000, secrets: home.path().into() };
    let own = Certificate::new(&["proxy"]).unwrap();
    for (name, text) in [("tls.crt", &own.pem), ("tls.key", &own.key), ("ca.crt", &own.pem)] {
        fs::write(home.path().join(name), text).unwrap();
    }
    for (name, text) in mutual.files(home.path()) {
        fs::write(home.path().join(name), text.to_string()).unwrap();
    }
    let socket = Admin::Socket(home.path().join("admin.sock"));
    let probes = Some(Probes { everywhere: Ipv4Addr::UNSPECIFIED.into(), readiness: 19001, metrics: 19002 });
    for (source, admin, probes) in
        [(Source::Socket("/run/xds.sock".into()), Admin::Loopback(0), None), (Source::Mutual(mutual), socket, probes)]
    {
        let node = Some(Node { id: "proxy".to_owned(), gateway: "default/gateway".to_owned() });
        let whole = render(&Bootstrap { node, source, admin, probes, max_connections: 50_000 });
        sluice_tests::envoy::validate(|bootstrap| *bootstrap = whole).unwrap();
    }
}

#[test]
fn every_encoded_form_is_valid_as_a_static_resource() {
    let own = Certificate::new(&["a.example.com"]).unwrap();
    let mut secret = inlined(&encode::certificate(&certificate("default/a", &own)));
    secret["tls_certificate"]["private_key"] = json!({ "inline_string": own.key });
    let secure = inlined(&encode::listener(&https(&[("a.example.com", "default/a"), ("*", "default/a")])));
    let clusters = [cluster("a"), h1()].map(|cluster| inlined(&encode::cluster(&cluster)));
    sluice_tests::envoy::validate(|bootstrap| {
        let resources = &mut bootstrap["static_resources"];
        resources["clusters"].as_array_mut().unwrap().extend(clusters);
        resources["listeners"] = json!([self_contained(), secure]);
        resources["secrets"] = json!([secret]);
    })
    .unwrap();
}

#[test]
fn a_form_that_is_not_valid_is_found_by_validation() {
    let broken = sluice_tests::envoy::validate(|bootstrap| {
        let mut listener = self_contained();
        listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["domains"] =
            json!([]);
        bootstrap["static_resources"]["listeners"] = json!([listener]);
    });
    assert!(broken.unwrap_err().to_string().contains("Domains"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_encoded_form_is_acknowledged() {
    let own = Certificate::new(&["a.example.com"]).unwrap();
    let v6 = ("[::1]:9000".parse().unwrap(), EndpointState::Ready);
    let v4 = ("127.0.0.1:9000".parse().unwrap(), EndpointState::Draining);
    let resources = [
        encode::cluster(&cluster("a")),
        assignment(&cluster("a"), &[v4, v6]),
        encode::cluster(&h1()),
        assignment(&h1(), &[]),
        encode::listener(&https(&[("a.example.com", "default/a"), ("*", "default/a")])),
        encode::certificate(&certificate("default/a", &own)),
    ];
    let configurations = ["https-443/a.example.com", "https-443/*"];
    let configured =
        configurations.into_iter().flat_map(|name| [configuration(name), encode::virtual_host(&host(name, "*", []))]);
    let rig = Rig::start(resources.into_iter().chain(configured).chain(port(80)).chain(hosts())).await.unwrap();
    assert_eq!(rig.snapshot.closure(), []);
    let refused = rig.served.news().iter().filter(|news| matches!(news, News::Learned(Event::Refused { .. })));
    assert_eq!(refused.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    for listener in ["http-80", "https-443"] {
        rig.proxy.listener(listener).await.unwrap();
    }
}
