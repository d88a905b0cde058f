//! What is there of what was made for Gateways, by name.
//!
//! metadata of labelled objects as they change → which Gateway that concerns, and what each Gateway has
//!
//! **Invariant:** a change that says nothing new, such as a count of pods in a status, concerns nobody.
//!
//! Must not know: what ought to be there.

use super::{names, render::Piece};
use kube::core::ObjectMeta;
use sluice_core::key::{NsName, Text};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};
use twox_hash::XxHash64;

/// An object.
pub(super) type Name = (Piece, NsName);

/// All objects, by Gateway.
#[derive(Debug, Default)]
pub(super) struct Inventory(Mutex<BTreeMap<NsName, BTreeMap<Name, Known>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    class: Text,
    /// A hash of what concerns us.
    mark: u64,
}

impl Inventory {
    /// An object is there, or is different. Returns the Gateways that this concerns.
    pub(super) fn note(&self, piece: Piece, metadata: &ObjectMeta) -> Vec<NsName> {
        let Some(name) = name(piece, metadata) else { return Vec::new() };
        let Some((gateway, class)) = names::owner(metadata) else { return self.forget(&name) };
        let known = Known { class, mark: mark(metadata) };
        let before = self.lock().entry(gateway.clone()).or_default().insert(name, known.clone());
        if before == Some(known) { Vec::new() } else { vec![gateway] }
    }

    /// An object is gone, or no longer ours. Costs O(Gateways).
    pub(super) fn forget(&self, name: &Name) -> Vec<NsName> {
        self.retain(|found| found != name)
    }

    /// These are all the objects of a kind, in one namespace or in all. Costs O(objects).
    pub(super) fn replace(&self, piece: Piece, namespace: Option<&str>, there: &BTreeSet<NsName>) -> Vec<NsName> {
        let listed =
            |(kind, name): &Name| *kind == piece && namespace.is_none_or(|namespace| *name.namespace == *namespace);
        self.retain(|name| !listed(name) || there.contains(&name.1))
    }

    /// What a Gateway has, each with the class that it was made for.
    pub(super) fn of(&self, gateway: &NsName) -> Vec<(Name, Text)> {
        let all = self.lock();
        let found = all.get(gateway).into_iter().flatten();
        found.map(|(name, known)| (name.clone(), known.class.clone())).collect()
    }

    /// The Gateways that have anything.
    pub(super) fn gateways(&self) -> Vec<NsName> {
        self.lock().keys().cloned().collect()
    }

    fn retain(&self, stays: impl Fn(&Name) -> bool) -> Vec<NsName> {
        let mut moved = Vec::new();
        self.lock().retain(|gateway, objects| {
            let before = objects.len();
            objects.retain(|name, _| stays(name));
            if objects.len() < before {
                moved.push(gateway.clone());
            }
            !objects.is_empty()
        });
        moved
    }

    /// Nothing that runs under the lock can leave the map half-changed, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NsName, BTreeMap<Name, Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an object is called.
pub(super) fn name(piece: Piece, metadata: &ObjectMeta) -> Option<Name> {
    Some((piece, NsName::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?)))
}

/// Kinds without a generation have no status of their own, or one that seldom moves: for them each version counts.
fn mark(metadata: &ObjectMeta) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    (&metadata.uid, metadata.generation, &metadata.labels).hash(&mut hasher);
    if metadata.generation.is_none() {
        metadata.resource_version.hash(&mut hasher);
    }
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(name: &str, generation: u32, version: &str) -> ObjectMeta {
        let labels = json!({
            "app.kubernetes.io/component": "proxy",
            "app.kubernetes.io/managed-by": "sluice",
            "gateway.networking.k8s.io/gateway-class-name": "sluice",
        });
        let owner =
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": "1"});
        serde_json::from_value(json!({
            "namespace": "shop", "name": name, "uid": name, "generation": generation, "resourceVersion": version,
            "labels": labels, "ownerReferences": [owner],
        }))
        .unwrap()
    }

    fn edge() -> NsName {
        NsName::new("shop", "edge")
    }

    #[test]
    fn what_is_new_concerns_its_gateway_and_a_status_nobody() {
        let inventory = Inventory::default();
        assert_eq!(inventory.note(Piece::Deployment, &metadata("a", 1, "1")), [edge()]);
        assert_eq!(inventory.note(Piece::Deployment, &metadata("a", 1, "2")), []);
        assert_eq!(inventory.note(Piece::Deployment, &metadata("a", 2, "3")), [edge()]);
        assert_eq!(inventory.of(&edge()), [((Piece::Deployment, NsName::new("shop", "a")), "sluice".into())]);
    }

    #[test]
    fn what_is_gone_or_no_longer_ours_concerns_the_gateway_that_had_it() {
        let inventory = Inventory::default();
        for name in ["a", "b", "c"] {
            inventory.note(Piece::Service, &metadata(name, 1, "1"));
        }
        assert_eq!(inventory.replace(Piece::Deployment, None, &BTreeSet::new()), []);
        assert_eq!(inventory.replace(Piece::Service, Some("other"), &BTreeSet::new()), []);
        let left = BTreeSet::from([NsName::new("shop", "b"), NsName::new("shop", "c")]);
        assert_eq!(inventory.replace(Piece::Service, None, &left), [edge()]);
        let orphan = ObjectMeta { owner_references: None, ..metadata("b", 1, "2") };
        assert_eq!(inventory.note(Piece::Service, &orphan), [edge()]);
        assert_eq!(inventory.forget(&(Piece::Service, NsName::new("shop", "c"))), [edge()]);
        assert!(inventory.gateways().is_empty());
    }
}
