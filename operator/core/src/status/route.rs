//! What can be wrong with a route, and its status.
//!
//! [`Problem`]s, and what became of each attachment → [`RouteStatus`]
//!
//! **Invariant:** every parent gets Accepted and ResolvedRefs; PartiallyInvalid is there only while it is true.
//! **Invariant:** a bad reference never lowers Accepted.
//!
//! Knows nothing of how a problem was found. Source: Gateway API, `RouteConditionType` and `RouteConditionReason`.

mod problem;

pub use problem::{BackendFault, Finding, Problem, RuleFault};

use super::{Condition, Delivery, verdicts};
use crate::{
    key::{Ref, Text},
    translate::{Attachment, Lowered},
    world::route::{ParentRef, Route},
};
use serde::Serialize;

verdicts! {
    /// `Accepted` of a route's parent. Source: Gateway API, `RouteConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        NotAllowedByListeners = False,
        NoMatchingListenerHostname = False,
        NoMatchingParent = False,
        UnsupportedValue = False,
        IncompatibleFilters = False,
        Pending = Unknown,
    }
}

verdicts! {
    /// `ResolvedRefs` of a route's parent.
    ResolvedRefs = "ResolvedRefs" {
        ResolvedRefs = True,
        RefNotPermitted = False,
        InvalidKind = False,
        BackendNotFound = False,
        UnsupportedProtocol = False,
    }
}

verdicts! {
    /// `PartiallyInvalid` of a route's parent; never false.
    PartiallyInvalid = "PartiallyInvalid" {
        UnsupportedValue = True,
    }
}

verdicts! {
    /// Our own: whether the proxies serve this generation of the route.
    Programmed = "sluice.dev/Programmed" {
        Programmed = True,
        Pending = Unknown,
        NoReadyProxy = False,
        Rejected = False,
    }
}

/// `status` of a route, our own entries alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// One entry for each parentRef that leads to a Gateway of ours.
    pub parents: Vec<ParentStatus>,
}

/// `status.parents[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// As written.
    pub parent_ref: ParentRef,
    /// Who says so.
    pub controller_name: Text,
    /// What is said.
    pub conditions: Vec<Condition>,
}

/// What became of an attachment outside of the route itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The route of another kind that has the hostnames; only set if it has those of all bindings.
    pub lost_to: Option<Ref>,
    /// How far the proxies of the Gateway are.
    pub delivery: Delivery,
}

/// The status of a route; `standings` are in the order of `lowered.attachments`.
pub fn project(route: &Route, lowered: &Lowered, controller: &Text, standings: &[Standing]) -> RouteStatus {
    let generation = route.metadata.generation;
    let parents = lowered.attachments.iter().zip(standings).map(|(attachment, standing)| ParentStatus {
        parent_ref: attachment.parent_ref.clone(),
        controller_name: controller.clone(),
        conditions: conditions(attachment, &lowered.problems, standing, generation),
    });
    RouteStatus { parents: parents.collect() }
}

fn conditions(attachment: &Attachment, problems: &[Problem], standing: &Standing, generation: i64) -> Vec<Condition> {
    let refusal = refusal(attachment, standing);
    let resolved = resolved(problems, generation);
    let Some(refusal) = refusal else {
        let accepted = Condition::new(Accepted::Accepted, "Route is accepted", generation);
        let partial = partially_invalid(problems, generation);
        let programmed = programmed(&standing.delivery, generation);
        return [accepted, resolved].into_iter().chain(partial).chain([programmed]).collect();
    };
    let reason = match refusal.finding() {
        Finding::Accepted(reason) => reason,
        Finding::ResolvedRefs(_) | Finding::Dropped(_) | Finding::Informs | Finding::Elsewhere => {
            Accepted::UnsupportedValue
        }
    };
    vec![Condition::new(reason, refusal.to_string(), generation), resolved]
}

fn refusal(attachment: &Attachment, standing: &Standing) -> Option<Problem> {
    let lost = || standing.lost_to.clone().map(|winner| Problem::HostnameTaken { winner });
    attachment.refusal.clone().or_else(lost)
}

/// All references that fail are named; the reason is that of the first.
fn resolved(problems: &[Problem], generation: i64) -> Condition {
    let unresolved = problems.iter().filter_map(|problem| match problem.finding() {
        Finding::ResolvedRefs(reason) => Some((reason, problem)),
        Finding::Accepted(_) | Finding::Dropped(_) | Finding::Informs | Finding::Elsewhere => None,
    });
    let unresolved: Vec<(ResolvedRefs, &Problem)> = unresolved.collect();
    match unresolved.first() {
        None => Condition::new(ResolvedRefs::ResolvedRefs, all_resolved(problems), generation),
        Some((reason, _)) => {
            Condition::new(*reason, listed(unresolved.iter().map(|(_, problem)| *problem)), generation)
        }
    }
}

/// What is as it should be, and what may not be as it was meant.
fn all_resolved(problems: &[Problem]) -> String {
    let notes = problems.iter().filter(|problem| problem.finding() == Finding::Informs);
    let said = ["All references are resolved".to_owned()].into_iter().chain(notes.map(ToString::to_string));
    said.collect::<Vec<_>>().join("; ")
}

fn partially_invalid(problems: &[Problem], generation: i64) -> Option<Condition> {
    let dropped: Vec<&Problem> =
        problems.iter().filter(|problem| matches!(problem.finding(), Finding::Dropped(_))).collect();
    // The specification asks for these first words.
    let message = || format!("Dropped Rule(s): {}", listed(dropped.iter().copied()));
    (!dropped.is_empty()).then(|| Condition::new(PartiallyInvalid::UnsupportedValue, message(), generation))
}

/// A condition's message holds 32 KiB; a route has at most 16 rules with 16 backends each, which would fill it.
const LISTED: usize = 8;

fn listed<'a>(problems: impl ExactSizeIterator<Item = &'a Problem>) -> String {
    let more = problems.len().saturating_sub(LISTED);
    let text = problems.take(LISTED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if more == 0 { text } else { format!("{text}; and {more} more") }
}

fn programmed(delivery: &Delivery, generation: i64) -> Condition {
    match delivery {
        Delivery::Programmed => {
            Condition::new(Programmed::Programmed, "Every proxy serves this generation", generation)
        }
        Delivery::NoProxy(what) => Condition::new(Programmed::NoReadyProxy, &**what, generation),
        Delivery::Pending(reason) => Condition::new(Programmed::Pending, &**reason, generation),
        Delivery::Rejected { message, rule, last_good } => {
            let meanwhile = if *last_good { "its last good form is served" } else { "its calls answer UNAVAILABLE" };
            Condition::new(Programmed::Rejected, rejection(message, rule.as_deref(), meanwhile), generation)
        }
    }
}

/// `meanwhile` is what calls get until the route is mended.
fn rejection(message: &str, rule: Option<&str>, meanwhile: &str) -> String {
    let what = rule.unwrap_or("a part of the route");
    format!("The proxies refused {what}: {message}; {meanwhile} until it is mended")
}
