//! Certificates, and those who sign them.
//!
//! [`ir::Certificate`], [`ir::Authorities`] → `Secret` with the key, the certificates inline
//!
//! **Invariant:** the only message with a key in it; nothing here is printed.

use crate::wire;
use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, TlsCertificate, secret},
};
use sluice_core::{ir, world::secret::Sensitive};

pub(super) fn message(certificate: &ir::Certificate) -> Secret {
    let tls = TlsCertificate {
        certificate_chain: Some(inline(&certificate.chain)),
        private_key: Some(inline(&certificate.key)),
        ..Default::default()
    };
    Secret { name: certificate.name.to_string(), r#type: Some(secret::Type::TlsCertificate(tls)) }
}

pub(super) fn authorities(authorities: &ir::Authorities) -> Secret {
    let trusted = wire::text(authorities.pem.to_string());
    let context = CertificateValidationContext { trusted_ca: Some(trusted), ..Default::default() };
    Secret { name: authorities.name.to_string(), r#type: Some(secret::Type::ValidationContext(context)) }
}

fn inline(bytes: &Sensitive) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.expose().to_vec())), ..Default::default() }
}
