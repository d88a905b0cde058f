//! A null watcher: it lists and watches as a controller does, decodes, and does nothing. What the API alone costs.
//!
//! API server → when each object was seen
//!
//! **Invariant:** no controller that decodes JSON can know of a change before this does, but for the jitter of the machine.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// Group, version, kind of what a controller of the Gateway API watches.
const KINDS: [(&str, &str, &str); 3] = [
    ("gateway.networking.k8s.io", "v1", "GRPCRoute"),
    ("", "v1", "Service"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
];

/// A watch of GRPCRoutes in this process, which notes when it saw which version of what.
#[derive(Debug)]
pub struct Watcher {
    seen: Arc<Mutex<Vec<(String, Instant)>>>,
    length: watch::Receiver<usize>,
    task: JoinHandle<Result<()>>,
}

impl Watcher {
    /// Starts it.
    pub fn start(client: Client) -> Self {
        let (sender, length) = watch::channel(0);
        let seen = Arc::<Mutex<Vec<(String, Instant)>>>::default();
        let task = tokio::spawn(note(client, Arc::clone(&seen), sender));
        Self { seen, length, task }
    }

    /// When the version of an object that a write made was seen here.
    pub async fn saw(&mut self, object: &Value) -> Result<Instant> {
        let version = object["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?;
        loop {
            let known = *self.length.borrow_and_update();
            let found = {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.iter().rev().find(|(seen, _)| seen == version).map(|(_, at)| *at)
            };
            match found {
                Some(at) => return Ok(at),
                None => drop(timeout(Duration::from_secs(10), self.length.wait_for(|length| *length > known)).await??),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn api(client: Client, (group, version, kind): (&str, &str, &str)) -> Api<DynamicObject> {
    Api::all_with(client, &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

async fn note(client: Client, seen: Arc<Mutex<Vec<(String, Instant)>>>, length: watch::Sender<usize>) -> Result<()> {
    let mut events = pin!(watcher::watcher(api(client, KINDS[0]), watcher::Config::default()));
    while let Some(event) = events.try_next().await? {
        let (Event::Apply(object) | Event::Delete(object)) = event else { continue };
        let version = object.metadata.resource_version.unwrap_or_default();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push((version, Instant::now()));
        length.send_modify(|length| *length += 1);
    }
    Ok(())
}

/// Watches all that a controller would until the process is ended; says `listed` with the seconds that the lists took.
pub async fn idle(client: Client) -> Result<()> {
    let begun = Instant::now();
    let (sender, mut listed) = tokio::sync::mpsc::channel(KINDS.len());
    for kind in KINDS {
        let (api, sender) = (api(client.clone(), kind), sender.clone());
        tokio::spawn(async move {
            let mut events = pin!(watcher::watcher(api, watcher::Config::default()));
            while let Some(event) = events.try_next().await? {
                if matches!(event, Event::InitDone) {
                    sender.send(()).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    for _ in KINDS {
        listed.recv().await.context("a watch ended")?;
    }
    println!("listed {:.3}", begun.elapsed().as_secs_f64());
    std::future::pending().await
}
