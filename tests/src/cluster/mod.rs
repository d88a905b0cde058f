//! A real cluster, through the tools that its users have: kubectl, helm and grpcurl.
//!
//! commands → what they print; manifests → what became of them
//!
//! **Invariant:** nothing is waited for by the clock alone: whoever waits follows the object, with a bound, and is told what the
//! object said last.
//! **Invariant:** what a test makes is in namespaces of its own, which go with it.
//!
//! It must not know what is expected of Sluice.

mod argo;
mod callers;
mod release;
mod scene;
mod signals;

pub use crate::audit::{Audit, Write};
pub use argo::{Argo, unseen};
pub use callers::Hostname;
pub use release::Release;
pub use scene::{Scene, grpc_service};
pub use signals::{Paused, Process};

use std::{
    ffi::OsString,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Deserializer, Value};

use crate::api_server::repository;

/// Time within which the cluster answers to what was asked of it, unless a test says otherwise.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The cluster that `hack/test cluster` has started.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
    grpcurl: PathBuf,
}

impl Cluster {
    /// The cluster that the environment names, as `hack/test cluster` sets it.
    ///
    /// # Errors
    /// When something is not set.
    pub fn from_environment() -> Result<Self> {
        let path = |name: &str| {
            let value = std::env::var_os(name).with_context(|| format!("{name} is not set: run hack/test cluster"))?;
            Ok::<_, anyhow::Error>(PathBuf::from(value))
        };
        Ok(Self {
            kubeconfig: path("KUBECONFIG")?,
            kubectl: path("SLUICE_KUBECTL")?,
            helm: path("SLUICE_HELM")?,
            grpcurl: path("SLUICE_GRPCURL")?,
        })
    }

    /// Runs kubectl, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_reading(arguments, "")
    }

    /// The same with something to read.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl_reading(&self, arguments: &[&str], input: &str) -> Result<String> {
        text("kubectl", arguments, &self.feed(&self.kubectl, arguments, input)?)
    }

    /// Applies a manifest, as `kubectl apply -f -` does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.kubectl_reading(&["apply", "--namespace", namespace, "--filename", "-"], manifest)
    }

    /// Applies a file of the repository.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply_file(&self, namespace: &str, path: &str) -> Result<String> {
        let path = repository().join(path);
        self.kubectl(&["apply", "--namespace", namespace, "--filename", &path.to_string_lossy()])
    }

    /// An object as JSON; `what` is `kind/name`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, namespace: &str, what: &str) -> Result<Value> {
        let printed = self.kubectl(&["get", "--namespace", namespace, what, "--output", "json"])?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// Follows an object until it is as wanted, and returns it.
    ///
    /// # Errors
    /// When it is not in time, with the status that it had last.
    pub fn until(&self, namespace: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.until_within(PATIENCE, namespace, what, wanted)
    }

    /// The same with a bound of one's own. An object that is not there yet is waited for.
    ///
    /// # Errors
    /// When it is not in time, with the status that it had last.
    pub fn until_within(
        &self,
        bound: Duration,
        namespace: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + bound;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            let mut follower = self.follow(namespace, what)?;
            while let Some(object) = follower.next(deadline) {
                if wanted(&object) {
                    return Ok(object);
                }
                last = object;
            }
        }
        let status = serde_json::to_string_pretty(last.get("status").unwrap_or(&last))?;
        bail!("{what} in {namespace} is not as wanted after {bound:?}; it says {status}")
    }

    /// The versions of an object as they come.
    fn follow(&self, namespace: &str, what: &str) -> Result<Follower> {
        let kind = what.split('/').next().unwrap_or(what);
        let name = what.split('/').nth(1).with_context(|| format!("{what} is not kind/name"))?;
        let field = format!("metadata.name={name}");
        let arguments =
            ["get", "--namespace", namespace, kind, "--field-selector", &field, "--output", "json", "--watch"];
        let mut child = self.command(&self.kubectl, &arguments).spawn()?;
        let output = child.stdout.take().context("kubectl's output is not a pipe")?;
        let (sender, objects) = mpsc::channel();
        std::thread::spawn(move || {
            for object in Deserializer::from_reader(output).into_iter::<Value>().map_while(Result::ok) {
                if sender.send(object).is_err() {
                    return;
                }
            }
        });
        Ok(Follower { child, objects })
    }

    /// Calls grpcurl; whatever it answers is the answer.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn grpcurl(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(&self.grpcurl, arguments).output()?)
    }

    /// Runs helm, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        text("helm", arguments, &self.command(&self.helm, arguments).output()?)
    }

    /// A namespace of one's own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        // What an interrupted run has left would be taken for this one's.
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=60s"])?;
        self.kubectl(&["create", "namespace", name])?;
        Ok(Namespace { cluster: self.clone(), name: name.to_owned() })
    }

    fn feed(&self, program: &PathBuf, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self.command(program, arguments).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }

    fn command(&self, program: &PathBuf, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn text(program: &str, arguments: &[&str], output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `kubectl get --watch`, ended with its reader.
struct Follower {
    child: Child,
    objects: mpsc::Receiver<Value>,
}

impl Follower {
    fn next(&mut self, deadline: Instant) -> Option<Value> {
        self.objects.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A namespace that goes, with all that is in it, when this does.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    /// Its name.
    pub name: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The next run waits for what is left of it.
        let _ = self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// A condition of an object: status, reason and message. Of a route it is that of its first parent.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let own = object.pointer("/status/conditions").and_then(Value::as_array);
    let parent = object.pointer("/status/parents/0/conditions").and_then(Value::as_array);
    let found = own.or(parent)?.iter().find(|condition| condition["type"] == kind)?;
    let field = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some((field("status"), field("reason"), field("message")))
}

/// Whether a condition has this status, at the object's own generation.
pub fn says(object: &Value, kind: &str, status: &str) -> bool {
    let generation = object.pointer("/metadata/generation");
    let own = object.pointer("/status/conditions").and_then(Value::as_array);
    let parent = object.pointer("/status/parents/0/conditions").and_then(Value::as_array);
    own.or(parent).into_iter().flatten().any(|condition| {
        condition["type"] == kind && condition["status"] == status && condition.get("observedGeneration") == generation
    })
}
