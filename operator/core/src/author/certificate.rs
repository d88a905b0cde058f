//! Self-signed certificates: whether the Secret that is there still fits, and what to ask for if it does not.
//!
//! Keys and serial numbers are made by the shell: the core only says what a certificate has to look like.

use crate::{
    key::{NsName, Text},
    translate::certificate::instant,
    world::{Reader, secret::Secret},
};
use chrono::{DateTime, TimeDelta, Utc};
use std::net::IpAddr;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
};

/// Life of a leaf certificate.
const LEAF_LIFE: TimeDelta = TimeDelta::days(90);
/// Life of a CA certificate; long, so that clients who pinned it survive renewals of leaves.
const CA_LIFE: TimeDelta = TimeDelta::days(3650);
/// Certificates start this long ago, so that clients whose clock is slow accept them.
const BACKDATE: TimeDelta = TimeDelta::minutes(5);

/// A Secret that has to be made, with its key, by whoever may make keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where the certificate goes: `tls.crt`, `tls.key` and, of a leaf, `ca.crt`.
    pub secret: NsName,
    /// What it has to look like.
    pub spec: CertSpec,
    /// `metadata` of the Secret: name, labels, owner.
    pub metadata: serde_json::Value,
}

/// What a certificate has to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertSpec {
    /// Subject.
    pub common_name: Text,
    /// DNS names; empty for a CA.
    pub sans: Vec<Text>,
    /// First moment.
    pub not_before: DateTime<Utc>,
    /// Last moment.
    pub not_after: DateTime<Utc>,
    /// Who signs.
    pub issuer: Issuer,
}

/// Who signs a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Nobody else: a CA.
    Itself,
    /// The CA in this Secret.
    Authority(NsName),
}

impl CertSpec {
    /// A CA that starts now.
    pub fn authority(common_name: Text, now: DateTime<Utc>) -> Self {
        Self::starting(now, CA_LIFE, common_name, Issuer::Itself)
    }

    /// A leaf for `sans` that starts now.
    pub fn leaf(common_name: Text, sans: Vec<Text>, authority: NsName, now: DateTime<Utc>) -> Self {
        Self { sans, ..Self::starting(now, LEAF_LIFE, common_name, Issuer::Authority(authority)) }
    }

    fn starting(now: DateTime<Utc>, life: TimeDelta, common_name: Text, issuer: Issuer) -> Self {
        Self { common_name, sans: Vec::new(), not_before: now - BACKDATE, not_after: now + life, issuer }
    }
}

/// What a Secret holds, as far as issuing is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// DNS names and addresses, sorted.
    pub sans: Vec<Text>,
    /// First moment.
    pub not_before: DateTime<Utc>,
    /// Last moment.
    pub not_after: DateTime<Utc>,
    /// Subject key identifier; empty if it has none.
    key_id: Vec<u8>,
    /// Authority key identifier; empty if it has none.
    issuer_key_id: Vec<u8>,
}

impl Held {
    /// Reads the first certificate of a Secret; `None` if there is none, or no key beside it.
    pub(crate) fn read(secret: &Secret) -> Option<Self> {
        secret.get("tls.key").filter(|key| !key.is_empty())?;
        let (_, pem) = parse_x509_pem(secret.get("tls.crt")?).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        Some(Self {
            sans: names(&certificate),
            not_before: instant(validity.not_before),
            not_after: instant(validity.not_after),
            key_id: key_id(&certificate).unwrap_or_default(),
            issuer_key_id: issuer_key_id(&certificate).unwrap_or_default(),
        })
    }

    /// When two thirds of its life are over: time to renew.
    pub(super) fn renewal(&self) -> DateTime<Utc> {
        self.not_before + (self.not_after - self.not_before) * 2 / 3
    }

    /// Whether it is still in the first two thirds of its life.
    pub(super) fn is_fresh(&self, read: &Reader) -> bool {
        !read.reached(self.renewal())
    }

    /// Whether `authority` signed it: after a CA was replaced, its leaves have to follow.
    pub(super) fn is_signed_by(&self, authority: &Self) -> bool {
        !authority.key_id.is_empty() && self.issuer_key_id == authority.key_id
    }
}

fn names(certificate: &X509Certificate) -> Vec<Text> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<Text> = names.filter_map(general_name).collect();
    names.sort();
    names
}

fn general_name(name: &GeneralName) -> Option<Text> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            Some(address.to_string().into())
        }
        _ => None,
    }
}

fn key_id(certificate: &X509Certificate) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn issuer_key_id(certificate: &X509Certificate) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}
