//! Argo CD's judgement, by its own code.
//!
//! objects → their health; manifests → what is out of sync in the cluster
//!
//! **Invariant:** the scripts are those that the samples give to people.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Cluster, text};
use crate::api_server::repository;

/// The command that `hack/fetch argo` makes.
#[derive(Debug)]
pub struct Argo<'a> {
    cluster: &'a Cluster,
    command: PathBuf,
}

impl<'a> Argo<'a> {
    /// The one that the environment names, as `hack/test cluster` sets it.
    ///
    /// # Errors
    /// When it is not set.
    pub fn of(cluster: &'a Cluster) -> Result<Self> {
        let command = std::env::var_os("SLUICE_ARGO").context("SLUICE_ARGO is not set: run hack/test cluster")?;
        Ok(Self { cluster, command: command.into() })
    }

    /// The health of an object: `Healthy`, `Progressing`, `Degraded` or `none`, and the words to it.
    ///
    /// # Errors
    /// When a script fails.
    pub fn health(&self, object: &Value) -> Result<(String, String)> {
        let scripts = repository().join("samples/argocd/health");
        let printed = self.run(&["health", &scripts.to_string_lossy()], &object.to_string())?;
        let mut words = printed.trim_end().splitn(3, ' ').skip(1).map(str::to_owned);
        Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()))
    }

    /// Finds nothing out of sync, by neither of Argo CD's comparisons.
    ///
    /// # Errors
    /// With what is.
    pub fn in_sync(&self, namespace: &str, manifest: &str) -> Result<()> {
        self.run(&["diff", namespace], manifest).map(drop)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.cluster.feed(&self.command, arguments, input)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        text("argo", arguments, &output).context(printed)
    }
}

/// An object without a status, as Argo CD sees it right after it was applied.
pub fn unseen(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["generation"] = json!(1);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}
