//! The pod of a proxy, without a kubelet.
//!
//! what was made for a Gateway → volumes as the kubelet lays them out, Envoy as the container says
//!
//! **Invariant:** what differs from a real pod is where things are: folders below a home, ports that are free, the loopback for the
//! control plane's Service.
//!
//! It must not know what is expected of Envoy.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{CONTROL_PLANE, Proxy};
use crate::local::{PATIENCE, tool};

/// What is mounted where; the last part of each name is that of its place below the home.
const MOUNTS: [&str; 2] = ["/etc/sluice/bootstrap", "/etc/sluice/identity"];
/// The folder of the admin interface's socket: the home itself.
const RUN: &str = "/run/sluice";

/// A running pod.
#[derive(Debug)]
pub struct Pod {
    proxy: Proxy,
    home: PathBuf,
    readiness: SocketAddr,
    metrics: SocketAddr,
}

impl Pod {
    /// Starts the first container of a Deployment with its ConfigMap and its Secret mounted.
    ///
    /// # Errors
    /// When the objects do not belong together, or Envoy cannot be started.
    pub fn start(deployment: &Value, config: &Value, secret: &Value) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let (readiness, metrics) = (free_address()?, free_address()?);
        let mut files = texts(&config["data"])?;
        let envoy = files.get_mut("envoy.json").context("no envoy.json")?;
        *envoy = relocated(envoy, readiness, metrics)?;
        let files = files.into_iter().map(|(name, text)| (name, at(home.path(), &text).into_bytes())).collect();
        mount(&home.path().join("bootstrap"), &files)?;
        mount(&home.path().join("identity"), &keys(secret)?)?;
        let arguments =
            deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().context("no args")?;
        let arguments = arguments.iter().filter_map(Value::as_str).map(|text| at(home.path(), text));
        let arguments: Vec<_> = arguments.map(|text| text.replace("$(POD_NAME)", "pod")).collect();
        let path = home.path().to_owned();
        Ok(Self { proxy: Proxy::run(home, &arguments)?, home: path, readiness, metrics })
    }

    /// Mounts another Secret, as the kubelet does when one changed.
    ///
    /// # Errors
    /// When it has no data, or cannot be written.
    pub fn rotate(&self, secret: &Value) -> Result<()> {
        mount(&self.home.join("identity"), &keys(secret)?)
    }

    /// Its Envoy.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The status that the readiness port answers with.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn readiness(&self) -> Result<u16> {
        status(self.readiness, "GET", "/ready")
    }

    /// The status that the port of statistics answers with.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self, method: &str, path: &str) -> Result<u16> {
        status(self.metrics, method, path)
    }

    /// Does what the pod's preStop hook does.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn drain(&self, timeout: &str, delay: &str) -> Result<ExitStatus> {
        let mut command = Command::new(tool("SLUICE_BIN")?);
        command.args(["proxy", "drain", "--timeout", timeout, "--delay", delay, "--admin"]);
        Ok(command.arg(self.home.join("admin.sock")).status()?)
    }
}

/// The bootstrap with the control plane on the loopback, and ports that nobody else has.
fn relocated(text: &str, readiness: SocketAddr, metrics: SocketAddr) -> Result<String> {
    let mut bootstrap: Value = serde_json::from_str(text)?;
    *bootstrap.pointer_mut(&format!("{CONTROL_PLANE}/socket_address/address")).context("no control plane")? =
        json!("127.0.0.1");
    for (place, address) in [readiness, metrics].into_iter().enumerate() {
        let port = format!("/static_resources/listeners/{place}/address/socket_address/port_value");
        *bootstrap.pointer_mut(&port).context("no probe")? = json!(address.port());
    }
    Ok(bootstrap.to_string())
}

fn at(home: &Path, text: &str) -> String {
    let below = |name: &str| home.join(name).display().to_string();
    let mounted = MOUNTS
        .iter()
        .fold(text.to_owned(), |text, mount| text.replace(mount, &below(mount.rsplit('/').next().unwrap_or_default())));
    mounted.replace(RUN, &home.display().to_string())
}

fn texts(data: &Value) -> Result<BTreeMap<String, String>> {
    let data = data.as_object().context("no data")?;
    Ok(data.iter().filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect())
}

fn keys(secret: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    texts(&secret["data"])?.into_iter().map(|(name, text)| Ok((name, STANDARD.decode(text)?))).collect()
}

/// Files appear all at once: they are links by way of one link to a folder, and that is moved.
fn mount(path: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    fs::create_dir_all(path)?;
    let version = format!("..{}", fs::read_dir(path)?.count());
    fs::create_dir(path.join(&version))?;
    for (name, bytes) in files {
        fs::write(path.join(&version).join(name), bytes)?;
    }
    symlink(&version, path.join("..data.new"))?;
    fs::rename(path.join("..data.new"), path.join("..data"))?;
    for name in files.keys().filter(|name| !path.join(name).is_symlink()) {
        symlink(format!("..data/{name}"), path.join(name))?;
    }
    Ok(())
}

fn status(address: SocketAddr, method: &str, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).context("no answer")?.parse()?)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
