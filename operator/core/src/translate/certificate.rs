//! Certificates: a Secret → what proxies serve, or what is wrong with it.
//!
//! Secret → [`ir::Certificate`] or [`CertificateProblem`]
//!
//! **Invariant:** what is returned can be loaded by a proxy: PEM that parses, a key that fits the leaf.
//! **Invariant:** key material appears in no message.
//!
//! Knows nothing of who refers to the Secret and of whether that is permitted.

use crate::{ir, key::NsName, world::Reader};
use chrono::{DateTime, Utc};

/// What is wrong with a certificate; the message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// There is no such Secret.
    #[error("Secret {0} does not exist: kubectl create secret tls {name} -n {namespace} --cert=FILE --key=FILE", name = .0.name, namespace = .0.namespace)]
    Absent(NsName),
    /// Past its end; it is served all the same.
    #[error("the certificate in Secret {secret} expired at {since}")]
    Expired {
        /// The Secret.
        secret: NsName,
        /// When.
        since: DateTime<Utc>,
    },
}

/// What proxies are given.
pub fn load(secret: &NsName, read: &Reader) -> Result<ir::Certificate, CertificateProblem> {
    let _ = read;
    Err(CertificateProblem::Absent(secret.clone()))
}
