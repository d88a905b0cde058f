//! What became of a `GrpcService`.
//!
//! YAML → types
//!
//! **Invariant:** every condition type is there from the first write, each with the generation that it judged.
//!
//! It must not know how conditions are found.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a `GrpcService`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcServiceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The generation of the spec by which callers are answered now. It stays behind while proxies refuse a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_generation: Option<i64>,
    /// Where callers reach the service.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub endpoints: Vec<Endpoint>,
    /// The certificate in use, where spec.tls asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// What each Gateway says about the generated route.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gateways: Vec<GatewayState>,
    /// The generated objects.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub resources: Vec<GeneratedObject>,
    /// Ready, which is the roll-up of Generated, CertificateReady, Accepted, ResolvedRefs, PolicyAccepted and Programmed; and
    /// RulesInOrder, which only informs.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// An address and port where callers reach a hostname.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct Endpoint {
    /// Name of the entry of spec.gateways, or "default".
    pub gateway: String,
    /// The hostname. Absent if the listeners take any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// IP address or DNS name of the Gateway.
    pub address: String,
    /// Port of the listener.
    pub port: i32,
}

/// The certificate in use.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The Secret that holds it.
    pub secret_name: String,
    /// The ConfigMap with the CA certificate (key ca.crt), for clients. Only with type SelfSigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_name: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When a new one is made. Absent with type Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Time>,
}

/// What one Gateway says about the generated route.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct GatewayState {
    /// Name of the entry of spec.gateways, or "default".
    pub name: String,
    /// The conditions of the route's parent, as its controller wrote them.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A generated object.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct GeneratedObject {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Applied: written as wanted. Pending: still to be written. Foreign: made by somebody else, and left alone.
    pub state: ObjectState,
    /// Who owns a Foreign object, or why the write failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a generated object is written.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum ObjectState {
    /// Still to be written.
    #[default]
    Pending,
    /// Written as wanted.
    Applied,
    /// Made by somebody else, and left alone.
    Foreign,
    /// The write was refused.
    Failed,
}
