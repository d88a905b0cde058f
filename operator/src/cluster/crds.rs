//! The CRDs of this version, in the cluster.
//!
//! the API server's, ours → ours in the cluster, and which of them are new there
//!
//! Must not know: who installed them first.

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};

/// Makes the cluster's CRDs what this version has, whoever wrote their fields before: nothing else is right for it. Returns
/// the names of those that were different.
///
/// # Errors
/// When the API server refuses one, with its name.
pub(crate) async fn apply(client: Client) -> anyhow::Result<Vec<String>> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let params = PatchParams::apply(sluice_api::MANAGED_BY).force();
    let mut changed = Vec::new();
    for crd in sluice_api::crds::crds() {
        let name = crd.name_any();
        let context = || format!("CustomResourceDefinition {name}");
        let before = api.get_opt(&name).await.with_context(context)?;
        let after = api.patch(&name, &params, &Patch::Apply(&crd)).await.with_context(context)?;
        if before.is_none_or(|before| before.spec != after.spec) {
            changed.push(name);
        }
    }
    Ok(changed)
}
