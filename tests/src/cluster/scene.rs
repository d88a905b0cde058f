//! What most tests in a cluster start from: two versions of the echo application in a namespace of their own.
//!
//! a namespace → running pods, and GrpcServices in front of them
//!
//! **Invariant:** the pods take leave as pods in production have to: they serve on for a while after they were asked to end.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, Hostname, Namespace};

/// Seconds for which a pod serves on after it was asked to end, so that everybody hears of it first.
const LEAVE: u32 = 5;
/// Pods of each version.
const REPLICAS: usize = 2;
/// How long after its pods are ready a Service may be without them.
const PUBLISHED: Duration = Duration::from_mins(1);

/// The application.
#[derive(Debug)]
pub struct Scene {
    /// Where it runs.
    pub cluster: Cluster,
    /// Its namespace.
    pub namespace: Namespace,
}

impl Scene {
    /// Deploys `v1` and `v2`, each behind a Service of its name, and waits until they are there.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn set(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let namespace = cluster.namespace(namespace)?;
        for version in ["v1", "v2"] {
            cluster.apply(&namespace.name, &deployment(version).to_string())?;
            cluster.apply(&namespace.name, &service(version).to_string())?;
        }
        let scene = Self { cluster: cluster.clone(), namespace };
        for version in ["v1", "v2"] {
            scene.rolled_out(version)?;
            scene.published(version)?;
        }
        Ok(scene)
    }

    /// Waits until a version's pods are as its Deployment wants them.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn rolled_out(&self, version: &str) -> Result<()> {
        let what = format!("deployment/{version}");
        let arguments = ["rollout", "status", "--namespace", &self.namespace.name, &what, "--timeout=120s"];
        self.cluster.kubectl(&arguments).map(drop)
    }

    /// Waits until a version's pods are endpoints of its Service: after an API server was away, the controller that says so hears of
    /// them half a minute later than the kubelet does.
    fn published(&self, version: &str) -> Result<()> {
        let (namespace, selector) = (&self.namespace.name, format!("kubernetes.io/service-name={version}"));
        let slices = ["get", "endpointslices", "--namespace", namespace, "--selector", &selector, "--output", "json"];
        let deadline = Instant::now() + PUBLISHED;
        loop {
            let list: Value = serde_json::from_str(&self.cluster.kubectl(&slices)?)?;
            let endpoints =
                list["items"].as_array().into_iter().flatten().filter_map(|slice| slice["endpoints"].as_array());
            if endpoints.flatten().filter(|endpoint| endpoint["conditions"]["ready"] == true).count() >= REPLICAS {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{namespace}/{version} has no endpoints {PUBLISHED:?} after its pods were ready"
            );
            // house(sleep): the pace of a poll with a deadline.
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Applies a GrpcService on the platform's default Gateway, and returns how its callers reach it.
    ///
    /// # Errors
    /// When it is not Ready in time.
    pub fn expose(&self, name: &str, hostname: &str) -> Result<Hostname> {
        self.apply(&grpc_service(name, hostname))?;
        Hostname::of(&self.cluster, &self.namespace.name, name)
    }

    /// Applies an object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.apply(&self.namespace.name, &object.to_string()).map(drop)
    }
}

/// A GrpcService with a certificate of its own, whose backends are `v1`, with all the weight, and `v2`.
pub fn grpc_service(name: &str, hostname: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "metadata": {"name": name},
        "spec": {
            "hostnames": [hostname],
            "tls": {"type": "SelfSigned"},
            "backends": [
                {"name": "stable", "weight": 100, "service": {"name": "v1", "port": 9000}},
                {"name": "canary", "weight": 0, "service": {"name": "v2", "port": 9000}},
            ],
        },
    })
}

fn deployment(version: &str) -> Value {
    let labels = json!({"app": version});
    let source = json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    // A node that is busy is not a backend that is away: with no request a pod starves beside everything else on it, and
    // three probes that are a second late in a row take all backends from the proxies.
    let container = json!({
        "name": "echo", "image": "sluice.local/echo:v0.1.0", "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 9000}], "env": [source], "resources": {"requests": {"cpu": "50m"}},
        "readinessProbe": {"grpc": {"port": 9000}, "periodSeconds": 1, "timeoutSeconds": 5},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": version},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

fn service(version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": version},
        "spec": {"selector": {"app": version}, "ports": [{"name": "grpc", "port": 9000}]},
    })
}
