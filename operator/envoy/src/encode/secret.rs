//! Certificates.
//!
//! [`ir::Certificate`] → `Secret` with the key inline
//!
//! **Invariant:** the only message with a key in it; nothing here is printed.

use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret},
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

fn inline(bytes: &Sensitive) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.expose().to_vec())), ..Default::default() }
}
