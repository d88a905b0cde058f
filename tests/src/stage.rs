//! What most tests of the gateway start from: a Gateway for `*.example.com`, its certificate, and echo servers as Services.
//!
//! names of Services, further manifests → a running Sluice, and connections to it
//!
//! **Invariant:** each stage has ports, state and servers of its own, so tests run side by side.
//!
//! It must not know what the further manifests say.

use std::{collections::BTreeMap, fmt::Display, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    calls::{Outcome, Speech, call},
    echoes::Echo,
    local::{PATIENCE, Sluice},
    manifests::{Certificate, endpoints, file, gateway, service},
    wire::Connection,
};

/// A running Sluice with what stands around it.
#[derive(Debug)]
pub struct Stage {
    /// The child.
    pub sluice: Sluice,
    /// The certificate of the listener.
    pub certificate: Certificate,
    echoes: BTreeMap<String, Echo>,
}

impl Stage {
    /// Starts echo servers, each the one endpoint of the Service of its name, and Sluice on these, the Gateway `gateway`, and
    /// `documents`; waits until the Gateway is programmed.
    pub async fn new(services: &[&str], documents: impl IntoIterator<Item = impl Display>) -> Result<Self> {
        let certificate = Certificate::new(&["*.example.com", "example.com"])?;
        let mut echoes = BTreeMap::new();
        for name in services {
            echoes.insert((*name).to_owned(), Echo::start(name).await?);
        }
        let backends = echoes.iter().flat_map(|(name, echo)| [service(name), endpoints(name, echo.address())]);
        let manifests = [
            (
                "gateway.yaml",
                file([certificate.secret("certificate"), gateway("gateway", &["*.example.com"], "certificate")]),
            ),
            ("backends.yaml", file(backends)),
            ("test.yaml", file(documents)),
        ];
        let sluice = Sluice::start(&manifests).await?;
        sluice.condition(("Gateway", "gateway"), "Programmed", "True").await?;
        Ok(Self { sluice, certificate, echoes })
    }

    /// Writes the documents of the test anew.
    pub fn apply(&self, documents: impl IntoIterator<Item = impl Display>) -> Result<()> {
        self.sluice.apply("test.yaml", &file(documents))
    }

    /// The echo server of a Service.
    pub fn echo(&self, service: &str) -> Result<&Echo> {
        self.echoes.get(service).with_context(|| format!("no echo server for {service}"))
    }

    /// A connection of its own to a hostname.
    pub async fn connect(&self, host: &str) -> Result<Connection> {
        Connection::open(self.sluice.https(), host, &self.certificate.pem).await
    }

    /// A call on a connection of its own.
    pub async fn call(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Outcome> {
        call(&self.connect(host).await?, Speech::Grpc, path, headers).await
    }

    /// Waits until a route is in force as it is written now.
    pub async fn in_force(&self, route: &str) -> Result<()> {
        self.sluice.condition(("GRPCRoute", route), "sluice.dev/Programmed", "True").await.map(drop)
    }

    /// Calls until the outcome is as expected. For what no status announces.
    pub async fn until_answer(&self, host: &str, path: &str, expected: impl Fn(&Outcome) -> bool) -> Result<Outcome> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = self.call(host, path, &[]).await;
            match outcome {
                Ok(outcome) if expected(&outcome) => return Ok(outcome),
                _ => ensure!(Instant::now() < deadline, "{host}{path}: {outcome:?}; it said:\n{}", self.sluice.said()),
            }
        }
    }
}
