//! Certificates: what is asked for, when it is asked for again, and what listeners use meanwhile.

use super::{authored, day, echo, field, names, object, observe, put, service, world};
use crate::{
    author::{Authored, CertSpec, Issue, Issuer, Progress, status},
    key::{Kind, NsName, Ref},
    world::{Change, Reader, Surfaces, World},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// A certificate with its key.
struct Made {
    certificate: String,
    key: KeyPair,
}

fn make(issue: &Issue, authority: Option<&Made>) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(issue.spec.sans.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_before = OffsetDateTime::from_unix_timestamp(issue.spec.not_before.timestamp()).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(issue.spec.not_after.timestamp()).unwrap();
    params.use_authority_key_identifier_extension = true;
    let certificate = match authority {
        None => {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.self_signed(&key).unwrap()
        }
        Some(authority) => {
            let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.certificate, &authority.key).unwrap();
            params.signed_by(&key, &issuer).unwrap()
        }
    };
    Made { certificate: certificate.pem(), key }
}

fn secret(issue: &Issue, made: &Made) -> Value {
    let mut secret = object(
        Kind::Secret,
        &issue.secret.name,
        json!({
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": STANDARD.encode(&made.certificate),
                "tls.key": STANDARD.encode(made.key.serialize_pem()),
            },
        }),
    );
    secret["metadata"] = issue.metadata.clone();
    secret
}

fn the_issue(authored: &Authored) -> &Issue {
    let [issue] = authored.issues.as_slice() else { panic!("one issue: {:?}", authored.issues) };
    issue
}

/// Makes the CA that is asked for, and puts it into the world.
fn issue_authority(world: &mut World) -> Made {
    let authored = authored(world);
    let issue = the_issue(&authored);
    assert_eq!((&*issue.secret.name, &issue.spec.issuer), ("echo-ca", &Issuer::Itself));
    let made = make(issue, None);
    put(world, &secret(issue, &made));
    made
}

fn issue_leaf(world: &mut World, authority: &Made) {
    let authored = authored(world);
    let issue = the_issue(&authored);
    assert_eq!(&*issue.secret.name, "echo-tls");
    put(world, &secret(issue, &make(issue, Some(authority))));
}

/// A world on day 0 in which a service's certificate is issued.
fn issued() -> (World, Made) {
    let mut world = world(&[service(&json!({"hostnames": ["grpc.example.com", "*.a.example.com"]}))]);
    let authority = issue_authority(&mut world);
    issue_leaf(&mut world, &authority);
    (world, authority)
}

#[test]
fn first_the_ca_is_asked_for_then_the_leaf_then_nothing() {
    let (world, _) = issued();
    assert_eq!(authored(&world).issues, []);
}

#[test]
fn the_ca_is_published_without_its_key() {
    let (world, authority) = issued();
    let authored = authored(&world);
    assert_eq!(names(&authored), ["ConfigMap echo-ca", "Gateway echo-public", "GRPCRoute echo"]);
    assert_eq!(field(&authored, Kind::ConfigMap, "/data"), json!({"ca.crt": authority.certificate}));
}

#[test]
fn a_leaf_is_renewed_when_two_thirds_of_its_life_are_over() {
    let (mut world, authority) = issued();
    for (number, due) in [(0, false), (59, false), (60, true), (91, true)] {
        world.apply(Change::Clock(day(number)));
        assert_eq!(!authored(&world).issues.is_empty(), due, "day {number}");
    }
    issue_leaf(&mut world, &authority);
    assert_eq!(authored(&world).issues, []);
}

#[test]
fn a_replaced_ca_has_its_leaf_signed_anew() {
    let (mut world, _) = issued();
    world.apply(Change::Delete(Ref::new(Kind::Secret, NsName::new("shop", "echo-ca"))));
    let authority = issue_authority(&mut world);
    issue_leaf(&mut world, &authority);
    assert_eq!(authored(&world).issues, []);
}

#[test]
fn a_leaf_for_other_hostnames_or_without_a_key_is_made_anew() {
    let (before, _) = issued();
    let mut moved = before.clone();
    put(&mut moved, &service(&json!({"hostnames": ["other.example.com"]})));
    assert_eq!(the_issue(&authored(&moved)).spec.sans, ["other.example.com".into()]);

    let mut keyless = before.clone();
    let mut leaf = object(Kind::Secret, "echo-tls", json!({"data": {}}));
    leaf["metadata"]["ownerReferences"] =
        json!([{"kind": "GrpcService", "name": "echo", "uid": "uid-echo", "controller": true}]);
    put(&mut keyless, &leaf);
    assert_eq!(&*the_issue(&authored(&keyless)).secret.name, "echo-tls");
}

#[test]
fn the_order_of_hostnames_changes_no_certificate() {
    let (mut world, _) = issued();
    put(&mut world, &service(&json!({"hostnames": ["*.a.example.com", "grpc.example.com"]})));
    assert_eq!(authored(&world).issues, []);
}

#[test]
fn provided_secrets_are_referred_to_as_written_and_nothing_is_made() {
    let refs = json!([{"name": "mine"}, {"name": "theirs", "namespace": "certs"}]);
    let authored = authored(&world(&[service(&json!({"tls": {"type": "Secret", "certificateRefs": refs}}))]));
    let expected = json!([
        {"group": "", "kind": "Secret", "namespace": "shop", "name": "mine"},
        {"group": "", "kind": "Secret", "namespace": "certs", "name": "theirs"},
    ]);
    assert_eq!(field(&authored, Kind::Gateway, "/spec/listeners/0/tls/certificateRefs"), expected);
    assert_eq!(authored.issues, []);
}

fn by_cert_manager() -> Value {
    service(&json!({
        "hostnames": ["grpc.example.com", "a.example.com"], "tls": {"type": "CertManager", "issuerRef": {"name": "acme"}},
    }))
}

#[test]
fn cert_manager_is_asked_to_fill_the_secret_that_the_listeners_name() {
    let authored = authored(&world(&[by_cert_manager()]));
    assert_eq!(names(&authored), ["Certificate echo-tls", "Gateway echo-public", "GRPCRoute echo"]);
    let expected = json!({
        "secretName": "echo-tls", "dnsNames": ["a.example.com", "grpc.example.com"],
        "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": "acme"},
        "usages": ["digital signature", "key encipherment", "server auth"],
    });
    assert_eq!(field(&authored, Kind::Certificate, "/spec"), expected);
    assert_eq!(field(&authored, Kind::Certificate, "/apiVersion"), "cert-manager.io/v1");
    assert_eq!(field(&authored, Kind::Gateway, "/spec/listeners/0/tls/certificateRefs/0/name"), "echo-tls");
    assert_eq!(authored.issues, []);
}

#[test]
fn what_cert_manager_does_is_followed_by_its_secret_and_its_words() {
    let mut world = world(&[by_cert_manager()]);
    let ready = |world: &World| {
        let condition = shown(world)["conditions"][2].clone();
        (condition["reason"].as_str().unwrap().to_owned(), condition["message"].as_str().unwrap().to_owned())
    };
    let certificate = Ref::new(Kind::Certificate, NsName::new("shop", "echo-tls"));
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"conditions": [
            {"type": kind, "status": "False", "reason": reason, "message": message},
        ]})
    };
    assert_eq!(ready(&world).0, "Issuing");
    observe(
        &mut world,
        &certificate,
        &condition("Ready", "DoesNotExist", "Issuing certificate as Secret does not exist"),
    );
    let (reason, message) = ready(&world);
    assert_eq!(reason, "Issuing");
    assert!(message.ends_with("yet: Issuing certificate as Secret does not exist"), "{message}");
    observe(&mut world, &certificate, &condition("Issuing", "Failed", "the order is invalid"));
    let (reason, message) = ready(&world);
    assert_eq!(reason, "IssuerFailed");
    assert!(message.contains("could not fill Secret shop/echo-tls: Failed: the order is invalid"), "{message}");
    let spec = CertSpec::leaf("a".into(), vec!["grpc.example.com".into()], echo(), day(0));
    let metadata = json!({"namespace": "shop", "name": "echo-tls"});
    let mut issue = Issue { secret: NsName::new("shop", "echo-tls"), spec, metadata };
    observe(&mut world, &certificate, &json!({}));
    put(&mut world, &secret(&issue, &make(&issue, None)));
    assert_eq!(ready(&world).0, "Issuing", "it is still for one hostname");
    issue.spec.sans.push("a.example.com".into());
    put(&mut world, &secret(&issue, &make(&issue, None)));
    assert_eq!(ready(&world).0, "Issued");
    world.apply(Change::Clock(day(91)));
    assert_eq!(ready(&world).0, "Expired");
    world.apply(Change::Served(Kind::Certificate, false));
    assert_eq!(ready(&world).0, "KindNotServed");
}

fn shown(world: &World) -> Value {
    let progress = Progress { outcomes: &BTreeMap::new(), served: None };
    let status = status(&echo(), &authored(world), progress, &Reader::new(world, &Surfaces::new())).unwrap();
    serde_json::to_value(status).unwrap()
}

#[test]
fn the_status_shows_the_certificate_and_says_when_it_ended() {
    let (mut world, _) = issued();
    let certificate_of = |world: &World| {
        let value = shown(world);
        (value["certificate"].clone(), value["conditions"][2].clone())
    };
    let (certificate, condition) = certificate_of(&world);
    assert_eq!((&certificate["secretName"], &certificate["caConfigMapName"]), (&json!("echo-tls"), &json!("echo-ca")));
    assert!(certificate["renewalTime"].as_str() < certificate["notAfter"].as_str(), "{certificate}");
    assert_eq!(condition["reason"], "Issued");
    assert!(condition["message"].as_str().unwrap().contains("*.a.example.com for one label only"), "{condition}");
    world.apply(Change::Clock(day(91)));
    assert_eq!(certificate_of(&world).1["reason"], "Expired");
}
