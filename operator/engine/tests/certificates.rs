//! A certificate that is replaced by one that proxies could not use stays in service.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::key::{Kind, NsName};
use sluice_engine::{Effects, Engine, Input, scratch};
use sluice_xds::{Id, ResourceType, Version};
use world::{CERTIFICATES, bind, class, delete, engine, gateway, https, put, secret};

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
