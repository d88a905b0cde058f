//! Callers outside of the cluster.
//!
//! a hostname, its address and what its clients trust → connections
//!
//! **Invariant:** the certificate is verified, as a client in production does.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Cluster;
use crate::{load::Target, wire::Connection};

/// How long after Ready an address may still refuse.
const PROPAGATION: Duration = Duration::from_secs(3);

/// A hostname that a Gateway serves.
#[derive(Clone, Debug)]
pub struct Hostname {
    /// The name.
    pub name: String,
    /// Where the Gateway is reached.
    pub address: SocketAddr,
    /// PEM of the authority that its clients trust.
    pub authority: String,
}

impl Hostname {
    /// The first endpoint of a GrpcService, with the authority that it publishes.
    ///
    /// # Errors
    /// When it is not Ready in time, or publishes none.
    pub fn of(cluster: &Cluster, namespace: &str, service: &str) -> Result<Self> {
        let what = format!("grpcservice/{service}");
        let ready = cluster.until(namespace, &what, |object| super::says(object, "Ready", "True"))?;
        let endpoint = ready.pointer("/status/endpoints/0").context("Ready without an endpoint")?;
        let field = |name: &str| endpoint[name].as_str().with_context(|| format!("an endpoint without {name}"));
        let port = endpoint["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port")?;
        let authority = match ready.pointer("/status/certificate/caConfigMapName").and_then(Value::as_str) {
            Some(map) => {
                let map = cluster.get(namespace, &format!("configmap/{map}"))?;
                map["data"]["ca.crt"].as_str().context("no ca.crt")?.to_owned()
            }
            None => Self::certificate(cluster, namespace, &ready)?,
        };
        let address = SocketAddr::new(field("address")?.parse()?, port);
        reached(address)?;
        Ok(Self { name: field("hostname")?.to_owned(), address, authority })
    }

    fn certificate(cluster: &Cluster, namespace: &str, service: &Value) -> Result<String> {
        let secret = service.pointer("/status/certificate/secretName").and_then(Value::as_str).context("no Secret")?;
        let secret = cluster.get(namespace, &format!("secret/{secret}"))?;
        let encoded = secret["data"]["tls.crt"].as_str().context("no tls.crt")?;
        Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
    }
}

/// Waits until an address takes connections: kube-proxy hears of the first ready proxy when everybody else does, and gathers what it
/// hears for up to a second (`minSyncPeriod`).
fn reached(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PROPAGATION;
    loop {
        match TcpStream::connect_timeout(&address, PROPAGATION) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("{address} takes no connection {PROPAGATION:?} after Ready"));
            }
            // house(sleep): the pace of a poll with a deadline.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Target for Hostname {
    async fn connect(&self, _: u64) -> Result<Connection> {
        Connection::open(self.address, &self.name, &self.authority).await
    }
}
