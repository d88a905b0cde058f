//! The objects of local mode: what the manifests say, as far as it is valid.
//!
//! texts of files → [`Change`]s against the reading before, and findings
//!
//! **Invariant:** the last good version of an object stays until a good one replaces it or its document is gone from a file
//! that can be read; an unreadable directory is an unreadable file as far as everything below it goes.
//! **Invariant:** the same texts and identities give the same objects; a reading that changes nothing gives no changes.
//!
//! It must not know how files are found or watched, nor what becomes of changes.

use super::{
    admission::{Admission, Subject, subject},
    endpoints::Endpoints,
    finding::{Finding, Place, Severity},
    identity::Identity,
    manifest::{Document, Manifest, parse},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName, Ref, Text},
    world::{Change, Object},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// A file as it was found, or a directory that could not be looked into.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// As the user named it, or below what the user named.
    pub(crate) file: Arc<str>,
    /// Its text, or why it could not be read.
    pub(crate) text: Result<String, String>,
}

/// What a reading changed.
#[derive(Debug, Default)]
pub(crate) struct Update {
    /// In the order of kinds and names; deletions last.
    pub(crate) changes: Vec<Change>,
    /// Everything that is to be said about the files as they are now.
    pub(crate) findings: Vec<Finding>,
}

/// Identities by object, as they are kept over restarts.
pub(crate) type Identities = BTreeMap<String, Identity>;

/// All objects, and what they were made from.
#[derive(Debug, Default)]
pub(crate) struct Store {
    admission: Admission,
    /// Endpoints from the command line.
    endpoints: Endpoints,
    files: BTreeMap<Arc<str>, (String, Arc<Manifest>)>,
    written: BTreeMap<Ref, Written>,
    /// What the engine was told: the written objects and those that exist without being written.
    current: BTreeMap<Ref, Value>,
    identities: Identities,
}

/// An object from a document.
#[derive(Clone, Debug)]
struct Written {
    /// As in the document: equal text needs no second admission.
    document: Value,
    /// Complete.
    value: Value,
    place: Place,
}

impl Store {
    /// An empty store that remembers identities.
    pub(crate) fn new(endpoints: Endpoints, identities: Identities) -> Self {
        Self { endpoints, identities, ..Self::default() }
    }

    /// All objects, complete.
    pub(crate) fn objects(&self) -> &BTreeMap<Ref, Value> {
        &self.current
    }

    /// Where an object is written; `None` for those that exist without being written.
    pub(crate) fn place(&self, reference: &Ref) -> Option<&Place> {
        self.written.get(reference).map(|written| &written.place)
    }

    /// To be kept over restarts.
    pub(crate) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Takes a reading of all files.
    pub(crate) fn read(&mut self, sources: &[Source], now: DateTime<Utc>) -> Update {
        let mut findings = Vec::new();
        let (documents, doubtful) = self.parse(sources, &mut findings);
        let claims = claim(documents, &mut findings);
        let mut written = BTreeMap::new();
        for (reference, document) in claims {
            if let Some(taken) = self.take(&reference, &document, now, &mut findings) {
                written.insert(reference, taken);
            }
        }
        for (reference, kept) in std::mem::take(&mut self.written) {
            if is_within(&kept.place.file, &doubtful) {
                written.entry(reference).or_insert(kept);
            }
        }
        self.written = written;
        self.forget_identities();
        findings.extend(self.endpoints.advice(&self.values(), &|reference| self.place(reference).cloned()));
        findings.sort();
        Update { changes: self.replace(&mut findings), findings }
    }

    /// The documents in the order of files, and the files and directories whose objects may be missing from them.
    fn parse(&mut self, sources: &[Source], findings: &mut Vec<Finding>) -> (Vec<Document>, BTreeSet<Arc<str>>) {
        let mut doubtful = BTreeSet::new();
        let mut documents = Vec::new();
        let before = std::mem::take(&mut self.files);
        for source in sources {
            let text = match &source.text {
                Ok(text) => text,
                Err(reason) => {
                    findings.push(Finding::error(Place { file: source.file.clone(), line: 0 }, reason));
                    doubtful.insert(source.file.clone());
                    continue;
                }
            };
            let known = before.get(&source.file).filter(|(old, _)| old == text).map(|(_, manifest)| manifest.clone());
            let manifest = known.unwrap_or_else(|| Arc::new(parse(&source.file, text)));
            if !manifest.findings.is_empty() {
                doubtful.insert(source.file.clone());
            }
            findings.extend(manifest.findings.iter().cloned());
            documents.extend(manifest.documents.iter().cloned());
            self.files.insert(source.file.clone(), (text.clone(), manifest));
        }
        (documents, doubtful)
    }

    /// The object of a document: admitted, or the version before.
    fn take(
        &mut self,
        reference: &Ref,
        document: &Document,
        now: DateTime<Utc>,
        findings: &mut Vec<Finding>,
    ) -> Option<Written> {
        let before = self.written.get(reference);
        if let Some(same) = before.filter(|before| before.document == document.value) {
            return Some(Written { place: document.place.clone(), ..same.clone() });
        }
        let admitted = self.admission.admit(reference, document, before.map(|before| &before.value));
        match admitted {
            Ok(mut value) => {
                let name = reference.to_string();
                let identity = Identity::next(self.identities.get(&name), &value, now);
                identity.stamp(reference, &mut value);
                self.identities.insert(name, identity);
                Some(Written { document: document.value.clone(), value, place: document.place.clone() })
            }
            Err(refused) => {
                findings.extend(refused);
                before.cloned()
            }
        }
    }

    fn forget_identities(&mut self) {
        let names: BTreeSet<_> = self.written.keys().map(ToString::to_string).collect();
        self.identities.retain(|name, _| names.contains(name));
    }

    fn values(&self) -> BTreeMap<Ref, &Value> {
        self.written.iter().map(|(reference, written)| (reference.clone(), &written.value)).collect()
    }

    /// Makes the written objects, and those that go without saying, the current ones.
    fn replace(&mut self, findings: &mut Vec<Finding>) -> Vec<Change> {
        let next = self.compose();
        let mut changes = Vec::new();
        for (reference, value) in next.iter().filter(|(reference, value)| self.current.get(*reference) != Some(*value))
        {
            match Object::decode(reference.kind, value.clone()) {
                Ok(object) => changes.push(Change::Upsert(object)),
                // Admission has decoded what was written, so this is one of the others.
                Err(error) => {
                    let place = self.place(reference).cloned();
                    findings.extend(place.map(|place| Finding::error(place, error.to_string())));
                }
            }
        }
        let gone = self.current.keys().filter(|reference| !next.contains_key(*reference));
        changes.extend(gone.cloned().map(Change::Delete));
        self.current = next;
        changes
    }

    fn compose(&self) -> BTreeMap<Ref, Value> {
        let written = self.written.iter();
        let mut all: BTreeMap<_, _> =
            written.map(|(reference, kept)| (reference.clone(), kept.value.clone())).collect();
        for (reference, value) in self.endpoints.slices(&self.values()).into_iter().chain(standing(&all)) {
            all.entry(reference).or_insert(value);
        }
        for (reference, value) in all.iter_mut().filter(|(reference, _)| reference.kind == Kind::Namespace) {
            label_with_name(reference, value);
        }
        all
    }
}

/// Whether a file is one of these, or below one that is a directory. O(depth of the path) look-ups.
fn is_within(file: &str, sources: &BTreeSet<Arc<str>>) -> bool {
    Path::new(file).ancestors().filter_map(Path::to_str).any(|place| sources.contains(place))
}

/// The document that speaks for each object: the first.
fn claim(documents: Vec<Document>, findings: &mut Vec<Finding>) -> BTreeMap<Ref, Document> {
    let mut claims = BTreeMap::<Ref, Document>::new();
    for document in documents {
        match subject(&document) {
            Subject::Skipped(finding) | Subject::Broken(finding) => findings.push(finding),
            Subject::Known(reference) => match claims.get(&reference) {
                Some(first) => {
                    let words =
                        format!("{reference} is already at {}, and that one counts: remove one of them", first.place);
                    findings.push(Finding::error(document.place, words));
                }
                None => {
                    claims.insert(reference, document);
                }
            },
        }
    }
    claims
}

/// Objects that a cluster has without anybody writing them: the namespaces in use, and the class that the operator makes.
fn standing(written: &BTreeMap<Ref, Value>) -> Vec<(Ref, Value)> {
    let namespaces: BTreeSet<Text> =
        written.keys().map(|reference| reference.key.namespace.clone()).filter(|name| !name.is_empty()).collect();
    let namespaces = namespaces.into_iter().map(|name| {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &*name}});
        (Ref::new(Kind::Namespace, NsName::cluster(name)), value)
    });
    namespaces.chain([class()]).collect()
}

fn class() -> (Ref, Value) {
    let value = json!({
        "apiVersion": Kind::GatewayClass.api_version(),
        "kind": Kind::GatewayClass.name(),
        "metadata": {"name": sluice_api::GATEWAY_CLASS},
        "spec": {"controllerName": sluice_api::CONTROLLER_NAME},
    });
    (Ref::new(Kind::GatewayClass, NsName::cluster(sluice_api::GATEWAY_CLASS)), value)
}

/// Source: Kubernetes, the NamespaceDefaultLabelName feature: the API server sets this label on every namespace.
fn label_with_name(reference: &Ref, value: &mut Value) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(&*reference.key.name));
    }
}

/// Those that were not there before, for saying each once.
pub(crate) fn news<'f>(before: &[Finding], now: &'f [Finding]) -> Vec<&'f Finding> {
    now.iter().filter(|finding| !before.contains(finding)).collect()
}

/// Whether any of them refuses something.
pub(crate) fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
