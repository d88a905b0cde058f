//! Certificates: made, and read.
//!
//! a [`Subject`] and a CA → [`Leaf`]; PEM or DER → whom it names and how long
//!
//! Must not know: when one is needed.

use super::Validity;
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use sluice_core::key::NsName;
use std::fmt;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, Pem},
};

/// Before the namespace and the name of a Gateway, in the URI of its proxies' certificates.
const TRUST_DOMAIN: &str = "spiffe://sluice.dev";

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The control plane, by the name of its Service.
    ControlPlane(String),
    /// The proxies of a Gateway.
    Gateway(NsName),
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Subject {
    fn name(&self) -> anyhow::Result<SanType> {
        Ok(match self {
            Self::ControlPlane(host) => SanType::DnsName(host.as_str().try_into().context("the Service's name")?),
            Self::Gateway(gateway) => SanType::URI(uri(gateway).try_into().context("the Gateway's name")?),
        })
    }

    /// Whether a certificate is for it.
    pub(crate) fn is_named(&self, leaf: &Leaf) -> bool {
        let named = der(&leaf.certificate).first().and_then(|der| gateway(der));
        matches!(self, Self::Gateway(gateway) if named.as_ref() == Some(gateway))
    }

    fn purpose(&self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::ControlPlane(_) => ExtendedKeyUsagePurpose::ServerAuth,
            Self::Gateway(_) => ExtendedKeyUsagePurpose::ClientAuth,
        }
    }
}

/// Names of objects need no escape in a URI.
fn uri(gateway: &NsName) -> String {
    format!("{TRUST_DOMAIN}/ns/{}/gateway/{}", gateway.namespace, gateway.name)
}

/// Makes a certificate with a new key.
pub(super) fn issue(subject: &Subject, validity: Validity, by: &Issuer<'_, KeyPair>) -> anyhow::Result<Leaf> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = params("sluice", validity)?;
    params.subject_alt_names = vec![subject.name()?];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![subject.purpose()];
    let certificate = params.signed_by(&key, by).context("signing")?;
    Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Makes a CA. Each has a name of its own, so that whoever trusts several finds the one that signed.
pub(super) fn authority(validity: Validity) -> anyhow::Result<Leaf> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = params(&format!("sluice xds {}", validity.from.timestamp_millis()), validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).context("signing")?;
    Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, validity: Validity) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = instant(validity.from)?;
    params.not_after = instant(validity.to)?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn instant(time: DateTime<Utc>) -> anyhow::Result<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp(time.timestamp()).context("a date beyond the calendar")
}

/// The Gateway that a certificate names.
pub(super) fn gateway(der: &[u8]) -> Option<NsName> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    // One name and no more: a second one would be a second Gateway.
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let path = uri.strip_prefix(TRUST_DOMAIN)?.strip_prefix("/ns/")?;
    let (namespace, name) = path.split_once("/gateway/")?;
    let whole = !namespace.is_empty() && !name.is_empty() && !namespace.contains('/') && !name.contains('/');
    whole.then(|| NsName::new(namespace, name))
}

/// From when to when a certificate is valid.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |time: x509_parser::time::ASN1Time| DateTime::from_timestamp(time.timestamp(), 0);
    let validity = certificate.validity();
    Some(Validity { from: time(validity.not_before)?, to: time(validity.not_after)? })
}

/// The certificates of a PEM file, as DER.
pub(super) fn der(pem: &str) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).collect()
}
