//! Sluice as it is installed: the Helm release that a suite works with.
//!
//! the chart of the repository → running pods
//!
//! **Invariant:** an installed release is the chart as it is in the repository, with its defaults, whoever installed it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Cluster;
use crate::api_server::repository;

/// Whether the release is known to be as it is wanted, as far as this process is concerned.
static AS_WANTED: Mutex<bool> = Mutex::new(false);

/// The Helm release.
#[derive(Clone, Copy, Debug)]
pub struct Release;

impl Release {
    /// Its name.
    pub const NAME: &str = "sluice";
    /// Its namespace.
    pub const NAMESPACE: &str = "sluice-system";
    /// The service account of its operator, as the audit log has it.
    pub const ACCOUNT: &str = "sluice-system:sluice";

    /// Installs the chart, or makes sure that it is installed as wanted: once a process, and again where a test has taken it
    /// away and failed before it was back.
    ///
    /// # Errors
    /// When it does not become ready within two minutes.
    pub fn ensure(cluster: &Cluster) -> Result<()> {
        let mut as_wanted = AS_WANTED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*as_wanted || cluster.helm(&["status", Self::NAME, "--namespace", Self::NAMESPACE]).is_err() {
            Self::install(cluster)?;
        }
        *as_wanted = true;
        Ok(())
    }

    /// A test that changes the release has failed: nobody knows what is installed.
    pub fn doubt() {
        *AS_WANTED.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Installs or upgrades to the chart of the repository.
    ///
    /// # Errors
    /// When it does not become ready within two minutes.
    pub fn install(cluster: &Cluster) -> Result<String> {
        cluster.kubectl(&[
            "apply",
            "--server-side",
            "--filename",
            &repository().join("crds/gateway-api").to_string_lossy(),
        ])?;
        cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
        let arguments = Self::upgrade(&[])?;
        cluster.helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What helm is told to install the chart of the repository, or to upgrade to it.
    ///
    /// # Errors
    /// When nobody says which images are loaded.
    pub fn upgrade(settings: &[&str]) -> Result<Vec<String>> {
        let chart = chart().to_string_lossy().into_owned();
        let images =
            std::env::var("SLUICE_IMAGE_VALUES").context("SLUICE_IMAGE_VALUES is not set: run hack/test cluster")?;
        let arguments = ["upgrade", "--install", Self::NAME, &chart, "--namespace", Self::NAMESPACE];
        let waiting = ["--create-namespace", "--wait", "--timeout", "120s", "--values", &images];
        Ok(arguments.iter().chain(&waiting).chain(settings).map(|word| (*word).to_owned()).collect())
    }

    /// The operator's pods.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn pods(cluster: &Cluster) -> Result<Vec<Value>> {
        let selector = "app.kubernetes.io/name=sluice,app.kubernetes.io/component=operator";
        let printed = cluster.kubectl(&[
            "get",
            "pods",
            "--namespace",
            Self::NAMESPACE,
            "--selector",
            selector,
            "--output",
            "json",
        ])?;
        let list: Value = serde_json::from_str(&printed)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The name of the pod that holds the lease.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn leader(cluster: &Cluster) -> Result<String> {
        let held = |lease: &Value| lease.pointer("/spec/holderIdentity").is_some_and(|holder| holder != "");
        let lease = cluster.until(Self::NAMESPACE, "lease/sluice", held)?;
        Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
    }
}

/// The chart's directory.
fn chart() -> PathBuf {
    repository().join("charts/sluice")
}
