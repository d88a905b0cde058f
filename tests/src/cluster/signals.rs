//! The processes of pods, seen from the node that this machine is.
//!
//! pod's name → process → signals, and memory that is taken away
//!
//! **Invariant:** a process is found by what it was started with, and what is done to it is done to its container alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// Joins a control group, and fills a file in memory.
const GUEST: &str = r#"echo $$ >"$1/cgroup.procs" || exit 3; exec dd if=/dev/zero of="$2" bs=1M count="$3""#;
/// What a guest ends with that could not join.
const OUTSIDE: i32 = 3;

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

    /// Has the kernel kill it for want of memory: its container may use no more than it does, and a guest in there takes as much again.
    /// (Of control groups v1, a limit below what is used would be refused.) The kernel prefers processes of pods to others.
    ///
    /// # Errors
    /// When it is gone, or this process may not do so.
    pub fn exhaust(self) -> Result<()> {
        let (group, used, limit) = self.memory()?;
        let bytes: u64 = fs::read_to_string(group.join(used))?.trim().parse()?;
        fs::write(group.join(limit), bytes.to_string())?;
        let file = tempfile::NamedTempFile::new_in("/dev/shm")?;
        let mut guest = Command::new("sh");
        guest.args(["-c", GUEST, "sh"]).args([&group, file.path()]).arg((bytes >> 20).to_string());
        // Once it is in there, it may well be killed too.
        let status = guest.output().context("no guest")?.status;
        ensure!(status.code() != Some(OUTSIDE), "nobody may join the control group {}", group.display());
        Ok(())
    }

    /// The control group of its memory, with the names of what is used and of the limit.
    ///
    /// Source: cgroups(7), `/proc/PID/cgroup`: `number:controllers:path`, of version 2 without controllers.
    fn memory(self) -> Result<(PathBuf, &'static str, &'static str)> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.0))?;
        let path = |controller: &str| {
            let mut fields = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(":/"));
            fields.find(|(found, _)| found.split(',').any(|name| name == controller)).map(|(_, path)| path)
        };
        let root = Path::new("/sys/fs/cgroup");
        match (path("memory"), path("")) {
            (Some(path), _) => Ok((root.join("memory").join(path), "memory.usage_in_bytes", "memory.limit_in_bytes")),
            (None, Some(path)) => Ok((root.join(path), "memory.current", "memory.max")),
            (None, None) => bail!("process {} has no control group", self.0),
        }
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
