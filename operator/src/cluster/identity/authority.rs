//! The CA, its successor and its predecessors.
//!
//! the content of its Secret and the time → what the content has to be, certificates, and whom to trust
//!
//! **Invariant:** a successor is trusted for a twelfth of a CA's life before it signs, and what it succeeds stays trusted until it
//! expires: proxies and control planes learn of either in any order.
//!
//! Must not know: where it is kept.

use super::{
    Leaf, Lifetimes, Subject, Validity,
    leaf::{self, der},
};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use rcgen::{Issuer, KeyPair};
use std::collections::BTreeMap;

/// What proxies and control planes trust, and what signs for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Signs.
    signer: Leaf,
    /// Will sign.
    next: Option<Leaf>,
    /// Signed once. PEM, each one certificate.
    former: Vec<String>,
}

/// Keys of the Secret.
const SIGNER: (&str, &str) = ("tls.crt", "tls.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const FORMER: &str = "former.crt";

impl Authority {
    /// A first one.
    pub(super) fn new(now: DateTime<Utc>, lives: Lifetimes) -> anyhow::Result<Self> {
        let signer = leaf::authority(Validity::starting(now, lives.authority()))?;
        Ok(Self { signer, next: None, former: Vec::new() })
    }

    /// As it is kept.
    pub(super) fn read(data: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let text = |name: &str| data.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let pair = |(certificate, key): (&str, &str)| Some(Leaf { certificate: text(certificate)?, key: text(key)? });
        let signer = pair(SIGNER).context("it has no tls.crt or no tls.key")?;
        let former = text(FORMER).unwrap_or_default();
        let found = Self { signer, next: pair(NEXT), former: split(&former) };
        found.issuer().context("its tls.crt and tls.key")?;
        found.validity()?;
        Ok(found)
    }

    /// As it is to be kept.
    pub(super) fn data(&self) -> BTreeMap<String, String> {
        let pair = |(certificate, key): (&str, &str), of: &Leaf| {
            [(certificate.to_owned(), of.certificate.clone()), (key.to_owned(), of.key.clone())]
        };
        let mut data: BTreeMap<_, _> = pair(SIGNER, &self.signer).into();
        data.extend(self.next.iter().flat_map(|next| pair(NEXT, next)));
        if !self.former.is_empty() {
            data.insert(FORMER.to_owned(), self.former.concat());
        }
        data
    }

    /// Whom everybody trusts, as PEM: those that sign, will sign and have signed.
    pub(crate) fn trusted(&self) -> String {
        let next = self.next.iter().map(|next| next.certificate.as_str());
        let former = self.former.iter().map(String::as_str);
        [self.signer.certificate.as_str()].into_iter().chain(next).chain(former).collect()
    }

    /// What it has to become by now; `None`: it is well.
    pub(super) fn renewed(&self, now: DateTime<Utc>, lives: Lifetimes) -> anyhow::Result<Option<Self>> {
        let mut renewed = self.clone();
        renewed.former.retain(|pem| expiry(pem).is_some_and(|end| end > now));
        match &self.next {
            None if self.succession(now, lives)? <= now => {
                renewed.next = Some(leaf::authority(Validity::starting(now, lives.authority()))?);
            }
            Some(next) if self.succession(now, lives)? <= now => {
                renewed.former.push(self.signer.certificate.clone());
                renewed.former.retain(|pem| expiry(pem).is_some_and(|end| end > now));
                (renewed.signer, renewed.next) = (next.clone(), None);
            }
            _ => {}
        }
        Ok((renewed != *self).then_some(renewed))
    }

    /// When [`Authority::renewed`] has something to say.
    pub(super) fn due(&self, now: DateTime<Utc>, lives: Lifetimes) -> anyhow::Result<DateTime<Utc>> {
        let former = self.former.iter().filter_map(|pem| expiry(pem));
        Ok(former.chain([self.succession(now, lives)?]).min().unwrap_or(now))
    }

    /// When a successor is made; when there is one, when it signs. One that expires is succeeded at once: nobody believes it anyway.
    fn succession(&self, now: DateTime<Utc>, lives: Lifetimes) -> anyhow::Result<DateTime<Utc>> {
        let signer = self.validity()?;
        let Some(next) = &self.next else { return Ok(signer.renewal(lives.authority(), now)) };
        let next = leaf_validity(&next.certificate).context("next.crt")?;
        Ok(signer.to.min(next.from + Validity::SKEW + lives.authority() / 12))
    }

    /// A certificate by this CA.
    pub(crate) fn issue(&self, subject: &Subject, now: DateTime<Utc>, lives: Lifetimes) -> anyhow::Result<Leaf> {
        leaf::issue(subject, Validity::starting(now, lives.leaf()), &self.issuer()?)
    }

    /// When a certificate has to be replaced: in two thirds of its life, and at once if it is not to be trusted.
    pub(crate) fn renewal(&self, certificate: &str, now: DateTime<Utc>, lives: Lifetimes) -> DateTime<Utc> {
        let signed = self.signed(certificate).and_then(|()| leaf_validity(certificate));
        signed.map_or(now, |validity| validity.renewal(lives.leaf(), now))
    }

    /// Whether it says that one of those who are trusted signed it: the names of CAs are unique. Whether that is true, the other side
    /// of a handshake finds out.
    fn signed(&self, certificate: &str) -> Option<()> {
        let leaf = der(certificate).into_iter().next()?;
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).ok()?;
        let by = |authority: &Vec<u8>| {
            let authority = x509_parser::parse_x509_certificate(authority);
            authority.is_ok_and(|(_, authority)| authority.subject().as_raw() == leaf.issuer().as_raw())
        };
        der(&self.trusted()).iter().any(by).then_some(())
    }

    fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let key = KeyPair::from_pem(&self.signer.key).context("reading the CA's key")?;
        Issuer::from_ca_cert_pem(&self.signer.certificate, key).context("reading the CA")
    }

    fn validity(&self) -> anyhow::Result<Validity> {
        leaf_validity(&self.signer.certificate).context("tls.crt is not a certificate")
    }
}

fn leaf_validity(pem: &str) -> Option<Validity> {
    leaf::validity(der(pem).first()?)
}

fn expiry(pem: &str) -> Option<DateTime<Utc>> {
    leaf_validity(pem).map(|validity| validity.to)
}

/// The certificates of a PEM file, each by itself.
fn split(pem: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----\n";
    pem.split_inclusive(END).map(|part| part.trim_start().to_owned()).filter(|part| part.ends_with(END)).collect()
}

#[cfg(test)]
mod tests;
