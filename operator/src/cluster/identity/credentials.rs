//! What proves who is who, at one time.
//!
//! the CA, and what held before → the CA with a certificate of our own that is fit

use super::{Authority, Leaf, Lifetimes, Subject, listen};
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use std::sync::Arc;

/// The CA, and what the control plane shows of it.
#[derive(Debug)]
pub(crate) struct Credentials {
    authority: Authority,
    /// In memory alone: each replica makes its own.
    leaf: Leaf,
    server: Arc<ServerConfig>,
}

impl Credentials {
    /// For this CA, with the certificate that there is as long as that is fit; the same if nothing differs.
    pub(super) fn renewed(
        current: Option<&Arc<Self>>,
        authority: Authority,
        host: &str,
        now: DateTime<Utc>,
        lives: Lifetimes,
    ) -> anyhow::Result<Arc<Self>> {
        let fit = current.filter(|current| authority.renewal(&current.leaf.certificate, now, lives) > now);
        if let Some(same) = fit.filter(|current| current.authority == authority) {
            return Ok(same.clone());
        }
        let leaf = match fit {
            Some(current) => current.leaf.clone(),
            None => authority.issue(&Subject::ControlPlane(host.to_owned()), now, lives)?,
        };
        let server = Arc::new(listen::config(&leaf.certificate, &leaf.key, &authority.trusted())?);
        Ok(Arc::new(Self { authority, leaf, server }))
    }

    /// When our certificate has to be replaced.
    pub(super) fn renewal(&self, now: DateTime<Utc>, lives: Lifetimes) -> DateTime<Utc> {
        self.authority.renewal(&self.leaf.certificate, now, lives)
    }

    /// The CA.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What is shown and demanded in handshakes.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}
