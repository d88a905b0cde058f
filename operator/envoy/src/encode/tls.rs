//! TLS on both sides of a proxy.
//!
//! [`ir::Chain`], [`ir::Tls`] → transport sockets whose certificates and authorities are discovered
//!
//! **Invariant:** nothing that rotates is here: names of secrets alone.
//! **Invariant:** a backend is never spoken to without a check of its certificate and of a name in it.
//!
//! Must not know: ports, routes, endpoints.

use crate::wire;
use envoy_types::pb::envoy::{
    config::core::v3::{TransportSocket, transport_socket},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
        TlsParameters, UpstreamTlsContext,
        certificate_validation_context::TrustChainVerification,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        subject_alt_name_matcher::SanType,
        tls_parameters::TlsProtocol,
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};
use prost::{Message, Name};
use sluice_core::{ir, key::Text};

/// Towards clients.
pub(super) fn downstream(chain: &ir::Chain) -> TransportSocket {
    let clients = chain.clients.as_ref();
    let mut context = context(&["h2", "http/1.1"], &chain.certificates);
    context.validation_context_type = clients.map(validating);
    let required = clients.filter(|clients| clients.required).and_then(|_| wire::yes());
    socket(&DownstreamTlsContext {
        common_tls_context: Some(context),
        require_client_certificate: required,
        ..Default::default()
    })
}

/// Towards backends; `certificate` is what they are shown.
pub(super) fn upstream(tls: &ir::Tls, spoken: ir::Upstream, certificate: Option<&Text>) -> TransportSocket {
    let protocol = match spoken {
        ir::Upstream::H1 => "http/1.1",
        ir::Upstream::H2 => "h2",
    };
    let mut context = context(&[protocol], certificate);
    let names = CertificateValidationContext {
        match_typed_subject_alt_names: tls.names.iter().map(name).collect(),
        ..Default::default()
    };
    context.validation_context_type = Some(combined(names, &ir::Authorities::name_of(&tls.authorities)));
    socket(&UpstreamTlsContext { common_tls_context: Some(context), sni: tls.sni.to_string(), ..Default::default() })
}

fn context<'c>(alpn: &[&str], certificates: impl IntoIterator<Item = &'c Text>) -> CommonTlsContext {
    CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            ..Default::default()
        }),
        tls_certificate_sds_secret_configs: certificates.into_iter().map(secret).collect(),
        alpn_protocols: alpn.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

/// A client that need not have a valid certificate may still show one: whether it is valid is then not looked at.
fn validating(clients: &ir::Clients) -> ValidationContextType {
    let trust = if clients.required {
        TrustChainVerification::VerifyTrustChain
    } else {
        TrustChainVerification::AcceptUntrusted
    };
    let check = CertificateValidationContext { trust_chain_verification: trust.into(), ..Default::default() };
    combined(check, &clients.authorities)
}

fn combined(check: CertificateValidationContext, authorities: &Text) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(check),
        validation_context_sds_secret_config: Some(secret(authorities)),
        ..Default::default()
    })
}

/// A wildcard in the backend's certificate covers a DNS name as RFC 6125 has it.
fn name(name: &ir::SubjectName) -> SubjectAltNameMatcher {
    let (kind, text) = match name {
        ir::SubjectName::Dns(text) => (SanType::Dns, text),
        ir::SubjectName::Uri(text) => (SanType::Uri, text),
    };
    let matcher = StringMatcher { match_pattern: Some(MatchPattern::Exact(text.to_string())), ..Default::default() };
    SubjectAltNameMatcher { san_type: kind.into(), matcher: Some(matcher), ..Default::default() }
}

fn secret(name: &Text) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_string(), sds_config: Some(wire::ads()) }
}

fn socket<T: Message + Name>(context: &T) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(wire::any(context))),
    }
}
