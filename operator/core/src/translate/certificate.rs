//! Certificates: a Secret → what proxies serve, or what is wrong with it.
//!
//! Secret → [`ir::Certificate`] or [`CertificateProblem`]
//!
//! **Invariant:** what is returned can be loaded by a proxy: PEM that parses, an RSA key of a size that Envoy
//! takes, and that fits the leaf.
//! **Invariant:** key material appears in no message.
//!
//! An expired certificate is served all the same: a client that verifies is told "expired", which is the truth, where a
//! missing chain would only be a failed handshake; and a client that does not verify keeps working. The status says so
//! (`untimely`).
//!
//! Knows nothing of who refers to the Secret and of whether that is permitted.

mod key;
#[cfg(test)]
mod tests;

use crate::{
    hostname::Hostname,
    ir,
    key::{NsName, Text},
    world::{Reader, Surfaces, World, secret::Secret, secret::Sensitive},
};
use chrono::{DateTime, Utc};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    pem::Pem,
    public_key::PublicKey,
    time::ASN1Time,
};

/// Envoy refuses smaller RSA keys.
const MIN_RSA_BITS: usize = 2048;

/// What is wrong with a certificate; the message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is said by its message, each field named in it")]
pub enum CertificateProblem {
    #[error(
        "Secret {0} does not exist: kubectl create secret tls {name} -n {namespace} --cert=FILE --key=FILE",
        name = .0.name, namespace = .0.namespace
    )]
    Absent(NsName),
    #[error(
        "Secret {secret} has type {found}: create it anew with type kubernetes.io/tls (the type of a Secret cannot \
         be changed)"
    )]
    WrongType { secret: NsName, found: Text },
    #[error("Secret {secret} lacks {entry}: add it, PEM encoded")]
    Lacks { secret: NsName, entry: &'static str },
    #[error("{entry} of Secret {secret} is not PEM: put the PEM file there, beginning with -----BEGIN")]
    NotPem { secret: NsName, entry: &'static str },
    #[error("tls.crt of Secret {0} holds no valid X.509 certificate: put the PEM chain there, the leaf first")]
    NotCertificate(NsName),
    #[error("tls.key of Secret {0} holds no valid private key: put an RSA or EC key there, as PKCS#8, PKCS#1 or SEC 1")]
    NotKey(NsName),
    #[error("tls.key of Secret {0} is encrypted: remove the passphrase (openssl pkey -in FILE -out FILE)")]
    EncryptedKey(NsName),
    #[error(
        "tls.key of Secret {0} does not fit the first certificate of tls.crt: put the key that the certificate was \
         made for there, and the leaf first in tls.crt"
    )]
    KeyMismatch(NsName),
    #[error(
        "the certificate in Secret {secret} has an RSA key of {bits} bits; Envoy takes 2048 or more: issue it anew"
    )]
    WeakKey { secret: NsName, bits: usize },
    #[error(
        "the certificate in Secret {secret} expired at {since}, and clients that verify refuse it; it is still \
         served: renew it"
    )]
    Expired { secret: NsName, since: DateTime<Utc> },
    #[error(
        "the certificate in Secret {secret} is not valid before {from}, and clients that verify refuse it until \
         then; it is served: check the clock of whoever issued it, or wait"
    )]
    NotYetValid { secret: NsName, from: DateTime<Utc> },
}

/// A certificate that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What proxies are given.
    pub certificate: ir::Certificate,
    /// Expired or not yet valid.
    pub untimely: Option<CertificateProblem>,
    /// DNS names of the leaf, in order, distinct.
    pub names: Vec<Hostname>,
    /// When the leaf ends.
    pub not_after: DateTime<Utc>,
}

/// What proxies are given: what the Secret holds or, while that is unfit, what it held before.
pub fn load(secret: &NsName, read: &Reader) -> Result<ir::Certificate, CertificateProblem> {
    let inspected = inspect(secret, read).or_else(|problem| before(secret, read).ok_or(problem));
    inspected.map(|inspected| inspected.certificate)
}

/// When the leaf of what proxies are given ends.
pub fn end(certificate: &ir::Certificate) -> Option<DateTime<Utc>> {
    let leaf = Pem::iter_from_buffer(certificate.chain.expose()).next()?.ok()?;
    let leaf = leaf.parse_x509().ok()?;
    Some(instant(leaf.validity().not_after))
}

/// What is to be said about what the Secret holds. Parses the chain: about 0.1 ms.
pub fn inspect(secret: &NsName, read: &Reader) -> Result<Inspected, CertificateProblem> {
    let object = read.get::<Secret>(secret).ok_or_else(|| CertificateProblem::Absent(secret.clone()))?;
    examine(secret, object, read)
}

/// What a Secret held before it became unfit.
pub fn before(secret: &NsName, read: &Reader) -> Option<Inspected> {
    examine(secret, read.kept(secret)?, read).ok()
}

/// Whether a Secret holds a certificate that proxies can load, whatever its dates.
pub fn is_fit(secret: &Secret) -> bool {
    let (world, surfaces) = (World::default(), Surfaces::new());
    examine(&secret.metadata.key, secret, &Reader::new(&world, &surfaces)).is_ok()
}

fn examine(secret: &NsName, object: &Secret, read: &Reader) -> Result<Inspected, CertificateProblem> {
    if &*object.kind != "kubernetes.io/tls" {
        return Err(CertificateProblem::WrongType { secret: secret.clone(), found: object.kind.clone() });
    }
    let source = Source { secret, object };
    let chain = source.blocks("tls.crt")?;
    let leaf = source.leaf(&chain)?;
    source.check_key(&leaf)?;
    let validity = leaf.validity();
    Ok(Inspected {
        certificate: source.certificate()?,
        untimely: untimely(secret, (instant(validity.not_before), instant(validity.not_after)), read),
        names: names(&leaf),
        not_after: instant(validity.not_after),
    })
}

/// A Secret of the right type.
struct Source<'s> {
    secret: &'s NsName,
    object: &'s Secret,
}

impl Source<'_> {
    fn entry(&self, entry: &'static str) -> Result<&[u8], CertificateProblem> {
        let found = self.object.get(entry).filter(|bytes| !bytes.is_empty());
        found.ok_or_else(|| CertificateProblem::Lacks { secret: self.secret.clone(), entry })
    }

    fn blocks(&self, entry: &'static str) -> Result<Vec<Pem>, CertificateProblem> {
        let blocks = Pem::iter_from_buffer(self.entry(entry)?).collect::<Result<Vec<_>, _>>().unwrap_or_default();
        let problem = || CertificateProblem::NotPem { secret: self.secret.clone(), entry };
        if blocks.is_empty() { Err(problem()) } else { Ok(blocks) }
    }

    /// The first certificate; all of them must parse, since a proxy refuses the chain otherwise.
    fn leaf<'p>(&self, chain: &'p [Pem]) -> Result<X509Certificate<'p>, CertificateProblem> {
        let certificates = chain.iter().map(|block| match &*block.label {
            "CERTIFICATE" => block.parse_x509().ok(),
            _ => None,
        });
        let certificates = certificates.collect::<Option<Vec<_>>>().unwrap_or_default();
        certificates.into_iter().next().ok_or_else(|| CertificateProblem::NotCertificate(self.secret.clone()))
    }

    fn check_key(&self, leaf: &X509Certificate) -> Result<(), CertificateProblem> {
        let public = leaf.public_key();
        if let Ok(PublicKey::RSA(rsa)) = public.parsed()
            && rsa.key_size() < MIN_RSA_BITS
        {
            return Err(CertificateProblem::WeakKey { secret: self.secret.clone(), bits: rsa.key_size() });
        }
        if key::is_encrypted(self.entry("tls.key")?) {
            return Err(CertificateProblem::EncryptedKey(self.secret.clone()));
        }
        match key::fit(&self.blocks("tls.key")?, public) {
            key::Fit::Fits | key::Fit::Untold => Ok(()),
            key::Fit::Differs => Err(CertificateProblem::KeyMismatch(self.secret.clone())),
            key::Fit::NoKey => Err(CertificateProblem::NotKey(self.secret.clone())),
        }
    }

    fn certificate(&self) -> Result<ir::Certificate, CertificateProblem> {
        Ok(ir::Certificate {
            name: self.secret.to_string().into(),
            chain: Sensitive::new(self.entry("tls.crt")?),
            key: Sensitive::new(self.entry("tls.key")?),
        })
    }
}

/// A date of a certificate; one beyond the calendar is never reached.
pub(crate) fn instant(time: ASN1Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn untimely(
    secret: &NsName,
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    read: &Reader,
) -> Option<CertificateProblem> {
    let secret = secret.clone();
    if read.reached(until) {
        Some(CertificateProblem::Expired { secret, since: until })
    } else {
        (!read.reached(from)).then_some(CertificateProblem::NotYetValid { secret, from })
    }
}

fn names(leaf: &X509Certificate) -> Vec<Hostname> {
    let extensions = leaf.extensions().iter().map(X509Extension::parsed_extension);
    let alternatives = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(alternatives) => Some(&alternatives.general_names),
        _ => None,
    });
    let mut names = alternatives
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Hostname::parse(Some(name))),
            _ => None,
        })
        .collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    names
}
