//! `GrpcService`: hostnames, a certificate, backends and rules, from which the Gateway API objects are generated.
//!
//! YAML → types
//!
//! **Invariant:** lists are of named objects; GRPCRoute's and Gateway's own types stand where those kinds have them, so that
//! their YAML can be pasted in.
//!
//! **Invariant:** optional fields stay absent when they were not written; the methods here say what absence means.
//!
//! It must not know which objects are generated from it.

mod status;

use std::collections::BTreeMap;

use gateway_api::{
    gateways::{GatewayInfrastructure, GatewayListenersAllowedRoutes, GatewayListenersTlsCertificateRefs},
    grpcroutes::{GrpcRouteParentRefs, GrpcRouteRulesBackendRefsFilters, GrpcRouteRulesFilters, GrpcRouteRulesMatches},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::status::{Certificate, Endpoint, GatewayState, GeneratedObject, GrpcServiceStatus, ObjectState};
use crate::{
    standard,
    traffic::{Retry, Timeouts},
};

/// What a gRPC service needs to be reachable.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "GrpcService",
    plural = "grpcservices",
    namespaced,
    shortname = "gsvc",
    category = "gateway-api",
    status = "GrpcServiceStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "A GrpcService exposes gRPC backends under hostnames, with a certificate and rules. Gateway API objects are generated from it: Gateway or ListenerSet, GRPCRoute, GrpcPolicy, Secret, ReferenceGrant.",
    printcolumn(name = "Hosts", type_ = "string", json_path = ".spec.hostnames"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoints[0].address"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 52 characters (lower-case letters, digits, '-'): it is a label value and the prefix of generated names"),
    validation = Rule::new(
        "!has(self.spec.gateways) || self.spec.gateways.all(g, !has(g.own) \
         || self.metadata.name.size() + g.name.size() <= 62)"
    ).message("the Gateway of an own entry is called SERVICE-NAME, which must not exceed 63 characters: shorten metadata.name or the entry's name")
)]
#[x_kube(
    validation = Rule::new("has(self.hostnames) || !has(self.gateways) || !self.gateways.exists(g, has(g.own))")
        .message("hostnames is required with an own Gateway, which has one listener for each: add hostnames, or refer to Gateways by ref only"),
    validation = Rule::new("has(self.hostnames) || !has(self.tls)")
        .message("tls needs hostnames to be a certificate for: add hostnames, or remove tls to use the listeners' certificates"),
    validation = Rule::new("has(self.tls) || !has(self.gateways) || !self.gateways.exists(g, has(g.own))")
        .message("tls is required with an own Gateway: add tls, e.g. {type: SelfSigned}"),
    validation = Rule::new(
        "!has(self.rules) || self.rules.all(r, !has(r.backends) \
         || r.backends.all(b, self.backends.exists(x, x.name == b.name)))"
    ).message("a rule names a backend that spec.backends does not have: add it there, or correct the name"),
    validation = Rule::new(
        "!has(self.reflection) || self.backends.exists(b, b.name == self.reflection.backend)"
    ).message("reflection.backend is not in spec.backends: add it there, or correct the name")
)]
pub struct GrpcServiceSpec {
    /// The hostnames that clients call: 1 to 16 lower-case DNS names. A leading "*." covers any number of labels. No IP
    /// address, no port. May be absent only if no gateway is an own one; the listeners' hostnames hold then.
    #[schemars(schema_with = "standard::hostnames")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostnames: Option<Vec<String>>,
    /// Where the service is reachable: at most 8 entries, each either a Gateway of its own or a reference to an existing one.
    /// Default: the platform's default Gateway (defaultGateway of the GatewayProfile).
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gateways: Option<Vec<GatewayEntry>>,
    /// The certificate for the hostnames. Required with an own Gateway. With references only: absent means the listeners' own
    /// certificates, present means a ListenerSet with this certificate on each Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The Services that answer: 1 to 16. Their weights divide the calls of every rule that names no backends of its own.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(b, has(b.weight)) || !self.exists(b, has(b.weight))")
            .message("some backends have a weight and some have none: set weight on all of them or on none")
    )]
    pub backends: Vec<Backend>,
    /// Which calls go where: at most 15 rules. As in a GRPCRoute, the most specific match wins, whatever the order of the
    /// list (condition RulesInOrder tells where the two differ). Default: one rule for every call.
    #[schemars(length(min = 1, max = 15))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.map(r, has(r.matches) ? r.matches.size() : 1).sum() <= 126")
            .message("the rules have more than 126 matches together: a GRPCRoute holds 128, and reflection takes 2")
    )]
    pub rules: Option<Vec<RouteRule>>,
    /// Serves gRPC reflection (grpc.reflection.v1 and v1alpha) from a backend, so that clients such as grpcurl can list
    /// services. Default: no reflection, unless a rule matches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflection: Option<Reflection>,
    /// Lets other namespaces use this service's own objects, by ReferenceGrants in this namespace: at most 16. Default: none.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["to".into(), "namespace".into()]))]
    pub grants: Option<Vec<Grant>>,
    /// Labels and annotations to put on every generated object. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_metadata: Option<GeneratedMetadata>,
    /// What becomes of the generated objects when the service is deleted. Delete: they go too. Orphan: they stay and keep
    /// serving. Default: Delete.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Where the service is reachable: exactly one of own and ref.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.own) != has(self.ref)")
        .message("a gateway entry needs exactly one of own (a Gateway of this service) and ref (an existing Gateway or ListenerSet)")
)]
pub struct GatewayEntry {
    /// Name of the entry, a DNS label. An own Gateway is called SERVICE-NAME.
    #[schemars(schema_with = "standard::label_name")]
    pub name: String,
    /// A Gateway of this service: one HTTPS listener for each hostname, its proxies, its load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnGateway>,
    /// An existing Gateway (the default kind) or ListenerSet, as a parentRef of GRPCRoute; sectionName and port choose
    /// among its listeners.
    #[schemars(schema_with = "standard::parent_ref")]
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub ref_: Option<GrpcRouteParentRefs>,
}

/// A Gateway of the service's own.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnGateway {
    /// The GatewayClass, of any controller; sluice is the one that the operator makes.
    // Required, so that an own entry is never empty: server-side apply makes null of an object whose last field is taken out.
    #[schemars(length(min = 1, max = 253))]
    pub gateway_class_name: String,
    /// Port of the listeners, 1 to 65535. Default: 443.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Which routes may attach besides this service's own, as in a Gateway's listener. Default: GRPCRoutes of this
    /// namespace ({namespaces: {from: Same}}).
    #[schemars(schema_with = "standard::allowed_routes")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<GatewayListenersAllowedRoutes>,
    /// Labels, annotations and parameters for what is deployed for the Gateway, as in a Gateway. Default: none.
    #[schemars(schema_with = "standard::infrastructure")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
}

impl OwnGateway {
    /// Port of the listeners, with the default.
    pub fn port(&self) -> i32 {
        self.port.unwrap_or(443)
    }
}

/// The certificate of the service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Secret') == has(self.certificateRefs)")
        .message("tls.certificateRefs goes with type: Secret, and only with it: name 1 to 4 Secrets there, or change the type"),
    validation = Rule::new("(self.type == 'CertManager') == has(self.issuerRef)")
        .message("tls.issuerRef goes with type: CertManager, and only with it: name the issuer there, or change the type")
)]
pub struct Tls {
    /// SelfSigned: a CA of this service signs a certificate for its hostnames; the CA certificate is published in the
    /// ConfigMap SERVICE-ca. Secret: the Secrets of certificateRefs. CertManager: cert-manager issues, by issuerRef.
    #[serde(rename = "type")]
    pub type_: TlsType,
    /// The Secrets of type kubernetes.io/tls, 1 to 4, as in a Gateway's listener. A Secret in another namespace needs a
    /// ReferenceGrant there. Only with type Secret.
    #[schemars(schema_with = "standard::certificate_refs")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_refs: Option<Vec<GatewayListenersTlsCertificateRefs>>,
    /// The issuer of cert-manager. Only with type CertManager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

/// Where a certificate comes from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum TlsType {
    /// From a CA of the service's own.
    #[default]
    SelfSigned,
    /// From existing Secrets.
    Secret,
    /// From cert-manager.
    CertManager,
}

/// An issuer of cert-manager.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(schema_with = "standard::object_name")]
    pub name: String,
    /// Kind of the issuer. Default: Issuer (in this namespace); ClusterIssuer is the usual other one.
    #[schemars(schema_with = "standard::kind")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Group of the issuer. Default: cert-manager.io.
    #[schemars(schema_with = "standard::group")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl IssuerRef {
    /// Kind of the issuer, with the default.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Issuer")
    }

    /// Group of the issuer, with the default.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or("cert-manager.io")
    }
}

/// A named Service that answers calls.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct Backend {
    /// Name of the backend, a DNS label, by which rules refer to it.
    #[schemars(schema_with = "standard::label_name")]
    pub name: String,
    /// Share of the calls, in proportion to the sum of all weights: 0 to 1000000. Default: 1. Set it on all backends or on
    /// none.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// The Service and its port.
    pub service: BackendService,
}

impl Backend {
    /// Share of the calls, with the default.
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// A Service and its port.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct BackendService {
    /// Name of the Service.
    #[schemars(schema_with = "standard::object_name")]
    pub name: String,
    /// Namespace of the Service, where a ReferenceGrant must allow GRPCRoutes of this namespace. Default: this namespace.
    #[schemars(schema_with = "standard::namespace")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the Service (not of its pods), 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Which calls go to which backends, and how.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(
    validation = Rule::new(crate::traffic::PER_TRY_WITHIN_REQUEST)
        .message("retry.perTryTimeout is longer than timeouts.request: make it shorter, or the request longer")
)]
pub struct RouteRule {
    /// Name of the rule, a DNS label. It names the rule in statuses and in the generated GRPCRoute.
    #[schemars(schema_with = "standard::label_name")]
    pub name: String,
    /// The calls that the rule is for: at most 64 matches, of which one must hold, as in a GRPCRoute. Default: every call
    /// that no more specific rule takes.
    #[schemars(schema_with = "standard::matches")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<GrpcRouteRulesMatches>>,
    /// What is done to calls and answers: at most 16 filters, as in a GRPCRoute. Default: nothing.
    #[schemars(schema_with = "standard::filters")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<GrpcRouteRulesFilters>>,
    /// Backends of spec.backends that take the calls: at most 16. Default: all of spec.backends, by their weights.
    #[schemars(length(min = 1, max = 16))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(b, has(b.weight)) || !self.exists(b, has(b.weight))")
            .message("some backends of a rule have a weight and some have none: set weight on all of them or on none")
    )]
    pub backends: Option<Vec<RuleBackend>>,
    /// Timeouts of the rule's calls. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Retries by the proxy. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// A backend of a rule.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct RuleBackend {
    /// Name of an entry of spec.backends.
    #[schemars(schema_with = "standard::label_name")]
    pub name: String,
    /// Share of the rule's calls, in proportion to the sum of its weights: 0 to 1000000. Default: 1. Set it on all backends
    /// of the rule or on none.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// What is done to calls that go to this backend: at most 16 filters, as in a GRPCRoute. Default: nothing.
    #[schemars(schema_with = "standard::filters")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<GrpcRouteRulesBackendRefsFilters>>,
}

impl RuleBackend {
    /// Share of the rule's calls, with the default.
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// Where reflection is answered.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct Reflection {
    /// Name of the entry of spec.backends that answers.
    #[schemars(schema_with = "standard::label_name")]
    pub backend: String,
}

/// Permission for another namespace to refer to this service's own objects.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, KubeSchema)]
pub struct Grant {
    /// Service: GRPCRoutes of the namespace may use the Services of spec.backends. Gateway: they may attach to this
    /// service's own Gateways, where allowedRoutes lets them.
    pub to: GrantTarget,
    /// The namespace that is let in.
    #[schemars(schema_with = "standard::namespace")]
    pub namespace: String,
}

/// What a grant is for.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
pub enum GrantTarget {
    /// The Services of `spec.backends` in this namespace.
    Service,
    /// The own Gateways.
    Gateway,
}

/// Labels and annotations of generated objects.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash, KubeSchema)]
pub struct GeneratedMetadata {
    /// Labels, at most 16. Keys by which Argo CD, Flux, Helm and Sluice track objects are refused.
    #[schemars(schema_with = "standard::generated_labels")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations, at most 16. Keys by which Argo CD, Flux, Helm and Sluice track objects are refused.
    #[schemars(schema_with = "standard::generated_annotations")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What becomes of generated objects when their service is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum DeletionPolicy {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay.
    Orphan,
}
