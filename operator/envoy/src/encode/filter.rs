//! The HTTP filters of every connection manager, in order.
//!
//! nothing → `HttpFilter`s
//!
//! **Invariant:** the list is a constant: what a route wants of a filter, it says itself, since a change of this list cuts the
//! streams of every listener. Filters for routes are there from the start, off.
//!
//! Left out on purpose: `jwt_authn`, `ext_authz`, `ext_proc` and the global limit name servers, so they will come as names whose
//! configuration is discovered (ECDS); `grpc_stats` is a choice of the install, its cardinality is driven by clients.

use super::reply;
use crate::wire;
use envoy_types::pb::{
    envoy::extensions::filters::{
        http::{
            cors::v3::Cors, fault::v3::HttpFault, grpc_web::v3::GrpcWeb, local_ratelimit::v3::LocalRateLimit,
            rbac::v3::Rbac, router::v3::Router,
        },
        network::http_connection_manager::v3::{HttpFilter, http_filter::ConfigType},
    },
    google::protobuf::Any,
};

pub(super) fn chain() -> Vec<HttpFilter> {
    vec![
        on("envoy.filters.http.header_mutation", wire::any(&reply::status_repair())),
        off("envoy.filters.http.cors", wire::any(&Cors::default())),
        // Acts on `application/grpc-web` only; before the filters that refuse, whose answers it has to translate.
        on("envoy.filters.http.grpc_web", wire::any(&GrpcWeb::default())),
        off("envoy.filters.http.fault", wire::any(&HttpFault::default())),
        off("envoy.filters.http.rbac", wire::any(&Rbac::default())),
        off("envoy.filters.http.local_ratelimit", wire::any(&limit())),
        on("envoy.filters.http.router", wire::any(&Router::default())),
    ]
}

fn limit() -> LocalRateLimit {
    LocalRateLimit { stat_prefix: "limit".to_owned(), rate_limited_as_resource_exhausted: true, ..Default::default() }
}

fn on(name: &str, config: Any) -> HttpFilter {
    HttpFilter { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)), ..Default::default() }
}

fn off(name: &str, config: Any) -> HttpFilter {
    HttpFilter { disabled: true, ..on(name, config) }
}
