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

use serde::Deserialize;
use serde_json::value::RawValue;
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
    undecodable: usize,
}

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
    fn new(head: &Head<'_>, outcome: &Result<Vec<Change>, Undecodable>) -> Self {
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
    changes: Vec<Change>,
}

/// The part of an object that every object has.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    metadata: HeadMeta,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    #[serde(default)]
    namespace: Text,
    #[serde(default)]
    name: Text,
    resource_version: String,
    #[serde(default)]
    generation: i64,
}

impl<'a> Head<'a> {
    /// Reads it out of an object's JSON.
    pub(super) fn of(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// `metadata.generation`; 0 of what has none.
    pub(super) fn generation(&self) -> i64 {
        self.metadata.generation
    }

    /// The status, as it stands there.
    pub(super) fn status(&self) -> Option<&'a RawValue> {
        self.status
    }

    /// The version to go on from.
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Namespace and name.
    pub(super) fn key(&self) -> NsName {
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
        Self { kind, entries: BTreeMap::new(), undecodable: 0 }
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
    pub(super) fn upsert(&mut self, head: &Head<'_>, text: &str) -> Result<Vec<Change>, Undecodable> {
        let outcome = self.decode(head, text);
        if let Ok(changes) = &outcome
            && let Some(known) = self.entries.get_mut(&head.key()).filter(|known| known.is_told_by(changes))
        {
            // The object stays the one that the world has, too: with the equal one there would be two.
            known.version = head.hash();
            return Ok(Vec::new());
        }
        self.enter(key_of(&outcome, head), Entry::new(head, &outcome));
        outcome
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, head: &Head<'_>) -> Change {
        let key = head.key();
        let before = self.entries.remove(&key);
        self.undecodable -= usize::from(before.is_some_and(|entry| entry.is_undecodable()));
        Change::Delete(Ref::new(self.kind, key))
    }

    /// Takes an object into a list.
    ///
    /// # Errors
    /// When it does not decode.
    pub(super) fn note(&self, listing: &mut Listing, head: &Head<'_>, text: &str) -> Result<(), Undecodable> {
        let (key, version) = (head.key(), head.hash());
        if let Some(known) = self.entries.get(&key).filter(|known| known.version == version) {
            listing.entries.insert(key, known.clone());
            return Ok(());
        }
        let outcome = self.decode(head, text);
        let key = key_of(&outcome, head);
        listing.entries.insert(key, Entry::new(head, &outcome));
        listing.changes.extend(outcome?);
        Ok(())
    }

    /// Swaps a complete list in: what it lacks is gone. Costs O(objects).
    pub(super) fn replace(&mut self, listing: Listing) -> Vec<Change> {
        let before = mem::replace(&mut self.entries, listing.entries);
        self.undecodable = self.entries.values().filter(|entry| entry.is_undecodable()).count();
        let gone = before.into_keys().filter(|key| !self.entries.contains_key(key));
        let gone = gone.map(|key| Change::Delete(Ref::new(self.kind, key)));
        listing.changes.into_iter().chain(gone).collect()
    }

    fn enter(&mut self, key: NsName, entry: Entry) {
        self.undecodable += usize::from(entry.is_undecodable());
        let before = self.entries.insert(key, entry);
        self.undecodable -= usize::from(before.is_some_and(|before| before.is_undecodable()));
    }

    fn decode(&self, head: &Head<'_>, text: &str) -> Result<Vec<Change>, Undecodable> {
        decode(self.kind, text).map_err(|source| Undecodable { object: head.key(), source })
    }
}

/// The key that the world keeps, or else a copy: there are as many as objects.
fn key_of(outcome: &Result<Vec<Change>, Undecodable>, head: &Head<'_>) -> NsName {
    outcome.as_deref().ok().and_then(told).map_or_else(|| head.key(), |object| object.key().clone())
}

/// What an object's JSON says: the object, and what its status says where somebody rolls it up.
fn decode(kind: Kind, text: &str) -> Result<Vec<Change>, DecodeError> {
    let object = trimmed(Object::parse(kind, text)?);
    let also = match rolled_up(&object) {
        Some(rolled_up) => {
            let status = if rolled_up == RolledUp::Now { observed(kind, text)? } else { None };
            Some(Change::Observe(object.reference(), status))
        }
        None => None,
    };
    Ok([object.into()].into_iter().chain(also).collect())
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
