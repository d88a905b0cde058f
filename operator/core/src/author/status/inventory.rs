//! How each object of a service stands: `status.resources[]`, and what `Generated` is made of.
//!
//! objects, the outcomes of their writes → [`Item`]s
//!
//! **Invariant:** an object is Applied only if it is there as this generation wants it.
//!
//! Knows nothing of what the objects are for.

use crate::{
    author::{Authored, Desired, WriteOutcome, existing},
    key::{Kind, NsName, Ref, Text},
    world::Reader,
};
use sluice_api::{
    ADOPT_ANNOTATION,
    grpcservice::{GeneratedObject, ObjectState},
    reasons::GeneratedReason,
};
use std::collections::BTreeMap;

/// An object, and how it stands.
pub(super) struct Item {
    object: Ref,
    standing: Standing,
}

/// How an object stands.
enum Standing {
    Applied,
    Pending,
    /// The API server does not serve the kind.
    NotServed,
    /// Its name is taken by an object of this owner.
    Owned(Text),
    /// Somebody else's fields stand in the way.
    Conflict(Text),
    /// The API server said no, or what makes certificates, in these words.
    Refused(Text),
}

/// The objects in the order in which they are written, then the Secrets that have to be made and cannot.
pub(super) fn list(authored: &Authored, outcomes: &BTreeMap<Ref, WriteOutcome>, read: &Reader) -> Vec<Item> {
    let objects = authored.objects.iter().map(|desired| {
        let standing = standing(desired, outcomes.get(&desired.reference), read);
        Item { object: desired.reference.clone(), standing }
    });
    let secret = |key: &NsName| Ref::new(Kind::Secret, key.clone());
    let foreign = authored.report.foreign.iter();
    let foreign = foreign.map(|(key, owner)| Item { object: secret(key), standing: Standing::Owned(owner.clone()) });
    let unmade = authored.issues.iter().filter_map(|issue| {
        let object = secret(&issue.secret);
        let standing = failure(outcomes.get(&object)?)?;
        Some(Item { object, standing })
    });
    objects.chain(foreign).chain(unmade).collect()
}

fn standing(desired: &Desired, outcome: Option<&WriteOutcome>, read: &Reader) -> Standing {
    if !desired.served {
        return Standing::NotServed;
    }
    if let Some(owner) = &desired.foreign {
        return Standing::Owned(owner.clone());
    }
    if let Some(failure) = outcome.and_then(failure) {
        return failure;
    }
    if desired.stands || outcome.is_some_and(|outcome| is_seen(outcome, &desired.reference, read)) {
        Standing::Applied
    } else {
        Standing::Pending
    }
}

fn failure(outcome: &WriteOutcome) -> Option<Standing> {
    match outcome {
        WriteOutcome::Done { .. } => None,
        WriteOutcome::Foreign(who) => Some(Standing::Conflict(who.clone())),
        WriteOutcome::Refused(words) => Some(Standing::Refused(words.clone())),
    }
}

/// What was written has come back, and nobody has written since: what controllers say is about it, and not about the object before it.
fn is_seen(outcome: &WriteOutcome, object: &Ref, read: &Reader) -> bool {
    let WriteOutcome::Done { stored } = outcome else { return false };
    existing(object, read).is_some_and(|meta| meta.generation == *stored)
}

impl Item {
    /// Its entry; Secrets have none.
    pub(super) fn entry(&self) -> Option<GeneratedObject> {
        let kind = self.object.kind;
        let (state, message) = match &self.standing {
            Standing::Applied => (ObjectState::Applied, None),
            Standing::Pending => (ObjectState::Pending, None),
            Standing::NotServed => (ObjectState::Failed, Some(not_served(kind))),
            Standing::Owned(owner) => (ObjectState::Foreign, Some(format!("owned by {owner}"))),
            Standing::Conflict(who) => (ObjectState::Foreign, Some(format!("fields are managed by {who}"))),
            Standing::Refused(words) => (ObjectState::Failed, Some(words.to_string())),
        };
        (kind != Kind::Secret).then(|| GeneratedObject {
            group: kind.group().to_owned(),
            kind: kind.name().to_owned(),
            name: self.object.key.name.to_string(),
            state,
            message,
        })
    }

    /// What stands in the way of a certificate that has to be made.
    pub(super) fn unmade(&self, service: &NsName) -> Option<String> {
        let is_unmade = self.object.kind == Kind::Secret && matches!(self.standing, Standing::Refused(_));
        is_unmade.then(|| self.word(service).1)
    }

    /// What it has to say in `Generated`.
    pub(super) fn word(&self, service: &NsName) -> (GeneratedReason, String) {
        let label = format!("{} {}", self.object.kind, self.object.key.name);
        match &self.standing {
            Standing::Applied => (GeneratedReason::Generated, String::new()),
            Standing::Pending => (GeneratedReason::Pending, format!("{label} is being written")),
            Standing::NotServed => {
                let remedy = instead_of(self.object.kind);
                (GeneratedReason::KindNotServed, format!("{label}: {}{remedy}", not_served(self.object.kind)))
            }
            Standing::Owned(owner) => (
                GeneratedReason::ForeignObject,
                format!(
                    "{label} exists and is owned by {owner}: delete it, or annotate it with \
                     {ADOPT_ANNOTATION}={} to hand it over",
                    service.name
                ),
            ),
            Standing::Conflict(who) => (
                GeneratedReason::FieldConflict,
                format!("{label} has fields that are managed by {who}: take them out there, or delete the object"),
            ),
            Standing::Refused(words) if self.object.kind == Kind::Secret => {
                (GeneratedReason::ApplyFailed, format!("{label} cannot be made: {words}"))
            }
            Standing::Refused(words) => {
                (GeneratedReason::ApplyFailed, format!("the API server refused {label}: {words}"))
            }
        }
    }
}

/// What is missing, and where to get it.
pub(super) fn not_served(kind: Kind) -> String {
    format!("the API server does not serve {} {kind}: install {}", kind.api_version(), kind.origin())
}

/// How a service does without a kind.
fn instead_of(kind: Kind) -> &'static str {
    match kind {
        Kind::ListenerSet => {
            ", or give the service a Gateway of its own, or remove tls to use the certificates of the shared listeners"
        }
        Kind::Certificate => ", or set tls.type to SelfSigned or Secret",
        Kind::GrpcPolicy => ", or remove timeouts and retry",
        _ => "",
    }
}
