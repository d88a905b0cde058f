//! Level 1's writes: objects are applied, removed or let go, and the engine hears what became of that.
//!
//! [`Work`] by object → requests to the API server → [`Input::Wrote`]
//!
//! **Invariant:** an object that is not ours is never changed: it is a condition. Ours are those that our owner owns, and those that
//! were given to us by annotation.
//! **Invariant:** what is already there as wanted is not written.
//! **Invariant:** what somebody changes of ours is repaired; with whoever changes it again and again there is no race.
//! **Invariant:** a write holds only for the object that was looked at: each carries its resource version.
//!
//! Must not know: what the objects mean.

use super::{
    drift,
    events::{Events, Note},
    kinds,
    latest::{Latest, Next, Pace},
    writer::{Fault, MANAGER, Verb, Writer},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};
use sluice_api::{ADOPT_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL};
use sluice_core::{
    key::{Kind, NsName, Ref, Text},
    world::{Object, secret::Secret},
};
use sluice_engine::{Apply, Input, WriteOutcome};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Writes that are under way at once.
pub(super) const WORKERS: usize = 8;

/// What somebody undoes is repaired so often at once; whoever still insists gets his way for a while, and is named.
const REPAIRS: u32 = 3;

/// What is to be done to an object. Not Debug: key material is in it.
#[derive(Clone)]
pub(super) enum Work {
    /// It is to be like this, which is this generation of what is wanted; it was so and was undone so often of late.
    Put { wanted: Value, generation: i64, repairs: u32 },
    /// Key material that was made for it, and the Secret that it is to replace: another one is the work of another leader.
    Issued(Value, Option<Arc<Secret>>),
    /// It is to go, if it is this service's.
    Remove(NsName),
    /// It is to stay when this service goes.
    Orphan(NsName),
}

impl Work {
    /// What the engine knows the end of this work by; nobody waits for the end of a removal.
    fn generation(&self) -> Option<i64> {
        match self {
            Self::Put { generation, .. } => Some(*generation),
            Self::Issued(..) => Some(0),
            Self::Remove(_) | Self::Orphan(_) => None,
        }
    }

    /// The same after others were given time.
    fn insistent(self) -> Self {
        match self {
            Self::Put { wanted, generation, .. } => Self::Put { wanted, generation, repairs: 0 },
            other => other,
        }
    }
}

impl From<Apply> for Work {
    fn from(apply: Apply) -> Self {
        match apply {
            Apply::Put { value, generation, repairs, .. } => Self::Put { wanted: value, generation, repairs },
            Apply::Remove { service, .. } => Self::Remove(service),
            Apply::Orphan { service, .. } => Self::Orphan(service),
        }
    }
}

/// Does the work.
pub(super) struct Applier {
    writer: Writer,
    inputs: mpsc::Sender<Vec<Input>>,
    events: Events,
}

impl Applier {
    pub(super) fn new(writer: Writer, inputs: mpsc::Sender<Vec<Input>>, events: Events) -> Self {
        Self { writer, inputs, events }
    }

    /// Works for ever.
    pub(super) async fn run(&self, queue: &Latest<Ref, Work>) {
        queue.work(WORKERS, |object, work| self.act(object, work)).await;
    }

    async fn act(&self, object: Ref, work: Work) -> Next<Work> {
        let generation = work.generation();
        let (outcome, next) = match self.write(&object, &work).await {
            Ok(done @ WriteOutcome::Done { .. }) => (Some(done), Next::Done),
            Ok(outcome) => (Some(outcome), Next::Again(work.insistent(), Pace::Slowly)),
            Err(Fault::Standby) => (None, Next::Done),
            Err(Fault::Owned(who)) => (Some(WriteOutcome::Foreign(who)), Next::Again(work, Pace::Slowly)),
            Err(Fault::Refused(words) | Fault::Absent(words)) => {
                (Some(WriteOutcome::Refused(words)), Next::Again(work, Pace::Slowly))
            }
            // Nothing can be made there any more; once the namespace is gone, so is the service, and this becomes a removal.
            Err(Fault::Leaving) => (None, Next::Again(work, Pace::Slowly)),
            Err(fault @ (Fault::Stale | Fault::Busy(_))) => {
                tracing::debug!("{object} is written again: {fault}");
                (None, Next::Again(work, Pace::Soon))
            }
        };
        if let (Some(outcome), Some(generation)) = (outcome, generation) {
            // Fails only when the engine has ended, and then nobody wants to know.
            let _ = self.inputs.send(vec![Input::Wrote { reference: object, generation, outcome }]).await;
        }
        next
    }

    async fn write(&self, object: &Ref, work: &Work) -> Result<WriteOutcome, Fault> {
        let live = self.writer.get(object).await?;
        match work {
            Work::Put { wanted, repairs, .. } => match live.as_ref().filter(|_| *repairs > REPAIRS) {
                Some(live) if is_contested(wanted, live) => Ok(WriteOutcome::Foreign(drift::rival(live))),
                _ => self.put(object, wanted, live.as_ref()).await,
            },
            Work::Issued(_, seen) if is_another(live.as_ref(), seen.as_deref()) => Ok(gone()),
            Work::Issued(secret, _) => {
                let outcome = self.put(object, secret, live.as_ref()).await?;
                self.announce(object, secret, &outcome);
                Ok(outcome)
            }
            Work::Remove(service) => self.remove(object, service, live).await,
            Work::Orphan(service) => self.orphan(object, service, live).await,
        }
    }

    async fn put(&self, object: &Ref, wanted: &Value, live: Option<&DynamicObject>) -> Result<WriteOutcome, Fault> {
        put(&self.writer, &kinds::api(self.writer.client.clone(), object), wanted, live).await
    }

    async fn remove(&self, object: &Ref, service: &NsName, live: Option<DynamicObject>) -> Result<WriteOutcome, Fault> {
        let Some(live) = live.filter(|live| is_of(service, &live.metadata)) else { return Ok(gone()) };
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(gone());
        }
        let api = kinds::api(self.writer.client.clone(), object);
        delete(&self.writer, &api, &live).await?;
        Ok(gone())
    }

    async fn orphan(&self, object: &Ref, service: &NsName, live: Option<DynamicObject>) -> Result<WriteOutcome, Fault> {
        let Some(live) = live.filter(|live| is_owned(service, &live.metadata)) else { return Ok(gone()) };
        let is_other = |owner: &&OwnerReference| !is_service(service, owner);
        let others: Vec<_> = live.metadata.owner_references.iter().flatten().filter(is_other).collect();
        let metadata = json!({
            "resourceVersion": live.metadata.resource_version,
            "labels": {MANAGED_BY_LABEL: null, SERVICE_LABEL: null},
            "ownerReferences": others,
        });
        let (api, patch) =
            (kinds::api(self.writer.client.clone(), object), Patch::Merge(json!({"metadata": metadata})));
        let params = PatchParams::apply(MANAGER);
        let request = api.patch(&object.key.name, &params, &patch);
        self.writer.send(Verb::Patch, object.kind.name(), request).await?;
        Ok(gone())
    }

    fn announce(&self, object: &Ref, secret: &Value, outcome: &WriteOutcome) {
        let owner = secret.pointer("/metadata/ownerReferences/0/name").and_then(Value::as_str);
        if let (Some(owner), WriteOutcome::Done { .. }) = (owner, outcome) {
            let service = Ref::new(Kind::GrpcService, NsName::new(object.key.namespace.clone(), owner));
            self.events.note(Note::normal(service, "CertificateIssued", format!("Issued the certificate of {object}")));
        }
    }
}

/// Applies an object, unless what is there is somebody else's or already like it.
pub(super) async fn put(
    writer: &Writer,
    api: &Api<DynamicObject>,
    wanted: &Value,
    live: Option<&DynamicObject>,
) -> Result<WriteOutcome, Fault> {
    let mut params = PatchParams::apply(MANAGER);
    let mut wanted = wanted.clone();
    if let Some(live) = live {
        if let Some(owner) = foreign(&wanted, &live.metadata) {
            return Ok(WriteOutcome::Foreign(owner));
        }
        if drift::is_applied(&wanted, live) {
            return Ok(stored(live));
        }
        params = params.force();
        if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(live.metadata.resource_version));
        }
    }
    let text = |pointer: &str| wanted.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let patch = Patch::Apply(&wanted);
    let answer = writer.send(Verb::Apply, text("/kind"), api.patch(text("/metadata/name"), &params, &patch)).await?;
    Ok(stored(&answer))
}

fn stored(object: &DynamicObject) -> WriteOutcome {
    WriteOutcome::Done { stored: object.metadata.generation.unwrap_or_default() }
}

/// Nothing is left to be done to an object that is not to be ours.
const fn gone() -> WriteOutcome {
    WriteOutcome::Done { stored: 0 }
}

/// Deletes the object that was looked at, and no other. What depends on it goes in the background.
pub(super) async fn delete(writer: &Writer, api: &Api<DynamicObject>, live: &DynamicObject) -> Result<(), Fault> {
    let (uid, resource_version) = (live.metadata.uid.clone(), live.metadata.resource_version.clone());
    let params = DeleteParams::background().preconditions(Preconditions { uid, resource_version });
    let kind = live.types.as_ref().map_or("", |types| types.kind.as_str());
    let name = live.metadata.name.as_deref().unwrap_or_default();
    match writer.send(Verb::Delete, kind, api.delete(name, &params)).await {
        Ok(_) | Err(Fault::Absent(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Whether what is ours was changed by somebody else.
fn is_contested(wanted: &Value, live: &DynamicObject) -> bool {
    foreign(wanted, &live.metadata).is_none() && !drift::is_applied(wanted, live)
}

/// Who made what stands in the place of `wanted`, if it was not who wants it.
fn foreign(wanted: &Value, live: &ObjectMeta) -> Option<Text> {
    let text = |owner: &Map<String, Value>, name: &str| owner.get(name).and_then(Value::as_str).map(str::to_owned);
    let owners = wanted.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let owner = owners.filter_map(Value::as_object).find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let label = |name: &str| live.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let annotation = |name: &str| live.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let ours = match (owner, controller(live)) {
        (Some(owner), Some(held)) => text(owner, "uid").as_ref() == Some(&held.uid),
        (Some(owner), None) => annotation(ADOPT_ANNOTATION).is_some_and(|name| text(owner, "name") == Some(name)),
        (None, held) => held.is_none() && label(MANAGED_BY_LABEL) == Some(MANAGED_BY),
    };
    let who =
        || controller(live).map_or_else(|| "nobody".into(), |owner| format!("{} {}", owner.kind, owner.name).into());
    (!ours).then(who)
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether a service made an object, whichever of the services that had this name.
fn is_of(service: &NsName, metadata: &ObjectMeta) -> bool {
    let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    label(MANAGED_BY_LABEL) == Some(MANAGED_BY)
        && label(SERVICE_LABEL) == Some(&service.name)
        && controller(metadata).is_some_and(|owner| is_service(service, owner))
}

/// Whether an object would be collected with a service, whatever has become of its labels.
fn is_owned(service: &NsName, metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| is_service(service, owner))
}

fn is_service(service: &NsName, owner: &OwnerReference) -> bool {
    owner.kind == Kind::GrpcService.name() && owner.name == *service.name
}

/// Whether the Secret that is there is another one than the engine knew when it asked for its successor.
fn is_another(live: Option<&DynamicObject>, seen: Option<&Secret>) -> bool {
    let held = live.and_then(|live| serde_json::to_value(live).ok());
    let held = held.and_then(|value| Object::decode(Kind::Secret, value).ok());
    let Some(Object::Secret(held)) = held else { return false };
    seen.is_none_or(|seen| held.data != seen.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        json!({"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    fn foreign_to(wanted: &Value, live: &Value) -> Option<Text> {
        foreign(&json!({"metadata": wanted}), &serde_json::from_value(live.clone()).unwrap())
    }

    #[test]
    fn ours_is_what_our_owner_owns_and_what_was_given_to_us() {
        let wanted = json!({"ownerReferences": [owner("GrpcService", "echo", "1")]});
        let cases = [
            (json!({"ownerReferences": [owner("GrpcService", "echo", "1")]}), None),
            (json!({"ownerReferences": [owner("GrpcService", "echo", "2")]}), Some("GrpcService echo")),
            (json!({"ownerReferences": [owner("Certificate", "x", "3")]}), Some("Certificate x")),
            (json!({"labels": {MANAGED_BY_LABEL: MANAGED_BY}}), Some("nobody")),
            (json!({"annotations": {ADOPT_ANNOTATION: "echo"}}), None),
            (json!({"annotations": {ADOPT_ANNOTATION: "other"}}), Some("nobody")),
            (
                json!({"annotations": {ADOPT_ANNOTATION: "echo"}, "ownerReferences": [owner("Certificate", "x", "3")]}),
                Some("Certificate x"),
            ),
        ];
        for (live, expected) in cases {
            assert_eq!(foreign_to(&wanted, &live).as_deref(), expected, "{live}");
        }
    }

    #[test]
    fn what_nobody_owns_is_ours_by_its_label() {
        let wanted = json!({});
        assert_eq!(foreign_to(&wanted, &json!({"labels": {MANAGED_BY_LABEL: MANAGED_BY}})), None);
        assert_eq!(foreign_to(&wanted, &json!({})).as_deref(), Some("nobody"));
    }

    #[test]
    fn only_what_a_service_made_is_removed_for_it_and_what_it_owns_is_let_go() {
        let service = NsName::new("ns", "echo");
        let labels = json!({MANAGED_BY_LABEL: MANAGED_BY, SERVICE_LABEL: "echo"});
        let cases = [
            (json!({"labels": labels, "ownerReferences": [owner("GrpcService", "echo", "1")]}), true, true),
            (json!({"labels": labels}), false, false),
            (json!({"ownerReferences": [owner("GrpcService", "echo", "1")]}), false, true),
            (json!({"labels": labels, "ownerReferences": [owner("GrpcService", "other", "1")]}), false, false),
        ];
        for (live, made, owned) in cases {
            let metadata = serde_json::from_value(live.clone()).unwrap();
            assert_eq!((is_of(&service, &metadata), is_owned(&service, &metadata)), (made, owned), "{live}");
        }
    }
}
