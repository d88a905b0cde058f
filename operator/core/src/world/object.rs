//! Objects of all kinds, and their decoding from JSON.

use super::{
    Change,
    backend::{BackendTlsPolicy, EndpointSlice, Namespace, ReferenceGrant, Service},
    certificate::Certificate,
    gateway::{Gateway, GatewayClass, ListenerSet},
    meta::Meta,
    route::{GrpcWire, HttpWire, OpaqueWire, Route, Wire},
    secret::{ConfigMap, Secret},
};
use crate::key::{Kind, NsName, Ref};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sluice_api::{GatewayProfileSpec, GrpcPolicySpec, GrpcServiceSpec};
use std::sync::Arc;

/// An object of one of Sluice's own kinds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Own<S> {
    /// Metadata.
    pub metadata: Meta,
    /// Spec, as the API crate defines it.
    pub spec: S,
}

/// An object of any kind.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each variant is the kind that it is named after")]
pub enum Object {
    GrpcService(Arc<Own<GrpcServiceSpec>>),
    GatewayProfile(Arc<Own<GatewayProfileSpec>>),
    GrpcPolicy(Arc<Own<GrpcPolicySpec>>),
    GatewayClass(Arc<GatewayClass>),
    Gateway(Arc<Gateway>),
    ListenerSet(Arc<ListenerSet>),
    /// All route kinds.
    Route(Arc<Route>),
    ReferenceGrant(Arc<ReferenceGrant>),
    BackendTlsPolicy(Arc<BackendTlsPolicy>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    Namespace(Arc<Namespace>),
    Certificate(Arc<Certificate>),
}

/// Why JSON is not an object of the kind that it claims to be.
#[derive(Debug, thiserror::Error)]
#[error("not a valid {kind}: {source}")]
pub struct DecodeError {
    /// The claimed kind.
    pub kind: Kind,
    /// What is wrong, with the path where serde knows it.
    pub source: serde_json::Error,
}

impl Object {
    /// Decodes JSON of a known kind; unknown fields are dropped.
    ///
    /// # Errors
    /// When a field has a type that the schema of the kind forbids.
    pub fn decode(kind: Kind, value: Value) -> Result<Self, DecodeError> {
        Self::decode_untagged(kind, value).map_err(|source| DecodeError { kind, source })
    }

    fn decode_untagged(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::GrpcService => Self::GrpcService(parse(value)?),
            Kind::GatewayProfile => Self::GatewayProfile(parse(value)?),
            Kind::GrpcPolicy => Self::GrpcPolicy(parse(value)?),
            Kind::GatewayClass => Self::GatewayClass(parse(value)?),
            Kind::Gateway => Self::Gateway(parse(value)?),
            Kind::ListenerSet => Self::ListenerSet(parse(value)?),
            Kind::GrpcRoute => Self::route(serde_json::from_value::<Wire<GrpcWire>>(value)?.into_route(kind)),
            Kind::HttpRoute => Self::route(serde_json::from_value::<Wire<HttpWire>>(value)?.into_route(kind)),
            Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                Self::route(serde_json::from_value::<Wire<OpaqueWire>>(value)?.into_route(kind))
            }
            Kind::ReferenceGrant => Self::ReferenceGrant(parse(value)?),
            Kind::BackendTlsPolicy => Self::BackendTlsPolicy(parse(value)?),
            Kind::Service => Self::Service(parse(value)?),
            Kind::EndpointSlice => Self::EndpointSlice(parse(value)?),
            Kind::Secret => Self::Secret(parse(value)?),
            Kind::ConfigMap => Self::ConfigMap(parse(value)?),
            Kind::Namespace => Self::Namespace(parse(value)?),
            Kind::Certificate => Self::Certificate(parse(value)?),
        })
    }

    fn route(route: Route) -> Self {
        Self::Route(Arc::new(route))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GrpcService(_) => Kind::GrpcService,
            Self::GatewayProfile(_) => Kind::GatewayProfile,
            Self::GrpcPolicy(_) => Kind::GrpcPolicy,
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::ListenerSet(_) => Kind::ListenerSet,
            Self::Route(route) => route.kind,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Namespace(_) => Kind::Namespace,
            Self::Certificate(_) => Kind::Certificate,
        }
    }

    /// Its name.
    pub fn key(&self) -> &NsName {
        match self {
            Self::GrpcService(object) => &object.metadata.key,
            Self::GatewayProfile(object) => &object.metadata.key,
            Self::GrpcPolicy(object) => &object.metadata.key,
            Self::GatewayClass(object) => &object.metadata.key,
            Self::Gateway(object) => &object.metadata.key,
            Self::ListenerSet(object) => &object.metadata.key,
            Self::Route(object) => &object.metadata.key,
            Self::ReferenceGrant(object) => &object.metadata.key,
            Self::BackendTlsPolicy(object) => &object.metadata.key,
            Self::Service(object) => &object.metadata.key,
            Self::EndpointSlice(object) => &object.key,
            Self::Secret(object) => &object.metadata.key,
            Self::ConfigMap(object) => &object.metadata.key,
            Self::Namespace(object) => &object.metadata.key,
            Self::Certificate(object) => &object.metadata.key,
        }
    }

    /// Kind and name.
    pub fn reference(&self) -> Ref {
        Ref::new(self.kind(), self.key().clone())
    }
}

impl From<Object> for Change {
    fn from(object: Object) -> Self {
        Self::Upsert(object)
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<Arc<T>, serde_json::Error> {
    serde_json::from_value(value).map(Arc::new)
}
