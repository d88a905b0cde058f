//! Which of two route kinds has a hostname of a listener, where they may not share one.
//!
//! the claims on one listener → whether one of them loses, and to whom
//!
//! **Invariant:** of two claims of different kinds with intersecting hostnames exactly one loses.
//! **Invariant:** a verdict depends on the neighbours of a claim alone: a claim that itself lost still counts, so that a
//! change never cascades through claims that it does not touch.
//!
//! Knows nothing of listeners: whoever asks passes the claims on one. Source: Gateway API, `GRPCRouteSpec.hostnames`.

use crate::{hostname::Hostname, key::Ref};
use chrono::{DateTime, Utc};

/// A route asks for a hostname on a listener; one for each binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The route, its kind included.
    pub route: Ref,
    /// When it was created: the older wins.
    pub created: DateTime<Utc>,
    /// The intersection of its hostname and the listener's.
    pub domain: Hostname,
}

impl Claim {
    fn opposes(&self, other: &Self) -> bool {
        self.route.kind != other.route.kind && self.domain.intersect(&other.domain).is_some()
    }

    /// The older, then `namespace/name`, then the kind (two kinds may share a name).
    fn seniority(&self) -> (DateTime<Utc>, &crate::key::NsName, crate::key::Kind) {
        (self.created, &self.route.key, self.route.kind)
    }
}

/// The most senior route of another kind that keeps `claim` from its hostname. O(others).
pub fn loses_to<'a>(claim: &Claim, others: impl Iterator<Item = &'a Claim>) -> Option<Ref> {
    let senior = others.filter(|other| other.opposes(claim) && other.seniority() < claim.seniority());
    senior.min_by_key(|other| other.seniority()).map(|other| other.route.clone())
}

#[cfg(test)]
mod tests {
    use super::{Claim, loses_to};
    use crate::{
        hostname::Hostname,
        key::{Kind, NsName, Ref},
    };
    use chrono::DateTime;

    fn claim(kind: Kind, name: &str, second: i64, domain: &str) -> Claim {
        Claim {
            route: Ref::new(kind, NsName::new("default", name)),
            created: DateTime::from_timestamp(second, 0).unwrap(),
            domain: Hostname::parse(Some(domain)),
        }
    }

    #[test]
    fn the_younger_claim_of_another_kind_on_an_intersecting_hostname_loses() {
        let grpc = claim(Kind::GrpcRoute, "b", 20, "grpc.example.com");
        let table = [
            ("an older one on the same name", claim(Kind::HttpRoute, "x", 10, "grpc.example.com"), true),
            ("an older one on a wildcard around it", claim(Kind::HttpRoute, "x", 10, "*.example.com"), true),
            ("an older one on any name", claim(Kind::HttpRoute, "x", 10, "*"), true),
            ("a younger one", claim(Kind::HttpRoute, "a", 30, "grpc.example.com"), false),
            ("an equally old one with the lesser name", claim(Kind::HttpRoute, "a", 20, "grpc.example.com"), true),
            ("an equally old one with the greater name", claim(Kind::HttpRoute, "c", 20, "grpc.example.com"), false),
            ("an older one of the same kind", claim(Kind::GrpcRoute, "x", 10, "grpc.example.com"), false),
            ("an older one on another name", claim(Kind::HttpRoute, "x", 10, "web.example.com"), false),
        ];
        for (name, other, loses) in table {
            let expected = loses.then(|| other.route.clone());
            assert_eq!(loses_to(&grpc, [&other].into_iter()), expected, "against {name}");
        }
    }

    #[test]
    fn exactly_one_of_two_kinds_with_equal_names_and_times_loses() {
        let grpc = claim(Kind::GrpcRoute, "echo", 1, "a.io");
        let http = claim(Kind::HttpRoute, "echo", 1, "a.io");
        assert_eq!(loses_to(&grpc, [&http].into_iter()), None);
        assert_eq!(loses_to(&http, [&grpc].into_iter()), Some(grpc.route.clone()));
    }

    #[test]
    fn the_winner_that_is_named_is_the_most_senior_one() {
        let grpc = claim(Kind::GrpcRoute, "z", 9, "a.io");
        let others = [claim(Kind::HttpRoute, "b", 5, "a.io"), claim(Kind::HttpRoute, "c", 2, "*")];
        assert_eq!(loses_to(&grpc, others.iter()), Some(others[1].route.clone()));
    }
}
