//! Gives the number of proxies out of our hands when an autoscaler is to decide it.
//!
//! Server-side apply takes away a field that is no longer applied and that nobody else manages; a Deployment without a number has one
//! replica. So the number that there is goes to another manager first, which never says anything again.

use crate::cluster::writer::{Fault, MANAGER, Verb, Writer};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

/// Holds the number until the autoscaler changes it.
const HOLDER: &str = "sluice-scale";

/// Does so if the number is ours and no longer wanted.
pub(super) async fn let_go(
    writer: &Writer,
    api: &Api<DynamicObject>,
    wanted: &Value,
    live: &DynamicObject,
) -> Result<(), Fault> {
    let Some(replicas) = live.data.pointer("/spec/replicas").filter(|_| wanted.pointer("/spec/replicas").is_none())
    else {
        return Ok(());
    };
    if !is_ours(live) {
        return Ok(());
    }
    let name = live.metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::Apply(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": { "replicas": replicas },
    }));
    let params = PatchParams::apply(HOLDER).force();
    writer.send(Verb::Apply, "Deployment", api.patch(name, &params, &patch)).await.map(|_| ())?;
    // What we looked at is no longer what is there.
    Err(Fault::Stale)
}

fn is_ours(live: &DynamicObject) -> bool {
    let applied = live
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply"));
    let mut fields = applied.filter_map(|entry| entry.fields_v1.as_ref());
    fields.any(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
}
