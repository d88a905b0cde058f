//! Whether the rules of a service are tried in the order in which they are written.
//!
//! As in a GRPCRoute, the more specific match wins whatever the order (R15); people read a list from top to bottom.
//! Where the two differ for calls that both rules take, the status says so.

use sluice_api::{
    GrpcServiceSpec,
    gateway_api::grpcroutes::{
        GrpcRouteRulesMatches as Match, GrpcRouteRulesMatchesHeadersType as HeaderType,
        GrpcRouteRulesMatchesMethod as Method, GrpcRouteRulesMatchesMethodType as MethodType,
    },
    grpcservice::RouteRule,
};

/// What was found; of several findings the first in the list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As written.
    AsWritten,
    /// A later rule is tried first.
    Swapped {
        /// `rules[1] v2-method`.
        first: String,
        /// `rules[0] canary-header`.
        then: String,
        /// In what it is more specific.
        because: &'static str,
    },
    /// A rule takes nothing, because an earlier one takes the same.
    Shadowed {
        /// The rule that takes nothing.
        rule: String,
        /// The rule that takes its calls.
        by: String,
    },
}

/// What decides the order of two matches, most important first. Source: GRPCRoute, `rules.matches`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    exact: bool,
    service: usize,
    method: usize,
    headers: usize,
}

pub(super) fn judge(spec: &GrpcServiceSpec) -> Order {
    let rules = spec.rules.as_deref().unwrap_or_default();
    // At most 15 rules with at most 126 matches together: quadratic is small, and bounded by the API.
    let pairs = rules.iter().enumerate().flat_map(|(at, rule)| {
        rules.iter().enumerate().skip(at + 1).map(move |(later_at, later)| ((at, rule), (later_at, later)))
    });
    pairs.fold(Order::AsWritten, |found, (earlier, later)| match found {
        Order::AsWritten => compare(earlier, later),
        found => found,
    })
}

fn compare(earlier: (usize, &RouteRule), later: (usize, &RouteRule)) -> Order {
    let label = |(at, rule): (usize, &RouteRule)| format!("rules[{at}] {}", rule.name);
    if matches(later.1).iter().all(|wanted| matches(earlier.1).iter().any(|taken| same(taken, wanted))) {
        return Order::Shadowed { rule: label(later), by: label(earlier) };
    }
    for a in &matches(earlier.1) {
        for b in &matches(later.1) {
            let (before, after) = (weigh(a), weigh(b));
            if after > before && overlap(a, b) {
                return Order::Swapped { first: label(later), then: label(earlier), because: reason(before, after) };
            }
        }
    }
    Order::AsWritten
}

/// An absent list is one match for everything.
fn matches(rule: &RouteRule) -> Vec<Match> {
    rule.matches.clone().filter(|matches| !matches.is_empty()).unwrap_or_else(|| vec![Match::default()])
}

fn weigh(wanted: &Match) -> Weight {
    let method = wanted.method.as_ref();
    let length = |text: Option<&String>| text.map_or(0, |text| text.chars().count());
    Weight {
        exact: method.is_none_or(is_exact),
        service: length(method.and_then(|method| method.service.as_ref())),
        method: length(method.and_then(|method| method.method.as_ref())),
        headers: wanted.headers.iter().flatten().count(),
    }
}

fn is_exact(method: &Method) -> bool {
    !matches!(method.r#type, Some(MethodType::RegularExpression))
}

fn reason(before: Weight, after: Weight) -> &'static str {
    if after.exact != before.exact {
        "an exact name goes before an expression"
    } else if after.service != before.service {
        "longer service name"
    } else if after.method != before.method {
        "longer method name"
    } else {
        "more headers"
    }
}

fn same(a: &Match, b: &Match) -> bool {
    a == b
}

/// Whether some call is taken by both; expressions are taken to overlap with everything.
fn overlap(a: &Match, b: &Match) -> bool {
    let methods = match (&a.method, &b.method) {
        (Some(a), Some(b)) if is_exact(a) && is_exact(b) => {
            agree(a.service.as_ref(), b.service.as_ref()) && agree(a.method.as_ref(), b.method.as_ref())
        }
        _ => true,
    };
    methods && !contradict(a, b)
}

fn agree(a: Option<&String>, b: Option<&String>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

/// Whether both demand one header, exactly, with different values.
fn contradict(a: &Match, b: &Match) -> bool {
    let exact = |wanted: &Match| -> Vec<(String, String)> {
        let headers = wanted.headers.iter().flatten();
        let exact = headers.filter(|header| !matches!(header.r#type, Some(HeaderType::RegularExpression)));
        exact.map(|header| (header.name.to_ascii_lowercase(), header.value.clone())).collect()
    };
    let theirs = exact(b);
    exact(a).iter().any(|(name, value)| theirs.iter().any(|(other, wanted)| other == name && wanted != value))
}
