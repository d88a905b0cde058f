mod addresses;
mod hosts;
mod ports;
mod sets;
mod tls;

use super::{Plan, plan};
use crate::{
    hostname::Hostname,
    ir::Protocol,
    key::{Kind, NsName, Ref, Text},
    status::{self, Condition, Delivery, Truth},
    translate::{ListenerId, Material},
    world::{Change, Exposure, Object, Parent, Reader, Scope, Settings, Surfaces, World},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const CERTIFICATE: &str = include_str!("../certificate/testdata/rsa.crt");
const KEY: &str = include_str!("../certificate/testdata/rsa-pkcs8.key");
const ADDRESS: &str = "127.0.0.1";

fn key() -> NsName {
    NsName::new("infra", "gw")
}

fn own() -> Parent {
    Parent::Gateway(key())
}

fn set(name: &str) -> Parent {
    Parent::ListenerSet(NsName::new("infra", name))
}

fn put(world: &mut World, kind: Kind, object: Value) {
    world.apply(Object::decode(kind, object).unwrap().into());
}

/// A world with our class, a certificate `infra/cert`, ports 80 and 443 bound, an address, in the year 2027.
fn base() -> World {
    let mut world = World::new(Settings { exposure: Exposure::Host, ..Settings::default() });
    put(&mut world, Kind::GatewayClass, class(&json!(null)));
    put(&mut world, Kind::Secret, secret("infra", CERTIFICATE));
    world.apply(Change::Clock("2027-01-01T00:00:00Z".parse().unwrap()));
    for port in [80, 443, 8443] {
        world.apply(Change::Bind(key(), port, Some(([127, 0, 0, 1], port + 10000).into())));
    }
    world.apply(Change::Addresses(key(), vec![ADDRESS.into()]));
    world
}

fn class(parameters: &Value) -> Value {
    let spec = json!({"controllerName": "sluice.dev/gateway-controller", "parametersRef": parameters});
    json!({"metadata": {"name": "sluice", "generation": 2}, "spec": spec})
}

fn secret(namespace: &str, certificate: &str) -> Value {
    let data = json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(KEY)});
    json!({"metadata": {"namespace": namespace, "name": "cert"}, "type": "kubernetes.io/tls", "data": data})
}

fn with_profile(mut world: World, spec: &Value) -> World {
    let parameters = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"});
    put(&mut world, Kind::GatewayClass, class(&parameters));
    put(&mut world, Kind::GatewayProfile, json!({"metadata": {"name": "p"}, "spec": spec}));
    world
}

fn gateway(spec: &Value) -> Value {
    let mut object = json!({
        "metadata": {"namespace": "infra", "name": "gw", "generation": 3},
        "spec": {"gatewayClassName": "sluice", "listeners": []}
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

fn listener_set(name: &str, listeners: &Value) -> Value {
    json!({
        "metadata": {"namespace": "infra", "name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"parentRef": {"name": "gw"}, "listeners": listeners}
    })
}

fn http(name: &str, hostname: &str) -> Value {
    json!({"name": name, "port": 80, "protocol": "HTTP", "hostname": hostname})
}

fn https(name: &str, hostname: &str) -> Value {
    let tls = json!({"certificateRefs": [{"name": "cert"}]});
    json!({"name": name, "port": 443, "protocol": "HTTPS", "hostname": hostname, "tls": tls})
}

fn planned(world: &World) -> Plan {
    plan(&key(), &Reader::new(world, &Surfaces::new())).unwrap()
}

fn plan_of(listeners: &Value) -> Plan {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": listeners})));
    planned(&world)
}

fn plan_with_sets(spec: &Value, sets: &[Value]) -> Plan {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(spec));
    for set in sets {
        put(&mut world, Kind::ListenerSet, set.clone());
    }
    planned(&world)
}

/// `Type=Status/Reason` of each condition.
fn said(conditions: &[Condition]) -> Vec<String> {
    let truth = |truth| match truth {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    };
    conditions.iter().map(|it| format!("{}={}/{}", it.kind, truth(it.status), it.reason)).collect()
}

fn status_of(plan: &Plan) -> status::gateway::GatewayStatus {
    status::gateway::project(&plan.report, &|_| 0, &Delivery::Programmed, &[ADDRESS.into()])
}

fn gateway_says(plan: &Plan) -> Vec<String> {
    said(&status_of(plan).conditions)
}

fn listener_says(plan: &Plan, index: usize) -> Vec<String> {
    said(&status_of(plan).listeners[index].conditions)
}

fn message(plan: &Plan, index: usize, kind: &str) -> String {
    let listener = &status_of(plan).listeners[index];
    listener.conditions.iter().find(|it| it.kind == kind).unwrap().message.clone()
}

fn set_status(plan: &Plan, index: usize) -> status::listener_set::ListenerSetStatus {
    status::listener_set::project(&plan.report.sets[index], &|_| 0, &Delivery::Programmed)
}

fn id(parent: Parent, section: &str) -> ListenerId {
    ListenerId { gateway: key(), parent, section: section.into() }
}

fn placed(plan: &Plan, section: &str, domain: &str) -> Option<String> {
    let host = plan.place(&id(own(), section), &Hostname::parse(Some(domain)))?;
    Some(format!("{}|{}", host.routes_of, host.domain))
}

const VALID: [&str; 3] = ["Accepted=True/Accepted", "Programmed=True/Programmed", "ResolvedRefs=True/ResolvedRefs"];

#[test]
fn a_gateway_of_another_class_or_controller_has_no_plan() {
    let mut world = base();
    let read = |world: &World| plan(&key(), &Reader::new(world, &Surfaces::new()));
    assert_eq!(read(&world), None);
    put(&mut world, Kind::Gateway, gateway(&json!({"gatewayClassName": "istio", "listeners": [http("a", "")]})));
    assert_eq!(read(&world), None);
    let foreign = json!({"metadata": {"name": "istio"}, "spec": {"controllerName": "istio.io/gateway-controller"}});
    put(&mut world, Kind::GatewayClass, foreign);
    assert_eq!(read(&world), None);
}

#[test]
fn valid_listeners_are_accepted_programmed_and_resolved() {
    let plan = plan_of(&json!([https("grpc", "grpc.example.com"), http("web", "")]));
    assert_eq!(gateway_says(&plan), VALID);
    assert_eq!(listener_says(&plan, 0), VALID);
    assert_eq!(listener_says(&plan, 1), VALID);
    let status = serde_json::to_value(status_of(&plan)).unwrap();
    assert_eq!(status["addresses"], json!([{"type": "IPAddress", "value": ADDRESS}]));
    assert_eq!(status["conditions"][0]["observedGeneration"], 3);
    assert_eq!(status["listeners"][0]["attachedRoutes"], 0);
}

#[test]
fn a_port_becomes_a_listener_and_an_https_hostname_a_chain() {
    let plan = plan_of(&json!([https("b", "b.example.com"), https("a", "*.example.com"), http("web", "")]));
    let [cleartext, secure] = &plan.listeners[..] else { panic!("{:?}", plan.listeners) };
    assert_eq!((cleartext.port, cleartext.bind), (80, ([127, 0, 0, 1], 10080).into()));
    assert_eq!(cleartext.protocol, Protocol::Http { routes: "http-80".into() });
    let Protocol::Https { chains } = &secure.protocol else { panic!("{secure:?}") };
    let chains = chains.iter().map(|chain| (chain.sni.as_str(), &*chain.routes, &*chain.certificates));
    let certificates: &[Text] = &["infra/cert".into()];
    assert_eq!(
        chains.collect::<Vec<_>>(),
        [
            ("*.example.com", "https-443/*.example.com", certificates),
            ("b.example.com", "https-443/b.example.com", certificates),
        ]
    );
    assert_eq!(plan.materials, [Material::Certificate(NsName::new("infra", "cert"))]);
    let names = plan.routing.iter().map(|routing| (routing.port, &*routing.name));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [(80, "http-80"), (443, "https-443/*.example.com"), (443, "https-443/b.example.com")]
    );
}

#[test]
fn a_port_that_is_not_bound_is_waited_for() {
    let mut world = base();
    world.apply(Change::Bind(key(), 80, None));
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [http("web", "")]})));
    let plan = planned(&world);
    assert!(plan.listeners.is_empty() && plan.routing.is_empty());
    assert_eq!(placed(&plan, "web", "*"), None);
    assert_eq!(
        listener_says(&plan, 0),
        ["Accepted=True/Accepted", "Programmed=False/Pending", "ResolvedRefs=True/ResolvedRefs"]
    );
    assert_eq!(gateway_says(&plan)[1], "Programmed=False/Pending");
}

#[test]
fn protocols_that_are_not_implemented_are_said_and_carry_no_kinds() {
    for protocol in ["TLS", "TCP", "UDP", "INVALID", "example.com/x"] {
        let odd = json!({"name": "odd", "port": 1111, "protocol": protocol});
        let alone = plan_of(&json!([odd]));
        assert_eq!(
            listener_says(&alone, 0),
            ["Accepted=False/UnsupportedProtocol", "Programmed=False/Invalid", "ResolvedRefs=True/ResolvedRefs"]
        );
        assert!(status_of(&alone).listeners[0].supported_kinds.is_empty());
        assert_eq!(gateway_says(&alone)[..2], ["Accepted=False/ListenersNotValid", "Programmed=False/Invalid"]);
        assert!(message(&alone, 0, "Accepted").contains(protocol));
        let beside = plan_of(&json!([odd, http("web", "")]));
        assert_eq!(gateway_says(&beside)[..2], ["Accepted=True/ListenersNotValid", "Programmed=True/Programmed"]);
        assert_eq!(listener_says(&beside, 1), VALID);
    }
}

#[test]
fn kinds_follow_the_protocol_and_the_policy() {
    let kinds = |plan: &Plan, index: usize| {
        let kinds = status_of(plan).listeners[index].supported_kinds.clone();
        kinds.into_iter().map(|it| it.kind).collect::<Vec<_>>()
    };
    let listeners = json!({"listeners": [http("web", ""), https("grpc", "")]});
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&listeners));
    let strict = planned(&world);
    assert_eq!((kinds(&strict, 0), kinds(&strict, 1)), (vec!["HTTPRoute"], vec!["GRPCRoute", "HTTPRoute"]));
    let relaxed = planned(&with_profile(world, &json!({"cleartext": "Allow"})));
    assert_eq!(kinds(&relaxed, 0), ["GRPCRoute", "HTTPRoute"]);
}

#[test]
fn kinds_that_are_asked_for_and_not_possible_are_said() {
    let table = [
        ("HTTPS", json!([{"kind": "GRPCRoute"}]), "True/ResolvedRefs", vec!["GRPCRoute"]),
        ("HTTPS", json!([{"kind": "InvalidRoute"}]), "False/InvalidRouteKinds", vec![]),
        (
            "HTTPS",
            json!([{"kind": "InvalidRoute"}, {"kind": "HTTPRoute"}]),
            "False/InvalidRouteKinds",
            vec!["HTTPRoute"],
        ),
        ("HTTPS", json!([{"group": "x", "kind": "GRPCRoute"}]), "False/InvalidRouteKinds", vec![]),
        ("HTTPS", json!([{"kind": "TCPRoute"}]), "False/InvalidRouteKinds", vec![]),
        ("HTTP", json!([{"kind": "GRPCRoute"}]), "False/InvalidRouteKinds", vec![]),
    ];
    for (protocol, kinds, resolved, supported) in table {
        let mut listener = if protocol == "HTTPS" { https("l", "") } else { http("l", "") };
        listener["allowedRoutes"] = json!({"kinds": kinds});
        let plan = plan_of(&json!([listener]));
        assert_eq!(listener_says(&plan, 0)[2], format!("ResolvedRefs={resolved}"), "{protocol} {kinds}");
        let found = status_of(&plan).listeners[0].supported_kinds.iter().map(|it| it.kind).collect::<Vec<_>>();
        assert_eq!(found, supported, "{protocol} {kinds}");
        assert_eq!(listener_says(&plan, 0)[0], "Accepted=True/Accepted");
    }
    let mut cleartext = http("l", "");
    cleartext["allowedRoutes"] = json!({"kinds": [{"kind": "GRPCRoute"}]});
    assert!(message(&plan_of(&json!([cleartext])), 0, "ResolvedRefs").contains("cleartext: Allow"));
}

#[test]
fn inside_a_gateway_nobody_wins_a_conflict() {
    let table = [
        (
            "HostnameConflict",
            json!([http("a", "x.example.com"), http("b", "x.example.com"), http("c", "y.example.com")]),
        ),
        (
            "ProtocolConflict",
            json!([
                {"name": "a", "port": 80, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}},
                {"name": "b", "port": 80, "protocol": "TCP"},
                {"name": "c", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}
            ]),
        ),
    ];
    for (reason, listeners) in table {
        let plan = plan_of(&listeners);
        for index in [0, 1] {
            let said = listener_says(&plan, index);
            assert_eq!(said[..2], [format!("Accepted=False/{reason}"), "Programmed=False/Invalid".into()]);
            assert_eq!(said[3], format!("Conflicted=True/{reason}"));
        }
        assert_eq!(listener_says(&plan, 2), VALID);
        assert_eq!(gateway_says(&plan)[0], "Accepted=True/ListenersNotValid");
    }
}

#[test]
fn udp_and_unknown_protocols_share_a_port_with_http() {
    let other = |name: &str, protocol: &str| json!({"name": name, "port": 80, "protocol": protocol});
    let plan = plan_of(&json!([http("a", ""), other("b", "UDP"), other("c", "x")]));
    assert_eq!(listener_says(&plan, 0), VALID);
    assert_eq!(listener_says(&plan, 1)[0], "Accepted=False/UnsupportedProtocol");
}

#[test]
fn programmed_says_what_the_proxies_said() {
    let plan = plan_of(&json!([http("web", "")]));
    let rejected = Delivery::Rejected { message: "bad listener".into(), rule: None, last_good: true };
    for (delivery, expected) in [
        (Delivery::Pending("Waiting for a proxy".into()), "Programmed=False/Pending"),
        (rejected, "Programmed=False/Invalid"),
    ] {
        let status = status::gateway::project(&plan.report, &|_| 7, &delivery, &[ADDRESS.into()]);
        assert_eq!(said(&status.conditions)[1], expected);
        assert_eq!(said(&status.listeners[0].conditions)[1], expected);
        assert_eq!(status.listeners[0].attached_routes, 7);
    }
}

#[test]
fn parameters_that_lead_nowhere_stop_the_gateway() {
    let mut world = base();
    let parameters = json!({"parametersRef": {"group": "x.io", "kind": "Odd", "name": "o"}});
    put(&mut world, Kind::Gateway, gateway(&json!({"infrastructure": parameters, "listeners": [http("web", "")]})));
    let plan = planned(&world);
    assert_eq!(gateway_says(&plan)[..2], ["Accepted=False/InvalidParameters", "Programmed=False/Invalid"]);
    assert_eq!(listener_says(&plan, 0)[..2], ["Accepted=True/Accepted", "Programmed=False/Invalid"]);
    assert!(plan.listeners.is_empty() && plan.standing_hosts().is_empty());
    assert!(!plan.surfaces[0].1.listeners[0].serves);
}

#[test]
fn a_profile_that_is_absent_stops_the_gateway_and_one_that_comes_starts_it() {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [http("web", "")]})));
    let parameters = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "p"});
    put(&mut world, Kind::GatewayClass, class(&parameters));
    assert_eq!(gateway_says(&planned(&world))[0], "Accepted=False/InvalidParameters");
    let profile =
        json!({"sharedHostnames": "ByContentType", "crossNamespaceAttachment": "AllowedRoutesAndReferenceGrant"});
    let plan = planned(&with_profile(world, &profile));
    assert_eq!(gateway_says(&plan), VALID);
    let policy = plan.surfaces[0].1.policy;
    assert!(policy.shared_hostnames && policy.grant_for_attachment && !policy.cleartext);
}

#[test]
fn what_is_offered_to_routes_does_not_depend_on_certificates() {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [https("grpc", "grpc.example.com")]})));
    let with = planned(&world);
    world.apply(Change::Delete(Ref::new(Kind::Secret, NsName::new("infra", "cert"))));
    let without = planned(&world);
    assert_ne!(with.materials, without.materials);
    assert_eq!(with.surfaces, without.surfaces);
    let offer = &with.surfaces[0].1.listeners[0];
    assert_eq!(
        (&*offer.section, offer.port, offer.secure, offer.hostname.as_str()),
        ("grpc", 443, true, "grpc.example.com")
    );
    assert_eq!(offer.namespaces.from.as_deref(), Some("Same"));
}

#[test]
fn labels_of_namespaces_that_are_not_seen_are_not_guessed() {
    let selecting = |label: &str| {
        let from = json!({"from": "Selector", "selector": {"matchLabels": {label: "team"}}});
        json!({"name": "a", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": from}})
    };
    let some = || Scope::Namespaces(["infra".into(), "team".into()].into());
    let table = [
        (Scope::Cluster, "team", "Accepted"),
        (some(), "team", "UnsupportedValue"),
        (some(), "kubernetes.io/metadata.name", "Accepted"),
    ];
    for (scope, label, reason) in table {
        let mut world = base();
        world.settings.scope = scope.clone();
        put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [selecting(label)]})));
        let status = status::gateway::project(&planned(&world).report, &|_| 0, &Delivery::Programmed, &[]);
        let said = &status.listeners[0].conditions[0];
        assert_eq!(said.reason, reason, "{label}: {}", said.message);
        let named = status.conditions[0].message.contains("those that this install was given");
        assert_eq!(named, scope != Scope::Cluster && reason == "Accepted");
    }
}
