//! What processes cost, as the kernel counts it.
//!
//! process ids → CPU time, memory, descriptors, threads
//!
//! **Invariant:** a process that is gone is an error, never a zero.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// `/proc/PID/stat` counts in hundredths of a second on every Linux that user space sees (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

const KIB: f64 = 1024.0;

/// Processes that are measured together.
#[derive(Clone, Debug)]
pub struct Meter(Vec<u32>);

/// Memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Resident.
    pub resident: f64,
    /// Resident, shared pages by their share.
    pub proportional: f64,
    /// The most that was ever resident.
    pub peak: f64,
}

impl Meter {
    /// Of these processes.
    pub fn new(pids: impl IntoIterator<Item = u32>) -> Self {
        Self(pids.into_iter().collect())
    }

    /// User and system time since their starts.
    ///
    /// Source: proc(5), `/proc/PID/stat`: utime and stime are the 12th and 13th field after the name in parentheses.
    pub fn cpu(&self) -> Result<Duration> {
        self.0.iter().try_fold(Duration::ZERO, |sum, pid| {
            let stat = read(*pid, "stat")?;
            let rest = stat.rsplit(')').next().unwrap_or_default();
            let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
            Ok(sum + TICK * ticks)
        })
    }

    /// The time that the threads which are there now have run, to the nanosecond. For processes that keep their threads.
    ///
    /// Source: the kernel's `Documentation/scheduler/sched-stats.rst`, `/proc/PID/task/TID/schedstat`: the first field.
    pub fn running(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for pid in &self.0 {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread that has ended meanwhile has no file any more.
                let stat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse().ok());
                sum += Duration::from_nanos(nanoseconds.unwrap_or_default());
            }
        }
        Ok(sum)
    }

    /// Memory of all of them.
    pub fn memory(&self) -> Result<Memory> {
        let sum = |file, field| self.0.iter().map(|pid| mib(&read(*pid, file)?, field)).sum::<Result<f64>>();
        Ok(Memory {
            resident: sum("smaps_rollup", "Rss:")?,
            proportional: sum("smaps_rollup", "Pss:")?,
            peak: sum("status", "VmHWM:")?,
        })
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> Result<usize> {
        self.count("fd")
    }

    /// Threads.
    pub fn threads(&self) -> Result<usize> {
        self.count("task")
    }

    fn count(&self, directory: &str) -> Result<usize> {
        self.0.iter().map(|pid| Ok(fs::read_dir(format!("/proc/{pid}/{directory}"))?.count())).sum()
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is not there"))
}

fn mib(text: &str, field: &str) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field}"))?;
    let kib: f64 = line.split_whitespace().nth(1).with_context(|| format!("{field} without a value"))?.parse()?;
    Ok(kib / KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let meter = Meter::new([std::process::id()]);
        let memory = meter.memory().unwrap();
        assert!(
            memory.resident > 0.0 && memory.proportional <= memory.resident && memory.peak >= memory.resident / 2.0
        );
        assert!(meter.threads().unwrap() >= 1 && meter.descriptors().unwrap() >= 3);
        meter.cpu().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Meter::new([u32::MAX]).cpu().is_err());
    }
}
