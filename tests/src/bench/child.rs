//! A process that ends with this one.
//!
//! command → a child with its process id, and what it said
//!
//! **Invariant:** it ends with this process, however that ends: a shell between holds it, and waits for the end of a pipe that
//! only this process can write to.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Starts the command, says its pid, and ends it with the given signal once the pipe at standard input closes.
const KEEPER: &str = r#"
log=$1
shift
"$@" >>"$log" 2>&1 </dev/null &
child=$!
echo $child
read -r signal
kill -"${signal:-KILL}" $child
wait $child
"#;

/// A running child.
#[derive(Debug)]
pub struct Child {
    home: TempDir,
    keeper: std::process::Child,
    pid: u32,
    alive: Option<ChildStdin>,
}

impl Child {
    /// Starts a command in a directory of its own, with further variables in its environment.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, &OsStr)],
    ) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(home.path().join("log")).arg(program).args(arguments);
        command.envs(variables.iter().copied()).env("HOME", home.path());
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().context("no pipe")?).read_line(&mut pid)?;
        let alive = keeper.stdin.take();
        Ok(Self { home, keeper, pid: pid.trim().parse().with_context(|| format!("not a pid: {pid:?}"))?, alive })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Sends it SIGTERM and waits for its end.
    pub fn terminate(mut self) -> Result<()> {
        use std::io::Write as _;
        self.alive.take().context("ended already")?.write_all(b"TERM\n")?;
        self.keeper.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.alive.take());
        // Before the directory goes: the child writes to it until its end.
        let _ended = self.keeper.wait();
    }
}
