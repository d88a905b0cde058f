//! The processes of pods, seen from the node that this machine is.
//!
//! pod's name → process → signals
//!
//! **Invariant:** a process is found by what it was started with, and a signal goes to that process alone.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

/// A process of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The process of `program` (the end of its path) that was started with `POD_NAME` of the pod.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pod: &str, program: &str) -> Result<Self> {
        let named = format!("POD_NAME={pod}");
        let found = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |pid: &u32| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let (command, environment) = (read("cmdline"), read("environ"));
            let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
            first.ends_with(program.as_bytes())
                && environment.split(|byte| *byte == 0).any(|variable| variable == named.as_bytes())
        };
        found.into_iter().find(ours).map(Self).with_context(|| format!("pod {pod} has no process {program}"))
    }

    /// Sends a signal: `KILL`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([format!("-{name}"), self.0.to_string()]).status()?;
        ensure!(status.success(), "process {} is gone", self.0);
        Ok(())
    }
}

/// A process that is stopped, and goes on when this ends.
#[derive(Debug)]
pub struct Paused(Process);

impl Paused {
    /// Stops it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn new(process: Process) -> Result<Self> {
        process.signal("STOP")?;
        Ok(Self(process))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have been killed meanwhile, by the kubelet for example.
        let _ = self.0.signal("CONT");
    }
}
