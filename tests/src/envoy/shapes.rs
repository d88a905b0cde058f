//! The forms that the tests have in common, small and complete.
//!
//! names and addresses → ir
//!
//! **Invariant:** listeners are bound to free ports of the loopback, so tests run side by side.
//!
//! It must not know how they are encoded.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use anyhow::Result;
use prost::Message;
use sluice_core::{
    hostname::Hostname,
    ir::{
        Action, Assignment, Certificate, Chain, Cluster, Edits, Fallback, Forward, Listener, Matcher, Origin,
        PathMatcher, Protocol, Route, RouteConfiguration, Share, Target, Timeouts, Upstream, VirtualHost,
    },
    key::{Kind, NsName},
    world::{
        backend::{Endpoint, EndpointState},
        secret::Sensitive,
    },
};
use sluice_envoy::encode;
use sluice_xds::{Resource, Snapshot, Version};

use crate::manifests;

/// A cleartext port with the route configuration of its own name, `http-<port>`.
pub fn http(port: u16) -> Listener {
    let routes = format!("http-{port}").into();
    Listener { port, bind: ([127, 0, 0, 1], 0).into(), protocol: Protocol::Http { routes } }
}

/// Port 443 with a chain, a certificate and a route configuration `https-443/<sni>` for each server name.
pub fn https(names: &[(&str, &str)]) -> Listener {
    let chain = |(sni, certificate): &(&str, &str)| Chain {
        sni: Hostname::parse(Some(sni)),
        certificates: vec![(*certificate).into()],
        clients: None,
        routes: format!("https-443/{sni}").into(),
    };
    let chains = names.iter().map(chain).collect();
    Listener { port: 443, bind: ([127, 0, 0, 1], 0).into(), protocol: Protocol::Https { chains } }
}

/// A certificate for SDS.
pub fn certificate(name: &str, of: &manifests::Certificate) -> Certificate {
    let (chain, key) = (Sensitive::new(of.pem.as_bytes()), Sensitive::new(of.key.as_bytes()));
    Certificate { name: name.into(), chain, key }
}

/// A route configuration.
pub fn configuration(name: &str) -> Arc<Resource> {
    encode::route_configuration(&RouteConfiguration { name: name.into() })
}

/// A host with these routes.
pub fn host(routes_of: &str, domain: &str, routes: impl IntoIterator<Item = Route>) -> VirtualHost {
    VirtualHost {
        routes_of: routes_of.into(),
        domain: Hostname::parse(Some(domain)),
        routes: routes.into_iter().map(Arc::new).collect(),
        otherwise: Fallback::NotFound,
    }
}

/// A host that answers every call with UNAVAILABLE and these words.
pub fn saying(routes_of: &str, domain: &str, words: &str) -> Arc<Resource> {
    encode::virtual_host(&host(routes_of, domain, [route(Action::Unavailable(words.into()))]))
}

/// A route for every path.
pub fn route(action: Action) -> Route {
    let origin =
        Origin { kind: Kind::GrpcRoute, route: NsName::new("default", "route"), rule: 0, rule_name: None, matched: 0 };
    Route {
        origin,
        matcher: Matcher {
            path: PathMatcher::Any,
            grpc_only: true,
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        },
        action,
        request_headers: Edits::default(),
        response_headers: Edits::default(),
        timeouts: Timeouts::default(),
        retry: None,
    }
}

/// A route for every path to clusters by weight.
pub fn forward(weights: &[(&Cluster, u32)]) -> Route {
    let shares = weights.iter().map(|(cluster, weight)| share(cluster, *weight)).collect();
    route(Action::Forward(Forward { shares, ..Forward::default() }))
}

/// A part of the calls.
pub fn share(cluster: &Cluster, weight: u32) -> Share {
    let none = Edits::default();
    Share {
        cluster: cluster.name(),
        weight,
        request_headers: none.clone(),
        response_headers: none,
        mirrors: Vec::new(),
    }
}

/// Port 9000 of a Service, spoken to in HTTP/2.
pub fn cluster(service: &str) -> Cluster {
    Cluster { service: NsName::new("default", service), port: 9000, upstream: Upstream::H2, tls: None }
}

/// Its endpoints, each with its state.
pub fn assignment(of: &Cluster, endpoints: &[(SocketAddr, EndpointState)]) -> Arc<Resource> {
    let target = |(address, state): &(SocketAddr, EndpointState)| Target {
        endpoint: Endpoint { address: address.ip(), state: *state },
        port: address.port(),
    };
    encode::assignment(&Assignment { cluster: of.name(), endpoints: endpoints.iter().map(target).collect() })
}

/// A cluster with its endpoints, all of them ready.
pub fn backend(of: &Cluster, endpoints: &[SocketAddr]) -> [Arc<Resource>; 2] {
    let ready: Vec<_> = endpoints.iter().map(|address| (*address, EndpointState::Ready)).collect();
    [encode::cluster(of), assignment(of, &ready)]
}

/// A cleartext port whose hosts are yet to come, and the host that every route configuration has.
pub fn port(number: u16) -> [Arc<Resource>; 3] {
    let name = format!("http-{number}");
    let any = encode::virtual_host(&host(&name, "*", []));
    [encode::listener(&http(number)), configuration(&name), any]
}

/// The same resource with another meaning: decoded, edited and encoded again.
pub fn edited<M: Message + Default>(resource: &Resource, edit: impl FnOnce(&mut M)) -> Result<Arc<Resource>> {
    let mut message = M::decode(resource.bytes.clone())?;
    edit(&mut message);
    let (bytes, mut hasher) = (message.encode_to_vec(), DefaultHasher::new());
    bytes.hash(&mut hasher);
    Ok(Arc::new(Resource { version: Version(hasher.finish()), bytes: bytes.into(), ..resource.clone() }))
}

/// A snapshot of these resources on top of another.
pub fn on(base: &Snapshot, resources: impl IntoIterator<Item = Arc<Resource>>) -> Option<Arc<Snapshot>> {
    let mut edit = base.edit();
    resources.into_iter().for_each(|resource| edit.set(resource));
    edit.publish()
}
