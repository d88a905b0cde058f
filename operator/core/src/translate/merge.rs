//! All routes of one host in the order of matching.
//!
//! what each route contributes → [`ir::VirtualHost`]
//!
//! **Invariant:** the result does not depend on the order of the contributions.
//! **Invariant:** rules of two kinds never merge: GRPCRoutes come first and take gRPC calls alone, so that a broad
//! HTTPRoute cannot shadow them; what none of them takes goes on to the HTTPRoutes.
//!
//! Knows nothing of listeners and of whether a route was accepted: whoever asks passes those that were.

use super::{HostKey, Lowered, Rank, Ranked};
use crate::{
    hostname::Hostname,
    ir,
    key::{Kind, NsName, Ref},
};
use chrono::{DateTime, Utc};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

/// One route on one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// The route's own hostname, which the host's is a part of.
    pub written: Hostname,
    /// When the route was created.
    pub created: DateTime<Utc>,
    /// The route.
    pub route: Ref,
    /// What became of it.
    pub lowered: Arc<Lowered>,
}

/// Hostname as written, then rank, then age, then name, then the order within the route.
///
/// Source: Gateway API, `GRPCRouteSpec.hostnames` and `GRPCRouteRule.matches`.
type Precedence<'a> = (Kind, Reverse<(u8, usize)>, Reverse<Rank>, DateTime<Utc>, &'a NsName, usize);

/// The host with everything that routes contribute. O(n log n) of the routes of this host.
pub fn merge(host: &HostKey, otherwise: ir::Fallback, contributions: &[Contribution]) -> ir::VirtualHost {
    let contributions = distinct(contributions);
    let mut routes: Vec<(Precedence<'_>, &Ranked)> = contributions.into_values().flat_map(ranked).collect();
    routes.sort_by_key(|(precedence, _)| *precedence);
    ir::VirtualHost {
        routes_of: host.routes_of.clone(),
        domain: host.domain.clone(),
        routes: routes.into_iter().map(|(_, ranked)| ranked.route.clone()).collect(),
        otherwise,
    }
}

/// A route that reaches a host by several parentRefs or hostnames counts once, by the most specific of its hostnames.
fn distinct(contributions: &[Contribution]) -> BTreeMap<&Ref, &Contribution> {
    let mut by_route: BTreeMap<&Ref, &Contribution> = BTreeMap::new();
    for contribution in contributions {
        let kept = by_route.entry(&contribution.route).or_insert(contribution);
        if contribution.written.specificity() > kept.written.specificity() {
            *kept = contribution;
        }
    }
    by_route
}

fn ranked(of: &Contribution) -> impl Iterator<Item = (Precedence<'_>, &Ranked)> {
    let written = Reverse(of.written.specificity());
    of.lowered.routes.iter().enumerate().map(move |(index, ranked)| {
        ((of.route.kind, written, Reverse(ranked.rank), of.created, &of.route.key, index), ranked)
    })
}

#[cfg(test)]
mod tests {
    use super::{Contribution, merge};
    use crate::{
        hostname::Hostname,
        ir::{self, Action, Edits, Fallback, Matcher, Origin, PathMatcher, Timeouts},
        key::{Kind, NsName, Ref},
        translate::{HostKey, Lowered, Rank, Ranked},
    };
    use chrono::DateTime;
    use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, proptest};
    use std::sync::Arc;

    fn host() -> HostKey {
        HostKey {
            gateway: NsName::new("default", "edge"),
            routes_of: "https-443/*".into(),
            domain: Hostname::parse(Some("a.example.com")),
        }
    }

    fn ranked(route: &Ref, rule: usize, rank: Rank) -> Ranked {
        let origin = Origin { kind: route.kind, route: route.key.clone(), rule, rule_name: None, matched: 0 };
        let matcher =
            Matcher { path: PathMatcher::Any, grpc_only: false, method: None, headers: vec![], query: vec![] };
        let edits = Edits::default;
        let (action, timeouts) = (Action::Unavailable("".into()), Timeouts::default());
        let route = ir::Route {
            origin,
            matcher,
            action,
            request_headers: edits(),
            response_headers: edits(),
            timeouts,
            retry: None,
        };
        Ranked { rank, route: Arc::new(route) }
    }

    fn contribution(route: (Kind, &str), second: i64, written: &str, ranks: &[Rank]) -> Contribution {
        let reference = Ref::new(route.0, NsName::new("default", route.1));
        let routes = ranks.iter().enumerate().map(|(rule, rank)| ranked(&reference, rule, *rank)).collect();
        Contribution {
            written: Hostname::parse(Some(written)),
            created: DateTime::from_timestamp(second, 0).unwrap(),
            route: reference,
            lowered: Arc::new(Lowered { attachments: vec![], routes, clusters: vec![], problems: vec![] }),
        }
    }

    fn order(contributions: &[Contribution]) -> Vec<String> {
        let host = merge(&host(), Fallback::NotFound, contributions);
        host.routes.iter().map(|route| format!("{}{}", route.origin.route.name, route.origin.rule)).collect()
    }

    fn rank(form: u8, service: usize, headers: usize) -> Rank {
        Rank { form, service, headers, ..Rank::default() }
    }

    #[test]
    fn routes_are_tried_in_the_order_of_the_specification() {
        let (grpc, http) = (Kind::GrpcRoute, Kind::HttpRoute);
        let any = &[Rank::default()];
        let table = [
            (
                "specificity before the order of rules",
                vec![contribution((grpc, "a"), 1, "*", &[rank(0, 0, 1), rank(2, 9, 0)])],
                "a1 a0",
            ),
            (
                "the order of rules among equals",
                vec![contribution((grpc, "a"), 1, "*", &[rank(2, 9, 0), rank(2, 9, 0)])],
                "a0 a1",
            ),
            (
                "the hostname as written before specificity",
                vec![
                    contribution((grpc, "a"), 1, "*.example.com", &[rank(2, 9, 0)]),
                    contribution((grpc, "b"), 2, "a.example.com", any),
                ],
                "b0 a0",
            ),
            (
                "the older among equals",
                vec![contribution((grpc, "a"), 2, "*", any), contribution((grpc, "b"), 1, "*", any)],
                "b0 a0",
            ),
            (
                "the name among equals of one age",
                vec![contribution((grpc, "b"), 1, "*", any), contribution((grpc, "a"), 1, "*", any)],
                "a0 b0",
            ),
            (
                "GRPCRoutes before HTTPRoutes, however specific",
                vec![
                    contribution((http, "h"), 1, "a.example.com", &[rank(3, 9, 0)]),
                    contribution((grpc, "g"), 2, "*", any),
                ],
                "g0 h0",
            ),
            (
                "a route that comes twice once, by its most specific hostname",
                vec![
                    contribution((grpc, "a"), 1, "*", any),
                    contribution((grpc, "b"), 2, "*.com", any),
                    contribution((grpc, "a"), 1, "a.example.com", any),
                ],
                "a0 b0",
            ),
        ];
        for (name, contributions, expected) in table {
            assert_eq!(order(&contributions).join(" "), expected, "{name}");
        }
    }

    fn contributions() -> impl Strategy<Value = Vec<Contribution>> {
        let kind = prop::sample::select(vec![Kind::GrpcRoute, Kind::HttpRoute]);
        let written = prop::sample::select(vec!["*", "*.com", "*.example.com", "a.example.com"]);
        let ranks = prop::collection::vec(
            (0u8..3, 0usize..3, 0usize..3).prop_map(|(form, service, headers)| rank(form, service, headers)),
            0..4,
        );
        let one = (kind, 0i64..3, written, ranks);
        prop::collection::vec(one, 0..8).prop_map(|all| {
            let named = all.into_iter().enumerate();
            named
                .map(|(index, (kind, age, written, ranks))| {
                    contribution((kind, &format!("r{index}")), age, written, &ranks)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_contributions_does_not_matter(
            (all, shuffled) in contributions().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
        ) {
            prop_assert_eq!(order(&all), order(&shuffled));
        }
    }
}
