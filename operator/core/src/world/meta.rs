//! What is kept of `metadata`, and how objects are decoded from JSON.

use super::word::words;
use crate::key::{Kind, NsName, Text};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The part of `metadata` that means something to Sluice. Everything else is dropped at decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub key: NsName,
    /// Identity across deletion and re-creation; empty where nothing assigned one.
    pub uid: Text,
    /// Generation of the spec; 0 where nothing assigned one.
    pub generation: i64,
    /// Creation time: precedence between equals goes to the older object.
    pub created: DateTime<Utc>,
    /// Whether a deletion was asked for.
    pub deleting: bool,
    /// All labels (selectors read them).
    pub labels: BTreeMap<Text, Text>,
    /// Annotations of the groups that Sluice reads (`sluice.dev/`, `gateway.networking.k8s.io/`), and all of what a GrpcService controls:
    /// it may have asked for them.
    pub annotations: BTreeMap<Text, Text>,
    /// Finalizers of the group `sluice.dev`.
    pub finalizers: Vec<Text>,
    /// The owner with `controller: true`.
    pub controller: Option<Owner>,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind as written.
    pub kind: Text,
    /// Name in the same namespace.
    pub name: Text,
    /// The owner's uid.
    pub uid: Text,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    #[serde(deserialize_with = "words")]
    namespace: Option<Text>,
    name: Text,
    uid: Text,
    generation: i64,
    creation_timestamp: Option<DateTime<Utc>>,
    deletion_timestamp: Option<DateTime<Utc>>,
    labels: Option<BTreeMap<Text, Text>>,
    annotations: Option<BTreeMap<Text, Text>>,
    finalizers: Option<Vec<Text>>,
    owner_references: Option<Vec<WireOwner>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireOwner {
    kind: Text,
    name: Text,
    uid: Text,
    controller: bool,
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Wire::deserialize(deserializer).map(Self::from)
    }
}

impl From<Wire> for Meta {
    fn from(wire: Wire) -> Self {
        let mut annotations = wire.annotations.unwrap_or_default();
        let mut finalizers = wire.finalizers.unwrap_or_default();
        finalizers.retain(|name| name.starts_with("sluice.dev/"));
        let owner = wire.owner_references.unwrap_or_default().into_iter().find(|owner| owner.controller);
        let is_generated = owner.as_ref().is_some_and(|owner| &*owner.kind == Kind::GrpcService.name());
        let is_read = |name: &str| name.starts_with("sluice.dev/") || name.starts_with("gateway.networking.k8s.io/");
        annotations.retain(|name, _| is_generated || is_read(name));
        Self {
            key: NsName::new(wire.namespace.unwrap_or_default(), wire.name),
            uid: wire.uid,
            generation: wire.generation,
            created: wire.creation_timestamp.unwrap_or_default(),
            deleting: wire.deletion_timestamp.is_some(),
            labels: wire.labels.unwrap_or_default(),
            annotations,
            finalizers,
            controller: owner.map(|owner| Owner { kind: owner.kind, name: owner.name, uid: owner.uid }),
        }
    }
}

/// Decodes a list and gives its spare room back: most lists of an object have one entry, and a list that grows has room for four.
pub(super) fn tight<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::deserialize(deserializer).map(shrunk)
}

/// A list without spare room.
pub(crate) fn shrunk<T>(mut list: Vec<T>) -> Vec<T> {
    list.shrink_to_fit();
    list
}

/// The order between objects that claim the same thing: the older, then `namespace/name`.
pub fn seniority(meta: &Meta) -> (DateTime<Utc>, &NsName) {
    (meta.created, &meta.key)
}
