//! Our finalizer, on what may not vanish before we have withdrawn it.
//!
//! [`Hold`] by object → requests to the API server
//!
//! **Invariant:** finalizers of others stay as they are: the list is written only as it was read.
//!
//! Must not know: why an object is held.

use super::{
    kinds,
    latest::{Latest, Next, Pace},
    writer::{Fault, MANAGER, Verb, Writer},
};
use kube::{
    api::{Patch, PatchParams},
    core::{DynamicObject, ObjectMeta},
};
use serde_json::json;
use sluice_api::FINALIZER;
use sluice_core::key::Ref;
use sluice_engine::Hold;

/// Writes that are under way at once.
const WORKERS: usize = 4;

/// Works for ever.
pub(super) async fn run(writer: &Writer, queue: &Latest<Ref, Hold>) {
    queue.work(WORKERS, |object, hold| act(writer, object, hold)).await;
}

async fn act(writer: &Writer, object: Ref, hold: Hold) -> Next<Hold> {
    match settle(writer, &object, hold).await {
        Ok(()) | Err(Fault::Standby | Fault::Absent(_) | Fault::Leaving) => Next::Done,
        Err(Fault::Stale | Fault::Busy(_)) => Next::Again(hold, Pace::Soon),
        Err(fault @ (Fault::Owned(_) | Fault::Refused(_))) => {
            tracing::error!("the finalizer of {object} cannot be written: {fault}");
            Next::Again(hold, Pace::Slowly)
        }
    }
}

async fn settle(writer: &Writer, object: &Ref, hold: Hold) -> Result<(), Fault> {
    let Some(live) = writer.get(object).await? else { return Ok(()) };
    let Some(finalizers) = wanted(&live.metadata, hold) else { return Ok(()) };
    write(writer, object, &live, &finalizers).await
}

/// Takes our finalizer off an object, if it is there.
pub(super) async fn release(writer: &Writer, object: &Ref) -> Result<(), Fault> {
    settle(writer, object, Hold::Release).await
}

async fn write(writer: &Writer, object: &Ref, live: &DynamicObject, finalizers: &[String]) -> Result<(), Fault> {
    let metadata = json!({"resourceVersion": live.metadata.resource_version, "finalizers": finalizers});
    let (api, patch) = (kinds::api(writer.client.clone(), object), Patch::Merge(json!({"metadata": metadata})));
    let params = PatchParams::apply(MANAGER);
    let request = api.patch(&object.key.name, &params, &patch);
    writer.send(Verb::Patch, object.kind.name(), request).await.map(drop)
}

/// The finalizers as they are to be, if they are not.
fn wanted(metadata: &ObjectMeta, hold: Hold) -> Option<Vec<String>> {
    let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
    let is_held = finalizers.iter().any(|name| name == FINALIZER);
    match hold {
        // The API server takes no new ones once a deletion was asked for.
        Hold::Keep if is_held || metadata.deletion_timestamp.is_some() => None,
        Hold::Keep => {
            finalizers.push(FINALIZER.to_owned());
            Some(finalizers)
        }
        Hold::Release if is_held => {
            finalizers.retain(|name| name != FINALIZER);
            Some(finalizers)
        }
        Hold::Release => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_comes_and_goes_and_those_of_others_stay() {
        let with = |finalizers: &[&str]| ObjectMeta {
            finalizers: Some(finalizers.iter().map(ToString::to_string).collect()),
            ..ObjectMeta::default()
        };
        let list = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(wanted(&with(&["a"]), Hold::Keep), list(&["a", FINALIZER]));
        assert_eq!(wanted(&with(&["a", FINALIZER]), Hold::Keep), None);
        assert_eq!(wanted(&with(&[FINALIZER, "a"]), Hold::Release), list(&["a"]));
        assert_eq!(wanted(&ObjectMeta::default(), Hold::Release), None);
        let going = ObjectMeta {
            deletion_timestamp: Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap()),
            ..with(&["a"])
        };
        assert_eq!(wanted(&going, Hold::Keep), None);
    }
}
