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
use serde::{Deserialize, Deserializer};
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
#[derive(Clone, Debug, PartialEq)]
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
        Self::decode_from(kind, value).map_err(|source| DecodeError { kind, source })
    }

    /// As [`Object::decode`], from text and without a tree of values in between.
    ///
    /// # Errors
    /// As [`Object::decode`], and when the text is not JSON.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, DecodeError> {
        let source = &mut serde_json::Deserializer::from_str(text);
        Self::decode_from(kind, source).map_err(|source| DecodeError { kind, source })
    }

    fn decode_from<'de, D: Deserializer<'de>>(kind: Kind, source: D) -> Result<Self, D::Error> {
        Ok(match kind {
            Kind::GrpcService => Self::GrpcService(shared(source)?),
            Kind::GatewayProfile => Self::GatewayProfile(shared(source)?),
            Kind::GrpcPolicy => Self::GrpcPolicy(shared(source)?),
            Kind::GatewayClass => Self::GatewayClass(shared(source)?),
            Kind::Gateway => Self::Gateway(shared(source)?),
            Kind::ListenerSet => Self::ListenerSet(shared(source)?),
            Kind::GrpcRoute => Self::route(Wire::<GrpcWire>::deserialize(source)?.into_route(kind)),
            Kind::HttpRoute => Self::route(Wire::<HttpWire>::deserialize(source)?.into_route(kind)),
            Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                Self::route(Wire::<OpaqueWire>::deserialize(source)?.into_route(kind))
            }
            Kind::ReferenceGrant => Self::ReferenceGrant(shared(source)?),
            Kind::BackendTlsPolicy => Self::BackendTlsPolicy(shared(source)?),
            Kind::Service => Self::Service(shared(source)?),
            Kind::EndpointSlice => Self::EndpointSlice(shared(source)?),
            Kind::Secret => Self::Secret(shared(source)?),
            Kind::ConfigMap => Self::ConfigMap(shared(source)?),
            Kind::Namespace => Self::Namespace(shared(source)?),
            Kind::Certificate => Self::Certificate(shared(source)?),
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

    /// Its metadata; slices have none here.
    pub fn metadata(&self) -> Option<&Meta> {
        Some(match self {
            Self::GrpcService(object) => &object.metadata,
            Self::GatewayProfile(object) => &object.metadata,
            Self::GrpcPolicy(object) => &object.metadata,
            Self::GatewayClass(object) => &object.metadata,
            Self::Gateway(object) => &object.metadata,
            Self::ListenerSet(object) => &object.metadata,
            Self::Route(object) => &object.metadata,
            Self::ReferenceGrant(object) => &object.metadata,
            Self::BackendTlsPolicy(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Certificate(object) => &object.metadata,
            Self::EndpointSlice(_) => return None,
        })
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

fn shared<'de, T: Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<Arc<T>, D::Error> {
    T::deserialize(source).map(Arc::new)
}
