//! Envoy as a child.
//!
//! bootstrap → a process, its statistics and listeners
//!
//! It must not know who serves it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use sluice_envoy::bootstrap::{Admin, Bootstrap, Node, Source, render};
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::{
    child::Child,
    local::{PATIENCE, tool},
};

/// How often a poll asks.
const PACE: Duration = Duration::from_millis(20);

/// A running Envoy.
#[derive(Debug)]
pub struct Proxy {
    // Ends before its home goes.
    process: Child,
    home: TempDir,
}

impl Proxy {
    /// `node.id`.
    pub const ID: &'static str = "proxy";

    /// Starts the binary in `SLUICE_ENVOY`, configured by the control plane at `source`.
    pub fn start(source: SocketAddr) -> Result<Self> {
        Self::start_as(source, |_| {})
    }

    /// The same, with edits of the bootstrap.
    pub fn start_as(source: SocketAddr, edit: impl FnOnce(&mut Value)) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let mut bootstrap = bootstrap(source, home.path())?;
        edit(&mut bootstrap);
        let config = home.path().join("bootstrap.json");
        fs::write(&config, bootstrap.to_string())?;
        let config = config.display().to_string();
        let mode = ["--use-dynamic-base-id", "--drain-time-s", "1", "--log-level", "warn"].map(str::to_owned);
        Self::run(home, &[vec!["--config-path".to_owned(), config], mode.to_vec()].concat())
    }

    /// Starts the binary with these arguments. What it reads and its admin interface's socket, `admin.sock`, are in its home.
    pub fn run(home: TempDir, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(tool("SLUICE_ENVOY")?);
        command.args(arguments).args(["--concurrency", "1"]);
        Ok(Self { process: Child::start(&command, &home.path().join("log"))?, home })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it, and waits until it has ended.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Asks until there is an answer: the admin interface tells nobody when something changes.
    pub async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "no {what} within {PATIENCE:?}; Envoy said:\n{}", self.said());
            // house(sleep): the pace of a poll with a deadline.
            tokio::time::sleep(PACE).await;
        }
    }

    /// A counter or gauge; `None` while there is none of that name.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let text = self.get(&format!("/stats?filter={name}")).await.ok()?;
        text.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name)?.1.parse().ok())
    }

    /// Waits until a counter or gauge has a value.
    pub async fn until_stat(&self, name: &str, value: u64) -> Result<()> {
        self.until(&format!("{name} = {value}"), async || (self.stat(name).await? == value).then_some(())).await
    }

    /// Waits until a listener is active; where it is bound.
    pub async fn listener(&self, name: &str) -> Result<SocketAddr> {
        let ask = async || {
            let text = self.get("/listeners").await.ok()?;
            text.lines().find_map(|line| line.split_once("::").filter(|(found, _)| *found == name)?.1.parse().ok())
        };
        self.until(&format!("listener {name}"), ask).await
    }

    /// A page of the admin interface.
    pub async fn get(&self, path: &str) -> Result<String> {
        let stream = UnixStream::connect(self.home.path().join("admin.sock")).await?;
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driver = tokio::spawn(driver);
        let request = Request::get(format!("http://admin{path}")).body(Empty::<Bytes>::new())?;
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        driver.abort();
        Ok(String::from_utf8(body.to_vec())?)
    }
}

/// Whether Envoy takes a bootstrap, statics included; otherwise its words.
pub fn validate(edit: impl FnOnce(&mut Value)) -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut bootstrap = bootstrap(([127, 0, 0, 1], 1).into(), home.path())?;
    edit(&mut bootstrap);
    let config: PathBuf = home.path().join("bootstrap.json");
    fs::write(&config, bootstrap.to_string())?;
    let mut command = Command::new(tool("SLUICE_ENVOY")?);
    command.args(["--mode", "validate", "--use-dynamic-base-id", "--config-path"]).arg(&config);
    let output = command.output().context("Envoy does not start")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Where a bootstrap says at which address the control plane is.
pub const CONTROL_PLANE: &str =
    "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";

/// As in local mode, with a control plane on the loopback, where what is said can be tapped.
fn bootstrap(source: SocketAddr, home: &Path) -> Result<Value> {
    let mut bootstrap = render(&Bootstrap {
        node: Some(Node { id: Proxy::ID.to_owned(), gateway: "default/gateway".to_owned() }),
        source: Source::Socket(PathBuf::new()),
        admin: Admin::Socket(home.join("admin.sock")),
        probes: None,
        max_connections: 1000,
    });
    let address = json!({"socket_address": {"address": source.ip().to_string(), "port_value": source.port()}});
    *bootstrap.pointer_mut(CONTROL_PLANE).context("no control plane")? = address;
    Ok(bootstrap)
}
