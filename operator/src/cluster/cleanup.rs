//! Before everything is uninstalled: our finalizers are taken off, so that nothing is left that cannot be deleted.
//!
//! GrpcServices and Gateways with our finalizer → the same without it
//!
//! **Invariant:** what it takes off does not come back: it takes the lead first, and keeps it for [`REIGN`].
//! **Invariant:** it waits for no proxy and no deletion, and tries everything before it says what failed.
//!
//! Must not know: what the objects mean, and whether they are served.

use super::{
    fail::FailPoint,
    holds, kinds,
    leadership::Leadership,
    lease::{Terms, usurp},
    writer::{Fault, Writer, Writes},
};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};
use sluice_api::FINALIZER;
use sluice_core::key::{Kind, NsName, Ref};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep_until;

/// So long nobody else leads, from when the former leader has stopped: long enough for the operator to be deleted.
const REIGN: Duration = Duration::from_mins(2);

/// Requests that are under way at once.
const AT_ONCE: usize = 8;

/// Objects in one answer.
const PAGE: u32 = 500;

/// How often an object that moves meanwhile is tried.
const ATTEMPTS: usize = 5;

/// Who holds the Lease meanwhile.
const IDENTITY: &str = "sluice-cleanup";

/// What is cleaned up.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The Lease of the operator.
    pub(crate) lease: NsName,
    /// Where to look; everywhere if empty.
    pub(crate) namespaces: Vec<String>,
}

/// Takes our finalizers off; of how many objects.
///
/// # Errors
/// When the lead cannot be taken, objects cannot be listed, or a finalizer could not be taken off.
pub(crate) async fn run(client: Client, options: &Options) -> anyhow::Result<usize> {
    let terms = Terms::default();
    let leadership = Leadership::default();
    let fail = FailPoint::from_environment()?.map(Arc::new);
    let writer = Writer { client, leadership, writes: Writes::default(), fail, limit: terms.limit() };
    let taken = usurp(&writer, &options.lease, IDENTITY, REIGN).await?;
    // Until then its former holder may still write, whatever the terms are that it was started with.
    let begin = taken.at + taken.others;
    sleep_until(begin).await;
    writer.leadership.elect(begin + REIGN);
    writer.leadership.confirm();
    let mut held = Vec::new();
    for kind in [Kind::GrpcService, Kind::Gateway] {
        held.extend(list(&writer.client, kind, &options.namespaces).await?);
    }
    let outcomes = stream::iter(&held).map(|object| release(&writer, object)).buffer_unordered(AT_ONCE);
    let failed: Vec<String> = outcomes.filter_map(async |outcome| outcome.err()).collect().await;
    anyhow::ensure!(failed.is_empty(), "the finalizer {FINALIZER} stays on {}", failed.join("; "));
    Ok(held.len())
}

/// Removes the Lease that [`run`] has kept, so that another installation need not wait for the end of its reign.
///
/// # Errors
/// When the Lease cannot be read or deleted.
pub(crate) async fn end_reign(client: Client, lease: &NsName) -> anyhow::Result<()> {
    let api: Api<Lease> = Api::namespaced(client, &lease.namespace);
    let Some(live) = api.get_opt(&lease.name).await? else { return Ok(()) };
    if live.spec.and_then(|spec| spec.holder_identity).as_deref() == Some(IDENTITY) {
        api.delete(&lease.name, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// The objects of a kind that have our finalizer.
async fn list(client: &Client, kind: Kind, namespaces: &[String]) -> anyhow::Result<Vec<Ref>> {
    let resource = kinds::resource(kind);
    if namespaces.is_empty() {
        return list_in(&Api::all_with(client.clone(), &resource), kind).await;
    }
    let mut found = Vec::new();
    for namespace in namespaces {
        found.extend(list_in(&Api::namespaced_with(client.clone(), namespace, &resource), kind).await?);
    }
    Ok(found)
}

async fn list_in(api: &Api<DynamicObject>, kind: Kind) -> anyhow::Result<Vec<Ref>> {
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = match api.list_metadata(&params).await.map_err(Fault::from) {
            Ok(page) => page,
            // A kind that is not there has no objects.
            Err(Fault::Absent(_)) => return Ok(found),
            Err(fault) => return Err(anyhow::Error::new(fault).context(format!("listing {kind}"))),
        };
        let held = page.items.iter().filter(|object| object.finalizers().iter().any(|name| name == FINALIZER));
        found.extend(
            held.map(|object| Ref::new(kind, NsName::new(object.namespace().unwrap_or_default(), object.name_any()))),
        );
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

async fn release(writer: &Writer, object: &Ref) -> Result<(), String> {
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        last = holds::release(writer, object).await;
        match last {
            Err(Fault::Stale | Fault::Busy(_)) => {}
            _ => break,
        }
    }
    match last {
        Ok(()) | Err(Fault::Absent(_)) => Ok(()),
        Err(fault) => Err(format!("{object}: {fault}")),
    }
}
