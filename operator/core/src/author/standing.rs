//! Whether an object that a service wants is there as it is wanted.
//!
//! an object as it is applied, the world → yes or no
//!
//! **Invariant:** yes only if what Sluice reads of the two is the same, so that nothing is said of a generation of the service
//! before the objects of that generation are there.
//!
//! Knows nothing of writes, and nothing of fields that others add: where they do, the answer is no and the writer's word counts.

use crate::{
    key::{Ref, Text},
    world::{
        Object, Own, Reader, Stored,
        backend::ReferenceGrant,
        certificate::Certificate,
        gateway::{Gateway, ListenerSet},
        meta::Meta,
        secret::ConfigMap,
    },
};
use serde_json::Value;
use sluice_api::GrpcPolicySpec;
use std::{collections::BTreeMap, sync::Arc};

/// Costs a copy and a decoding of the object: some ten microseconds.
pub(super) fn is_as_wanted(reference: &Ref, wanted: &Value, read: &Reader) -> bool {
    let Ok(wanted) = Object::decode(reference.kind, wanted.clone()) else { return false };
    match wanted {
        Object::Gateway(wanted) => matches(&wanted, read, |it: &Gateway| (&it.metadata, &it.spec)),
        Object::ListenerSet(wanted) => matches(&wanted, read, |it: &ListenerSet| (&it.metadata, &it.spec)),
        Object::ReferenceGrant(wanted) => matches(&wanted, read, |it: &ReferenceGrant| (&it.metadata, &it.spec)),
        Object::GrpcPolicy(wanted) => matches(&wanted, read, |it: &Own<GrpcPolicySpec>| (&it.metadata, &it.spec)),
        Object::ConfigMap(wanted) => matches(&wanted, read, |it: &ConfigMap| (&it.metadata, &it.data)),
        Object::Certificate(wanted) => matches(&wanted, read, |it: &Certificate| (&it.metadata, &it.spec)),
        Object::Route(wanted) => read.route(reference).is_some_and(|found| {
            labelled(&found.metadata, &wanted.metadata)
                && (&found.parents, &found.hostnames, &found.rules)
                    == (&wanted.parents, &wanted.hostnames, &wanted.rules)
        }),
        _ => false,
    }
}

fn matches<T: Stored, S: PartialEq>(wanted: &Arc<T>, read: &Reader, parts: fn(&T) -> (&Meta, &S)) -> bool {
    let (metadata, spec) = parts(wanted);
    let Some(found) = read.get::<T>(&metadata.key) else { return false };
    let (there, content) = parts(found);
    content == spec && labelled(there, metadata)
}

/// Labels and annotations of others do not matter.
fn labelled(found: &Meta, wanted: &Meta) -> bool {
    let is_in = |wanted: &BTreeMap<Text, Text>, found: &BTreeMap<Text, Text>| {
        wanted.iter().all(|(name, value)| found.get(name) == Some(value))
    };
    is_in(&wanted.labels, &found.labels) && is_in(&wanted.annotations, &found.annotations)
}
