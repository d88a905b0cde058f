//! The schemas of all kinds that Sluice reads, embedded.
//!
//! (kind, apiVersion) → schema and compiled CEL rules
//!
//! **Invariant:** a kind's schema is the one that an API server has: our own CRDs, those of the Gateway API's standard channel,
//! or the core types of Kubernetes.

use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube_cel::CompiledSchema;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};
use sluice_core::key::Kind;
use std::{collections::BTreeMap, sync::Arc};

/// A schema with its rules.
#[derive(Debug)]
pub(crate) struct Schema {
    /// OpenAPI, of the whole object.
    pub(crate) structure: Value,
    /// `x-kubernetes-validations`, compiled.
    pub(crate) rules: CompiledSchema,
}

/// Schemas by kind and apiVersion. Parsed when first asked for: parsing and compiling all takes a second in a debug build.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    known: BTreeMap<(Kind, String), Arc<Schema>>,
    versions: BTreeMap<Kind, Vec<(String, Value)>>,
}

/// An apiVersion that a kind does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} has no apiVersion {wanted:?}: write {}", .served.join(" or "))]
pub(crate) struct NotServed {
    kind: Kind,
    wanted: String,
    served: Vec<String>,
}

impl Catalogue {
    /// The schema of a kind.
    pub(crate) fn get(&mut self, kind: Kind, api_version: &str) -> Result<Arc<Schema>, NotServed> {
        let key = (kind, api_version.to_owned());
        if let Some(schema) = self.known.get(&key) {
            return Ok(schema.clone());
        }
        let versions = self.versions.entry(kind).or_insert_with(|| load(kind));
        let Some((_, structure)) = versions.iter().find(|(version, _)| version == api_version) else {
            let served = versions.iter().map(|(version, _)| version.clone()).collect();
            return Err(NotServed { kind, wanted: key.1, served });
        };
        let schema = Arc::new(Schema { rules: kube_cel::compile_schema(structure), structure: structure.clone() });
        self.known.insert(key, schema.clone());
        Ok(schema)
    }
}

/// The versions of a kind with their schemas.
fn load(kind: Kind) -> Vec<(String, Value)> {
    let versions = match kind {
        Kind::Service => core_type::<Service>(kind),
        Kind::EndpointSlice => core_type::<EndpointSlice>(kind),
        Kind::Secret => core_type::<Secret>(kind),
        Kind::ConfigMap => core_type::<ConfigMap>(kind),
        Kind::Namespace => core_type::<Namespace>(kind),
        Kind::GrpcService | Kind::GatewayProfile | Kind::GrpcPolicy => own(kind),
        _ => gateway_api(kind)
            .and_then(|text| serde_saphyr::from_str(text).ok())
            .map(|crd| versions_of(&crd))
            .unwrap_or_default(),
    };
    versions.into_iter().map(|(version, structure)| (version, with_metadata(structure))).collect()
}

fn own(kind: Kind) -> Vec<(String, Value)> {
    let crds = sluice_api::crds::crds();
    let crd = crds.into_iter().find(|crd| crd.spec.names.kind == kind.name());
    crd.and_then(|crd| serde_json::to_value(crd).ok()).map(|crd| versions_of(&crd)).unwrap_or_default()
}

fn versions_of(crd: &Value) -> Vec<(String, Value)> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/spec/group");
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    versions
        .filter(|version| version.get("served") == Some(&Value::Bool(true)))
        .filter_map(|version| {
            let name = version.get("name")?.as_str()?;
            Some((format!("{group}/{name}"), version.pointer("/schema/openAPIV3Schema")?.clone()))
        })
        .collect()
}

fn core_type<T: JsonSchema>(kind: Kind) -> Vec<(String, Value)> {
    vec![(kind.api_version(), schema_of::<T>())]
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// CRDs leave `metadata` to the API server; the fields that every object has are the same.
fn with_metadata(mut structure: Value) -> Value {
    let rules = structure.pointer("/properties/metadata/x-kubernetes-validations").cloned();
    let mut metadata = schema_of::<ObjectMeta>();
    if let (Some(rules), Some(fields)) = (rules, metadata.as_object_mut()) {
        fields.insert("x-kubernetes-validations".to_owned(), rules);
    }
    if let Some(properties) = structure.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("metadata".to_owned(), metadata);
        properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
        properties.insert("kind".to_owned(), json!({"type": "string"}));
    }
    structure
}

/// The CRD of a kind of the Gateway API.
fn gateway_api(kind: Kind) -> Option<&'static str> {
    macro_rules! crd {
        ($plural:literal) => {
            Some(include_str!(concat!("../../../../crds/gateway-api/gateway.networking.k8s.io_", $plural, ".yaml")))
        };
    }
    match kind {
        Kind::GatewayClass => crd!("gatewayclasses"),
        Kind::Gateway => crd!("gateways"),
        Kind::ListenerSet => crd!("listenersets"),
        Kind::GrpcRoute => crd!("grpcroutes"),
        Kind::HttpRoute => crd!("httproutes"),
        Kind::TlsRoute => crd!("tlsroutes"),
        Kind::TcpRoute => crd!("tcproutes"),
        Kind::UdpRoute => crd!("udproutes"),
        Kind::ReferenceGrant => crd!("referencegrants"),
        Kind::BackendTlsPolicy => crd!("backendtlspolicies"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema_whose_rules_compile() {
        let mut catalogue = Catalogue::default();
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_for_others()) {
            let schema = catalogue.get(kind, &kind.api_version()).unwrap();
            assert!(schema.structure.pointer("/properties/metadata/properties/name").is_some(), "{kind}");
            assert_eq!(broken_rules(&schema.rules), Vec::<String>::new(), "{kind}");
        }
    }

    fn broken_rules(schema: &CompiledSchema) -> Vec<String> {
        let own = schema.compilation_errors().into_iter().map(ToString::to_string);
        let below =
            schema.properties.values().chain(schema.items.as_deref()).chain(schema.additional_properties.as_deref());
        own.chain(below.flat_map(broken_rules)).collect()
    }

    #[test]
    fn an_unknown_version_is_answered_with_the_known_ones() {
        let refused = Catalogue::default().get(Kind::ReferenceGrant, "gateway.networking.k8s.io/v1alpha2").unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("gateway.networking.k8s.io/v1beta1") && words.contains("or"), "{words}");
    }
}
