//! What things are called: object kinds, namespaced names and references.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Interned-by-sharing text; cloning is a reference count.
pub type Text = Arc<str>;

/// Every kind of object that the core reads or writes. Closed, so that a new kind is met in each `match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `sluice.dev/v1alpha1`.
    GrpcService,
    /// `sluice.dev/v1alpha1`, cluster-scoped.
    GatewayProfile,
    /// `sluice.dev/v1alpha1`.
    GrpcPolicy,
    /// `gateway.networking.k8s.io/v1`, cluster-scoped.
    GatewayClass,
    /// `gateway.networking.k8s.io/v1`.
    Gateway,
    /// `gateway.networking.k8s.io/v1`.
    ListenerSet,
    /// `gateway.networking.k8s.io/v1`.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// `gateway.networking.k8s.io/v1`.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// `gateway.networking.k8s.io/v1`. Not implemented: status only.
    #[serde(rename = "TLSRoute")]
    TlsRoute,
    /// `gateway.networking.k8s.io/v1`. Not implemented: status only.
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// `gateway.networking.k8s.io/v1`. Not implemented: status only.
    #[serde(rename = "UDPRoute")]
    UdpRoute,
    /// `gateway.networking.k8s.io/v1beta1` and `v1`.
    ReferenceGrant,
    /// `gateway.networking.k8s.io/v1`.
    #[serde(rename = "BackendTLSPolicy")]
    BackendTlsPolicy,
    /// Core `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// Core `v1`.
    Secret,
    /// Core `v1`.
    ConfigMap,
    /// Core `v1`, cluster-scoped.
    Namespace,
    /// `cert-manager.io/v1`. Written only: what becomes of it is read from its status and its Secret.
    Certificate,
}

/// The group of the Gateway API's kinds.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The group of Sluice's own kinds.
pub const SLUICE_GROUP: &str = "sluice.dev";
/// The group of cert-manager's kinds.
pub const CERT_MANAGER_GROUP: &str = "cert-manager.io";

impl Kind {
    /// All kinds, in the order of declaration.
    pub const ALL: [Self; 19] = [
        Self::GrpcService,
        Self::GatewayProfile,
        Self::GrpcPolicy,
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::GrpcRoute,
        Self::HttpRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::ReferenceGrant,
        Self::BackendTlsPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::Namespace,
        Self::Certificate,
    ];

    /// The API group; empty for the core group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::GrpcService | Self::GatewayProfile | Self::GrpcPolicy => SLUICE_GROUP,
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Certificate => CERT_MANAGER_GROUP,
            Self::Service | Self::Secret | Self::ConfigMap | Self::Namespace => "",
            _ => GATEWAY_GROUP,
        }
    }

    /// The version that Sluice writes and prefers to read.
    pub const fn version(self) -> &'static str {
        match self {
            Self::GrpcService | Self::GatewayProfile | Self::GrpcPolicy => "v1alpha1",
            // Served by every bundle since v1.0; `v1` only since v1.5.
            Self::ReferenceGrant => "v1beta1",
            _ => "v1",
        }
    }

    /// The kind as written in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GrpcService => "GrpcService",
            Self::GatewayProfile => "GatewayProfile",
            Self::GrpcPolicy => "GrpcPolicy",
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::GrpcRoute => "GRPCRoute",
            Self::HttpRoute => "HTTPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::Certificate => "Certificate",
        }
    }

    /// The kind named by a group and a kind, as references in manifests name it.
    pub fn named(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.group() == group && candidate.name() == kind)
    }

    /// Whether objects of this kind live outside of namespaces.
    pub const fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::GatewayProfile | Self::GatewayClass | Self::Namespace)
    }

    /// Whether Sluice writes objects of this kind for others to read, and has no use for those that people write.
    pub const fn is_for_others(self) -> bool {
        matches!(self, Self::Certificate)
    }

    /// What has to be installed for an API server to serve the kind at the version that Sluice reads.
    pub const fn origin(self) -> &'static str {
        match self {
            Self::ListenerSet | Self::TlsRoute => "the CRDs of Gateway API v1.5 or later",
            Self::TcpRoute | Self::UdpRoute => "the CRDs of Gateway API v1.6 or later",
            Self::BackendTlsPolicy => "the CRDs of Gateway API v1.4 or later",
            Self::GrpcRoute => "the CRDs of Gateway API v1.1 or later",
            Self::GatewayClass | Self::Gateway | Self::HttpRoute | Self::ReferenceGrant => {
                "the CRDs of the Gateway API"
            }
            Self::GrpcService | Self::GatewayProfile | Self::GrpcPolicy => "the CRDs of this release of Sluice",
            Self::Certificate => "cert-manager",
            _ => "a complete Kubernetes API server",
        }
    }

    /// Whether this is one of the Gateway API's route kinds.
    pub const fn is_route(self) -> bool {
        matches!(self, Self::GrpcRoute | Self::HttpRoute | Self::TlsRoute | Self::TcpRoute | Self::UdpRoute)
    }

    /// `apiVersion` as written in manifests.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A namespace and a name; the namespace of cluster-scoped objects is empty. Orders as `namespace/name` does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NsName {
    /// Empty for cluster-scoped objects.
    pub namespace: Text,
    /// `metadata.name`.
    pub name: Text,
}

impl NsName {
    /// A namespaced name.
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// A name without a namespace.
    pub fn cluster(name: impl Into<Text>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for NsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub key: NsName,
}

impl Ref {
    /// A reference to `key` of `kind`.
    pub const fn new(kind: Kind, key: NsName) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}
