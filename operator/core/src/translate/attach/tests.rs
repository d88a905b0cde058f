mod hosts;
mod sets;

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
fn references_to_certificates_are_judged_one_by_one() {
    let table = [
        ("none", json!([]), "InvalidCertificateRef", "certificateRefs is empty"),
        ("absent", json!([{"name": "nope"}]), "InvalidCertificateRef", "Secret infra/nope does not exist"),
        ("group", json!([{"group": "x.io", "name": "cert"}]), "InvalidCertificateRef", "only Secret of the core group"),
        (
            "kind",
            json!([{"kind": "ConfigMap", "name": "cert"}]),
            "InvalidCertificateRef",
            "only Secret of the core group",
        ),
        (
            "foreign",
            json!([{"namespace": "certs", "name": "cert"}]),
            "RefNotPermitted",
            "create in namespace certs a ReferenceGrant",
        ),
        ("foreign and absent", json!([{"namespace": "x", "name": "nope"}]), "RefNotPermitted", "create in namespace x"),
    ];
    for (name, references, reason, words) in table {
        let mut listener = https("grpc", "grpc.example.com");
        listener["tls"] = json!({"certificateRefs": references});
        let plan = plan_of(&json!([listener]));
        assert_eq!(
            listener_says(&plan, 0),
            [
                "Accepted=True/Accepted".to_owned(),
                "Programmed=False/Invalid".into(),
                format!("ResolvedRefs=False/{reason}")
            ],
            "{name}"
        );
        assert!(message(&plan, 0, "ResolvedRefs").contains(words), "{name}: {}", message(&plan, 0, "ResolvedRefs"));
        assert_eq!(gateway_says(&plan)[1..], ["Programmed=False/Invalid", "ResolvedRefs=False/ListenersNotResolved"]);
        assert!(plan.listeners.is_empty() && plan.materials.is_empty());
        let offer = &plan.surfaces[0].1.listeners[0];
        assert!(offer.serves && offer.kinds.contains(&Kind::GrpcRoute), "routes attach and are counted");
    }
}

#[test]
fn of_several_certificates_the_good_ones_are_served() {
    let mut listener = https("grpc", "grpc.example.com");
    listener["tls"] = json!({"certificateRefs": [{"name": "nope"}, {"name": "cert"}, {"name": "cert"}]});
    let plan = plan_of(&json!([listener]));
    assert_eq!(plan.materials, [Material::Certificate(NsName::new("infra", "cert"))]);
    assert_eq!(
        listener_says(&plan, 0),
        ["Accepted=True/Accepted", "Programmed=True/Programmed", "ResolvedRefs=False/InvalidCertificateRef"]
    );
}

#[test]
fn an_expired_certificate_is_served_and_said() {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [https("grpc", "")]})));
    world.apply(Change::Clock("2040-01-01T00:00:00Z".parse().unwrap()));
    let plan = planned(&world);
    assert_eq!(
        listener_says(&plan, 0)[1..],
        ["Programmed=True/Programmed", "ResolvedRefs=False/InvalidCertificateRef"]
    );
    assert!(message(&plan, 0, "ResolvedRefs").contains("expired at"));
    assert_eq!(plan.materials.len(), 1);
}

#[test]
fn a_grant_lets_a_certificate_in_and_its_removal_takes_it_away() {
    let mut listener = https("grpc", "grpc.example.com");
    listener["tls"]["certificateRefs"][0]["namespace"] = json!("certs");
    let mut world = base();
    put(&mut world, Kind::Secret, secret("certs", CERTIFICATE));
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [listener]})));
    assert_eq!(listener_says(&planned(&world), 0)[2], "ResolvedRefs=False/RefNotPermitted");
    let from = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra"});
    let spec = json!({"from": [from], "to": [{"group": "", "kind": "Secret", "name": "cert"}]});
    put(&mut world, Kind::ReferenceGrant, json!({"metadata": {"namespace": "certs", "name": "g"}, "spec": spec}));
    assert_eq!(listener_says(&planned(&world), 0), VALID);
    world.apply(Change::Delete(Ref::new(Kind::ReferenceGrant, NsName::new("certs", "g"))));
    let revoked = planned(&world);
    assert_eq!(listener_says(&revoked, 0)[2], "ResolvedRefs=False/RefNotPermitted");
    assert!(revoked.materials.is_empty());
}

#[test]
fn passthrough_is_refused() {
    let mut passthrough = https("grpc", "");
    passthrough["tls"] = json!({"mode": "Passthrough"});
    let plan = plan_of(&json!([passthrough]));
    assert_eq!(listener_says(&plan, 0)[0], "Accepted=False/UnsupportedValue");
}

fn authorities(namespace: &str, pem: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": "ca"}, "data": {"ca.crt": pem}})
}

/// Two HTTPS ports and an HTTP one; authorities of the first by default, of the second by its port.
fn validated(default: &Value, of_8443: &Value) -> World {
    let mut world = base();
    put(&mut world, Kind::ConfigMap, authorities("infra", CERTIFICATE));
    let frontend = json!({
        "default": {"validation": {"caCertificateRefs": [default]}},
        "perPort": [{"port": 8443, "tls": {"validation": of_8443}}, {"port": 80, "tls": {}}],
    });
    let mut second = https("second", "");
    second["port"] = json!(8443);
    let spec = json!({"tls": {"frontend": frontend}, "listeners": [https("first", ""), second, http("web", "")]});
    put(&mut world, Kind::Gateway, gateway(&spec));
    world
}

fn clients(plan: &Plan) -> Vec<Option<(String, bool)>> {
    let chains = plan.listeners.iter().flat_map(|listener| match &listener.protocol {
        Protocol::Https { chains } => chains.clone(),
        Protocol::Http { .. } => Vec::new(),
    });
    chains.map(|chain| chain.clients.map(|clients| (clients.authorities.to_string(), clients.required))).collect()
}

#[test]
fn clients_show_certificates_as_the_port_says_and_else_as_all_do() {
    let ca = json!({"group": "", "kind": "ConfigMap", "name": "ca"});
    let plan = planned(&validated(&ca, &json!({"caCertificateRefs": [ca], "mode": "AllowInsecureFallback"})));
    let name = || "configmap/infra/ca".to_owned();
    assert_eq!(clients(&plan), [Some((name(), true)), Some((name(), false))]);
    assert!(plan.materials.contains(&Material::Authorities(vec![NsName::new("infra", "ca")])));
    assert_eq!(gateway_says(&plan)[3], "InsecureFrontendValidationMode=True/ConfigurationChanged");
    assert_eq!(listener_says(&plan, 2), VALID);
    let plan = planned(&validated(&ca, &Value::Null));
    assert_eq!(clients(&plan), [Some((name(), true)), None]);
    assert_eq!(gateway_says(&plan), VALID);
}

#[test]
fn a_listener_whose_clients_nobody_can_validate_is_not_served() {
    let reference = |kind: &str, name: &str, namespace: &str| json!({"group": "", "kind": kind, "name": name, "namespace": namespace});
    let table = [
        (reference("ConfigMap", "nope", "infra"), "InvalidCACertificateRef"),
        (reference("ConfigMap", "broken", "infra"), "InvalidCACertificateRef"),
        (reference("Service", "ca", "infra"), "InvalidCACertificateKind"),
        (reference("ConfigMap", "ca", "certs"), "RefNotPermitted"),
    ];
    let good = json!({"group": "", "kind": "ConfigMap", "name": "ca"});
    for (bad, reason) in table {
        let mut world = validated(&good, &json!({"caCertificateRefs": [bad]}));
        put(&mut world, Kind::ConfigMap, authorities("certs", CERTIFICATE));
        let broken = json!({"metadata": {"namespace": "infra", "name": "broken"}, "data": {"ca.crt": KEY}});
        put(&mut world, Kind::ConfigMap, broken);
        let plan = planned(&world);
        assert_eq!(listener_says(&plan, 0), VALID, "{bad}");
        let unresolved = format!("ResolvedRefs=False/{reason}");
        let said = ["Accepted=False/NoValidCACertificate", "Programmed=False/Invalid", &unresolved];
        assert_eq!(listener_says(&plan, 1), said, "{bad}");
        assert_eq!((listener_says(&plan, 2), plan.listeners.len()), (VALID.map(String::from).to_vec(), 2), "{bad}");
    }
}

#[test]
fn backends_are_shown_a_certificate_that_can_be_used_or_none() {
    let table = [
        (json!({"name": "cert"}), "ResolvedRefs=True/ResolvedRefs"),
        (json!({"name": "nope"}), "ResolvedRefs=False/InvalidClientCertificateRef"),
        (json!({"group": "wrong.io", "name": "cert"}), "ResolvedRefs=False/InvalidClientCertificateRef"),
        (json!({"name": "cert", "namespace": "certs"}), "ResolvedRefs=False/RefNotPermitted"),
    ];
    for (reference, said) in table {
        let mut world = base();
        put(&mut world, Kind::Secret, secret("certs", CERTIFICATE));
        let spec = json!({"tls": {"backend": {"clientCertificateRef": reference}}, "listeners": [http("web", "")]});
        put(&mut world, Kind::Gateway, gateway(&spec));
        let plan = planned(&world);
        assert_eq!(gateway_says(&plan), ["Accepted=True/Accepted", "Programmed=True/Programmed", said], "{reference}");
        assert_eq!(plan.shown.is_some(), said.contains("True"), "{reference}");
    }
}

#[test]
fn options_of_tls_that_are_not_known_are_named() {
    let mut listener = https("grpc", "");
    listener["tls"]["options"] = json!({"example.com/ciphers": "x"});
    let plan = plan_of(&json!([listener]));
    assert!(message(&plan, 0, "Accepted").contains("example.com/ciphers"));
    assert_eq!(listener_says(&plan, 0), VALID);
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
fn addresses_are_served_as_far_as_the_proxies_have_them() {
    let table = [
        ("none", json!([]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("any", json!([{"type": "IPAddress"}]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("the one", json!([{"value": ADDRESS}]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("another", json!([{"value": "192.0.2.1"}]), "Accepted=True/Accepted", "Programmed=False/AddressNotUsable", 0),
        (
            "both",
            json!([{"value": ADDRESS}, {"value": "192.0.2.1"}]),
            "Accepted=True/Accepted",
            "Programmed=False/AddressNotUsable",
            1,
        ),
        (
            "a hostname",
            json!([{"type": "Hostname", "value": "a.example.com"}]),
            "Accepted=False/UnsupportedAddress",
            "Programmed=False/Invalid",
            0,
        ),
    ];
    for (name, addresses, accepted, programmed, count) in table {
        let mut world = base();
        put(&mut world, Kind::Gateway, gateway(&json!({"addresses": addresses, "listeners": [http("web", "")]})));
        let plan = planned(&world);
        assert_eq!(gateway_says(&plan)[..2], [accepted, programmed], "{name}");
        assert_eq!(status_of(&plan).addresses.len(), count, "{name}");
    }
    let plan = plan_of(&json!([http("web", "")]));
    let nowhere = status::gateway::project(&plan.report, &|_| 0, &Delivery::Programmed, &[]);
    assert_eq!(said(&nowhere.conditions)[1], "Programmed=False/AddressNotAssigned");
}

#[test]
fn an_address_that_the_profile_lets_nobody_have_is_told_with_the_setting() {
    let said = |service: Value| {
        let mut world = with_profile(base(), &json!({"proxies": {"service": service}}));
        world.settings.exposure = Exposure::Service;
        let addresses = json!([{"value": "192.0.2.1"}]);
        put(&mut world, Kind::Gateway, gateway(&json!({"addresses": addresses, "listeners": [http("web", "")]})));
        let condition = status_of(&planned(&world)).conditions[1].clone();
        (condition.reason.to_string(), condition.message.contains("proxies.service.externalIPs"))
    };
    assert_eq!(said(json!({"type": "LoadBalancer"})), ("AddressNotUsable".to_owned(), false));
    assert_eq!(said(json!({"type": "NodePort"})), ("AddressNotUsable".to_owned(), true));
    let other = json!({"type": "ClusterIP", "externalIPs": ["198.51.100.0/24"]});
    assert_eq!(said(other), ("AddressNotUsable".to_owned(), true));
    let this = json!({"type": "NodePort", "externalIPs": ["192.0.2.0/24"]});
    assert_eq!(said(this), ("AddressNotUsable".to_owned(), false), "it has yet to be taken up");
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
fn overlaps_of_tls_names_are_said_of_each() {
    let overlap = |plan: &Plan, index: usize| {
        listener_says(plan, index).into_iter().find(|said| said.starts_with("OverlappingTLSConfig"))
    };
    let hostnames = plan_of(&json!([https("a", "*.example.org"), https("b", "b.example.org")]));
    assert_eq!(overlap(&hostnames, 0).as_deref(), Some("OverlappingTLSConfig=True/OverlappingHostnames"));
    assert_eq!(overlap(&hostnames, 1).as_deref(), Some("OverlappingTLSConfig=True/OverlappingHostnames"));
    // The certificate of both is for *.example.com, which a client may take for both names.
    let certificates = plan_of(&json!([https("a", "a.example.com"), https("b", "b.example.com")]));
    assert_eq!(overlap(&certificates, 0).as_deref(), Some("OverlappingTLSConfig=True/OverlappingCertificates"));
    let mut other_port = https("b", "b.example.com");
    other_port["port"] = json!(8443);
    let apart = plan_of(&json!([https("a", "a.example.com"), other_port, http("c", "a.example.com")]));
    assert_eq!((0..3).filter_map(|index| overlap(&apart, index)).count(), 0);
}

fn programmed(world: &World) -> Condition {
    let status = status::gateway::project(&planned(world).report, &|_| 0, &Delivery::Programmed, &[]);
    status.conditions.into_iter().find(|condition| condition.kind == "Programmed").unwrap()
}

#[test]
fn a_gateway_that_no_load_balancer_answers_says_where_to_look_and_what_to_set() {
    let table = [
        (json!({}), "a cluster without load balancers, set proxies.service.type to NodePort or ClusterIP"),
        (json!({"proxies": {"service": {"type": "NodePort"}}}), "Service has no address yet"),
    ];
    for (profile, words) in table {
        let mut world = with_profile(base(), &profile);
        world.settings.exposure = Exposure::Service;
        put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [http("a", "")]})));
        let said = programmed(&world);
        assert_eq!(said.reason, "AddressNotAssigned");
        let command = "kubectl describe service -n infra -l gateway.networking.k8s.io/gateway-name=gw";
        assert!(said.message.contains(words) && said.message.contains(command), "{}", said.message);
    }
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
