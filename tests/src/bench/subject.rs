//! The controller under test: `sluice operator` as a child, or any other one that runs already.
//!
//! options → its class, its processes, its discovery service
//!
//! **Invariant:** it is given an API server and nothing else; what runs pods and gives addresses is stood in for by the driver.
//!
//! It must not know what a controller writes, but for the credentials of its proxies.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{child::Child, meter::Meter, objects, tap::Upstream, writer::Writer};
use crate::{echoes::outside_address, local::tool};

/// Where the operator believes to be installed.
pub const NAMESPACE: &str = "sluice-system";
/// How long anything that is waited for may take: a cold start at 10,000 routes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// How often a poll asks.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Debug)]
pub struct Subject {
    /// Its GatewayClass.
    pub class: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sluice { running: Option<Child>, kubeconfig: PathBuf, xds: SocketAddr, admin: SocketAddr },
    Foreign(Foreign),
}

/// A controller that somebody else started.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Its processes.
    pub pids: Vec<u32>,
    /// Its discovery service.
    pub xds: SocketAddr,
    /// The Secret, as `namespace/name`, with a client certificate for it; in clear if there is none.
    pub credentials: Option<String>,
}

impl Subject {
    /// `sluice operator` from the binary in `SLUICE_BIN`; it does not run yet.
    pub fn sluice(kubeconfig: PathBuf) -> Result<Self> {
        let (xds, admin) = (free_address()?, free_address()?);
        Ok(Self { class: "sluice".to_owned(), kind: Kind::Sluice { running: None, kubeconfig, xds, admin } })
    }

    /// Another controller.
    pub fn foreign(class: String, foreign: Foreign) -> Self {
        Self { class, kind: Kind::Foreign(foreign) }
    }

    /// Whether the driver can start and end it.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Sluice { .. })
    }

    /// Starts it, if it is ours.
    pub fn start(&mut self) -> Result<()> {
        let Kind::Sluice { running, kubeconfig, xds, admin } = &mut self.kind else { return Ok(()) };
        let [xds, admin] = [*xds, *admin].map(|address| address.to_string());
        let ip = outside_address()?.to_string();
        let arguments = [
            "operator",
            "--namespace",
            NAMESPACE,
            "--pod-name",
            "bench",
            "--pod-ip",
            &ip,
            "--xds-address",
            &xds,
            "--admin-address",
            &admin,
            "--proxy-image",
            "none",
            "--log",
            "warn",
        ];
        // Its proxies have no pods.
        let environment = [("KUBECONFIG", kubeconfig.as_os_str()), ("SLUICE_SPARE_STREAMS", OsStr::new("100000"))];
        *running = Some(Child::start(&tool("SLUICE_BIN")?, arguments, &environment)?);
        Ok(())
    }

    /// Ends it as a node that shuts down would, if it is ours and runs.
    pub fn stop(&mut self) -> Result<()> {
        let Kind::Sluice { running, .. } = &mut self.kind else { return Ok(()) };
        running.take().map_or(Ok(()), Child::terminate)
    }

    /// Ends it as a crash would, if it is ours and runs.
    pub fn kill(&mut self) {
        if let Kind::Sluice { running, .. } = &mut self.kind {
            drop(running.take());
        }
    }

    /// Its processes.
    pub fn meter(&self) -> Meter {
        match &self.kind {
            Kind::Sluice { running, .. } => Meter::new(running.as_ref().map(Child::pid)),
            Kind::Foreign(foreign) => Meter::new(foreign.pids.iter().copied()),
        }
    }

    /// What it said, if it is ours.
    pub fn said(&self) -> String {
        match &self.kind {
            Kind::Sluice { running: Some(child), .. } => child.said(),
            _ => String::new(),
        }
    }

    /// A page of its admin interface, if it is ours.
    pub fn page(&self, path: &str) -> Result<String> {
        use std::io::{Read as _, Write as _};
        let Kind::Sluice { admin, .. } = &self.kind else { return Ok(String::new()) };
        let mut stream = std::net::TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
        Ok(body.to_owned())
    }

    /// Waits until it is ready, if it is ours.
    pub async fn ready(&self) -> Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        until("readiness", async || self.page("/readyz").ok()).await.map(drop).with_context(|| self.said())
    }

    /// How a proxy of the Gateway reaches it, once there are credentials for one.
    pub async fn upstream(&self, writer: &Writer) -> Result<Upstream> {
        let (address, secret) = match &self.kind {
            Kind::Sluice { xds, .. } => (*xds, Some(format!("{}/{}-{}", objects::INFRA, objects::EDGE, self.class))),
            Kind::Foreign(foreign) => (foreign.xds, foreign.credentials.clone()),
        };
        let Some(secret) = secret else { return Ok(Upstream { address, tls: None }) };
        let (namespace, name) = secret.split_once('/').context("credentials are namespace/name")?;
        let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}});
        let found = until(&format!("Secret {secret}"), async || writer.get(&wanted).await.ok().flatten()).await;
        let config = client(&found.with_context(|| self.said())?)?;
        let name = ServerName::try_from(format!("sluice-xds.{NAMESPACE}.svc"))?;
        Ok(Upstream { address, tls: Some((Arc::new(config), name)) })
    }
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        // house(sleep): the pace of a poll with a deadline.
        tokio::time::sleep(PACE).await;
    }
}

/// A client with the certificate of a Secret, which trusts the Secret's CA.
fn client(secret: &Value) -> Result<ClientConfig> {
    let field = |name: &str| -> Result<Vec<u8>> {
        let text = secret["data"][name].as_str().with_context(|| format!("the Secret has no {name}"))?;
        Ok(STANDARD.decode(text)?)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&field("ca.crt")?) {
        roots.add(certificate?)?;
    }
    let chain = CertificateDer::pem_slice_iter(&field("tls.crt")?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&field("tls.key")?)?;
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let mut config = versions.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// An address that was free a moment ago. The child cannot be handed a socket.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The path of this very program, for the floors that want a process of their own.
pub fn program() -> Result<PathBuf> {
    Ok(Path::new("/proc/self/exe").read_link()?)
}
