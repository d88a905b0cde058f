//! Backends and their endpoints.
//!
//! [`ir::Cluster`], [`ir::Assignment`] → `Cluster`, `ClusterLoadAssignment`
//!
//! **Invariant:** endpoints never come with the cluster: an edit of one must not make the other warm anew.
//! **Invariant:** with no healthy endpoint nothing is sent to draining ones: requests are answered UNAVAILABLE.
//!
//! No outlier detection: gRPC statuses are a backend's answers, and ejecting by them turns an application's error into an outage.

use super::tls;
use crate::wire;
use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{
            CircuitBreakers, Cluster,
            circuit_breakers::{Thresholds, thresholds::RetryBudget},
            cluster::{ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy},
        },
        core::v3::{HealthStatus, Http1ProtocolOptions, Http2ProtocolOptions, KeepaliveSettings},
        endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
    },
    extensions::upstreams::http::v3::{
        HttpProtocolOptions,
        http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
    },
    r#type::v3::Percent,
};
use sluice_core::{ir, key::Text, world::backend::EndpointState};
use sluice_xds::{Id, ResourceType};

/// Streams count as requests: at Envoy's default of 1024 the next stream would be refused.
const UNLIMITED: u32 = u32::MAX;
/// Retries of all rules together, of the cluster's active requests.
const RETRY_PERCENT: f64 = 20.0;
/// So many retries are always let through, so that a quiet cluster can retry at all.
const RETRIES_AT_LEAST: u32 = 3;

/// `certificate` is the SDS name of what backends are shown.
pub(super) fn message(cluster: &ir::Cluster, certificate: Option<&Text>) -> Cluster {
    let protocol = ("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), protocol(cluster.upstream));
    Cluster {
        name: cluster.name().to_string(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(wire::ads()), ..Default::default() }),
        connect_timeout: wire::seconds(5),
        // Round robin piles streams of unlike length onto some endpoints.
        lb_policy: LbPolicy::LeastRequest.into(),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..Default::default()
        }),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![thresholds()], ..Default::default() }),
        typed_extension_protocol_options: [protocol].into(),
        transport_socket: cluster.tls.as_deref().map(|tls| tls::upstream(tls, cluster.upstream, certificate)),
        ..Default::default()
    }
}

pub(super) fn requires(cluster: &ir::Cluster, certificate: Option<&Text>) -> Vec<Id> {
    let authorities = cluster.tls.as_ref().map(|tls| ir::Authorities::name_of(&tls.authorities));
    let secrets = certificate.cloned().into_iter().chain(authorities);
    let secrets = secrets.map(|name| Id::new(ResourceType::Secret, name));
    let mut ids: Vec<Id> = [Id::new(ResourceType::Assignment, cluster.name())].into_iter().chain(secrets).collect();
    ids.sort();
    ids
}

pub(super) fn assignment(assignment: &ir::Assignment) -> ClusterLoadAssignment {
    let endpoints: Vec<LbEndpoint> = assignment.endpoints.iter().map(endpoint).collect();
    let locality = LocalityLbEndpoints { lb_endpoints: endpoints, ..Default::default() };
    ClusterLoadAssignment {
        cluster_name: assignment.cluster.to_string(),
        endpoints: if assignment.endpoints.is_empty() { Vec::new() } else { vec![locality] },
        ..Default::default()
    }
}

fn endpoint(target: &ir::Target) -> LbEndpoint {
    let address = wire::address((target.endpoint.address, target.port).into());
    let health = match target.endpoint.state {
        EndpointState::Ready => HealthStatus::Healthy,
        EndpointState::Draining => HealthStatus::Draining,
    };
    LbEndpoint {
        health_status: health.into(),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address: Some(address), ..Default::default() })),
        ..Default::default()
    }
}

fn thresholds() -> Thresholds {
    Thresholds {
        max_connections: wire::count(UNLIMITED),
        max_pending_requests: wire::count(UNLIMITED),
        max_requests: wire::count(UNLIMITED),
        retry_budget: Some(RetryBudget {
            budget_percent: Some(Percent { value: RETRY_PERCENT }),
            min_retry_concurrency: wire::count(RETRIES_AT_LEAST),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn protocol(upstream: ir::Upstream) -> envoy_types::pb::google::protobuf::Any {
    let config = match upstream {
        ir::Upstream::H1 => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        ir::Upstream::H2 => ProtocolConfig::Http2ProtocolOptions(http2()),
    };
    let explicit = ExplicitHttpConfig { protocol_config: Some(config) };
    wire::any(&HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..Default::default()
    })
}

/// Pings not more often than every 5 minutes: gRPC servers answer more of them with `too_many_pings` and hang up.
fn http2() -> Http2ProtocolOptions {
    let keepalive =
        KeepaliveSettings { interval: wire::seconds(300), timeout: wire::seconds(20), ..Default::default() };
    Http2ProtocolOptions { connection_keepalive: Some(keepalive), ..Default::default() }
}
