//! The audit log of the API server: who wrote what.
//!
//! JSON lines → writes of a user
//!
//! **Invariant:** only finished requests count, whatever their answer: a conflict costs as much as a write.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::Value;

/// Reads what is appended to the log.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    read: u64,
}

/// Numbers of writes, by what was written: `grpcroutes/status`.
pub type Writes = BTreeMap<String, usize>;

impl Audit {
    /// Of the log at a path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0 }
    }

    /// Writes of a user since the last call; leases apart, which are renewed whatever happens.
    pub fn writes(&mut self, user: &str) -> Result<Writes> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(file.take(u64::MAX));
        let (mut writes, mut line) = (Writes::new(), String::new());
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            self.read += line.len() as u64;
            if let Some(what) = write(&line, user) {
                *writes.entry(what).or_default() += 1;
            }
            line.clear();
        }
        Ok(writes)
    }
}

fn write(line: &str, user: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    let writes = matches!(event["verb"].as_str()?, "create" | "update" | "patch" | "delete");
    if event["stage"] != "ResponseComplete" || event["user"]["username"] != user || !writes {
        return None;
    }
    let object = &event["objectRef"];
    let resource = object["resource"].as_str().filter(|resource| *resource != "leases")?;
    let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
    Some(format!("{resource}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write as _;

    fn event(stage: &str, user: &str, verb: &str, resource: &str) -> Value {
        json!({
            "stage": stage, "user": {"username": user}, "verb": verb,
            "objectRef": {"resource": resource, "subresource": "status"},
        })
    }

    #[test]
    fn finished_writes_of_the_user_count_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for event in [
            event("ResponseComplete", "subject", "patch", "grpcroutes"),
            event("RequestReceived", "subject", "patch", "grpcroutes"),
            event("ResponseComplete", "other", "patch", "grpcroutes"),
            event("ResponseComplete", "subject", "watch", "grpcroutes"),
            event("ResponseComplete", "subject", "update", "leases"),
        ] {
            writeln!(file, "{event}").unwrap();
        }
        write!(file, "{{\"stage\": \"cut").unwrap();
        let mut audit = Audit::new(file.path());
        assert_eq!(audit.writes("subject").unwrap(), Writes::from([("grpcroutes/status".to_owned(), 1)]));
        assert_eq!(audit.writes("subject").unwrap(), Writes::new());
    }
}
