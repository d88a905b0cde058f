//! Which route loses a listener to a route of another kind (rule R11), judged again only where something moved.
//!
//! Claims of routes on listeners → the verdict of each.
//!
//! **Invariant:** a verdict is a function of the claims that a route's own names meet, so that a change reaches no further than these.
//! **Invariant:** a listener with routes of one kind is never searched.
//!
//! Knows nothing of whether a listener's policy lets two kinds share hostnames: whoever asks for a verdict knows.

use sluice_core::{
    hostname::Hostname,
    key::{Kind, NsName, Ref},
    translate::{
        ListenerId,
        conflict::{self, Claim},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// The claims of all listeners.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<ListenerId, Contest>);

/// The claims on one listener.
#[derive(Debug, Default)]
struct Contest {
    claims: BTreeMap<Ref, Vec<Claim>>,
    /// By kind and labels from the right, so that the names below a wildcard are neighbours.
    names: BTreeMap<Kind, Names>,
    lost: BTreeMap<Ref, Ref>,
}

/// Reversed names, each with the routes that claim it.
type Names = BTreeSet<(Box<str>, Ref)>;

/// `com.example.*` for `*.example.com`.
fn reversed(domain: &Hostname) -> Box<str> {
    let mut labels: Vec<&str> = domain.as_str().split('.').collect();
    labels.reverse();
    labels.join(".").into()
}

impl Contest {
    fn put(&mut self, route: &Ref, mut claims: Vec<Claim>) {
        for gone in self.claims.remove(route).unwrap_or_default() {
            self.unname(route, reversed(&gone.domain));
        }
        self.lost.remove(route);
        for claim in &claims {
            let names = self.names.entry(route.kind).or_default();
            names.insert((reversed(&claim.domain), route.clone()));
        }
        if !claims.is_empty() {
            claims.shrink_to_fit();
            self.claims.insert(route.clone(), claims);
        }
    }

    fn unname(&mut self, route: &Ref, name: Box<str>) {
        let Some(names) = self.names.get_mut(&route.kind) else { return };
        names.remove(&(name, route.clone()));
        if names.is_empty() {
            self.names.remove(&route.kind);
        }
    }

    /// The routes of other kinds whose names meet one of `claims`. O(names met · log n).
    fn rivals(&self, kind: Kind, claims: &[Claim]) -> BTreeSet<Ref> {
        let others = self.names.iter().filter(|(other, _)| **other != kind);
        others
            .flat_map(|(_, names)| claims.iter().flat_map(move |claim| meeting(names, &claim.domain)))
            .cloned()
            .collect()
    }

    /// The elder route of another kind that keeps this one off the listener, if any.
    fn winner(&self, route: &Ref) -> Option<Ref> {
        let claims = self.claims.get(route)?;
        let rivals = self.rivals(route.kind, claims);
        let others: Vec<&Claim> = rivals.iter().filter_map(|rival| self.claims.get(rival)).flatten().collect();
        claims.iter().find_map(|claim| conflict::loses_to(claim, others.iter().copied()))
    }

    /// Judges a route anew, and says whether its verdict moved.
    fn judge(&mut self, route: &Ref) -> bool {
        let winner = self.winner(route);
        let before = match winner.clone() {
            Some(winner) => self.lost.insert(route.clone(), winner),
            None => self.lost.remove(route),
        };
        before != winner
    }

    fn rivals_of(&self, route: &Ref) -> BTreeSet<Ref> {
        self.claims.get(route).map(|claims| self.rivals(route.kind, claims)).unwrap_or_default()
    }
}

/// The routes at names that meet `domain`: itself, wildcards above it and, if it is a wildcard, everything below it.
fn meeting<'n>(names: &'n Names, domain: &Hostname) -> Vec<&'n Ref> {
    let key = reversed(domain);
    let above = key.match_indices('.').map(|(dot, _)| format!("{}.*", key.split_at(dot).0));
    let above = above.chain([String::from("*"), key.to_string()]);
    let exact = above.flat_map(|name| starting(names, &name, |found, wanted| found == wanted));
    let below = key.strip_suffix('*').map(|prefix| starting(names, prefix, |found, wanted| found.starts_with(wanted)));
    exact.chain(below.into_iter().flatten()).collect()
}

/// The routes at the names from `name` on, as long as they are wanted.
fn starting<'n>(names: &'n Names, name: &str, is_wanted: fn(&str, &str) -> bool) -> Vec<&'n Ref> {
    let least = Ref::new(Kind::GrpcService, NsName::cluster(""));
    let from = names.range((Box::from(name), least)..);
    from.take_while(|(found, _)| is_wanted(found, name)).map(|(_, route)| route).collect()
}

impl Claims {
    /// Replaces what a route claims on a listener and returns the routes of the listener whose verdict has to be looked at.
    pub(crate) fn put(&mut self, listener: &ListenerId, route: &Ref, claims: Vec<Claim>) -> BTreeSet<Ref> {
        let contest = self.0.entry(listener.clone()).or_default();
        if contest.claims.get(route).map_or(claims.is_empty(), |known| *known == claims) {
            return BTreeSet::new();
        }
        let before = contest.rivals_of(route);
        contest.put(route, claims);
        let after = contest.rivals_of(route);
        let vacant = contest.claims.is_empty();
        if vacant {
            self.0.remove(listener);
        }
        before.into_iter().chain(after).chain((!vacant).then(|| route.clone())).collect()
    }

    /// Judges routes of a listener, and returns those whose verdict moved.
    pub(crate) fn judge(&mut self, listener: &ListenerId, routes: BTreeSet<Ref>) -> Vec<Ref> {
        let Some(contest) = self.0.get_mut(listener) else { return Vec::new() };
        routes.into_iter().filter(|route| contest.judge(route)).collect()
    }

    /// Who beats a route on a listener.
    pub(crate) fn winner(&self, listener: &ListenerId, route: &Ref) -> Option<&Ref> {
        self.0.get(listener)?.lost.get(route)
    }
}
