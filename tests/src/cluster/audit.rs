//! What the API server was asked to write, from its audit log.
//!
//! a position in the log, a user → the writes since then
//!
//! **Invariant:** only requests that were answered count, each once.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::Value;

/// The audit log, from a position on.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    position: u64,
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// `grpcroutes` or `grpcroutes/status`.
    pub resource: String,
    /// `namespace/name`.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u64,
}

impl Audit {
    /// The log as it is now; what is in it already does not count.
    ///
    /// # Errors
    /// When there is no log.
    pub fn now() -> Result<Self> {
        Self::of(Self::whole()?.path)
    }

    /// The log since the cluster was started.
    ///
    /// # Errors
    /// When nobody says where it is.
    pub fn whole() -> Result<Self> {
        let path = std::env::var_os("SLUICE_AUDIT").context("SLUICE_AUDIT is not set: run hack/test cluster")?;
        Ok(Self { path: path.into(), position: 0 })
    }

    /// A log as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(path: PathBuf) -> Result<Self> {
        let position = path.metadata().with_context(|| format!("audit log {}", path.display()))?.len();
        Ok(Self { path, position })
    }

    /// What a service account (`namespace:name`) has written since, apart from leases and events.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes(&self, account: &str) -> Result<Vec<Write>> {
        self.written_by(&format!("system:serviceaccount:{account}"))
    }

    /// What a user has written since, apart from leases and events.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn written_by(&self, user: &str) -> Result<Vec<Write>> {
        let is_write = |event: &Value| {
            event.pointer("/user/username") == Some(&Value::from(user))
                && matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete"))
                && !matches!(event.pointer("/objectRef/resource").and_then(Value::as_str), Some("leases" | "events"))
        };
        Ok(self.events()?.iter().filter(|event| is_write(event)).map(write).collect())
    }

    /// The requests of a service account that were denied.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn denied(&self, account: &str) -> Result<Vec<Write>> {
        let user = format!("system:serviceaccount:{account}");
        // A 403 alone may be a namespace that is going away.
        let is_denied = |event: &Value| {
            event.pointer("/user/username") == Some(&Value::from(user.as_str()))
                && event.pointer("/annotations/authorization.k8s.io~1decision") == Some(&Value::from("forbid"))
        };
        Ok(self.events()?.iter().filter(|event| is_denied(event)).map(write).collect())
    }

    /// Everything that was answered since, of whoever asked.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn events(&self) -> Result<Vec<Value>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        Ok(events.filter(|event| event["stage"] == "ResponseComplete").collect())
    }
}

fn write(event: &Value) -> Write {
    let field = |name: &str| event["objectRef"][name].as_str().unwrap_or_default();
    let resource = match field("subresource") {
        "" => field("resource").to_owned(),
        sub => format!("{}/{sub}", field("resource")),
    };
    Write {
        verb: event["verb"].as_str().unwrap_or_default().to_owned(),
        resource,
        name: format!("{}/{}", field("namespace"), field("name")),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
    }
}
