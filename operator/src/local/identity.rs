//! What an API server remembers of an object beside what is written: since when it exists, and which generation it is.
//!
//! (object as admitted, identity so far) → identity, stamped into `metadata`
//!
//! **Invariant:** precedence between routes survives a restart: the time of creation is that of the first reading, kept in the
//! state directory, and only an object that was away gets a new one.
//!
//! It must not know files or schemas.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sluice_core::key::Ref;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The memory of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// To the second, as Kubernetes has it: objects of one reading are as old as each other, and names decide between them.
    pub(crate) created: DateTime<Utc>,
    /// From 1.
    pub(crate) generation: i64,
    /// Of what a generation counts. A release of Rust that hashes differently costs one generation.
    digest: u64,
}

impl Identity {
    /// The identity of `value`, given the one that it had. A time of creation that is written down counts as such.
    pub(crate) fn next(before: Option<&Self>, value: &Value, now: DateTime<Utc>) -> Self {
        let digest = digest(value);
        let created = written_time(value).or(before.map(|known| known.created)).unwrap_or_else(|| now.trunc_subsecs(0));
        let generation = before.map_or(1, |known| known.generation + i64::from(known.digest != digest));
        Self { created, generation, digest }
    }

    /// Fills `metadata` in and drops `status`, which nobody but the controller writes.
    pub(crate) fn stamp(&self, reference: &Ref, value: &mut Value) {
        let Some(object) = value.as_object_mut() else { return };
        object.remove("status");
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        let Some(metadata) = metadata.as_object_mut() else { return };
        let uid = format!("{}.{}.{}", reference.kind, reference.key, self.created.timestamp());
        metadata.entry("uid").or_insert_with(|| json!(uid));
        metadata.insert("generation".to_owned(), json!(self.generation));
        metadata.insert("creationTimestamp".to_owned(), json!(self.created));
    }
}

fn written_time(value: &Value) -> Option<DateTime<Utc>> {
    value.pointer("/metadata/creationTimestamp")?.as_str()?.parse().ok()
}

fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    let fields = value.as_object().into_iter().flatten();
    for (name, field) in fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")) {
        (name, field.to_string()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_core::key::{Kind, NsName};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 500).unwrap()
    }

    #[test]
    fn a_generation_counts_changes_of_the_specification_alone() {
        let first = Identity::next(None, &json!({"metadata": {}, "spec": 1}), at(5));
        let relabelled =
            Identity::next(Some(&first), &json!({"metadata": {"labels": {}}, "status": 3, "spec": 1}), at(6));
        let edited = Identity::next(Some(&relabelled), &json!({"metadata": {}, "spec": 2}), at(7));
        assert_eq!((first.generation, relabelled.generation, edited.generation), (1, 1, 2));
        assert_eq!(edited.created, DateTime::from_timestamp(5, 0).unwrap());
    }

    #[test]
    fn a_stamped_object_has_no_status_and_a_written_time_counts() {
        let mut value = json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"}, "status": {}, "spec": 1});
        let identity = Identity::next(None, &value, at(5));
        identity.stamp(&Ref::new(Kind::Service, NsName::new("a", "b")), &mut value);
        let expected = json!({
            "metadata": {"creationTimestamp": "2026-01-02T03:04:05Z", "generation": 1, "uid": "Service.a/b.1767323045"},
            "spec": 1,
        });
        assert_eq!(value, expected);
    }
}
