//! Stands in for what a cluster has and an API server alone does not: addresses for load balancers, and pods that run.
//!
//! Services and Deployments without a status → the status that a cluster would write, and a Pod that is ready
//!
//! **Invariant:** only what has no status yet is written to, so that a controller that fights over it is seen.
//!
//! It must not know whose they are.

use std::{pin::pin, time::Instant};

use anyhow::{Result, ensure};
use futures::{Stream, TryStreamExt};
use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    subject::{PACE, PATIENCE},
    writer::Writer,
};
use crate::envoy::Proxy;

/// The tasks. Dropping it ends them.
#[derive(Debug)]
pub struct StandIn([JoinHandle<Result<()>>; 2]);

impl StandIn {
    /// Starts them.
    pub fn start(writer: &Writer) -> Self {
        Self([tokio::spawn(balance(writer.clone())), tokio::spawn(run(writer.clone()))])
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn objects(
    writer: &Writer,
    group: &str,
    kind: &str,
) -> impl Stream<Item = Result<DynamicObject, watcher::Error>> + use<> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(writer.client(), &resource);
    watcher(api, watcher::Config::default()).default_backoff().applied_objects()
}

/// Gives load balancers their addresses.
async fn balance(writer: Writer) -> Result<()> {
    let mut services = pin!(objects(&writer, "", "Service"));
    while let Some(service) = services.try_next().await? {
        let status = &service.data["status"]["loadBalancer"];
        if service.data["spec"]["type"] == "LoadBalancer" && *status == json!({}) {
            let status = json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}});
            // Gone meanwhile: nobody waits for its status.
            let _gone = writer.merge_status(&object("v1", "Service", &metadata(&service), "status", &status)).await;
        }
    }
    Ok(())
}

/// Runs one pod of each Deployment, by the name of the only proxy that there is.
async fn run(writer: Writer) -> Result<()> {
    let mut deployments = pin!(objects(&writer, "apps", "Deployment"));
    while let Some(deployment) = deployments.try_next().await? {
        if !deployment.data["status"]["availableReplicas"].is_null() {
            continue;
        }
        let status = json!({
            "replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1,
            "observedGeneration": deployment.metadata.generation,
        });
        let template = &deployment.data["spec"]["template"];
        let mut pod = metadata(&deployment);
        pod["name"] = json!(Proxy::ID);
        pod["labels"] = template["metadata"]["labels"].clone();
        pod["annotations"] = template["metadata"]["annotations"].clone();
        let wanted = object("v1", "Pod", &pod, "spec", &template["spec"]);
        make(&writer, &wanted).await?;
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let _gone = writer.merge_status(&object("v1", "Pod", &pod, "status", &ready)).await;
        let _gone =
            writer.merge_status(&object("apps/v1", "Deployment", &metadata(&deployment), "status", &status)).await;
    }
    Ok(())
}

/// Its ServiceAccount may come after the Deployment; after a change of the template it is there already. Written out, since the
/// future of an asynchronous closure cannot be known to be one for other threads.
async fn make(writer: &Writer, wanted: &Value) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while writer.create(wanted).await.is_err() && writer.get(wanted).await?.is_none() {
        ensure!(Instant::now() < deadline, "no pod within {PATIENCE:?}");
        // house(sleep): the pace of a poll with a deadline.
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

fn metadata(of: &DynamicObject) -> Value {
    json!({"namespace": of.metadata.namespace, "name": of.metadata.name})
}

fn object(version: &str, kind: &str, metadata: &Value, field: &str, value: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, field: value})
}
