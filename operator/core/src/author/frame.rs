//! What all generated objects share: `apiVersion`, `kind` and `metadata`.

use super::Draft;
use crate::{
    key::{Kind, NsName, Ref, Text},
    world::meta::Meta,
};
use serde_json::{Map, Value, json};
use sluice_api::{GrpcServiceSpec, MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL};
use std::collections::BTreeMap;

/// The service's name, labels, annotations and owner reference.
pub(super) struct Frame {
    pub(super) service: NsName,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner: Value,
}

impl Frame {
    pub(super) fn new(meta: &Meta, spec: &GrpcServiceSpec) -> Self {
        let generated = spec.generated_metadata.clone().unwrap_or_default();
        let mut labels = generated.labels.unwrap_or_default();
        labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY.into());
        labels.insert(SERVICE_LABEL.into(), meta.key.name.to_string());
        Self {
            service: meta.key.clone(),
            labels,
            annotations: generated.annotations.unwrap_or_default(),
            owner: owner_reference(meta),
        }
    }

    /// `<service>-<suffix>` in the service's namespace.
    pub(super) fn sibling(&self, suffix: &str) -> NsName {
        NsName::new(self.service.namespace.clone(), format!("{}-{suffix}", self.service.name))
    }

    /// `metadata` of a generated object.
    pub(super) fn metadata(&self, name: &Text) -> Value {
        let mut metadata = json!({
            "name": name,
            "namespace": self.service.namespace,
            "labels": self.labels,
            "ownerReferences": [self.owner],
        });
        if let (false, Some(fields)) = (self.annotations.is_empty(), metadata.as_object_mut()) {
            fields.insert("annotations".into(), json!(self.annotations));
        }
        metadata
    }

    /// A generated object with a `spec`.
    pub(super) fn draft(&self, kind: Kind, key: NsName, spec: Value) -> Draft {
        self.draft_with(kind, key, Map::from_iter([("spec".to_owned(), spec)]))
    }

    /// A generated object with other top-level fields.
    pub(super) fn draft_with(&self, kind: Kind, key: NsName, fields: Map<String, Value>) -> Draft {
        let mut value = Map::new();
        value.insert("apiVersion".into(), kind.api_version().into());
        value.insert("kind".into(), kind.name().into());
        value.insert("metadata".into(), self.metadata(&key.name));
        value.extend(fields);
        Draft { reference: Ref::new(kind, key), value: Value::Object(value) }
    }
}

/// Without `blockOwnerDeletion`: it only matters to those who delete in the foreground, and where owner references are enforced
/// (OpenShift), saying it takes the right to update finalizers of GrpcServices.
fn owner_reference(meta: &Meta) -> Value {
    json!({
        "apiVersion": Kind::GrpcService.api_version(),
        "kind": Kind::GrpcService.name(),
        "name": meta.key.name,
        "uid": meta.uid,
        "controller": true,
    })
}
