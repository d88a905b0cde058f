//! `sluice operator` as a child, over an API server of the test.
//!
//! an API server, a user, arguments → a running operator
//!
//! **Invariant:** the child ends with the test process, however that ends: a shell between holds it, and waits for the end of a
//! pipe that only this process can write to.
//!
//! It must not know what is expected of the child.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;

use crate::api_server::{ApiServer, USERS};

/// Starts the child, says its pid, and says when it has ended; ends it once the pipe at standard input closes.
const KEEPER: &str = r#"
log=$1
shift
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
child=$!
echo $child
(cat <&3 >/dev/null; kill -KILL $child) 2>/dev/null &
exec 3<&-
wait $child 2>/dev/null
echo $?
"#;

/// Tells logs apart.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// `sluice operator`, running.
#[derive(Debug)]
pub struct Operator {
    admin: SocketAddr,
    log: PathBuf,
    pid: u32,
    keeper: Child,
    ended: watch::Receiver<Option<i32>>,
    /// Closing it ends the child.
    alive: Option<ChildStdin>,
}

impl Operator {
    /// Starts an operator called as one of the API server's users, which it is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(server: &ApiServer, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let binary = std::env::var_os("SLUICE_BIN").context("SLUICE_BIN is not set: run hack/test api")?;
        let admin = free_address()?;
        let log = server.directory().join(format!("{name}-{}.log", STARTED.fetch_add(1, Ordering::Relaxed)));
        let place = USERS.iter().position(|user| *user == name).context("no such user")?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&log).arg(binary).args(["operator"]);
        // An address of the range for documentation: that of the loopback may not stand in an EndpointSlice.
        command.args(["--pod-name", name, "--pod-ip", &format!("192.0.2.{place}")]);
        command.args(["--admin-address", &admin.to_string(), "--log", "debug,hyper=info,kube=info,tower=info"]);
        command.args(arguments).env("KUBECONFIG", server.kubeconfig(name)?).envs(environment.iter().copied());
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
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
        Ok(Self { admin, log, pid, keeper, ended, alive })
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

    /// Its admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ended_with_the_pipe = self.keeper.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
