//! What the Gateway API says of GRPCRoutes and its own suite does not ask: the forms of its HTTP tests, answered in gRPC.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sluice_tests::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    local::{PATIENCE, Sluice},
    manifests::{Certificate, backend, endpoints, everything_to, file, gateway, route, service},
    recorder::Recorder,
    stage::Stage,
    wire::Connection,
};
use tonic::Code;

const ECHO: &str = "/echo.Echo/Echo";
const ECHO_V2: &str = "/echo.Echo/EchoV2";

fn by(name: &str) -> Outcome {
    Outcome::Answered(name.to_owned())
}

fn weighted(name: &str, weight: u32) -> Value {
    json!({"name": name, "port": 9000, "weight": weight})
}

fn aged(mut route: Value, year: u16) -> Value {
    route["metadata"]["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
    route
}

/// How 400 calls ended.
async fn tally(stage: &Stage, host: &str) -> BTreeMap<String, u32> {
    let connection = stage.connect(host).await.unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..400 {
        let name = match call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap() {
            Outcome::Answered(name) => name,
            Outcome::Refused(code, _) => format!("{code:?}"),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Six standard deviations around the share of 400 calls.
fn is_share(count: usize, share: f64) -> bool {
    let deviation = (400.0 * share * (1.0 - share)).sqrt();
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let distance = (count as f64 - 400.0 * share).abs();
    distance <= 6.0 * deviation
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_are_absent_or_forbidden_keep_their_shares_which_are_unavailable() {
    let forbidden = json!({"name": "echo", "namespace": "other", "port": 9000, "weight": 1});
    let rules = json!([{"backendRefs": [weighted("here", 2), weighted("absent", 1), forbidden]}]);
    let stage = Stage::new(&["here", "other/echo"], [route("r", "r.example.com", &rules)]).await.unwrap();
    stage.in_force("r").await.unwrap();
    let counts = tally(&stage, "r.example.com").await;
    let here = counts.get("here").copied().unwrap_or_default();
    assert!(is_share(here as usize, 0.5) && here + counts["Unavailable"] == 400, "{counts:?}");
    let said = stage.sluice.condition(("GRPCRoute", "r"), "ResolvedRefs", "False").await.unwrap();
    assert!(said[0].message.contains("absent") && said[0].message.contains("other/echo"), "{said:?}");
    stage.sluice.condition(("GRPCRoute", "r"), "Accepted", "True").await.unwrap();
}

fn mirror(to: &str, share: &Value) -> Value {
    let mut body = json!({"backendRef": backend(to)});
    body.as_object_mut().unwrap().extend(share.as_object().unwrap().clone());
    json!({"type": "RequestMirror", "requestMirror": body})
}

/// Copies go out beside the calls, and nobody hears when they arrive: until as many as wanted have, or time is up.
async fn copies(recorder: &Recorder, wanted: usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    while recorder.seen().len() < wanted && Instant::now() < deadline {
        // house(sleep): the pace of a poll with a deadline.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    recorder.seen().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_copies_its_share_and_that_of_a_backend_its_calls_alone() {
    let recorders = [Recorder::start("half").await.unwrap(), Recorder::start("tenth").await.unwrap()];
    let [of_a, all] = [Recorder::start("of-a").await.unwrap(), Recorder::start("all").await.unwrap()];
    let mut to_a = weighted("a", 1);
    to_a["filters"] = json!([mirror("of-a", &json!({}))]);
    let shares = json!([{
        "filters": [
            mirror("half", &json!({"fraction": {"numerator": 1, "denominator": 2}})),
            mirror("tenth", &json!({"percent": 10})),
        ],
        "backendRefs": [backend("a")],
    }]);
    let one = json!([{"filters": [mirror("all", &json!({}))], "backendRefs": [to_a, weighted("b", 3)]}]);
    let copied = [("half", &recorders[0]), ("tenth", &recorders[1]), ("of-a", &of_a), ("all", &all)];
    let backends = copied.iter().flat_map(|(name, recorder)| [service(name), endpoints(name, recorder.address())]);
    let routes = [route("shares", "shares.example.com", &shares), route("one", "one.example.com", &one)];
    let stage = Stage::new(&["a", "b"], backends.chain(routes)).await.unwrap();
    stage.in_force("shares").await.unwrap();
    stage.in_force("one").await.unwrap();
    assert_eq!(tally(&stage, "shares.example.com").await, BTreeMap::from([("a".to_owned(), 400)]));
    let counts = tally(&stage, "one.example.com").await;
    let by_a = counts["a"] as usize;
    assert!(is_share(by_a, 0.25) && counts["a"] + counts["b"] == 400, "{counts:?}");
    assert_eq!((copies(&of_a, by_a).await, copies(&all, 400).await), (by_a, 400));
    // The calls that were copied were made before those above, so their copies have arrived.
    let found = recorders.each_ref().map(|recorder| recorder.seen().len());
    assert!(is_share(found[0], 0.5) && is_share(found[1], 0.1), "{found:?}");
    assert!(of_a.seen().iter().all(|seen| seen.authority == "one.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_one_host_are_tried_as_if_they_were_one() {
    let rule = |matches: Value, to: &str| json!({"matches": [matches], "backendRefs": [backend(to)]});
    let method = |method: &str| json!({"method": {"service": "echo.Echo", "method": method}});
    let with = |mut matches: Value, headers: &[&str]| {
        let headers: Vec<Value> = headers.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        matches["headers"] = json!(headers);
        matches
    };
    let older =
        json!(
            [rule(json!({"method": {"service": "echo.Echo"}}), "wide"), rule(with(method("Echo"), &["x"]), "older"),]
        );
    let younger = json!([
        rule(method("Echo"), "exact"),
        rule(with(method("Echo"), &["x", "y"]), "two"),
        rule(with(method("Echo"), &["z"]), "younger"),
    ]);
    let routes = [
        aged(route("a-older", "r.example.com", &older), 2020),
        aged(route("b-younger", "r.example.com", &younger), 2024),
    ];
    let stage = Stage::new(&["wide", "older", "exact", "two", "younger"], routes).await.unwrap();
    for name in ["a-older", "b-younger"] {
        stage.in_force(name).await.unwrap();
    }
    let connection = stage.connect("r.example.com").await.unwrap();
    let table: [(&str, &[&str], &str); 6] = [
        (ECHO, &[], "exact"),
        (ECHO_V2, &[], "wide"),
        (ECHO, &["x"], "older"),
        (ECHO, &["z"], "younger"),
        // As specific as each other: the older route.
        (ECHO, &["x", "z"], "older"),
        (ECHO, &["x", "y", "z"], "two"),
    ];
    for (path, headers, expected) in table {
        let headers: Vec<(&str, &str)> = headers.iter().map(|name| (*name, "1")).collect();
        assert_eq!(call(&connection, Speech::Grpc, path, &headers).await.unwrap(), by(expected), "{path} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostnames_are_narrowed_to_those_of_a_listener_and_the_routes_own_decides_who_is_first() {
    let narrow = json!([{"matches": [{"method": {"service": "echo.Echo", "method": "Echo"}}], "backendRefs": [backend("vague")]}]);
    let mut several = route("several", "in.example.com", &everything_to("several"));
    several["spec"]["hostnames"] = json!(["in.example.com", "in.example.org", "example.com"]);
    let routes = [
        several,
        route("outside", "in.example.org", &everything_to("several")),
        // Both are narrowed to *.example.com; what was written decides, however specific a match is.
        route("vague", "*.com", &narrow),
        route("precise", "*.example.com", &everything_to("precise")),
    ];
    let stage = Stage::new(&["several", "vague", "precise"], routes).await.unwrap();
    for name in ["several", "vague", "precise"] {
        stage.in_force(name).await.unwrap();
    }
    let refused = stage.sluice.condition(("GRPCRoute", "outside"), "Accepted", "False").await.unwrap();
    assert_eq!(refused[0].reason, "NoMatchingListenerHostname");
    let connection = stage.connect("any.example.com").await.unwrap();
    for (host, expected) in [
        ("in.example.com", "several"),
        ("in.example.com:1234", "several"),
        ("other.example.com", "precise"),
        ("a.b.example.com", "precise"),
    ] {
        let outcome = call(&connection.towards(host).unwrap(), Speech::Grpc, ECHO, &[]).await.unwrap();
        assert_eq!(outcome, by(expected), "{host}");
    }
    // Ignored, as no listener has them.
    for host in ["in.example.org", "example.com"] {
        let outcome = call(&connection.towards(host).unwrap(), Speech::Grpc, ECHO, &[]).await.unwrap();
        assert_eq!(outcome.code(), Code::Unimplemented, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_served_is_dropped_and_said_and_the_others_are_served() {
    let broken = json!({"matches": [{"headers": [{"type": "RegularExpression", "name": "x", "value": "(("}]}], "backendRefs": [backend("a")]});
    let good = json!({"backendRefs": [backend("a")]});
    let stage = Stage::new(&["a"], [route("r", "r.example.com", &json!([broken, good]))]).await.unwrap();
    stage.in_force("r").await.unwrap();
    assert_eq!(stage.call("r.example.com", ECHO, &[("x", "1")]).await.unwrap(), by("a"));
    let said = stage.sluice.condition(("GRPCRoute", "r"), "PartiallyInvalid", "True").await.unwrap();
    assert!(said[0].reason == "UnsupportedValue" && said[0].message.starts_with("Dropped Rule"), "{said:?}");
    stage.apply([route("r", "r.example.com", &json!([broken]))]).unwrap();
    let said = stage.sluice.condition(("GRPCRoute", "r"), "Accepted", "False").await.unwrap();
    assert_eq!(said[0].reason, "UnsupportedValue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_takes_effect_and_ends_within_a_second() {
    let grant = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": "other"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service", "name": "echo"}],
        },
    });
    let rules = json!([{"backendRefs": [{"name": "echo", "namespace": "other", "port": 9000}]}]);
    let crossing = route("r", "r.example.com", &rules);
    let stage = Stage::new(&["other/echo"], [&crossing]).await.unwrap();
    stage.in_force("r").await.unwrap();
    let mut fastest = [Duration::MAX; 2];
    // The best of three: the machine is shared with other tests.
    for _ in 0..3 {
        for (given, best) in [true, false].into_iter().zip(&mut fastest) {
            let started = Instant::now();
            stage.apply([Some(&crossing), given.then_some(&grant)].into_iter().flatten()).unwrap();
            let is_as_given = |outcome: &Outcome| {
                if given { *outcome == by("other/echo") } else { outcome.code() == Code::Unavailable }
            };
            stage.until_answer("r.example.com", ECHO, is_as_given).await.unwrap();
            *best = started.elapsed().min(*best);
        }
    }
    assert!(fastest.iter().all(|took| *took < Duration::from_secs(1)), "given, revoked: {fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_shows_the_certificate_of_the_name_that_is_asked_for() {
    let stage = Stage::new(&["echo"], [route("r", "*.example.com", &everything_to("echo"))]).await.unwrap();
    let [a, b] = ["a.example.com", "b.example.com"].map(|name| Certificate::new(&[name]).unwrap());
    let mut both = gateway("gateway", &["*.example.com"], "certificate");
    both["spec"]["listeners"][0]["tls"]["certificateRefs"] = json!([{"name": "a"}, {"name": "b"}]);
    stage.sluice.apply("gateway.yaml", &file([a.secret("a"), b.secret("b"), both])).unwrap();
    for (host, certificate) in [("a.example.com", &a), ("b.example.com", &b)] {
        let deadline = Instant::now() + PATIENCE;
        let connection = loop {
            match Connection::open(stage.sluice.https(), host, &certificate.pem).await {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < deadline, "{host}: {error:#}"),
            }
        };
        assert_eq!(call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap(), by("echo"), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_needs_neither_an_address_nor_a_selector() {
    let (headless, manual) = (Recorder::start("headless").await.unwrap(), Recorder::start("manual").await.unwrap());
    let mut without_address = service("headless");
    without_address["spec"]["clusterIP"] = json!("None");
    let mut without_selector = service("manual");
    without_selector["spec"].as_object_mut().unwrap().remove("selector");
    // A port without a name, in a slice that somebody wrote by hand.
    without_selector["spec"]["ports"] = json!([{"port": 9000, "targetPort": 1}]);
    let mut by_hand = endpoints("manual", manual.address());
    by_hand["ports"][0].as_object_mut().unwrap().remove("name");
    let documents = [
        without_address,
        endpoints("headless", headless.address()),
        without_selector,
        by_hand,
        route("headless", "headless.example.com", &everything_to("headless")),
        route("manual", "manual.example.com", &everything_to("manual")),
    ];
    let stage = Stage::new(&[], documents).await.unwrap();
    for name in ["headless", "manual"] {
        stage.in_force(name).await.unwrap();
        assert_eq!(stage.call(&format!("{name}.example.com"), ECHO, &[]).await.unwrap(), by(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_two_families_is_called_at_the_addresses_of_both() {
    let four = Echo::start_at("four", Ipv4Addr::LOCALHOST.into()).await.unwrap();
    let six = Echo::start_at("six", Ipv6Addr::LOCALHOST.into()).await.unwrap();
    let mut both = service("both");
    both["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    both["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    // Kubernetes keeps a slice for each family.
    let mut later = endpoints("both", six.address());
    later["metadata"]["name"] = json!("both-six");
    let documents =
        [both, endpoints("both", four.address()), later, route("both", "both.example.com", &everything_to("both"))];
    let stage = Stage::new(&[], documents).await.unwrap();
    stage.in_force("both").await.unwrap();
    let counts = tally(&stage, "both.example.com").await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["four", "six"], "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_served_by_each_of_its_gateways_and_says_so_of_each() {
    let certificate = Certificate::new(&["*.example.com"]).unwrap();
    let echo = Echo::start("echo").await.unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut second = gateway("second", &["*.example.com"], "certificate");
    second["spec"]["listeners"][0]["port"] = json!(8443);
    let mut both = route("r", "r.example.com", &everything_to("echo"));
    both["spec"]["parentRefs"] = json!([{"name": "gateway"}, {"name": "second", "sectionName": "l0"}, {"name": "second", "sectionName": "nope"}]);
    let documents = [
        certificate.secret("certificate"),
        gateway("gateway", &["*.example.com"], "certificate"),
        second,
        service("echo"),
        endpoints("echo", echo.address()),
        both,
    ];
    let port = format!("8443={}", other.port());
    let sluice = Sluice::start_with(&[("all.yaml", file(documents))], &["--port-map".to_owned(), port]).await.unwrap();
    let served = sluice.until("both", || {
        let route = sluice.object("GRPCRoute", "r")?;
        let parents = route["status"]["parents"].as_array()?;
        let says = |parent: &Value, kind: &str, status: &str| {
            let conditions = parent["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|it| it["type"] == kind && it["status"] == status)
        };
        let [first, second, third] = &parents[..] else { return None };
        let programmed = says(first, "sluice.dev/Programmed", "True") && says(second, "sluice.dev/Programmed", "True");
        (programmed && says(third, "Accepted", "False")).then_some(third["conditions"][0]["reason"].clone())
    });
    assert_eq!(served.await.unwrap(), "NoMatchingParent");
    for address in [sluice.https(), other] {
        let connection = Connection::open(address, "r.example.com", &certificate.pem).await.unwrap();
        assert_eq!(call(&connection, Speech::Grpc, ECHO, &[]).await.unwrap(), by("echo"), "{address}");
    }
}

/// As large as the schema of a GRPCRoute lets one be: 16 hostnames, 16 rules with 128 matches together, 16 headers in each match and
/// in each list of edits, 16 backends and 16 filters in each rule.
fn largest() -> Value {
    let headers = |tag: &str| -> Vec<Value> {
        (0..16)
            .map(|index| json!({"name": format!("x-{index}"), "value": format!("{tag}{}", "v".repeat(64))}))
            .collect()
    };
    let matches = |rule: usize| -> Vec<Value> {
        let one = |index: usize| json!({"method": {"service": "echo.Echo", "method": "Echo"}, "headers": headers(&format!("{rule}-{index}-"))});
        (0..8).map(one).collect()
    };
    let edits = json!({"set": headers("set"), "add": headers("add"), "remove": (0..16).map(|index| format!("gone-{index}")).collect::<Vec<_>>()});
    let mut filters = vec![
        json!({"type": "RequestHeaderModifier", "requestHeaderModifier": edits}),
        json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": edits}),
    ];
    filters.extend((0..14).map(|_| mirror("copy", &json!({"percent": 0}))));
    let backends: Vec<Value> = (0..16).map(|_| weighted("echo", 1_000_000)).collect();
    let rules: Vec<Value> = (0..16)
        .map(|rule| json!({"name": format!("rule-{rule}"), "matches": matches(rule), "filters": filters, "backendRefs": backends}))
        .collect();
    let mut route = route("largest", "h0.example.com", &json!(rules));
    route["spec"]["hostnames"] = (0..16).map(|index| json!(format!("h{index}.example.com"))).collect();
    route
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_route_and_the_largest_gateway_are_served() {
    let stage = Stage::new(&["echo", "copy"], [largest()]).await.unwrap();
    stage.in_force("largest").await.unwrap();
    let value = format!("15-7-{}", "v".repeat(64));
    let headers: Vec<(String, &str)> = (0..16).map(|index| (format!("x-{index}"), &*value)).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, *value)).collect();
    for host in ["h0.example.com", "h15.example.com"] {
        assert_eq!(stage.call(host, ECHO, &headers).await.unwrap(), by("echo"), "{host}");
        assert_eq!(stage.call(host, ECHO, &headers[1..]).await.unwrap().code(), Code::Unimplemented, "{host}");
    }
    let names: Vec<String> = (0..64).map(|index| format!("h{index}.example.com")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let widest = file([stage.certificate.secret("certificate"), gateway("gateway", &names, "certificate")]);
    stage.sluice.apply("gateway.yaml", &widest).unwrap();
    let accepted = stage.sluice.until("64 listeners", || {
        let gateway = stage.sluice.object("Gateway", "gateway")?;
        let listeners = gateway["status"]["listeners"].as_array()?.clone();
        let programmed = |listener: &Value| {
            let conditions = listener["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|it| it["type"] == "Programmed" && it["status"] == "True")
        };
        (listeners.len() == 64 && listeners.iter().all(programmed)).then_some(listeners)
    });
    let counted = accepted.await.unwrap().iter().filter(|listener| listener["attachedRoutes"] == 1).count();
    assert_eq!(counted, 16);
    assert_eq!(stage.call("h15.example.com", ECHO, &headers).await.unwrap(), by("echo"));
}
