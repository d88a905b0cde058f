//! What happens to a matched request.
//!
//! [`ir::Route`] → `RouteAction` or a direct response
//!
//! **Invariant:** Envoy's own timeout of 15 s is always off: a deadline is `max_stream_duration`, which gRPC clients see as
//! DEADLINE_EXCEEDED and which does not cut streams that have none.
//! **Invariant:** weights never sum to 0, which Envoy refuses.
//!
//! Must not know: matching.

use super::{UNAVAILABLE, header, path};
use crate::wire;
use envoy_types::pb::envoy::{
    config::route::v3::{
        DirectResponseAction, RetryPolicy, RouteAction, WeightedCluster,
        retry_policy::{self, RetryHostPredicate},
        route::Action,
        route_action::{ClusterSpecifier, MaxStreamDuration, RequestMirrorPolicy},
        weighted_cluster::ClusterWeight,
    },
    extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate,
};
use sluice_core::{
    ir,
    key::{Kind, Text},
};
use std::time::Duration;

/// Envoy refuses hosts with a body above 4096 bytes.
const MAX_BODY: usize = 1024;
/// How often a retry may draw a host again that was tried before.
const OTHER_HOST_ATTEMPTS: i64 = 5;
/// What never reached a backend's code.
const ALWAYS_RETRIED: &str = "connect-failure,refused-stream";

/// `listener` is the scheme and the port by which callers come.
pub(super) fn message(route: &ir::Route, listener: Option<(&str, u16)>) -> Action {
    let nobody = |reason| unavailable(route.origin.kind, reason);
    match &route.action {
        ir::Action::Unavailable(reason) => nobody(reason),
        ir::Action::Forward(forward) if forward.shares.is_empty() => nobody("no backend of this rule can be used"),
        ir::Action::Forward(forward) => Action::Route(forwarded(route, forward)),
        ir::Action::Redirect(to) => Action::Redirect(path::redirect(to, &route.matcher.path, listener)),
    }
}

/// Whether the edits of a rule go with each of its shares. Envoy applies those of a route after those of a share, so a rule's would
/// overwrite a backend's.
pub(super) fn edits_by_share(action: &ir::Action) -> bool {
    matches!(action, ir::Action::Forward(forward) if !forward.shares.iter().all(is_plain))
}

/// The clusters that an action names, mirrors included; may repeat.
pub(super) fn clusters(action: &ir::Action) -> impl Iterator<Item = &Text> {
    let forward = match action {
        ir::Action::Forward(forward) => Some(forward),
        ir::Action::Redirect(_) | ir::Action::Unavailable(_) => None,
    };
    forward.into_iter().flat_map(ir::Forward::clusters)
}

/// 503, which gRPC clients see as UNAVAILABLE with the reason as message; the specification of HTTPRoute wants 500.
fn unavailable(kind: Kind, reason: &str) -> Action {
    let body = reason.get(..reason.floor_char_boundary(MAX_BODY)).unwrap_or_default();
    let status = if kind == Kind::HttpRoute { 500 } else { 503 };
    Action::DirectResponse(DirectResponseAction { status, body: Some(wire::text(body)), ..Default::default() })
}

fn forwarded(route: &ir::Route, forward: &ir::Forward) -> RouteAction {
    let copies = forward.mirrors.iter().chain(forward.shares.iter().flat_map(|share| &share.mirrors));
    let action = RouteAction {
        cluster_specifier: Some(destination(route, forward)),
        timeout: wire::duration(Duration::ZERO),
        idle_timeout: wire::duration(route.timeouts.idle.unwrap_or_default()),
        max_stream_duration: Some(deadline(&route.timeouts)),
        retry_policy: route.retry.as_deref().map(retry),
        request_mirror_policies: copies.map(mirror).collect(),
        ..Default::default()
    };
    match &forward.rewrite {
        Some(by) => path::rewrite(action, by, &route.matcher.path),
        None => action,
    }
}

/// Zero in both fields: no deadline but the client's own `grpc-timeout`.
fn deadline(timeouts: &ir::Timeouts) -> MaxStreamDuration {
    let shortest = [timeouts.request, timeouts.max_stream].into_iter().flatten().min().unwrap_or_default();
    MaxStreamDuration {
        max_stream_duration: wire::duration(shortest),
        grpc_timeout_header_max: wire::duration(shortest),
        ..Default::default()
    }
}

fn destination(route: &ir::Route, forward: &ir::Forward) -> ClusterSpecifier {
    match forward.shares.as_slice() {
        [only] if forward.unavailable == 0 && is_plain(only) => ClusterSpecifier::Cluster(only.cluster.to_string()),
        _ => ClusterSpecifier::WeightedClusters(weighted(route, forward)),
    }
}

fn is_plain(share: &ir::Share) -> bool {
    let none = ir::Edits::default();
    share.request_headers == none && share.response_headers == none
}

fn weighted(route: &ir::Route, forward: &ir::Forward) -> WeightedCluster {
    let lost = (forward.unavailable > 0).then(|| ir::Share {
        cluster: UNAVAILABLE.into(),
        weight: forward.unavailable,
        request_headers: ir::Edits::default(),
        response_headers: ir::Edits::default(),
        mirrors: Vec::new(),
    });
    let shares = forward.shares.iter().chain(&lost);
    let clusters = if edits_by_share(&route.action) {
        shares.map(|each| share(&with_edits_of(route, each))).collect()
    } else {
        shares.map(share).collect()
    };
    WeightedCluster { clusters, ..Default::default() }
}

fn with_edits_of(route: &ir::Route, share: &ir::Share) -> ir::Share {
    ir::Share {
        request_headers: header::in_sequence(&route.request_headers, &share.request_headers).into(),
        response_headers: header::in_sequence(&route.response_headers, &share.response_headers).into(),
        ..share.clone()
    }
}

fn share(share: &ir::Share) -> ClusterWeight {
    ClusterWeight {
        name: share.cluster.to_string(),
        weight: wire::count(share.weight),
        request_headers_to_add: header::added(&share.request_headers),
        request_headers_to_remove: header::removed(&share.request_headers),
        response_headers_to_add: header::added(&share.response_headers),
        response_headers_to_remove: header::removed(&share.response_headers),
        ..Default::default()
    }
}

fn mirror(mirror: &ir::Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(wire::parts_per_million(mirror.parts_per_million)),
        // A copy is told the authority of the original, without `-shadow`: gRPC servers may check it.
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    }
}

/// The budget is the cluster's: Envoy 1.40 has none per route.
fn retry(retry: &ir::Retry) -> RetryPolicy {
    let on = [ALWAYS_RETRIED].into_iter().chain(retry.on.iter().map(|name| &**name));
    RetryPolicy {
        retry_on: on.collect::<Vec<_>>().join(","),
        num_retries: wire::count(retry.attempts),
        per_try_timeout: retry.per_try.and_then(wire::duration),
        retry_host_predicate: vec![another_host()],
        host_selection_retry_max_attempts: OTHER_HOST_ATTEMPTS,
        ..Default::default()
    }
}

fn another_host() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_policy::retry_host_predicate::ConfigType::TypedConfig(wire::any(
            &PreviousHostsPredicate::default(),
        ))),
    }
}
