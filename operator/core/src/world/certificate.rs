//! cert-manager's Certificate as the core keeps it: what was asked for. What came of it is in its status and in its Secret.

use super::meta::Meta;
use crate::key::Text;
use serde::Deserialize;

/// `Certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Certificate {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: CertificateSpec,
}

/// `Certificate.spec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// Where the certificate goes.
    pub secret_name: Text,
    /// Names in it.
    #[serde(default)]
    pub dns_names: Vec<Text>,
    /// Who issues it.
    pub issuer_ref: IssuerRef,
    /// What its key may be used for.
    #[serde(default)]
    pub usages: Vec<Text>,
}

/// `Certificate.spec.issuerRef`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IssuerRef {
    /// Name.
    pub name: Text,
    /// `Issuer` when absent.
    pub kind: Option<Text>,
    /// `cert-manager.io` when absent.
    pub group: Option<Text>,
}
