//! How the proxies of a Gateway run.
//!
//! It must not know how they are deployed.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Toleration, apimachinery::pkg::api::resource::Quantity};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::standard;

/// How the proxies of a Gateway run.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.kind) || self.kind != 'DaemonSet' || (!has(self.replicas) && !has(self.autoscaling))")
        .message("a DaemonSet has one proxy for each node: remove replicas and autoscaling, or set kind: Deployment"),
    validation = Rule::new("!has(self.replicas) || !has(self.autoscaling)")
        .message("autoscaling decides the number of proxies: set replicas or autoscaling, not both")
)]
pub struct Proxies {
    /// Deployment: as many proxies for each Gateway as replicas or autoscaling say. DaemonSet: one on each node.
    /// Default: Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProxyKind>,
    /// Number of proxies for each Gateway, 0 to 100. Default: 2.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// A HorizontalPodAutoscaler decides the number of proxies. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Resources of each proxy. Default: requests of 100m CPU and 128Mi memory, no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels of the nodes that proxies may run on. Default: all nodes.
    #[schemars(extend("maxProperties" = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints of nodes that proxies tolerate. Default: none.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Option<Vec<Toleration>>,
    /// The Service in front of the proxies. Default: type LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ProxyService>,
    /// How a proxy ends. Default: as its fields say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

impl Proxies {
    /// What they are, with the default.
    pub fn kind(&self) -> ProxyKind {
        self.kind.unwrap_or_default()
    }

    /// Number of proxies for each Gateway, with the default.
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(2)
    }
}

/// What the proxies of a Gateway are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ProxyKind {
    /// As many as wanted, wherever there is room.
    #[default]
    Deployment,
    /// One on each node.
    DaemonSet,
}

/// Bounds of the number of proxies, and what moves it between them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
        .message("minReplicas is greater than maxReplicas: swap them")
)]
pub struct Autoscaling {
    /// The least number of proxies, 1 to 100. Default: 2, or maxReplicas if that is less.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// The greatest number of proxies, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// Proxies are added while they use more than this share of the CPU that they request, in percent. Default: 70.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cpu_utilization: Option<i32>,
}

impl Autoscaling {
    /// The least number of proxies, with the default.
    pub fn min_replicas(&self) -> i32 {
        self.min_replicas.unwrap_or_else(|| self.max_replicas.min(2))
    }

    /// The share of CPU, with the default.
    pub fn target_cpu_utilization(&self) -> i32 {
        self.target_cpu_utilization.unwrap_or(70)
    }
}

/// Resources of a container, as Kubernetes writes them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct Resources {
    /// What is reserved, by resource name (cpu in cores, memory in bytes, both as quantities such as 100m or 128Mi).
    #[schemars(extend("maxProperties" = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What may not be exceeded, by resource name. Default: no limits.
    #[schemars(extend("maxProperties" = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// The Service in front of proxies.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerClass) || !has(self.type) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass needs type: LoadBalancer")
)]
pub struct ProxyService {
    /// LoadBalancer, NodePort or ClusterIP. Default: LoadBalancer.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,
    /// The load balancer implementation to use. Default: the cluster's.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Cluster spreads connections over all nodes; Local keeps the client's address. Default: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Networks as CIDRs: with type NodePort or ClusterIP, a Gateway may ask for addresses (spec.addresses) in one of these alone.
    /// Every node takes what is sent to such an address from then on (spec.externalIPs of the Service), whoever had it before, so
    /// that only addresses that are the Gateways' should be in them. Default: none.
    #[schemars(schema_with = "networks")]
    #[serde(rename = "externalIPs", default, skip_serializing_if = "Option::is_none")]
    pub external_ips: Option<Vec<String>>,
}

impl ProxyService {
    /// The type of the Service, with the default.
    pub fn service_type(&self) -> ServiceType {
        self.type_.unwrap_or_default()
    }

    /// The networks in which addresses may be asked for, with the default.
    pub fn external_ips(&self) -> &[String] {
        self.external_ips.as_deref().unwrap_or_default()
    }
}

/// Type of a Service.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ServiceType {
    /// Reachable from outside through a load balancer.
    #[default]
    LoadBalancer,
    /// Reachable on a port of every node.
    NodePort,
    /// Reachable inside the cluster.
    ClusterIP,
}

/// How outside connections are spread over nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// Over all nodes.
    #[default]
    Cluster,
    /// Only over nodes with a proxy.
    Local,
}

/// Networks as CIDRs. What has the form and is none, such as 192.0.2.0/33, holds no address.
fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 49, "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$"},
    })
}

/// How a proxy ends.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// How long running calls may go on after a proxy was asked to end, as a duration. New connections go elsewhere meanwhile.
    /// Default: 60s.
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How long a proxy that was asked to end goes on taking new connections, as a duration: until every load balancer knows that
    /// it is leaving. Within the timeout. Default: 5s.
    #[schemars(schema_with = "standard::duration")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
}

impl Drain {
    /// How long running calls may go on, with the default.
    pub fn timeout(&self) -> &str {
        self.timeout.as_deref().unwrap_or("60s")
    }

    /// How long new connections are taken, with the default.
    pub fn delay(&self) -> &str {
        self.delay.as_deref().unwrap_or("5s")
    }
}
