//! How much a controller writes.
//!
//! the audit log of the API server → numbers of writes

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use crate::audit;

/// Reads what is appended to the log.
#[derive(Debug)]
pub struct Audit(audit::Audit);

/// Numbers of writes, by what was written: `grpcroutes/status`.
pub type Writes = BTreeMap<String, usize>;

impl Audit {
    /// Of the log at a path.
    pub fn new(path: &Path) -> Self {
        Self(audit::Audit::from_start(path))
    }

    /// Writes of a user since the last call.
    pub fn writes(&mut self, user: &str) -> Result<Writes> {
        let mut writes = Writes::new();
        for write in self.0.next_of(user)? {
            *writes.entry(write.resource).or_default() += 1;
        }
        Ok(writes)
    }
}
