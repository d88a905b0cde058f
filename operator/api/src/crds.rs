//! The CRDs of our kinds, and the files that hold them.
//!
//! types → `CustomResourceDefinition`s → (file name, YAML)
//!
//! **Invariant:** the order and every byte depend on the types alone.
//!
//! It must not know where the files go.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{GatewayProfile, GrpcPolicy, GrpcService};

/// The CRDs of our kinds, by name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [GatewayProfile::crd(), GrpcPolicy::crd(), GrpcService::crd()].into_iter().map(without_null).collect()
}

/// The CRDs as YAML, each with the name of its file in `crds/`.
///
/// # Errors
/// A CRD that the YAML serialiser refuses, which a test rules out.
pub fn render() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    crds().iter().map(|crd| Ok((format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural), yaml(crd)?))).collect()
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// Rust's optional fields come out as `nullable`. The API server would then keep nulls, where the Gateway API's own kinds
/// drop them as absent, and CEL would have to tell the two apart.
fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            drop_nullable(schema);
        }
    }
    crd
}

fn drop_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(drop_nullable);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_nullable(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        drop_nullable(values);
    }
}

#[cfg(test)]
mod tests;
