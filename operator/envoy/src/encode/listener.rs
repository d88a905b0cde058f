//! Ports.
//!
//! [`ir::Listener`] → `Listener`: filter chains by SNI, each with a connection manager of its own
//!
//! **Invariant:** what is here follows from ports, hostnames and names of certificates; routes never reach it, since a change of
//! a chain drains its connections.
//!
//! Must not know: what is routed where.

use super::{connection, tls};
use crate::{refusal, wire};
use envoy_types::pb::envoy::{
    config::{
        core::v3::TrafficDirection,
        listener::v3::{
            Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter::ConfigType,
        },
    },
    extensions::filters::listener::tls_inspector::v3::TlsInspector,
};
use sluice_core::{hostname::Hostname, ir, key::Text};
use sluice_xds::{Id, ResourceType};

pub(super) fn name(port: &ir::Listener) -> Text {
    match port.protocol {
        ir::Protocol::Http { .. } => format!("http-{}", port.port).into(),
        ir::Protocol::Https { .. } => format!("https-{}", port.port).into(),
    }
}

pub(super) fn message(port: &ir::Listener) -> Listener {
    let (chains, inspectors, logs) = match &port.protocol {
        ir::Protocol::Http { routes } => (vec![chain(&name(port), routes)], Vec::new(), Vec::new()),
        ir::Protocol::Https { chains } => {
            (chains.iter().map(secure_chain).collect(), vec![tls_inspector()], vec![refusal::log(&name(port))])
        }
    };
    Listener {
        name: name(port).to_string(),
        stat_prefix: name(port).to_string(),
        address: Some(wire::address(port.bind)),
        filter_chains: chains,
        listener_filters: inspectors,
        access_log: logs,
        traffic_direction: TrafficDirection::Inbound.into(),
        ..Default::default()
    }
}

pub(super) fn requires(port: &ir::Listener) -> Vec<Id> {
    let routes = |name: &Text| Id::new(ResourceType::RouteConfiguration, name.clone());
    let mut ids = match &port.protocol {
        ir::Protocol::Http { routes: name } => vec![routes(name)],
        ir::Protocol::Https { chains } => chains.iter().map(|chain| routes(&chain.routes)).collect(),
    };
    if let ir::Protocol::Https { chains } = &port.protocol {
        let certificates = chains.iter().flat_map(|chain| &chain.certificates);
        let authorities = chains.iter().filter_map(|chain| Some(&chain.clients.as_ref()?.authorities));
        ids.extend(certificates.chain(authorities).map(|name| Id::new(ResourceType::Secret, name.clone())));
    }
    ids.sort();
    ids.dedup();
    ids
}

fn chain(name: &str, routes: &str) -> FilterChain {
    let connections = connection::message(name, routes);
    let config = Some(filter::ConfigType::TypedConfig(wire::any(&connections)));
    let filter = Filter { name: "envoy.filters.network.http_connection_manager".to_owned(), config_type: config };
    FilterChain { name: name.to_owned(), filters: vec![filter], ..Default::default() }
}

/// Envoy tells chains apart by their match and keeps the connections of a chain that did not change.
fn secure_chain(by: &ir::Chain) -> FilterChain {
    FilterChain {
        filter_chain_match: server_names(&by.sni),
        transport_socket: Some(tls::downstream(by)),
        ..chain(by.sni.as_str(), &by.routes)
    }
}

/// `*` is no match at all: Envoy prefers the longest server name, and takes a chain without one for the rest.
fn server_names(sni: &Hostname) -> Option<FilterChainMatch> {
    let names = vec![sni.to_string()];
    (!sni.is_any()).then(|| FilterChainMatch { server_names: names, ..Default::default() })
}

fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(ConfigType::TypedConfig(wire::any(&TlsInspector::default()))),
        ..Default::default()
    }
}
