//! Placeholder: the API types land from their own branch.
#![allow(missing_docs)]
use serde::Deserialize;
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GrpcServiceSpec {}
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GatewayProfileSpec {}
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcPolicySpec {
    pub target_refs: Vec<Target>,
}
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub group: String,
    pub kind: String,
    pub name: String,
    pub section_name: Option<String>,
}
