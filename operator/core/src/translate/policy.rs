//! GrpcPolicies: timeouts and retries for GRPCRoutes and single rules of theirs.
//!
//! the policies that target a route → [`Policies`] for lowering, and a [`Verdict`] on each for its status
//!
//! **Invariant:** of two usable policies for one target the older one holds, then the first by name; the other does nothing.
//! **Invariant:** a policy for a rule holds over one for its route, as a whole: their fields never mix.
//!
//! Knows nothing of statuses. Source: GEP-713 (policy attachment).

use crate::{
    duration::parse as parse_duration,
    ir,
    key::{Kind, NsName, Ref, Text},
    world::{Own, Reader, meta::seniority, route::Route},
};
use sluice_api::{
    GrpcPolicySpec,
    policy::TargetRef,
    traffic::{Retry, RetryOn, Timeouts},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What holds for the calls of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) timeouts: ir::Timeouts,
    pub(crate) retry: Option<ir::Retry>,
}

/// What holds for each rule of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policies {
    /// By rule name; `None` is the route itself.
    by_section: BTreeMap<Option<Text>, Traffic>,
    none: Traffic,
}

impl Policies {
    pub(crate) fn of(&self, rule: Option<&Text>) -> &Traffic {
        let own = rule.and_then(|name| self.by_section.get(&Some(name.clone())));
        own.or_else(|| self.by_section.get(&None)).unwrap_or(&self.none)
    }
}

/// What becomes of a policy for one of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    InForce,
    /// An older one holds.
    Conflicted(NsName),
    /// There is no such route, or the route has no such rule.
    TargetNotFound,
    /// A field cannot be used.
    Invalid(Invalid),
}

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// `timeouts.request`.
    pub(crate) field: &'static str,
    /// What it shall be.
    pub(crate) expected: &'static str,
}

/// The policies that hold for a route. O(policies of the route · their targets).
pub(super) fn in_force(route: &Ref, read: &Reader<'_>) -> Policies {
    let mut by_section = BTreeMap::new();
    for (policy, traffic) in usable(route, read) {
        for section in sections(policy, route) {
            by_section.entry(section).or_insert_with(|| traffic.clone());
        }
    }
    Policies { by_section, none: Traffic::default() }
}

/// What becomes of `policy` for its target `target`.
pub(crate) fn judge(policy: &Own<GrpcPolicySpec>, target: &TargetRef, read: &Reader<'_>) -> Verdict {
    if let Err(invalid) = traffic(&policy.spec) {
        return Verdict::Invalid(invalid);
    }
    let found = route_of(policy, target).filter(|route| {
        let object = read.route(route);
        object.is_some_and(|object| has_section(object, target.section_name.as_deref()))
    });
    let Some(route) = found else { return Verdict::TargetNotFound };
    let section = target.section_name.as_deref().map(Text::from);
    let holder = usable(&route, read).into_iter().find(|(other, _)| sections(other, &route).contains(&section));
    match holder {
        Some((holder, _)) if holder.metadata.key != policy.metadata.key => {
            Verdict::Conflicted(holder.metadata.key.clone())
        }
        _ => Verdict::InForce,
    }
}

/// The GRPCRoute that a target names, in the policy's namespace; other kinds take no policy.
pub(crate) fn route_of(policy: &Own<GrpcPolicySpec>, target: &TargetRef) -> Option<Ref> {
    let kind = Kind::named(&target.group, &target.kind).filter(|kind| *kind == Kind::GrpcRoute)?;
    let namespace = policy.metadata.key.namespace.clone();
    Some(Ref::new(kind, NsName { namespace, name: target.name.as_str().into() }))
}

fn has_section(route: &Route, section: Option<&str>) -> bool {
    section.is_none_or(|section| route.rules.iter().any(|rule| rule.name.as_deref() == Some(section)))
}

/// The usable policies of a route, the most senior first.
fn usable<'w>(route: &Ref, read: &Reader<'w>) -> Vec<(&'w Arc<Own<GrpcPolicySpec>>, Traffic)> {
    let policies = read.policies(route).into_iter().filter_map(|key| read.get::<Own<GrpcPolicySpec>>(key));
    let mut policies: Vec<_> = policies.filter_map(|policy| Some((policy, traffic(&policy.spec).ok()?))).collect();
    policies.sort_by(|(one, _), (other, _)| seniority(&one.metadata).cmp(&seniority(&other.metadata)));
    policies
}

fn sections(policy: &Own<GrpcPolicySpec>, route: &Ref) -> Vec<Option<Text>> {
    let targets = policy.spec.target_refs.iter().filter(|target| route_of(policy, target).as_ref() == Some(route));
    targets.map(|target| target.section_name.as_deref().map(Text::from)).collect()
}

fn traffic(spec: &GrpcPolicySpec) -> Result<Traffic, Invalid> {
    let timeouts = spec.timeouts.as_ref().map(timeouts).transpose()?.unwrap_or_default();
    let retry = spec.retry.as_ref().map(retry).transpose()?;
    let per_try = retry.as_ref().and_then(|retry| retry.per_try);
    if per_try.zip(timeouts.request).is_some_and(|(per_try, request)| per_try > request) {
        return Err(Invalid { field: "retry.perTryTimeout", expected: "at most timeouts.request" });
    }
    Ok(Traffic { timeouts, retry })
}

fn timeouts(from: &Timeouts) -> Result<ir::Timeouts, Invalid> {
    Ok(ir::Timeouts {
        request: duration(from.request.as_deref(), "timeouts.request")?,
        idle: duration(from.idle.as_deref(), "timeouts.idle")?,
        max_stream: duration(from.max_stream.as_deref(), "timeouts.maxStream")?,
    })
}

fn retry(from: &Retry) -> Result<ir::Retry, Invalid> {
    let invalid = |field, expected| move |_| Invalid { field, expected };
    let mut on: Vec<Text> = from.on().iter().map(|status| status_name(*status).into()).collect();
    on.sort_unstable();
    on.dedup();
    Ok(ir::Retry {
        attempts: u32::try_from(from.attempts).map_err(invalid("retry.attempts", "1 to 10"))?,
        on,
        per_try: duration(from.per_try_timeout.as_deref(), "retry.perTryTimeout")?,
        budget_percent: Some(u32::try_from(from.budget_percent()).map_err(invalid("retry.budgetPercent", "1 to 100"))?),
    })
}

/// Source: Envoy's `retry_on` for gRPC.
const fn status_name(status: RetryOn) -> &'static str {
    match status {
        RetryOn::Cancelled => "cancelled",
        RetryOn::DeadlineExceeded => "deadline-exceeded",
        RetryOn::Internal => "internal",
        RetryOn::ResourceExhausted => "resource-exhausted",
        RetryOn::Unavailable => "unavailable",
    }
}

/// An absent duration and one of 0 do not limit.
fn duration(text: Option<&str>, field: &'static str) -> Result<Option<Duration>, Invalid> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_duration(text).ok_or(Invalid { field, expected: "a duration such as 2s, 1m30s or 500ms" })?;
    Ok(Some(parsed).filter(|duration| !duration.is_zero()))
}
