//! What the API server was asked to write, from its audit log.
//!
//! a position in the log, a user → the writes since then
//!
//! **Invariant:** only requests that were answered count, each once, whatever the answer: a conflict costs as much as a write.
//! **Invariant:** leases, which are renewed whatever happens, never count; Events are writes, but change nothing.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
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

impl Write {
    fn is_event(&self) -> bool {
        self.resource == "events"
    }
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

    /// A log as it is now, up to its last whole line: the API server may be in the middle of one.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(path: PathBuf) -> Result<Self> {
        let text = std::fs::read(&path).with_context(|| format!("audit log {}", path.display()))?;
        let position = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1);
        Ok(Self { path, position })
    }

    /// A log from its beginning on. There need not be one yet.
    pub fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), position: 0 }
    }

    /// What a service account (`namespace:name`) has changed since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes(&self, account: &str) -> Result<Vec<Write>> {
        self.written_by(&format!("system:serviceaccount:{account}"))
    }

    /// What a user has changed since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn written_by(&self, user: &str) -> Result<Vec<Write>> {
        Ok(writes(&self.events()?, user).filter(|write| !write.is_event()).collect())
    }

    /// What a user has written since, Events included; the next call goes on from here.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn next_of(&mut self, user: &str) -> Result<Vec<Write>> {
        let (events, position) = self.read()?;
        self.position = position;
        Ok(writes(&events, user).collect())
    }

    /// The requests of a service account that were denied. Those of pods whose release is being taken away are among them, and those
    /// that an API server gets before it has read who may what.
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
        self.read().map(|(events, _)| events)
    }

    /// The same, and the position after them. What is still being written to the log is not in it yet.
    fn read(&self) -> Result<(Vec<Value>, u64)> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let (mut lines, mut events, mut line, mut position) =
            (BufReader::new(file), Vec::new(), String::new(), self.position);
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            position += line.len() as u64;
            let event: Value = serde_json::from_str(&line)?;
            events.extend(Some(event).filter(|event| event["stage"] == "ResponseComplete"));
            line.clear();
        }
        Ok((events, position))
    }
}

/// The writes of a user.
fn writes<'e>(events: &'e [Value], user: &'e str) -> impl Iterator<Item = Write> + 'e {
    let is_write = |event: &Value| matches!(event["verb"].as_str(), Some("create" | "update" | "patch" | "delete"));
    let is_lease = |event: &Value| event.pointer("/objectRef/resource").is_none_or(|resource| resource == "leases");
    let ours = events.iter().filter(move |event| event["user"]["username"] == user);
    ours.filter(move |event| is_write(event) && !is_lease(event)).map(write)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write as _;

    fn event(stage: &str, user: &str, verb: &str, resource: &str) -> Value {
        json!({
            "stage": stage, "user": {"username": user}, "verb": verb,
            "objectRef": {"resource": resource, "namespace": "a", "name": "b"},
        })
    }

    #[test]
    fn answered_writes_of_the_user_count_once_and_events_only_where_writes_are_counted() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for event in [
            event("ResponseComplete", "subject", "patch", "grpcroutes"),
            event("ResponseComplete", "subject", "create", "events"),
            event("RequestReceived", "subject", "patch", "grpcroutes"),
            event("ResponseComplete", "other", "patch", "grpcroutes"),
            event("ResponseComplete", "subject", "watch", "grpcroutes"),
            event("ResponseComplete", "subject", "update", "leases"),
        ] {
            writeln!(file, "{event}").unwrap();
        }
        write!(file, "{{\"stage\": \"cut").unwrap();
        let mut audit = Audit::from_start(file.path());
        let resources = |writes: Vec<Write>| writes.into_iter().map(|write| write.resource).collect::<Vec<_>>();
        assert_eq!(resources(audit.written_by("subject").unwrap()), ["grpcroutes"]);
        assert_eq!(resources(audit.next_of("subject").unwrap()), ["grpcroutes", "events"]);
        assert_eq!(resources(audit.next_of("subject").unwrap()), [""; 0]);
    }

    #[test]
    fn a_line_that_was_being_written_when_the_counting_began_is_read_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = event("ResponseComplete", "subject", "patch", "grpcroutes").to_string();
        let (written, rest) = line.split_at(20);
        write!(file, "{line}\n{written}").unwrap();
        let audit = Audit::of(file.path().to_owned()).unwrap();
        writeln!(file, "{rest}").unwrap();
        assert_eq!(audit.written_by("subject").unwrap().len(), 1);
    }
}
