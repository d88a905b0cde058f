use super::{CertificateProblem, inspect, load};
use crate::{
    key::{Kind, NsName, Ref},
    world::{Change, Dep, Object, Reader, Settings, Surfaces, World},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::json;

/// A file of `testdata`, all made by OpenSSL and valid from 2026 to 2036.
macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("testdata/", $name))
    };
}

fn key() -> NsName {
    NsName::new("default", "cert")
}

fn at(date: &str) -> DateTime<Utc> {
    format!("{date}T00:00:00Z").parse().unwrap()
}

fn world(kind: &str, certificate: &str, private: &str, date: &str) -> World {
    let values = json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(private)});
    let secret = json!({"metadata": {"namespace": "default", "name": "cert"}, "type": kind, "data": values});
    let mut world = World::new(Settings::default());
    world.apply(Object::decode(Kind::Secret, secret).unwrap().into());
    world.apply(Change::Clock(at(date)));
    world
}

fn problem(world: &World) -> Option<CertificateProblem> {
    load(&key(), &Reader::new(world, &Surfaces::new())).err()
}

#[test]
fn a_key_fits_in_every_form_that_kubernetes_users_have() {
    let table = [
        ("RSA, PKCS#8", file!("rsa.crt"), file!("rsa-pkcs8.key")),
        ("RSA, PKCS#1", file!("rsa.crt"), file!("rsa-pkcs1.key")),
        ("EC, SEC 1 with parameters before it", file!("ec.crt"), file!("ec-sec1.key")),
        ("EC, PKCS#8", file!("ec.crt"), file!("ec-pkcs8.key")),
        ("EC, without its point", file!("ec.crt"), file!("ec-without-point.key")),
        ("Ed25519", file!("ed25519.crt"), file!("ed25519.key")),
    ];
    for (name, certificate, private) in table {
        assert_eq!(problem(&world("kubernetes.io/tls", certificate, private, "2027-01-01")), None, "{name}");
    }
}

#[test]
fn each_defect_has_a_problem_of_its_own() {
    use CertificateProblem as P;
    let tls = "kubernetes.io/tls";
    let (certificate, private) = (file!("rsa.crt"), file!("rsa-pkcs8.key"));
    let chain_with_rubbish = format!("{certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let rubbish_key = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let table = [
        ("type", "Opaque", certificate, private, P::WrongType { secret: key(), found: "Opaque".into() }),
        ("no chain", tls, "", private, P::Lacks { secret: key(), entry: "tls.crt" }),
        ("no key", tls, certificate, "", P::Lacks { secret: key(), entry: "tls.key" }),
        ("chain is text", tls, "Hello world", private, P::NotPem { secret: key(), entry: "tls.crt" }),
        ("key is text", tls, certificate, "Hello world", P::NotPem { secret: key(), entry: "tls.key" }),
        ("chain is a key", tls, private, private, P::NotCertificate(key())),
        ("second of the chain is rubbish", tls, &chain_with_rubbish, private, P::NotCertificate(key())),
        ("key is a certificate", tls, certificate, certificate, P::NotKey(key())),
        ("key is rubbish", tls, certificate, rubbish_key, P::NotKey(key())),
        ("key is encrypted", tls, certificate, file!("encrypted.key"), P::EncryptedKey(key())),
        ("key is encrypted the old way", tls, certificate, file!("encrypted-pkcs1.key"), P::EncryptedKey(key())),
        ("another RSA key", tls, certificate, file!("other-rsa.key"), P::KeyMismatch(key())),
        ("another EC key", tls, file!("ec.crt"), file!("other-ec.key"), P::KeyMismatch(key())),
        ("a key of another kind", tls, certificate, file!("ec-pkcs8.key"), P::KeyMismatch(key())),
        ("an Ed25519 key for EC", tls, file!("ec.crt"), file!("ed25519.key"), P::KeyMismatch(key())),
        ("1024 bits", tls, file!("weak.crt"), file!("weak.key"), P::WeakKey { secret: key(), bits: 1024 }),
    ];
    for (name, kind, certificate, private, expected) in table {
        assert_eq!(problem(&world(kind, certificate, private, "2027-01-01")), Some(expected), "{name}");
    }
}

#[test]
fn an_absent_secret_is_said_with_the_command_that_makes_it() {
    let problem = problem(&World::new(Settings::default())).unwrap();
    assert_eq!(problem, CertificateProblem::Absent(key()));
    assert_eq!(
        problem.to_string(),
        "Secret default/cert does not exist: kubectl create secret tls cert -n default --cert=FILE --key=FILE"
    );
}

#[test]
fn an_untimely_certificate_is_served_and_said() {
    let untimely = |date| {
        let world = world("kubernetes.io/tls", file!("rsa.crt"), file!("rsa-pkcs8.key"), date);
        inspect(&key(), &Reader::new(&world, &Surfaces::new())).unwrap().untimely
    };
    assert_eq!(untimely("2027-01-01"), None);
    assert!(matches!(untimely("2040-01-01"), Some(CertificateProblem::Expired { .. })));
    assert!(matches!(untimely("2020-01-01"), Some(CertificateProblem::NotYetValid { .. })));
}

#[test]
fn the_end_of_a_certificate_is_a_deadline() {
    let world = world("kubernetes.io/tls", file!("rsa.crt"), file!("rsa-pkcs8.key"), "2027-01-01");
    let surfaces = Surfaces::new();
    let read = Reader::new(&world, &surfaces);
    let end = inspect(&key(), &read).unwrap().not_after;
    let reads = read.into_reads();
    assert!(reads.contains(&Dep::Deadline(end)));
    assert!(reads.contains(&Dep::Object(Ref::new(Kind::Secret, key()))));
    assert_eq!(reads.len(), 2);
}

#[test]
fn a_certificate_shows_its_names_and_hides_its_key() {
    let world = world("kubernetes.io/tls", file!("rsa.crt"), file!("rsa-pkcs8.key"), "2027-01-01");
    let inspected = inspect(&key(), &Reader::new(&world, &Surfaces::new())).unwrap();
    assert_eq!(
        inspected.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["*.example.com", "grpc.example.com"]
    );
    assert_eq!(&*inspected.certificate.name, "default/cert");
    assert!(!format!("{inspected:?}").contains("PRIVATE"));
}
