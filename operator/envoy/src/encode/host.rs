//! Hosts and the route configurations that they belong to.
//!
//! [`ir::RouteConfiguration`], [`ir::VirtualHost`] → `RouteConfiguration` without hosts, `VirtualHost`
//!
//! **Invariant:** `VirtualHost.name` is the name of the resource: Envoy 1.40 looks removals up by it.
//! **Invariant:** every host ends in a route that matches everything, so that no request is answered without a message.
//!
//! Must not know: other hosts.

use super::{UNAVAILABLE, action, header, matching, route_name, split};
use crate::wire;
use envoy_types::pb::envoy::config::{
    core::v3::{SubstitutionFormatString, substitution_format_string::Format},
    route::v3::{DirectResponseAction, Route, RouteConfiguration, Vhds, VirtualHost, route::Action},
};
use sluice_core::ir;
use sluice_xds::{Id, ResourceType};

pub(super) fn configuration(routes: &ir::RouteConfiguration) -> RouteConfiguration {
    RouteConfiguration {
        name: routes.name.to_string(),
        vhds: Some(Vhds { config_source: Some(wire::ads()) }),
        // Clients write `host:port`. The authority goes to backends as it came.
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

pub(super) fn message(host: &ir::VirtualHost) -> VirtualHost {
    let routes = host.routes.iter().flat_map(|each| routes(each, host.listener()));
    VirtualHost {
        name: host.name().to_string(),
        domains: vec![host.domain.to_string()],
        routes: routes.chain([otherwise(host.otherwise)]).collect(),
        ..Default::default()
    }
}

pub(super) fn requires(host: &ir::VirtualHost) -> Vec<Id> {
    let clusters = host.routes.iter().flat_map(|route| action::clusters(&route.action));
    let clusters = clusters.filter(|name| &***name != UNAVAILABLE);
    let mut ids: Vec<Id> = clusters.map(|name| Id::new(ResourceType::Cluster, name.clone())).collect();
    ids.push(Id::new(ResourceType::RouteConfiguration, host.routes_of.clone()));
    ids.sort();
    ids.dedup();
    ids
}

fn routes(whole: &ir::Route, listener: Option<(&str, u16)>) -> Vec<Route> {
    let pieces = split::pieces(whole);
    if pieces.is_empty() {
        return vec![route(whole, None, listener)];
    }
    pieces.iter().map(|piece| route(&piece.route, piece.up_to, listener)).collect()
}

/// `up_to` is the part of the requests that take it, of a million.
fn route(route: &ir::Route, up_to: Option<u32>, listener: Option<(&str, u16)>) -> Route {
    let bare = Route {
        name: route_name(&route.origin),
        r#match: Some(matching::message(&route.matcher, up_to)),
        action: Some(action::message(route, listener)),
        ..Default::default()
    };
    if action::edits_by_share(&route.action) { bare } else { edited(bare, route) }
}

fn edited(bare: Route, by: &ir::Route) -> Route {
    Route {
        request_headers_to_add: header::added(&by.request_headers),
        request_headers_to_remove: header::removed(&by.request_headers),
        response_headers_to_add: header::added(&by.response_headers),
        response_headers_to_remove: header::removed(&by.response_headers),
        ..bare
    }
}

fn otherwise(fallback: ir::Fallback) -> Route {
    let (name, status, words) = match fallback {
        ir::Fallback::NotFound => ("no-match", 404, "no rule matches"),
        ir::Fallback::Misdirected => ("misdirected", 421, "this connection's server name is not responsible for"),
    };
    let response = DirectResponseAction { status, body_format: Some(naming_the_request(words)), ..Default::default() };
    Route {
        name: name.to_owned(),
        r#match: Some(matching::any()),
        action: Some(Action::DirectResponse(response)),
        ..Default::default()
    }
}

/// Host, service and method as the client wrote them, each cut to what a hostname or a sane method needs.
fn naming_the_request(words: &str) -> SubstitutionFormatString {
    let format = format!("{words} host %REQ(:AUTHORITY):253% path %REQ(:PATH):512%");
    SubstitutionFormatString { format: Some(Format::TextFormatSource(wire::text(format))), ..Default::default() }
}
