//! Where callers reach a service: the addresses of its Gateways, by hostname and port.

use crate::{
    author::{GatewayReport, Report},
    key::{Kind, Ref},
    world::{Reader, gateway::Gateway},
};
use sluice_api::{GrpcServiceSpec, grpcservice::Endpoint};

/// At most what the API holds.
const LIMIT: usize = 128;

pub(super) fn list(spec: &GrpcServiceSpec, report: &Report, read: &Reader) -> Vec<Endpoint> {
    let endpoints = report.gateways.iter().flat_map(|gateway| of(spec, gateway, read));
    endpoints.take(LIMIT).collect()
}

fn of(spec: &GrpcServiceSpec, gateway: &GatewayReport, read: &Reader) -> Vec<Endpoint> {
    let status = read.observed(&Ref::new(Kind::Gateway, gateway.gateway.clone()));
    let addresses = status.map(|status| status.addresses.as_slice()).unwrap_or_default();
    let Some(port) = gateway.port.or_else(|| listener_port(gateway, read)) else { return Vec::new() };
    let port = read.reached_at(&gateway.gateway, port);
    let hostnames: Vec<Option<&String>> = match &spec.hostnames {
        Some(names) => names.iter().map(Some).collect(),
        None => vec![None],
    };
    let endpoint = |address: &str, hostname: Option<&String>| Endpoint {
        gateway: gateway.entry.to_string(),
        hostname: hostname.cloned(),
        address: address.to_owned(),
        port: i32::from(port),
    };
    let per_host = hostnames.into_iter().map(|hostname| addresses.iter().map(move |address| (address, hostname)));
    per_host.flatten().map(|(address, hostname)| endpoint(&address.value, hostname)).collect()
}

/// The port of a listener that is referred to: the named one, else the first that terminates TLS, else the first.
fn listener_port(report: &GatewayReport, read: &Reader) -> Option<u16> {
    let gateway = read.get::<Gateway>(&report.gateway)?;
    let listeners = &gateway.spec.listeners;
    let named = report.parent_ref.section_name.as_ref();
    let chosen = match named {
        Some(name) => listeners.iter().find(|listener| listener.name == *name),
        None => listeners.iter().find(|listener| &*listener.protocol == "HTTPS").or_else(|| listeners.first()),
    };
    chosen.map(|listener| listener.port)
}
