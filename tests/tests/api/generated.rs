//! What a GrpcService becomes is stored as it was sent: a controller that applies it again finds nothing to change.

use std::{collections::BTreeSet, fs};

use serde_json::{Map, Value};
use sluice_tests::{
    api_server::{Keep, repository},
    offline,
};

use crate::{make_namespaces, manifests, ours, server};

/// Applies each object of its own: the answer to one object is that object.
fn applied(objects: &[Value]) -> Vec<Value> {
    objects.iter().map(|object| server().apply(&object.to_string(), Keep::Stored).unwrap()).collect()
}

/// All but what the server keeps account of.
fn content(object: &Value) -> Value {
    let fields = object.as_object().unwrap().iter();
    let kept = fields.filter(|(name, _)| !["metadata", "status"].contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

/// The guide's services and one that uses every field, each with what it becomes.
fn translations() -> Vec<(String, Vec<Value>)> {
    let guide = repository().join("samples/guide");
    let directory = tempfile::tempdir().unwrap();
    let full = directory.path().join("full.yaml");
    fs::write(&full, ours::service().to_string()).unwrap();
    let services = manifests(&guide).into_iter().filter(|path| path.ends_with("grpcservice.yaml")).chain([full]);
    let translated = services.map(|service| {
        let mut files = manifests(&guide.join("00-application"));
        files.push(service.clone());
        let text = offline::generated(&files).unwrap();
        (service.display().to_string(), serde_saphyr::from_multiple(&text).unwrap())
    });
    translated.collect()
}

#[test]
fn generated_objects_applied_twice_change_nothing_and_the_server_adds_nothing() {
    let mut kinds = BTreeSet::new();
    for (service, objects) in translations() {
        make_namespaces(&objects);
        // The server writes a Gateway anew at the first apply after its creation, with the same content and generation.
        let created = applied(&objects);
        let (first, second) = (applied(&objects), applied(&objects));
        for (created, first) in created.iter().zip(&first) {
            assert_eq!(created["metadata"]["generation"], first["metadata"]["generation"], "{service}");
        }
        for ((sent, first), second) in objects.iter().zip(&first).zip(&second) {
            let name = format!("{service}: {} {}", sent["kind"], sent["metadata"]["name"]);
            assert_eq!(content(first), content(sent), "{name}");
            assert_eq!(second, first, "{name}");
            assert!(second["metadata"]["resourceVersion"].is_string(), "{name}");
            kinds.insert(sent["kind"].as_str().unwrap().to_owned());
        }
    }
    let expected = ["ConfigMap", "GRPCRoute", "Gateway", "GrpcPolicy", "ListenerSet", "ReferenceGrant"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
