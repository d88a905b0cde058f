//! `GrpcPolicy`: timeouts and retries for GRPCRoutes, by policy attachment (GEP-713).
//!
//! YAML → types
//!
//! **Invariant:** it holds only what GRPCRoute cannot say, and grows by added fields.
//!
//! It must not know whether it was generated or written by hand.

use gateway_api::grpcroutes::GrpcRouteParentRefs;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    standard,
    traffic::{Retry, Timeouts},
};

/// Timeouts and retries of GRPCRoutes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "GrpcPolicy",
    plural = "grpcpolicies",
    namespaced,
    category = "gateway-api",
    status = "GrpcPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    label("gateway.networking.k8s.io/policy", "Direct"),
    doc = "A GrpcPolicy sets timeouts and retries for GRPCRoutes of its namespace or for single rules of theirs. Of two policies for one target the older one holds, then the first by name; a policy for a rule holds over one for its route.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[0].name"),
    printcolumn(name = "Section", type_ = "string", json_path = ".spec.targetRefs[0].sectionName"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.timeouts) || has(self.retry)")
        .message("the policy says nothing: set timeouts or retry"),
    validation = Rule::new(crate::traffic::PER_TRY_WITHIN_REQUEST)
        .message("retry.perTryTimeout is longer than timeouts.request: make it shorter, or the request longer")
)]
pub struct GrpcPolicySpec {
    /// The routes, or rules of routes, that the policy is for: 1 to 16, in the policy's namespace.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new(
            "self.all(a, self.exists_one(b, a.name == b.name && (has(a.sectionName) ? a.sectionName : '') \
             == (has(b.sectionName) ? b.sectionName : '')))"
        ).message("two targetRefs name the same route and section: remove one")
    )]
    pub target_refs: Vec<TargetRef>,
    /// Timeouts of calls. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Retries by the proxy. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A GRPCRoute of the policy's namespace, or one rule of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// The group of the target: gateway.networking.k8s.io.
    #[schemars(schema_with = "standard::gateway_group")]
    pub group: String,
    /// The kind of the target: GRPCRoute.
    #[schemars(schema_with = "standard::grpcroute_kind")]
    pub kind: String,
    /// Name of the route.
    #[schemars(schema_with = "standard::object_name")]
    pub name: String,
    /// Name of a rule of the route. Default: the whole route.
    #[schemars(schema_with = "standard::section_name")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// What became of a policy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct GrpcPolicyStatus {
    /// One entry for each Gateway above the targets and each controller, at most 16.
    #[schemars(length(max = 16))]
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ancestors: Vec<Ancestor>,
}

/// What became of a policy below one Gateway.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// The Gateway or ListenerSet that the target hangs on.
    #[schemars(schema_with = "standard::ancestor_ref")]
    pub ancestor_ref: GrpcRouteParentRefs,
    /// The controller that writes this entry.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// Accepted: True, or False with Conflicted, Invalid or TargetNotFound.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
