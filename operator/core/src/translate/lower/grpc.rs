//! GRPCRoute: services and methods.
//!
//! Source: Gateway API, `GRPCMethodMatch` (GEP-1016); an expression is grouped, so that `Get|List` stays one part of the path.

use super::RouteSource;
use crate::{
    ir::{Matcher, PathMatcher, Upstream},
    key::Text,
    status::route::RuleFault,
    translate::{Rank, matches::expression},
    world::route::{Matching, MethodMatch},
};

pub(super) struct Source;

/// Any part of a path but not two: `.+` would let one part match across the slash.
const ANY: &str = "[^/]+";

impl RouteSource for Source {
    fn grpc_only(&self) -> bool {
        true
    }

    /// gRPC is HTTP/2 whatever a port says, except that web sockets and TLS are something else.
    fn upstream(&self, app_protocol: Option<&str>) -> Option<Upstream> {
        match app_protocol {
            Some("kubernetes.io/ws" | "kubernetes.io/wss" | "https" | "tls") => None,
            _ => Some(Upstream::H2),
        }
    }

    fn matcher(&self, on: &Matching, at: &str) -> Result<(Rank, Matcher), RuleFault> {
        let Matching::Grpc(Some(method)) = on else { return Ok((Rank::default(), matcher(PathMatcher::Any))) };
        if method.service.is_none() && method.method.is_none() {
            return Ok((Rank::default(), matcher(PathMatcher::Any)));
        }
        let at = format!("{at}.method");
        let (form, path) = match method.kind.as_deref() {
            None | Some("Exact") => (2, exact(method, &at)?),
            Some("RegularExpression") => (1, regex(method, &at)?),
            Some(_) => return Err(unknown(method, &at)),
        };
        let length = |part: &Option<Text>| part.as_ref().map_or(0, |text| text.chars().count());
        let rank = Rank { form, service: length(&method.service), method: length(&method.method), ..Rank::default() };
        Ok((rank, matcher(path)))
    }
}

fn matcher(path: PathMatcher) -> Matcher {
    Matcher { path, grpc_only: true, method: None, headers: Vec::new(), query: Vec::new() }
}

fn unknown(method: &MethodMatch, at: &str) -> RuleFault {
    let value = method.kind.clone().unwrap_or_default();
    RuleFault::UnknownValue { at: format!("{at}.type"), value, known: "Exact or RegularExpression" }
}

fn exact(method: &MethodMatch, at: &str) -> Result<PathMatcher, RuleFault> {
    let service = method.service.as_ref().map(|text| checked(text, is_service, (at, "service"))).transpose()?;
    let method = method.method.as_ref().map(|text| checked(text, is_identifier, (at, "method"))).transpose()?;
    Ok(match (service, method) {
        (Some(service), Some(method)) => PathMatcher::Exact(format!("/{service}/{method}").into()),
        (Some(service), None) => PathMatcher::Prefix(format!("/{service}/").into()),
        (None, Some(method)) => PathMatcher::Regex(format!("/{ANY}/{method}").into()),
        (None, None) => PathMatcher::Any,
    })
}

fn checked<'a>(text: &'a Text, is_valid: fn(&str) -> bool, place: (&str, &str)) -> Result<&'a Text, RuleFault> {
    let (at, field) = place;
    let expected = if field == "service" { "a fully qualified service name" } else { "a method name" };
    let fault = || RuleFault::Malformed { at: format!("{at}.{field}"), value: text.clone(), expected };
    is_valid(text).then_some(text).ok_or_else(fault)
}

/// `package.Service`; the specification lets a dot stand first.
fn is_service(text: &str) -> bool {
    text.strip_prefix('.').unwrap_or(text).split('.').all(is_identifier)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn regex(method: &MethodMatch, at: &str) -> Result<PathMatcher, RuleFault> {
    let part = |text: &Option<Text>, field: &str| match text {
        Some(text) => expression::check(text, &format!("{at}.{field}")).map(|()| format!("(?:{text})")),
        None => Ok(ANY.to_owned()),
    };
    let path = format!("/{}/{}", part(&method.service, "service")?, part(&method.method, "method")?);
    Ok(PathMatcher::Regex(path.into()))
}
