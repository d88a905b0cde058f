//! The manifests of samples and golden files are valid, so that what they show can happen.

use std::fs;

use serde_json::Value;
use sluice_tests::{
    api_server::{Keep, repository},
    golden::{Golden, documents},
    offline,
};

use crate::{make_namespaces, manifests, server};

/// Of kinds whose definitions are Argo CD's.
const OF_OTHERS: &str = "samples/argocd/applications.yaml";

#[test]
fn every_sample_is_accepted() {
    let samples = manifests(&repository().join("samples"));
    assert!(!samples.is_empty(), "there are no samples");
    for path in samples.into_iter().filter(|path| !path.ends_with(OF_OTHERS)) {
        let text = fs::read_to_string(&path).unwrap();
        make_namespaces(&serde_saphyr::from_multiple::<Value>(&text).unwrap());
        let refused = server().apply(&text, Keep::DryRun).err();
        assert_eq!(refused, None, "{}", path.display());
        assert_eq!(offline::admit(&text).err(), None, "{}", path.display());
    }
}

/// What these show cannot be stored: the cluster of a Gateway API of another version may hold it all the same.
const NOT_STORABLE: [&str; 1] = ["gateway-listeners-with-one-hostname-conflict.yaml"];

#[test]
fn every_input_of_a_golden_file_is_accepted() {
    let directory = repository().join("tests/golden");
    let files = manifests(&directory);
    assert!(!files.is_empty(), "there are no golden files");
    let mut refused = Vec::new();
    for path in files {
        let golden = Golden::parse(&fs::read_to_string(&path).unwrap());
        let documents = documents(&golden.input, &directory.join("fixtures")).unwrap();
        make_namespaces(&documents);
        let verdicts = documents.iter().map(renamed).flat_map(|document| {
            let text = document.to_string();
            [server().try_create(&text).err(), offline::admit(&text).err()]
        });
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        refused.extend(verdicts.flatten().map(|refusal| (name.clone(), refusal.message)));
    }
    let names: Vec<_> = refused.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, NOT_STORABLE.map(|name| [name; 2]).concat(), "{refused:#?}");
}

/// Other tests store objects of the same names.
fn renamed(document: &Value) -> Value {
    let mut document = document.clone();
    document["metadata"]["name"] = format!("golden-{}", document["metadata"]["name"].as_str().unwrap()).into();
    document
}
