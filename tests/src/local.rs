//! `sluice local` as a child, over a directory of manifests that the test writes.
//!
//! manifests → the objects with their statuses, as `/status` shows them
//!
//! **Invariant:** the child and its Envoy end with the test process, however that ends.
//! **Invariant:** a manifest appears whole or not at all.
//!
//! It must not know what is expected of the child.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{child::Child, envoy::CONTROL_PLANE};

/// The child ends its Envoy first.
const LEAVE: Duration = Duration::from_secs(15);

/// How long anything that is waited for may take: generous, since suites share a machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `sluice local`, running.
#[derive(Debug)]
pub struct Sluice {
    // Ends before its home goes.
    running: Option<Child>,
    home: TempDir,
    arguments: Vec<String>,
    https: SocketAddr,
    admin: SocketAddr,
}

/// One condition of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason.
    pub reason: String,
    /// The words.
    pub message: String,
}

impl Sluice {
    /// Starts on the given manifests, each a file name and its documents, and waits until it is ready.
    pub async fn start(manifests: &[(&str, String)]) -> Result<Self> {
        Self::start_with(manifests, &[]).await
    }

    /// The same, with further arguments.
    pub async fn start_with(manifests: &[(&str, String)], arguments: &[String]) -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::create_dir(home.path().join("manifests"))?;
        let (https, admin) = (free_address()?, free_address()?);
        let mut sluice = Self { home, arguments: arguments.to_vec(), https, admin, running: None };
        for (name, text) in manifests {
            sluice.apply(name, text)?;
        }
        sluice.run().await?;
        Ok(sluice)
    }

    /// Starts the child again after [`Sluice::stop`], with the same manifests, ports and state.
    pub async fn run(&mut self) -> Result<()> {
        self.running = Some(self.spawn()?);
        self.until("readiness", || self.get("/readyz").ok()).await.map(drop)
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(tool("SLUICE_BIN")?);
        command.arg("local").arg(self.manifests());
        command.arg("--envoy").arg(tool("SLUICE_ENVOY")?).args(["--address", "127.0.0.1"]);
        command.args(["--port-map", &format!("443={}", self.https.port()), "--admin", &self.admin.to_string()]);
        command.args(&self.arguments).env("XDG_STATE_HOME", self.home.path().join("state"));
        Child::start_with_leave(&command, &self.log(), LEAVE)
    }

    /// Ends the child as a user would, and waits for its end.
    pub fn stop(&mut self) {
        drop(self.running.take());
    }

    /// Ends the child as a crash does.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn crash(&mut self) -> Result<()> {
        let running = self.running.take().context("it does not run")?;
        running.signal("KILL")?;
        running.ended().await.map(drop)
    }

    /// What `sluice explain` says of a gRPC call to a host, by the same manifests.
    ///
    /// # Errors
    /// When it cannot be run, or nothing takes the call.
    pub fn explain(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<String> {
        let mut command = Command::new(tool("SLUICE_BIN")?);
        command.arg("explain").arg("--filename").arg(self.manifests());
        let headers = headers.iter().map(|(name, value)| format!("--header={name}: {value}"));
        let output = command.args(headers).args([host, path]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Writes a manifest.
    pub fn apply(&self, name: &str, text: &str) -> Result<()> {
        let fresh = self.manifests().join(format!(".{name}.new"));
        fs::write(&fresh, text)?;
        Ok(fs::rename(fresh, self.manifests().join(name))?)
    }

    /// Removes a manifest.
    pub fn delete(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.manifests().join(name))?)
    }

    /// Where port 443 of the Gateways is.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// All that the child knows: `objects`, `proxies` and `findings`.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/status")?)?)
    }

    /// An object, if it is there.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        let status = self.status().ok()?;
        let wanted = |object: &&Value| {
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"].as_str().is_none_or(|found| found == namespace)
        };
        status["objects"].as_array()?.iter().find(wanted).cloned()
    }

    /// The messages of what is wrong with the manifests, each as `file:line: message`.
    pub fn findings(&self) -> Vec<String> {
        let status = self.status().unwrap_or_default();
        let findings = status["findings"].as_array().cloned().unwrap_or_default();
        let line = |finding: &Value| {
            let file = finding["file"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
            format!("{file}:{}: {}", finding["line"], finding["message"].as_str().unwrap_or_default())
        };
        findings.iter().map(line).collect()
    }

    /// Waits until conditions of a type, of an object's current generation, have a status: of a route one at each of its parents,
    /// of a Gateway its own and those of its listeners. Returns all that have it.
    pub async fn condition(&self, object: (&str, &str), kind: &str, status: &str) -> Result<Vec<Condition>> {
        let what = format!("{} {} {kind}={status}", object.0, object.1);
        let found = self.until(&what, || {
            let object = self.object(object.0, object.1)?;
            let mut conditions = conditions(&object, kind);
            conditions.retain(|condition| condition.status == status);
            (!conditions.is_empty()).then_some(conditions)
        });
        found.await.map_err(|error| {
            let now = self.object(object.0, object.1).unwrap_or_default();
            error.context(format!("{what}; it is {:#}", now["status"]))
        })
    }

    /// Asks until there is an answer. The files and `/status` are all there is to ask, and they tell nobody when they change.
    pub async fn until<T>(&self, what: &str, ask: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "no {what} within {PATIENCE:?}; it said:\n{}", self.said());
            // house(sleep): the pace of a poll with a deadline.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// What the child has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The text at a path of the admin interface; an error unless the status is 200.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP/1.0: the answer comes whole, and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
        Ok(body.to_owned())
    }

    /// The process ids of the Envoys that the child runs, by way of a wrapper or not.
    pub fn envoys(&self) -> Vec<u32> {
        self.running.as_ref().map(|running| children(running.pid())).unwrap_or_default()
    }

    /// The socket at which the child serves the proxies' configuration, from the bootstrap of a Gateway's Envoy.
    pub fn ads(&self, gateway: &str) -> Result<PathBuf> {
        let states = self.home.path().join("state/sluice");
        let state = fs::read_dir(states)?.next().context("no state directory")??.path();
        let bootstrap: Value = serde_json::from_slice(&fs::read(state.join(format!("envoy-default_{gateway}.json")))?)?;
        let path = format!("{CONTROL_PLANE}/pipe/path");
        Ok(bootstrap.pointer(&path).and_then(Value::as_str).context("no socket in the bootstrap")?.into())
    }

    fn manifests(&self) -> PathBuf {
        self.home.path().join("manifests")
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

/// A binary that `hack/test envoy` names by path.
pub fn tool(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).with_context(|| format!("{variable} is not set: run hack/test envoy"))?;
    let path = PathBuf::from(path);
    ensure!(path.is_file(), "{variable}={} is not there", path.display());
    Ok(path)
}

/// Conditions of a type, all of the generation that the object has now.
fn conditions(object: &Value, kind: &str) -> Vec<Condition> {
    let status = &object["status"];
    let parents = ["parents", "listeners", "ancestors"].iter().filter_map(|list| status[list].as_array()).flatten();
    let lists = parents.chain([status]).filter_map(|holder| holder["conditions"].as_array());
    let current = lists.flatten().filter(|condition| {
        condition["type"] == kind && condition["observedGeneration"] == object["metadata"]["generation"]
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parsed = current.map(|condition| Condition {
        status: text(&condition["status"]),
        reason: text(&condition["reason"]),
        message: text(&condition["message"]),
    });
    parsed.collect()
}

/// Source: proc(5), `/proc/PID/stat`: the parent is the second field after the name in parentheses.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()) == Some(parent)
    };
    pids.filter(is_child).collect()
}

/// An address that was free a moment ago. The child cannot be handed a socket.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
