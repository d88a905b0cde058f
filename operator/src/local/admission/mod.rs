//! What an API server does to an object before it stores it, without one.
//!
//! [`Document`] → the object with defaults filled in, or findings with lines
//!
//! **Invariant:** what is admitted decodes: nothing behind admission has to doubt the shape of an object.
//! **Invariant:** what is refused is refused with the line, the reason and, where one can be guessed, the remedy.
//!
//! It must not know of other objects than the old version of the same one: references are the translation's matter.

mod catalogue;
mod structure;

use super::{
    finding::{Finding, Severity},
    manifest::Document,
};
use kube_cel::Validator;
use serde_json::Value;
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::Object,
};
use structure::Values;

/// Checks documents against the embedded schemas.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    catalogue: catalogue::Catalogue,
    checker: structure::Checker,
    validator: Validator,
}

/// What a document is about, as far as can be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subject {
    /// An object of a kind that Sluice reads.
    Known(Ref),
    /// Nothing for Sluice: said once, with the word for it.
    Skipped(Finding),
    /// Not an object.
    Broken(Finding),
}

/// Names the object of a document, whether or not it is valid.
pub(crate) fn subject(document: &Document) -> Subject {
    let text = |path: &str| document.value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    if api_version.is_empty() || kind.is_empty() {
        return Subject::Broken(Finding::error(document.place.clone(), "apiVersion and kind are required"));
    }
    let (group, _) = api_version.rsplit_once('/').unwrap_or_default();
    let Some(known) = Kind::named(group, kind).filter(|kind| !kind.is_for_others()) else {
        return skipped(document, group, kind);
    };
    match text("/metadata/name") {
        "" => Subject::Broken(Finding::error(document.at("metadata"), "metadata.name is required, as text")),
        name => Subject::Known(Ref::new(known, key(known, text("/metadata/namespace"), name))),
    }
}

fn key(kind: Kind, namespace: &str, name: &str) -> NsName {
    match (kind.is_cluster_scoped(), namespace) {
        (true, _) => NsName::cluster(name),
        (false, "") => NsName::new("default", name),
        (false, namespace) => NsName::new(namespace, name),
    }
}

/// A kind of another group is somebody else's; an unknown kind of a group that Sluice reads is a mistake.
fn skipped(document: &Document, group: &str, kind: &str) -> Subject {
    let place = document.at("kind");
    let mut read = Kind::ALL.into_iter().filter(|known| !known.is_for_others());
    if let Some(meant) = read.find(|known| known.name().eq_ignore_ascii_case(kind)) {
        let words =
            format!("there is no {kind} in group {group:?}: write apiVersion: {}, kind: {meant}", meant.api_version());
        return Subject::Broken(Finding::error(place, words));
    }
    Subject::Skipped(Finding::new(Severity::Note, place, format!("{kind} is skipped: Sluice does not read it")))
}

impl Admission {
    /// Checks a document whose subject is known and completes it: defaults filled in, namespace set. `old` is the version that it replaces.
    pub(crate) fn admit(
        &mut self,
        reference: &Ref,
        document: &Document,
        old: Option<&Value>,
    ) -> Result<Value, Vec<Finding>> {
        let at = |path: &str, message: String| vec![Finding::error(document.at(path), message)];
        let api_version = document.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let schema =
            self.catalogue.get(reference.kind, api_version).map_err(|error| at("apiVersion", error.to_string()))?;
        let value = with_namespace(reference, structure::complete(&schema.structure, document.value.clone()));
        let values = if reference.kind == Kind::Secret { Values::Hidden } else { Values::Shown };
        let faults = self.checker.check(&schema.structure, &value, "", values);
        if !faults.is_empty() {
            return Err(faults.into_iter().map(|fault| found(document, &fault.path, &fault.message)).collect());
        }
        check_name(reference).map_err(|message| at("metadata.name", message))?;
        self.validator.validate_compiled(&schema.rules, &value, old).map_err(|errors| {
            let told: Vec<_> = errors.iter().map(|error| with_words(&schema.structure, error)).collect();
            violations(document, &value, &told)
        })?;
        Object::decode(reference.kind, value.clone()).map_err(|error| at("", error.to_string()))?;
        Ok(value)
    }
}

/// In the order of the file, each rule once: a union tests the same value in several places.
fn violations(document: &Document, value: &Value, errors: &[kube_cel::ValidationError]) -> Vec<Finding> {
    let told = |error: &kube_cel::ValidationError| found(document, &error.field_path, &with_value(value, error));
    let mut findings: Vec<_> = errors.iter().map(told).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// A rule that reads a field that is not there refuses with its own words on a server, so here.
fn with_words(schema: &Value, error: &kube_cel::ValidationError) -> kube_cel::ValidationError {
    let mut error = error.clone();
    if error.kind == kube_cel::ErrorKind::EvaluationError
        && let Some(words) = words_of(schema, &error.rule)
    {
        words.clone_into(&mut error.message);
    }
    error
}

fn words_of<'s>(schema: &'s Value, rule: &str) -> Option<&'s str> {
    let is_it = |known: &&Value| known.get("rule").and_then(Value::as_str) == Some(rule);
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    let own = rules.filter(is_it).find_map(|known| known.get("message")?.as_str());
    let fields = schema.as_object().into_iter().flat_map(serde_json::Map::values);
    let items = schema.as_array().into_iter().flatten();
    own.or_else(|| fields.chain(items).find_map(|child| words_of(child, rule)))
}

/// A rule's words, after the value that breaks it where that is short: the words are the same for every object.
fn with_value(object: &Value, error: &kube_cel::ValidationError) -> String {
    let steps = error.field_path.replace('[', "/").replace(']', "").replace('.', "/");
    let value = object.pointer(&format!("/{steps}")).filter(|_| !error.field_path.is_empty());
    match value.and_then(structure::shown_short) {
        Some(value) => format!("{value}: {}", error.message),
        None => error.message.clone(),
    }
}

fn found(document: &Document, path: &str, message: &str) -> Finding {
    let place = document.at(path);
    if path.is_empty() { Finding::error(place, message) } else { Finding::error(place, format!("{path}: {message}")) }
}

fn with_namespace(reference: &Ref, mut value: Value) -> Value {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        if reference.kind.is_cluster_scoped() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), Value::String(reference.key.namespace.to_string()));
        }
    }
    value
}

/// DNS subdomain; namespaces and Services are DNS labels. Source: Kubernetes, `apimachinery/pkg/util/validation`.
fn check_name(reference: &Ref) -> Result<(), String> {
    let label = matches!(reference.kind, Kind::Service | Kind::Namespace);
    let name = &*reference.key.name;
    let (what, most) = if label { ("a DNS label", 63) } else { ("a DNS subdomain", 253) };
    let parts_fit = if label { is_label(name) } else { name.split('.').all(is_label) };
    if parts_fit && name.len() <= most && (reference.key.namespace.is_empty() || is_label(&reference.key.namespace)) {
        return Ok(());
    }
    Err(format!(
        "{:?} must be {what}: lower-case letters, digits and '-', at most {most} characters",
        reference.key.to_string()
    ))
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests;
