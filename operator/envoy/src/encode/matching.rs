//! When a route applies.
//!
//! [`ir::Matcher`] → `RouteMatch`
//!
//! Must not know: the order of routes.

use crate::wire;
use envoy_types::pb::envoy::{
    config::route::v3::{
        HeaderMatcher, QueryParameterMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier, route_match::PathSpecifier,
    },
    r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
};
use sluice_core::ir::{Matcher, PathMatcher, ValueMatcher, ValueTest};

/// `up_to` is the part of the requests that match, of a million; all if it does not say.
pub(super) fn message(matcher: &Matcher, up_to: Option<u32>) -> RouteMatch {
    let grpc = matcher.grpc_only.then(grpc_only);
    let method = matcher.method.iter().map(|method| header(":method", MatchPattern::Exact(method.to_string())));
    let headers = matcher.headers.iter().map(|value| header(&value.name, pattern(&value.value)));
    RouteMatch {
        path_specifier: Some(path(&matcher.path)),
        headers: grpc.into_iter().chain(method).chain(headers).collect(),
        query_parameters: matcher.query.iter().map(query).collect(),
        runtime_fraction: up_to.map(wire::parts_per_million),
        ..Default::default()
    }
}

/// Every path.
pub(super) fn any() -> RouteMatch {
    RouteMatch { path_specifier: Some(path(&PathMatcher::Any)), ..Default::default() }
}

/// Not Envoy's `grpc` match: when routes are chosen, gRPC-Web requests still say `application/grpc-web`.
fn grpc_only() -> HeaderMatcher {
    header("content-type", MatchPattern::Prefix("application/grpc".to_owned()))
}

fn path(matcher: &PathMatcher) -> PathSpecifier {
    match matcher {
        PathMatcher::Any => PathSpecifier::Prefix("/".to_owned()),
        PathMatcher::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatcher::Prefix(path) => PathSpecifier::Prefix(path.to_string()),
        PathMatcher::Segments(path) => PathSpecifier::PathSeparatedPrefix(path.to_string()),
        PathMatcher::Regex(expression) => PathSpecifier::SafeRegex(regex(expression)),
    }
}

fn header(name: &str, pattern: MatchPattern) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(text(pattern))),
        ..Default::default()
    }
}

fn query(value: &ValueMatcher) -> QueryParameterMatcher {
    let matched = QueryParameterMatchSpecifier::StringMatch(text(pattern(&value.value)));
    QueryParameterMatcher { name: value.name.to_string(), query_parameter_match_specifier: Some(matched) }
}

fn pattern(value: &ValueTest) -> MatchPattern {
    match value {
        ValueTest::Exact(text) => MatchPattern::Exact(text.to_string()),
        ValueTest::Regex(expression) => MatchPattern::SafeRegex(regex(expression)),
    }
}

fn text(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

fn regex(expression: &str) -> RegexMatcher {
    RegexMatcher { regex: expression.to_owned(), ..Default::default() }
}
