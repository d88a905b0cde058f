//! The pods, and what decides how many of them run and when they may go.

use super::{BOOTSTRAP, IDENTITY, METRICS, READINESS, RUN, Settings, admin_socket, name};
use crate::{
    cluster::proxies::{names, quantity},
    drain::Patience,
};
use serde_json::{Map, Value, json};
use sluice_api::profile::{Autoscaling, Proxies};
use sluice_core::{duration, translate::infrastructure::Infrastructure};
use sluice_envoy::bootstrap::STATISTICS;
use std::{collections::BTreeMap, time::Duration};

/// The user that proxies run as; the image need not know it.
const USER: u32 = 65532;
/// What the kubelet and Envoy take to end a pod beyond its drain, with room.
const ENDING: Duration = Duration::from_secs(15);
/// A proxy that was ready for so long has taken the place of one that goes: endpoints and load balancers know it by then.
const SETTLED_SECONDS: u32 = 5;

/// The pods of a Gateway.
pub(super) struct Pods<'a> {
    pub(super) of: &'a Infrastructure,
    pub(super) settings: &'a Settings,
    /// A hash of the files that Envoy reads once.
    pub(super) bootstrap: String,
}

impl Pods<'_> {
    pub(super) fn deployment(&self) -> Value {
        let mut spec = json!({
            "selector": { "matchLabels": names::selector(self.of) },
            "minReadySeconds": SETTLED_SECONDS,
            "revisionHistoryLimit": 2,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": self.template(),
        });
        // Whoever scales owns the number: an autoscaler that we made, otherwise we.
        if let (None, Some(fields)) = (&self.of.proxies.autoscaling, spec.as_object_mut()) {
            fields.insert("replicas".to_owned(), json!(self.of.proxies.replicas()));
        }
        spec
    }

    pub(super) fn daemon_set(&self) -> Value {
        json!({
            "selector": { "matchLabels": names::selector(self.of) },
            "minReadySeconds": SETTLED_SECONDS,
            "revisionHistoryLimit": 2,
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": self.template(),
        })
    }

    fn template(&self) -> Value {
        let mut annotations = names::annotations(self.of);
        annotations.insert(names::POD_GATEWAY.to_owned(), self.of.gateway.name.to_string());
        annotations.insert("sluice.dev/bootstrap".to_owned(), self.bootstrap.clone());
        for (name, value) in
            [("scrape", "true".to_owned()), ("port", METRICS.to_string()), ("path", STATISTICS.to_owned())]
        {
            annotations.entry(format!("prometheus.io/{name}")).or_insert(value);
        }
        json!({ "metadata": { "labels": names::labels(self.of), "annotations": annotations }, "spec": self.pod() })
    }

    fn pod(&self) -> Value {
        let (drain, _) = ending(&self.of.proxies);
        let mut pod = json!({
            "serviceAccountName": name(self.of),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": (drain + ENDING).as_secs(),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
                // One of Kubernetes' safe ones: a listener's own port is bound without any capability.
                "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
            },
            "topologySpreadConstraints": [self.spread("kubernetes.io/hostname"), self.spread("topology.kubernetes.io/zone")],
            "containers": [self.container()],
            "volumes": [
                { "name": "bootstrap", "configMap": { "name": name(self.of) } },
                { "name": "identity", "secret": { "secretName": name(self.of), "defaultMode": 0o440 } },
                { "name": "run", "emptyDir": { "sizeLimit": "16Mi" } },
            ],
        });
        if let Some(fields) = pod.as_object_mut() {
            fields.extend(placement(&self.of.proxies));
        }
        pod
    }

    /// As even as can be, but a proxy in the wrong place is better than none.
    fn spread(&self, over: &str) -> Value {
        json!({
            "maxSkew": 1,
            "topologyKey": over,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": names::selector(self.of) },
        })
    }

    /// There is no liveness probe: a proxy that waits for its first configuration must not be killed for it, and Envoy's own watchdog
    /// ends one that hangs.
    fn container(&self) -> Value {
        let (drain, delay) = ending(&self.of.proxies);
        let stop = json!([
            "/usr/local/bin/sluice",
            "proxy",
            "drain",
            "--admin",
            admin_socket(),
            "--timeout",
            seconds(drain),
            "--delay",
            seconds(delay)
        ]);
        let probe = json!({ "path": "/ready", "port": "readiness", "scheme": "HTTP" });
        json!({
            "name": "envoy",
            "image": self.settings.image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": ["/usr/local/bin/envoy"],
            "args": self.arguments(drain),
            "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }],
            "ports": [port("readiness", READINESS), port("metrics", METRICS)],
            "readinessProbe": { "httpGet": probe, "periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 2 },
            "lifecycle": { "preStop": { "exec": { "command": stop } } },
            "resources": resources(&self.of.proxies),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [
                { "name": "bootstrap", "mountPath": BOOTSTRAP, "readOnly": true },
                { "name": "identity", "mountPath": IDENTITY, "readOnly": true },
                { "name": "run", "mountPath": RUN },
            ],
        })
    }

    fn arguments(&self, drain: Duration) -> Vec<String> {
        let window = Patience::window(drain).as_secs().to_string();
        let config = format!("{BOOTSTRAP}/envoy.json");
        let gateway = self.of.gateway.to_string();
        ["--config-path", &config, "--service-node", "$(POD_NAME)", "--service-cluster", &gateway]
            .into_iter()
            .chain(["--drain-strategy", "gradual", "--drain-time-s", &window])
            .chain(["--disable-hot-restart", "--log-level", "warn"])
            .map(str::to_owned)
            .collect()
    }
}

/// Any one proxy may go, unless another one is missing. A budget that keeps the only proxy would keep its node.
pub(super) fn budget(of: &Infrastructure) -> Value {
    json!({
        "maxUnavailable": 1,
        "selector": { "matchLabels": names::selector(of) },
        // One that is not ready serves nobody, and must not keep a node from being emptied.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    })
}

pub(super) fn autoscaler(deployment: &str, bounds: &Autoscaling) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": bounds.target_cpu_utilization() });
    json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment },
        "minReplicas": bounds.min_replicas(),
        "maxReplicas": bounds.max_replicas,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": target } }],
    })
}

/// How long calls may take to end, and how long new connections are taken. What the CRD's schema would refuse means the defaults.
fn ending(proxies: &Proxies) -> (Duration, Duration) {
    let drain = proxies.drain.clone().unwrap_or_default();
    let timeout = duration::parse(drain.timeout()).unwrap_or(Duration::from_mins(1));
    (timeout, duration::parse(drain.delay()).unwrap_or(Duration::from_secs(5)).min(timeout))
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "containerPort": port, "protocol": "TCP" })
}

fn placement(proxies: &Proxies) -> Map<String, Value> {
    let selector = proxies.node_selector.as_ref().map(|labels| ("nodeSelector".to_owned(), json!(labels)));
    let tolerations = proxies.tolerations.as_ref().map(|taints| ("tolerations".to_owned(), json!(taints)));
    selector.into_iter().chain(tolerations).collect()
}

fn resources(proxies: &Proxies) -> Value {
    let canonical = |amounts: &BTreeMap<String, _>| -> Map<_, _> {
        let amount = |(name, amount): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
            (name.clone(), json!(quantity::canonical(&amount.0)))
        };
        amounts.iter().map(amount).collect()
    };
    let Some(from) = &proxies.resources else {
        return json!({ "requests": { "cpu": "100m", "memory": "128Mi" } });
    };
    let requests = from.requests.as_ref().map(|amounts| ("requests".to_owned(), json!(canonical(amounts))));
    let limits = from.limits.as_ref().map(|amounts| ("limits".to_owned(), json!(canonical(amounts))));
    requests.into_iter().chain(limits).collect::<Map<_, _>>().into()
}
