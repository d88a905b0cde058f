//! What the engine was told of one source, and what is different now.
//!
//! JSON of objects → [`Change`]s
//!
//! **Invariant:** after a list, the engine knows exactly what the list held, whatever was missed before: one difference, at once.
//! **Invariant:** an object that does not decode keeps its last good form, and no other object notices.
//! **Invariant:** what has the version that is known is not decoded again, and what says what was told is not told again: nobody is
//! woken by statuses, annotations and managed fields that nobody reads.
//!
//! Must not know: how the JSON got here.

use super::proxies::addresses;
use serde::Deserialize;
use serde_json::Value;
use sluice_api::{MANAGED_BY, MANAGED_BY_LABEL};
use sluice_core::{
    key::{Kind, NsName, Ref, Text},
    world::{Change, DecodeError, Object, observed::Observed},
};
use std::{collections::BTreeMap, mem, sync::Arc};
use twox_hash::XxHash64;

/// The objects of a source that the engine was told of.
#[derive(Debug)]
pub(super) struct Known {
    kind: Kind,
    entries: BTreeMap<NsName, Entry>,
    fronts: Fronts,
    undecodable: usize,
}

/// The Gateways whose addresses a Service is, by the Service.
type Fronts = BTreeMap<NsName, NsName>;

#[derive(Clone, Debug)]
struct Entry {
    /// Hash of the resource version, which is opaque.
    version: u64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The world has this very object, so that nothing is kept twice.
    Told(Object),
    Undecodable,
}

impl Entry {
    fn new(head: &Head, outcome: &Result<Vec<Change>, Undecodable>) -> Self {
        let told = outcome.as_deref().ok().and_then(told);
        Self { version: head.hash(), state: told.map_or(State::Undecodable, |object| State::Told(object.clone())) }
    }

    fn is_undecodable(&self) -> bool {
        matches!(self.state, State::Undecodable)
    }

    /// Whether these changes say what was told already: an object, and nothing beside it.
    fn is_told_by(&self, changes: &[Change]) -> bool {
        let State::Told(object) = &self.state else { return false };
        let beside = changes.iter().skip(1).all(|change| matches!(change, Change::Observe(_, None)));
        beside && told(changes) == Some(object)
    }
}

/// The object that was decoded.
fn told(changes: &[Change]) -> Option<&Object> {
    changes.iter().find_map(|change| if let Change::Upsert(object) = change { Some(object) } else { None })
}

/// A list that is still being read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: BTreeMap<NsName, Entry>,
    fronts: Fronts,
    changes: Vec<Change>,
}

/// The part of an object that every object has.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    metadata: HeadMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    #[serde(default)]
    namespace: Text,
    #[serde(default)]
    name: Text,
    resource_version: String,
}

impl Head {
    /// Reads it out of an object's JSON.
    pub(super) fn of(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The version to go on from.
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn key(&self) -> NsName {
        NsName { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    fn hash(&self) -> u64 {
        XxHash64::oneshot(0, self.version().as_bytes())
    }
}

/// An object that does not decode.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {source}: its last good form stays in force")]
pub(super) struct Undecodable {
    object: NsName,
    source: DecodeError,
}

impl Known {
    /// Nothing was told yet.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, entries: BTreeMap::new(), fronts: Fronts::new(), undecodable: 0 }
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them do not decode.
    pub(super) fn undecodable(&self) -> usize {
        self.undecodable
    }

    /// An object is there, or is different.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn upsert(&mut self, head: &Head, text: &str) -> Result<Vec<Change>, Undecodable> {
        let outcome = self.decode(head, text);
        let key = key_of(&outcome, head);
        let before = self.enter(key.clone(), Entry::new(head, &outcome));
        let mut changes = outcome?;
        if before.is_some_and(|before| before.is_told_by(&changes)) {
            return Ok(Vec::new());
        }
        let now = front(&changes);
        let before = match now.clone() {
            Some(now) => self.fronts.insert(key, now),
            None => self.fronts.remove(&key),
        };
        changes.extend(before.filter(|before| now.as_ref() != Some(before)).map(unreached));
        Ok(changes)
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, head: &Head) -> Vec<Change> {
        let key = head.key();
        let before = self.entries.remove(&key);
        self.undecodable -= usize::from(before.is_some_and(|entry| entry.is_undecodable()));
        let front = self.fronts.remove(&key);
        front.map(unreached).into_iter().chain([Change::Delete(Ref::new(self.kind, key))]).collect()
    }

    /// Takes an object into a list.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn note(&self, listing: &mut Listing, head: &Head, text: &str) -> Result<(), Undecodable> {
        let (key, version) = (head.key(), head.hash());
        if let Some(known) = self.entries.get(&key).filter(|known| known.version == version) {
            listing.fronts.extend(self.fronts.get(&key).map(|gateway| (key.clone(), gateway.clone())));
            listing.entries.insert(key, known.clone());
            return Ok(());
        }
        let outcome = self.decode(head, text);
        let key = key_of(&outcome, head);
        listing.entries.insert(key.clone(), Entry::new(head, &outcome));
        let changes = outcome?;
        listing.fronts.extend(front(&changes).map(|gateway| (key, gateway)));
        listing.changes.extend(changes);
        Ok(())
    }

    /// Swaps a complete list in: what it lacks is gone. Costs O(objects).
    pub(super) fn replace(&mut self, listing: Listing) -> Vec<Change> {
        let before = mem::replace(&mut self.entries, listing.entries);
        self.undecodable = self.entries.values().filter(|entry| entry.is_undecodable()).count();
        let fronts = mem::replace(&mut self.fronts, listing.fronts);
        let lost = fronts.into_iter().filter(|(key, gateway)| self.fronts.get(key) != Some(gateway));
        let lost = lost.map(|(_, gateway)| unreached(gateway));
        let gone = before.into_keys().filter(|key| !self.entries.contains_key(key));
        let gone = gone.map(|key| Change::Delete(Ref::new(self.kind, key)));
        lost.chain(listing.changes).chain(gone).collect()
    }

    fn enter(&mut self, key: NsName, entry: Entry) -> Option<Entry> {
        self.undecodable += usize::from(entry.is_undecodable());
        let before = self.entries.insert(key, entry);
        self.undecodable -= usize::from(before.as_ref().is_some_and(Entry::is_undecodable));
        before
    }

    fn decode(&self, head: &Head, text: &str) -> Result<Vec<Change>, Undecodable> {
        decode(self.kind, text).map_err(|source| Undecodable { object: head.key(), source })
    }
}

/// The key that the world keeps, or else a copy: there are as many as objects.
fn key_of(outcome: &Result<Vec<Change>, Undecodable>, head: &Head) -> NsName {
    outcome.as_deref().ok().and_then(told).map_or_else(|| head.key(), |object| object.key().clone())
}

/// The Gateway whose addresses were told.
fn front(changes: &[Change]) -> Option<NsName> {
    changes
        .iter()
        .find_map(|change| if let Change::Addresses(gateway, _) = change { Some(gateway.clone()) } else { None })
}

fn unreached(gateway: NsName) -> Change {
    Change::Addresses(gateway, Vec::new())
}

/// What an object's JSON says: the object, what its status says where somebody rolls it up, and the addresses that it stands for.
fn decode(kind: Kind, text: &str) -> Result<Vec<Change>, DecodeError> {
    let object = trimmed(Object::parse(kind, text)?);
    let also = match rolled_up(&object) {
        _ if is_ours(&object) => addresses(text).map_err(|source| DecodeError { kind, source })?,
        Some(rolled_up) => {
            let status = if rolled_up == RolledUp::Now { observed(kind, text)? } else { None };
            Some(Change::Observe(object.reference(), status))
        }
        None => None,
    };
    Ok([object.into()].into_iter().chain(also).collect())
}

/// Whether it is a Service that may stand for a Gateway. Of all others nothing more is read.
fn is_ours(object: &Object) -> bool {
    let Object::Service(service) = object else { return false };
    service.metadata.labels.get(MANAGED_BY_LABEL).is_some_and(|owner| **owner == *MANAGED_BY)
}

fn addresses(service: &str) -> Result<Option<Change>, serde_json::Error> {
    let service: Value = serde_json::from_str(service)?;
    Ok(addresses::of(&service).map(|(gateway, addresses)| Change::Addresses(gateway, addresses)))
}

/// Of a ConfigMap only certificates matter.
fn trimmed(object: Object) -> Object {
    match object {
        Object::ConfigMap(mut map) => {
            Arc::make_mut(&mut map).data.retain(|name, _| &**name == "ca.crt");
            Object::ConfigMap(map)
        }
        other => other,
    }
}

/// Whether somebody reads the status of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RolledUp {
    Now,
    NotNow,
}

/// That of Gateways and ListenerSets, which anybody may refer to, and that of routes and policies that were generated.
fn rolled_up(object: &Object) -> Option<RolledUp> {
    let owner = match object {
        Object::Gateway(_) | Object::ListenerSet(_) => return Some(RolledUp::Now),
        Object::Route(route) => &route.metadata.controller,
        Object::GrpcPolicy(policy) => &policy.metadata.controller,
        Object::Certificate(certificate) => &certificate.metadata.controller,
        _ => return None,
    };
    Some(if owner.is_some() { RolledUp::Now } else { RolledUp::NotNow })
}

fn observed(kind: Kind, text: &str) -> Result<Option<Observed>, DecodeError> {
    #[derive(Deserialize)]
    struct Statused {
        status: Option<Observed>,
    }
    let object: Statused = serde_json::from_str(text).map_err(|source| DecodeError { kind, source })?;
    Ok(object.status)
}

#[cfg(test)]
mod tests;
