//! One route, whatever its kind: where it attaches, what its rules become, and what is wrong with it.
//!
//! a route and what it refers to → [`Lowered`]
//!
//! **Invariant:** a function of the route and of what it refers to, never of other routes.
//! **Invariant:** a rule that cannot be served as written is left out and named; the others are served.
//! **Invariant:** an invalid backend keeps its share of the calls, which answer UNAVAILABLE.
//!
//! Knows nothing of other routes on the same hostname and of which listener serves what.

mod attachment;
mod backends;
mod filters;
mod grpc;
mod http;
mod rule;
mod url;

use super::{Attachment, Lowered, Rank, policy, selection};
use crate::{
    ir,
    key::{Kind, Ref},
    status::route::{Problem, RuleFault},
    world::{
        Reader,
        route::{Matching, Route},
    },
};

/// What distinguishes one route kind from another. A kind that has no source gets a status and serves nothing.
trait RouteSource: Sync {
    /// Whether its rules take gRPC calls alone.
    fn grpc_only(&self) -> bool;
    /// The protocol to speak to a port with this `appProtocol`; `None` if the kind cannot.
    fn upstream(&self, app_protocol: Option<&str>) -> Option<ir::Upstream>;
    /// What a match says beside headers; `at` is its place, for messages.
    fn matcher(&self, on: &Matching, at: &str) -> Result<(Rank, ir::Matcher), RuleFault>;
}

fn source(kind: Kind) -> Option<&'static dyn RouteSource> {
    match kind {
        Kind::GrpcRoute => Some(&grpc::Source),
        Kind::HttpRoute => Some(&http::Source),
        _ => None,
    }
}

/// What becomes of a route; `None` if there is no such route.
pub fn lower(route: &Ref, read: &Reader<'_>) -> Option<Lowered> {
    let object = read.route(route)?;
    let attachments = attachment::attach(route, object, read);
    if attachments.is_empty() {
        // Another controller's: whatever its rules say is served by nobody here, and costs nothing here.
        return Some(nothing());
    }
    let Some(source) = source(route.kind) else {
        let refusal = Problem::KindNotImplemented(route.kind);
        return Some(Lowered { attachments: refuse(attachments, &refusal), ..nothing() });
    };
    let lowering = rule::Lowering { route, source, policies: policy::in_force(route, read), read };
    Some(assemble(attachments, object, &lowering))
}

const fn nothing() -> Lowered {
    Lowered { attachments: Vec::new(), routes: Vec::new(), clusters: Vec::new(), problems: Vec::new() }
}

fn assemble(attachments: Vec<Attachment>, object: &Route, lowering: &rule::Lowering<'_>) -> Lowered {
    let mut lowered = Lowered { attachments, ..nothing() };
    let mut faults = Vec::new();
    for (index, rule) in object.rules.iter().enumerate() {
        match lowering.rule(index, rule) {
            Ok(outcome) => {
                lowered.routes.extend(outcome.routes);
                lowered.clusters.extend(outcome.clusters);
                lowered.problems.extend(outcome.problems);
            }
            Err(fault) => faults.push(fault),
        }
    }
    lowered.clusters.sort_unstable();
    lowered.clusters.dedup();
    // Kept for each of ten thousand routes: without the room that growing left.
    lowered.routes.shrink_to_fit();
    lowered.clusters.shrink_to_fit();
    let services = lowered.clusters.iter().map(|cluster| &cluster.service).collect();
    let shared = selection::first_inclusion(&services, lowering.read).map(|found| Problem::SharedPods(Box::new(found)));
    lowered.problems.extend(shared);
    drop_rules(lowered, faults, object.rules.len())
}

/// Source: Gateway API, `RouteConditionPartiallyInvalid`: not said of a route of which nothing is left.
fn drop_rules(mut lowered: Lowered, faults: Vec<RuleFault>, rules: usize) -> Lowered {
    match faults.first() {
        Some(first) if faults.len() == rules => {
            lowered.attachments = refuse(lowered.attachments, &Problem::NoValidRule(first.clone()));
        }
        _ => lowered.problems.extend(faults.into_iter().map(Problem::RuleDropped)),
    }
    lowered
}

/// A refusal by the listeners stands before one of the whole route.
fn refuse(mut attachments: Vec<Attachment>, refusal: &Problem) -> Vec<Attachment> {
    for attachment in &mut attachments {
        attachment.bindings.clear();
        attachment.refusal.get_or_insert_with(|| refusal.clone());
    }
    attachments
}

#[cfg(test)]
mod tests;
