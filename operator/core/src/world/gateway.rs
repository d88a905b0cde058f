//! GatewayClass, Gateway and ListenerSet as the core keeps them.

use super::meta::Meta;
use crate::{
    hostname::Hostname,
    key::{GATEWAY_GROUP, NsName, Text},
};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The label of a namespace that every API server sets to its name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// `GatewayClass`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GatewayClass {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: GatewayClassSpec,
}

/// `GatewayClass.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Which controller answers for the class.
    pub controller_name: Text,
    /// A `GatewayProfile`, when it is ours.
    pub parameters_ref: Option<ParametersRef>,
}

/// `parametersRef` of a class or of a Gateway's infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ParametersRef {
    /// API group.
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Name.
    pub name: Text,
}

/// `Gateway`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gateway {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: GatewaySpec,
}

/// `Gateway.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The class.
    pub gateway_class_name: Text,
    /// Its own listeners.
    pub listeners: Vec<Listener>,
    /// Requested addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// Which namespaces may add listeners by ListenerSet.
    #[serde(default)]
    pub allowed_listeners: AllowedListeners,
    /// Labels, annotations and parameters of what runs it.
    #[serde(default)]
    pub infrastructure: Infrastructure,
    /// Certificates of clients, and the one shown to backends.
    #[serde(default)]
    pub tls: GatewayTls,
}

/// `Gateway.spec.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GatewayTls {
    /// Validation of client certificates.
    pub frontend: Option<FrontendTls>,
    /// What is shown to backends.
    pub backend: BackendTls,
}

/// `Gateway.spec.tls.frontend`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTls {
    /// For every HTTPS listener.
    pub default: PortTls,
    /// For those of single ports, instead.
    pub per_port: Vec<TlsOfPort>,
}

impl FrontendTls {
    /// What holds for the HTTPS listeners of a port.
    pub fn of(&self, port: u16) -> Option<&ClientValidation> {
        let own = self.per_port.iter().find(|entry| entry.port == port);
        own.map_or(&self.default, |entry| &entry.tls).validation.as_ref()
    }

    /// Whether anybody is let in without a valid certificate although one is asked for.
    pub fn is_insecure(&self) -> bool {
        let all = self.per_port.iter().map(|entry| &entry.tls).chain([&self.default]);
        all.filter_map(|tls| tls.validation.as_ref()).any(ClientValidation::is_insecure)
    }
}

/// `perPort[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TlsOfPort {
    /// The port.
    pub port: u16,
    /// What holds there.
    pub tls: PortTls,
}

/// `default`, or `perPort[].tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PortTls {
    /// Absent: clients are not asked for certificates.
    pub validation: Option<ClientValidation>,
}

/// `validation` of client certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientValidation {
    /// Who may have signed them.
    #[serde(default)]
    pub ca_certificate_refs: Vec<ObjectRef>,
    /// `AllowValidOnly` (default) or `AllowInsecureFallback`.
    pub mode: Option<Text>,
}

impl ClientValidation {
    /// Whether clients are let in without a valid certificate.
    pub fn is_insecure(&self) -> bool {
        self.mode.as_deref() == Some("AllowInsecureFallback")
    }
}

/// `Gateway.spec.tls.backend`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTls {
    /// The certificate shown to backends that are spoken to over TLS.
    pub client_certificate_ref: Option<SecretRef>,
}

/// A reference to an object of any kind; a reference inside a namespace has no `namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ObjectRef {
    /// Core group when empty.
    #[serde(default)]
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// The namespace of the referring object when absent.
    pub namespace: Option<Text>,
    /// Name.
    pub name: Text,
}

/// `Gateway.spec.addresses[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// `IPAddress` (default), `Hostname` or a domain-prefixed type.
    #[serde(rename = "type", default = "Address::default_type")]
    pub kind: Text,
    /// Absent: any address.
    pub value: Option<Text>,
}

impl Address {
    fn default_type() -> Text {
        "IPAddress".into()
    }
}

/// `Gateway.spec.infrastructure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// Labels for everything generated.
    pub labels: BTreeMap<Text, Text>,
    /// Annotations for everything generated.
    pub annotations: BTreeMap<Text, Text>,
    /// Parameters of this Gateway alone.
    pub parameters_ref: Option<ParametersRef>,
}

/// `Gateway.spec.allowedListeners`; the default allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllowedListeners {
    /// From which namespaces.
    pub namespaces: Option<Namespaces>,
}

/// A listener of a Gateway or of a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique in its object; `sectionName` of references.
    pub name: Text,
    /// Any when absent.
    #[serde(default = "Hostname::any", deserialize_with = "hostname")]
    pub hostname: Hostname,
    /// TCP port, 1-65535.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP` or anything domain-prefixed.
    pub protocol: Text,
    /// Certificates.
    pub tls: Option<ListenerTls>,
    /// Who may attach.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

fn hostname<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hostname, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Hostname::parse(text.as_deref()))
}

/// `listeners[].tls`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// `Terminate` (default) or `Passthrough`.
    #[serde(default = "ListenerTls::default_mode")]
    pub mode: Text,
    /// The certificates.
    #[serde(default)]
    pub certificate_refs: Vec<SecretRef>,
    /// Implementation-specific options; none is known.
    #[serde(default)]
    pub options: BTreeMap<Text, Text>,
}

impl ListenerTls {
    fn default_mode() -> Text {
        "Terminate".into()
    }
}

/// `certificateRefs[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretRef {
    /// Core group when absent.
    #[serde(default)]
    pub group: Text,
    /// `Secret` when absent.
    #[serde(default = "SecretRef::default_kind")]
    pub kind: Text,
    /// The namespace of the referring object when absent.
    pub namespace: Option<Text>,
    /// Name.
    pub name: Text,
}

impl SecretRef {
    fn default_kind() -> Text {
        "Secret".into()
    }
}

/// `listeners[].allowedRoutes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AllowedRoutes {
    /// From which namespaces; the same when absent.
    pub namespaces: Option<Namespaces>,
    /// Which kinds; by protocol when empty.
    pub kinds: Vec<RouteKind>,
}

/// `allowedRoutes.kinds[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RouteKind {
    /// The Gateway API's group when absent.
    #[serde(default = "RouteKind::default_group")]
    pub group: Text,
    /// Kind as written; it may be unknown.
    pub kind: Text,
}

impl RouteKind {
    fn default_group() -> Text {
        GATEWAY_GROUP.into()
    }
}

/// A choice of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// `All`, `Same`, `None` or `Selector`; each field's own default when absent.
    pub from: Option<Text>,
    /// With `from: Selector`.
    pub selector: Option<Selector>,
}

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// All must be equal.
    pub match_labels: BTreeMap<Text, Text>,
    /// All must hold.
    pub match_expressions: Vec<Requirement>,
}

/// `matchExpressions[]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Requirement {
    /// Label name.
    pub key: Text,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: Text,
    /// For `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<Text>,
}

impl Selector {
    /// Whether labels satisfy the selector; an unknown operator never does.
    pub fn matches(&self, labels: &BTreeMap<Text, Text>) -> bool {
        self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Selector {
    /// Whether it asks for nothing but the label that every API server sets, so that a name decides.
    pub fn asks_for_the_name_alone(&self) -> bool {
        let expressions = self.match_expressions.iter().map(|requirement| &requirement.key);
        self.match_labels.keys().chain(expressions).all(|label| &**label == NAME_LABEL)
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<Text, Text>) -> bool {
        let value = labels.get(&self.key);
        match &*self.operator {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// `ListenerSet`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListenerSet {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: ListenerSetSpec,
}

/// `ListenerSet.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that the listeners are added to.
    pub parent_ref: ListenerSetParent,
    /// The listeners.
    pub listeners: Vec<Listener>,
}

/// `ListenerSet.spec.parentRef`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListenerSetParent {
    /// The Gateway API's group when absent.
    #[serde(default = "RouteKind::default_group")]
    pub group: Text,
    /// `Gateway` when absent.
    #[serde(default = "ListenerSetParent::default_kind")]
    pub kind: Text,
    /// The set's own namespace when absent.
    pub namespace: Option<Text>,
    /// Name.
    pub name: Text,
}

impl ListenerSetParent {
    fn default_kind() -> Text {
        "Gateway".into()
    }
}

impl ListenerSet {
    /// The Gateway named by the parentRef, unless it names something else.
    pub fn gateway(&self) -> Option<NsName> {
        let parent = &self.spec.parent_ref;
        let ours = &*parent.group == GATEWAY_GROUP && &*parent.kind == "Gateway";
        let namespace = parent.namespace.clone().unwrap_or_else(|| self.metadata.key.namespace.clone());
        ours.then(|| NsName { namespace, name: parent.name.clone() })
    }
}
