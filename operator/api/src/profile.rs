//! `GatewayProfile`: the platform's policy for a GatewayClass, and how its proxies run.
//!
//! YAML → types
//!
//! **Invariant:** an empty profile, or none, means the defaults that the fields name.
//!
//! It must not know which Gateways use it, nor how proxies are deployed.

mod proxies;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::proxies::{
    Autoscaling, Drain, ExternalTrafficPolicy, Proxies, ProxyKind, ProxyService, Resources, ServiceType,
};
use crate::standard;

/// What the platform allows on the Gateways of a class, and how their proxies run.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "GatewayProfile",
    plural = "gatewayprofiles",
    category = "gateway-api",
    derive = "Default",
    derive = "PartialEq",
    doc = "A GatewayProfile says what the platform allows on the Gateways of a class, and how their proxies run. A GatewayClass names it in spec.parametersRef. Without one, the defaults of its fields hold.",
    printcolumn(name = "Cleartext", type_ = "string", json_path = ".spec.cleartext"),
    printcolumn(name = "Shared Hostnames", type_ = "string", json_path = ".spec.sharedHostnames"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.proxies.replicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct GatewayProfileSpec {
    /// Whether a GRPCRoute may attach to an HTTP listener, which serves gRPC without TLS (h2c). Reject: such a route is not
    /// accepted (NotAllowedByListeners). Default: Reject.
    #[serde(default)]
    pub cleartext: Cleartext,
    /// Whether an HTTPRoute and a GRPCRoute may share a hostname on one listener. Reject: the older route is accepted, then the
    /// first by namespace and name. ByContentType: both are, and content-type application/grpc* goes to the GRPCRoute.
    /// Default: Reject.
    #[serde(default)]
    pub shared_hostnames: SharedHostnames,
    /// What a route needs to attach to a Gateway in another namespace. AllowedRoutes: the listener's allowedRoutes, as the
    /// Gateway API says. AllowedRoutesAndReferenceGrant: in addition a ReferenceGrant (GRPCRoute to Gateway) in the
    /// Gateway's namespace. Default: AllowedRoutes.
    #[serde(default)]
    pub cross_namespace_attachment: CrossNamespaceAttachment,
    /// The Gateway of GrpcServices that name none. Default: none; such services say NoDefaultGateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<DefaultGateway>,
    /// Which namespaces may have Gateways of their own (spec.gateways[].own of a GrpcService). Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_gateways: Option<Namespaces>,
    /// Which namespaces may issue grants for their objects (spec.grants of a GrpcService). Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Namespaces>,
    /// Claims of hostnames by suffix, at most 64. The longest suffix that covers a hostname decides; a hostname that no claim
    /// covers is free. A hostname outside of its claim, or a wildcard that reaches into it, is refused with HostnameNotAllowed.
    /// Default: none.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["suffix".into()]))]
    pub hostnames: Option<Vec<HostnameClaim>>,
    /// How the proxies of each Gateway run. Default: as its fields say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Proxies>,
}

/// Whether gRPC may be served without TLS.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Cleartext {
    /// A GRPCRoute attaches to HTTPS listeners only.
    #[default]
    Reject,
    /// A GRPCRoute may attach to HTTP listeners as well.
    Allow,
}

/// Whether routes of two kinds may share a hostname on one listener.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum SharedHostnames {
    /// One of the two is accepted.
    #[default]
    Reject,
    /// Both are; the content type decides.
    ByContentType,
}

/// What attachment across namespaces needs.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum CrossNamespaceAttachment {
    /// `allowedRoutes` of the listener.
    #[default]
    AllowedRoutes,
    /// `allowedRoutes` and a ReferenceGrant.
    AllowedRoutesAndReferenceGrant,
}

/// A Gateway by namespace and name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct DefaultGateway {
    /// Namespace of the Gateway.
    #[schemars(schema_with = "standard::namespace")]
    pub namespace: String,
    /// Name of the Gateway.
    #[schemars(schema_with = "standard::object_name")]
    pub name: String,
}

/// A set of namespaces.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
        .message("selector goes with from: Selector, and only with it: set both or neither")
)]
pub struct Namespaces {
    /// All namespaces, none, or those whose labels the selector matches (All, None or Selector).
    pub from: NamespacesFrom,
    /// Labels of the namespaces. One namespace by name: matchLabels {kubernetes.io/metadata.name: NAME}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces are meant.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum NamespacesFrom {
    /// Every namespace.
    #[default]
    All,
    /// No namespace.
    None,
    /// Those that the selector matches.
    Selector,
}

/// A claim of a domain and everything below it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct HostnameClaim {
    /// The claimed domain, such as example.com: it covers example.com, a.example.com and *.example.com.
    #[schemars(schema_with = "standard::domain")]
    pub suffix: String,
    /// The namespaces that may use hostnames of this domain.
    pub namespaces: Namespaces,
}
