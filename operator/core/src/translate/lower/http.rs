//! HTTPRoute: paths, methods and query parameters.
//!
//! Source: Gateway API, `HTTPRouteMatch`.

use super::RouteSource;
use crate::{
    ir::{Matcher, PathMatcher, Upstream},
    key::Text,
    status::route::RuleFault,
    translate::{
        Rank,
        matches::{self, expression},
    },
    world::route::{HttpMatch, Matching, PathMatch},
};

pub(super) struct Source;

impl RouteSource for Source {
    fn grpc_only(&self) -> bool {
        false
    }

    fn upstream(&self, app_protocol: Option<&str>) -> Option<Upstream> {
        match app_protocol {
            Some("kubernetes.io/h2c" | "grpc") => Some(Upstream::H2),
            Some("kubernetes.io/ws" | "kubernetes.io/wss" | "https" | "tls") => None,
            _ => Some(Upstream::H1),
        }
    }

    fn matcher(&self, on: &Matching, at: &str) -> Result<(Rank, Matcher), RuleFault> {
        let everything = HttpMatch::default();
        let on = if let Matching::Http(on) = on { on } else { &everything };
        let (form, path) = path(&on.path, at)?;
        let method = on.method.as_ref().map(|method| verb(method, at)).transpose()?;
        let query = matches::query(&on.query, at)?;
        // A catch-all has no form, so that any expression goes before it.
        let length = if form == 0 { 0 } else { on.path.value.chars().count() };
        let rank =
            Rank { form, service: length, method: usize::from(method.is_some()), headers: 0, query: query.len() };
        Ok((rank, Matcher { path, grpc_only: false, method, headers: Vec::new(), query }))
    }
}

fn path(path: &PathMatch, at: &str) -> Result<(u8, PathMatcher), RuleFault> {
    let at = format!("{at}.path");
    let value = &path.value;
    match &*path.kind {
        "Exact" => plain(value, &at).map(|()| (3, PathMatcher::Exact(value.clone()))),
        "PathPrefix" => plain(value, &at).map(|()| prefix(value.trim_end_matches('/'))),
        "RegularExpression" => expression::check(value, &at).map(|()| (1, PathMatcher::Regex(value.clone()))),
        _ => Err(RuleFault::UnknownValue {
            at: format!("{at}.type"),
            value: path.kind.clone(),
            known: "Exact, PathPrefix or RegularExpression",
        }),
    }
}

fn prefix(trimmed: &str) -> (u8, PathMatcher) {
    if trimmed.is_empty() { (0, PathMatcher::Any) } else { (2, PathMatcher::Segments(trimmed.into())) }
}

/// A path with a query or a fragment in it never matches, and Envoy refuses it as a prefix.
fn plain(value: &Text, at: &str) -> Result<(), RuleFault> {
    let is_path = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '?' | '#');
    let valid = value.starts_with('/') && value.chars().all(is_path);
    let fault = || RuleFault::Malformed {
        at: at.to_owned(),
        value: value.clone(),
        expected: "a path that starts with / and has no query",
    };
    valid.then_some(()).ok_or_else(fault)
}

fn verb(method: &Text, at: &str) -> Result<Text, RuleFault> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let known = "GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH";
    let fault = || RuleFault::UnknownValue { at: format!("{at}.method"), value: method.clone(), known };
    KNOWN.contains(&&**method).then(|| method.clone()).ok_or_else(fault)
}
