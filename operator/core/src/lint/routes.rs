//! Rules that never take a call, and HTTPRoutes that stand in for GRPCRoutes.

use super::{Finding, is_generated};
use crate::{
    key::{Kind, Ref},
    world::route::{HttpMatch, Match, Matching, NamedMatch, Route, Rule},
};

pub(super) fn traps(reference: &Ref, route: &Route) -> Vec<Finding> {
    // The status of a GrpcService says NeverMatches of its own rules.
    let mut findings = if is_generated(&route.metadata) { Vec::new() } else { never_matching(reference, &route.rules) };
    if route.kind == Kind::HttpRoute {
        findings.extend(route.rules.iter().enumerate().filter_map(|(at, rule)| by_path(reference, at, rule)));
    }
    findings
}

/// Rules of which every match stands in an earlier rule: the first of equal matches holds. At most 16 rules of 64
/// matches.
fn never_matching(reference: &Ref, rules: &[Rule]) -> Vec<Finding> {
    let normal: Vec<Vec<Match>> = rules.iter().map(|rule| rule.matches.iter().map(normal).collect()).collect();
    let mut findings = Vec::new();
    for (at, matches) in normal.iter().enumerate() {
        let earlier = |wanted: &Match| normal.iter().take(at).position(|others| others.contains(wanted));
        let takers: Option<Vec<usize>> = matches.iter().map(earlier).collect();
        if let Some(first) = takers.and_then(|takers| takers.first().copied()) {
            let message = format!(
                "rule {at}{} never matches: rule {first}{} takes the same calls; remove it, or make its matches differ",
                name(rules.get(at)),
                name(rules.get(first))
            );
            findings.push(Finding::new(reference.clone(), format!("spec.rules[{at}]"), message));
        }
    }
    findings
}

fn name(rule: Option<&Rule>) -> String {
    rule.and_then(|rule| rule.name.as_ref()).map(|name| format!(" ({name})")).unwrap_or_default()
}

/// The same match, with defaults written out and headers in order; of equal header names only the first counts.
fn normal(written: &Match) -> Match {
    let mut wanted = written.clone();
    wanted.headers = headers(&written.headers);
    match &mut wanted.on {
        Matching::Grpc(Some(method)) => {
            method.kind.get_or_insert_with(|| "Exact".into());
        }
        Matching::Http(http) => http.query = sorted(http.query.clone()),
        Matching::Grpc(None) => {}
    }
    wanted
}

fn headers(written: &[NamedMatch]) -> Vec<NamedMatch> {
    let lower =
        written.iter().map(|header| NamedMatch { name: header.name.to_ascii_lowercase().into(), ..header.clone() });
    let mut headers = sorted(lower.collect());
    headers.dedup_by(|later, first| later.name == first.name);
    headers
}

fn sorted(mut matches: Vec<NamedMatch>) -> Vec<NamedMatch> {
    for wanted in &mut matches {
        wanted.kind.get_or_insert_with(|| "Exact".into());
    }
    matches.sort_by(|a, b| a.name.cmp(&b.name));
    matches
}

fn by_path(reference: &Ref, at: usize, rule: &Rule) -> Option<Finding> {
    let (index, method) = rule.matches.iter().enumerate().find_map(|(index, wanted)| Some((index, grpc(wanted)?)))?;
    let message = format!(
        "an HTTPRoute for gRPC calls: it answers in HTTP where it has no answer, and says nothing of services and \
        methods; \
         write a GRPCRoute (or a GrpcService) with {method}"
    );
    Some(Finding::new(reference.clone(), format!("spec.rules[{at}].matches[{index}]"), message))
}

/// The match of a GRPCRoute that an HTTPRoute's match imitates.
fn grpc(wanted: &Match) -> Option<String> {
    let Matching::Http(http) = &wanted.on else { return None };
    let is_grpc = |header: &NamedMatch| {
        header.name.eq_ignore_ascii_case("content-type") && header.value.starts_with("application/grpc")
    };
    by_service(http)
        .or_else(|| wanted.headers.iter().any(is_grpc).then(|| "the services and methods that are meant".into()))
}

/// `/package.Service/Method`, or the prefix `/package.Service`.
fn by_service(http: &HttpMatch) -> Option<String> {
    let path = http.path.value.strip_prefix('/')?;
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    if !is_service(service) || !(method.is_empty() || is_identifier(method)) {
        return None;
    }
    match (&*http.path.kind, method) {
        ("Exact", "") | ("RegularExpression", _) => None,
        (_, "") => Some(format!("matches: [{{method: {{service: {service}}}}}]")),
        (_, method) => Some(format!("matches: [{{method: {{service: {service}, method: {method}}}}}]")),
    }
}

/// A package and a service whose name begins in upper case, as protobuf's style has it: `/v1.2/Users` is none.
fn is_service(text: &str) -> bool {
    let Some((package, name)) = text.rsplit_once('.') else { return false };
    package.split('.').all(is_identifier)
        && is_identifier(name)
        && name.starts_with(|first: char| first.is_ascii_uppercase())
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
