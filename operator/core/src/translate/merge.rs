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
