//! `sluice operator` as a child, over an API server of the test.
//!
//! an API server, a user, arguments → a running operator
//!
//! It must not know what is expected of the child.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};

use crate::{
    api_server::{ApiServer, USERS},
    child::Child,
};

/// Tells logs apart.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// `sluice operator`, running.
#[derive(Debug)]
pub struct Operator {
    admin: SocketAddr,
    log: PathBuf,
    process: Child,
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
        let mut command = Command::new(binary);
        command.arg("operator");
        // An address of the range for documentation: that of the loopback may not stand in an EndpointSlice.
        command.args(["--pod-name", name, "--pod-ip", &format!("192.0.2.{place}")]);
        command.args(["--admin-address", &admin.to_string(), "--log", "debug,hyper=info,kube=info,tower=info"]);
        command.args(arguments).env("KUBECONFIG", server.kubeconfig(name)?).envs(environment.iter().copied());
        Ok(Self { admin, process: Child::start(&command, &log)?, log })
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Waits for its end; its exit status as a shell has it.
    ///
    /// # Errors
    /// When it cannot be known.
    pub async fn ended(&self) -> Result<i32> {
        self.process.ended().await
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

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
