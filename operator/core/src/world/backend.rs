//! Services, their endpoints, namespaces and grants as the core keeps them.

use super::{
    gateway::ObjectRef,
    meta::{Meta, tight},
    word::{word, words},
};
use crate::key::{NsName, Text};
use serde::{Deserialize, Deserializer};
use std::{collections::BTreeMap, net::IpAddr};

/// `Service`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    #[serde(default)]
    pub spec: ServiceSpec,
}

/// `Service.spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Ports.
    #[serde(deserialize_with = "tight")]
    pub ports: Vec<ServicePort>,
    /// `ExternalName` is not supported as a backend.
    #[serde(rename = "type", deserialize_with = "words")]
    pub kind: Option<Text>,
    /// Which pods; two Services with overlapping selectors share pods.
    pub selector: BTreeMap<Text, Text>,
}

/// `Service.spec.ports[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Matches the name of the EndpointSlice's port; empty when the only one.
    #[serde(default, deserialize_with = "word")]
    pub name: Text,
    /// 1-65535.
    pub port: u16,
    /// `TCP` when absent.
    #[serde(default, deserialize_with = "words")]
    pub protocol: Option<Text>,
    /// `kubernetes.io/h2c` and so on.
    #[serde(default, deserialize_with = "words")]
    pub app_protocol: Option<Text>,
}

/// `EndpointSlice`, trimmed to what an assignment needs (100,000 endpoints have to fit in memory).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WireSlice")]
pub struct EndpointSlice {
    /// Namespace and name.
    pub key: NsName,
    /// From the label `kubernetes.io/service-name`; empty when it has none.
    pub service: Text,
    /// Port name and number.
    pub ports: Box<[SlicePort]>,
    /// Addresses.
    pub endpoints: Box<[Endpoint]>,
}

/// `EndpointSlice.ports[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SlicePort {
    /// Empty when absent.
    #[serde(default, deserialize_with = "or_empty")]
    pub name: Text,
    /// The target port; absent means all ports, which is not served.
    pub port: Option<u16>,
}

fn or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    Ok(words(deserializer)?.unwrap_or_default())
}

/// One address and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// IPv4 or IPv6.
    pub address: IpAddr,
    /// State.
    pub state: EndpointState,
}

/// `conditions` of an endpoint, as far as traffic is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointState {
    /// Gets traffic.
    Ready,
    /// Terminating, still serving: keeps its streams.
    Draining,
}

#[derive(Deserialize)]
struct WireSlice {
    metadata: Meta,
    #[serde(default)]
    ports: Option<Vec<SlicePort>>,
    #[serde(default)]
    endpoints: Option<Vec<WireEndpoint>>,
}

#[derive(Deserialize)]
struct WireEndpoint {
    addresses: Vec<String>,
    #[serde(default)]
    conditions: WireConditions,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl WireConditions {
    /// Source: `discovery.k8s.io/v1` `EndpointConditions`: an absent `ready` or `serving` counts as true.
    fn state(&self) -> Option<EndpointState> {
        let ready = self.ready.unwrap_or(true);
        let serving = self.serving.unwrap_or(ready);
        match (ready, serving, self.terminating.unwrap_or(false)) {
            (_, true, true) => Some(EndpointState::Draining),
            (true, _, false) => Some(EndpointState::Ready),
            _ => None,
        }
    }
}

impl From<WireSlice> for EndpointSlice {
    fn from(wire: WireSlice) -> Self {
        let service = wire.metadata.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default();
        let endpoints = wire.endpoints.unwrap_or_default();
        // Only the first address: the API says that consumers use it alone. FQDN slices have no IP and give no endpoint.
        let endpoints = endpoints.iter().filter_map(|endpoint| {
            let address = endpoint.addresses.first()?.parse().ok()?;
            Some(Endpoint { address, state: endpoint.conditions.state()? })
        });
        Self {
            key: wire.metadata.key.clone(),
            service,
            ports: wire.ports.unwrap_or_default().into(),
            endpoints: endpoints.collect(),
        }
    }
}

/// `Namespace`: its labels are what selectors read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Metadata.
    pub metadata: Meta,
}

/// `ReferenceGrant`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReferenceGrant {
    /// Metadata; the grant is about targets in its own namespace.
    pub metadata: Meta,
    /// Spec.
    pub spec: ReferenceGrantSpec,
}

/// `ReferenceGrant.spec`: any `from` together with any `to`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReferenceGrantSpec {
    /// Who refers.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// `from[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GrantFrom {
    /// API group.
    #[serde(default)]
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Namespace.
    pub namespace: Text,
}

/// `to[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GrantTo {
    /// API group; empty is the core group.
    #[serde(default)]
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// All of the kind when absent.
    pub name: Option<Text>,
}

/// `BackendTLSPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BackendTlsPolicy {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: BackendTlsPolicySpec,
}

/// `BackendTLSPolicy.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// Services that it is about, in the policy's namespace.
    pub target_refs: Vec<PolicyTarget>,
    /// What a backend has to show.
    pub validation: BackendValidation,
}

/// `targetRefs[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTarget {
    /// API group.
    #[serde(default)]
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Name.
    pub name: Text,
    /// The name of a port; all ports when absent.
    pub section_name: Option<Text>,
}

/// `BackendTLSPolicy.spec.validation`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendValidation {
    /// Who may have signed its certificate.
    #[serde(default)]
    pub ca_certificate_refs: Vec<ObjectRef>,
    /// A set of authorities by name, instead.
    pub well_known_ca_certificates: Option<Text>,
    /// The server name, and the name in the certificate unless others are given.
    pub hostname: Text,
    /// Names in the certificate, of which one has to be there.
    #[serde(default)]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// `subjectAltNames[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SubjectAltName {
    /// `Hostname` or `URI`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// With `Hostname`.
    pub hostname: Option<Text>,
    /// With `URI`.
    pub uri: Option<Text>,
}
