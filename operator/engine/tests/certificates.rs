//! A certificate that is replaced by one that proxies could not use stays in service; one that cannot be made is said to be.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::{Effects, Engine, Input, WriteOutcome, scratch};
use sluice_xds::{Id, ResourceType, Version};
use world::{CERTIFICATES, bind, class, delete, engine, gateway, https, meta, put, secret, tls_secret};

fn unfit() -> Input {
    let data = json!({"tls.crt": CERTIFICATES[0].0, "tls.key": CERTIFICATES[1].1});
    let metadata = json!({"namespace": "a", "name": "cert"});
    put(Kind::Secret, json!({"metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}))
}

/// The Secret that the proxies have.
fn served(engine: &Engine) -> Option<(Id, Version)> {
    let snapshot = &engine.snapshots()[&NsName::new("a", "one")];
    snapshot.iter(ResourceType::Secret).next().map(|secret| (secret.id.clone(), secret.version))
}

/// What the listener says of its references; `None` if nothing new is said.
fn resolved(effects: &Effects) -> Option<(String, String)> {
    let update = effects.statuses.iter().rfind(|update| update.target.kind == Kind::Gateway)?;
    let status = update.status.value();
    let conditions = status["listeners"][0]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|found| found["type"] == "ResolvedRefs").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some((text(&found["reason"]), text(&found["message"])))
}

fn serving() -> Engine {
    let mut engine = engine();
    let listeners = json!([https("x", 443, None, "cert")]);
    engine.step([class(None), secret("cert", 0), gateway("one", 1, &listeners), bind("one", 443)]);
    engine
}

#[test]
fn a_bad_new_certificate_keeps_the_old_one_and_says_so() {
    let mut engine = serving();
    let old = served(&engine).unwrap();
    let effects = engine.step([unfit()]);
    assert!(effects.snapshots.is_empty(), "nothing is sent");
    assert_eq!(served(&engine), Some(old.clone()));
    let (reason, message) = resolved(&effects).unwrap();
    assert_eq!(reason, "InvalidCertificateRef");
    assert!(message.contains("does not fit") && message.contains("before stays in service"), "{message}");
    let versions = &scratch(engine.state()).resources[&NsName::new("a", "one")];
    assert_eq!(versions.get(&old.0), Some(&old.1), "a recomputation keeps it too");
    let effects = engine.step([secret("cert", 1)]);
    assert_eq!(resolved(&effects).unwrap().0, "ResolvedRefs");
    assert_ne!(served(&engine).unwrap().1, old.1);
}

#[test]
fn a_certificate_that_was_never_fit_and_one_that_is_deleted_are_not_served() {
    let mut engine = serving();
    engine.step([unfit()]);
    engine.step([delete(Kind::Secret, "a", "cert")]);
    assert_eq!(served(&engine), None);
    engine.step([unfit()]);
    assert_eq!(served(&engine), None, "what was deleted does not come back");
}

fn self_signed() -> Input {
    let spec = json!({
        "hostnames": ["a.example.com"], "gateways": [{"name": "own", "own": {"gatewayClassName": "sluice"}}],
        "tls": {"type": "SelfSigned"}, "backends": [{"name": "only", "service": {"name": "s", "port": 9000}}],
    });
    put(Kind::GrpcService, json!({"metadata": meta("a", "svc", 1, 5), "spec": spec}))
}

/// The Secrets that are asked for.
fn asked(effects: &Effects) -> Vec<&str> {
    effects.issues.iter().map(|issue| &*issue.secret.name).collect()
}

/// Reason and message of `CertificateReady`, if the service says something new.
fn ready(effects: &Effects) -> Option<(String, String)> {
    let status = effects.statuses.iter().rfind(|update| update.target.kind == Kind::GrpcService)?.status.value();
    let mut conditions = status["conditions"].as_array().unwrap().iter();
    let found = conditions.find(|found| found["type"] == "CertificateReady").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some((text(&found["reason"]), text(&found["message"])))
}

#[test]
fn a_certificate_that_cannot_be_made_is_said_to_be_and_asked_for_again_of_another_ca() {
    let mut engine = engine();
    let first = engine.step([class(None), self_signed()]);
    assert_eq!(asked(&first), ["svc-ca"]);
    let authority = |which| put(Kind::Secret, tls_secret(&first.issues[0].metadata, which));
    assert_eq!(asked(&engine.step([authority(0)])), ["svc-tls"]);
    let leaf = Ref::new(Kind::Secret, NsName::new("a", "svc-tls"));
    let outcome = WriteOutcome::Refused("its tls.key is not a key".into());
    let effects = engine.step([Input::Wrote { reference: leaf, generation: 0, outcome }]);
    let expected = ("IssuerFailed", "Secret svc-tls cannot be made: its tls.key is not a key");
    assert_eq!(ready(&effects).as_ref().map(|(reason, words)| (&**reason, &**words)), Some(expected));
    assert_eq!(asked(&effects), [] as [&str; 0]);
    let effects = engine.step([authority(1)]);
    assert_eq!(asked(&effects), ["svc-tls"], "this CA may sign");
    assert_eq!(ready(&effects).unwrap().0, "Issuing");
}
