//! A child with a directory of its own.
//!
//! command → a process, and what it said

use std::{ffi::OsStr, fs, path::Path, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use crate::child;

/// A running child.
#[derive(Debug)]
pub struct Child {
    // Ends before its directory goes.
    process: child::Child,
    home: TempDir,
}

impl Child {
    /// Starts a command in a directory of its own, with further variables in its environment.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, &OsStr)],
    ) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().copied()).env("HOME", home.path());
        Ok(Self { process: child::Child::start(&command, &home.path().join("log"))?, home })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Sends it SIGTERM and waits for its end.
    pub fn terminate(self) -> Result<()> {
        self.process.terminate()
    }
}
