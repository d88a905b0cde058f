//! A process that ends with this one.
//!
//! a command → its process id, what it said, and how it ended
//!
//! **Invariant:** it ends with this process, however that ends: a shell between holds it, and waits for the end of a pipe that
//! only this process can write to.
//!
//! It must not know what runs.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{self, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;

/// Starts the command, says its pid and, when it has ended, its status; ends it once the pipe at standard input closes: with so many
/// seconds to take leave, or at once.
const KEEPER: &str = r#"
log=$1 leave=$2
shift 2
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
child=$!
echo $child
{
  cat <&3
  if [ "$leave" != 0 ]; then kill -TERM $child; sleep "$leave" 3<&-; fi
  kill -KILL $child
} >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait $child 2>/dev/null
status=$?
kill $watcher 2>/dev/null
echo $status
"#;

/// A running process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    keeper: process::Child,
    ended: watch::Receiver<Option<i32>>,
    /// Closing it ends the process.
    alive: Option<ChildStdin>,
}

impl Child {
    /// Starts a command, whose output goes to the end of a log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Command, log: &Path) -> Result<Self> {
        Self::start_with_leave(program, log, Duration::ZERO)
    }

    /// The same; at its end it is asked to go first, and has so many whole seconds for that.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with_leave(program: &Command, log: &Path, leave: Duration) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(log).arg(leave.as_secs().to_string());
        command.arg(program.get_program()).args(program.get_args());
        let set = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut keeper = command.envs(set).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(keeper.stdout.take().context("no pipe")?);
        let mut pid = String::new();
        lines.read_line(&mut pid)?;
        let pid = pid.trim().parse().with_context(|| format!("not a pid: {pid:?}"))?;
        let (alive, (end, ended)) = (keeper.stdin.take(), watch::channel(None));
        thread::spawn(move || {
            let mut status = String::new();
            let read = lines.read_line(&mut status);
            end.send_replace(read.ok().and_then(|_| status.trim().parse().ok()));
        });
        Ok(Self { pid, keeper, ended, alive })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status()?;
        ensure!(status.success(), "no process {}", self.pid);
        Ok(())
    }

    /// Waits for its end; its exit status as a shell has it.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn ended(&self) -> Result<i32> {
        let mut ended = self.ended.clone();
        let status = *ended.wait_for(Option::is_some).await.context("its end cannot be known")?;
        status.context("no status")
    }

    /// Sends it SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn terminate(mut self) -> Result<()> {
        self.signal("TERM")?;
        self.keeper.wait().map(drop).context("waiting for its end")
    }

    /// Ends it, and waits until it has ended.
    pub fn end(&mut self) {
        drop(self.alive.take());
        let _ended = self.keeper.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its files may go next: it writes to them until its end.
        self.end();
    }
}
