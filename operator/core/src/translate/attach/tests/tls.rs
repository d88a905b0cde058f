//! Certificates: those that listeners show, those that clients and backends are shown, and what is said of them.

use super::{
    CERTIFICATE, KEY, VALID, base, gateway, gateway_says, http, https, listener_says, message, plan_of, planned, put,
    secret,
};
use crate::{
    ir::Protocol,
    key::{Kind, NsName, Ref},
    translate::{Material, attach::Plan},
    world::{Change, World},
};
use serde_json::{Value, json};

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
