//! The status of a GrpcPolicy: one entry for each parent of its targets that is a Gateway of ours.
//!
//! a policy, and what its targets attach to → [`PolicyStatus`]
//!
//! **Invariant:** a policy of which one target is at fault is not Accepted for the parents of that target.
//!
//! Knows nothing of what a policy holds. Source: GEP-713, `PolicyAncestorStatus`.

use super::{Condition, verdicts};
use crate::{
    key::{GATEWAY_GROUP, NsName, Text},
    translate::policy::{Invalid, Verdict, judge, route_of},
    world::{Own, Reader, route::ParentRef},
};
use serde::Serialize;
use sluice_api::{GrpcPolicySpec, policy::TargetRef};
use std::collections::BTreeMap;

verdicts! {
    /// `Accepted` of a policy's ancestor. Source: Gateway API, `PolicyConditionReason`.
    Accepted = "Accepted" {
        Accepted = True,
        Conflicted = False,
        Invalid = False,
        TargetNotFound = False,
    }
}

/// `status` of a GrpcPolicy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// Sorted, at most 16.
    pub ancestors: Vec<AncestorStatus>,
}

/// `status.ancestors[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The parent of a target; the target itself, if it is absent.
    pub ancestor_ref: ParentRef,
    /// Who says so.
    pub controller_name: Text,
    /// What is said.
    pub conditions: Vec<Condition>,
}

/// Source: GEP-713: an implementation writes no more entries than this.
pub(super) const MAX_ANCESTORS: usize = 16;

/// The status of a policy; `None` if there is no such policy.
pub fn project(policy: &NsName, read: &Reader<'_>) -> Option<PolicyStatus> {
    let policy = read.get::<Own<GrpcPolicySpec>>(policy)?;
    let mut judged: BTreeMap<ParentRef, Vec<(&TargetRef, Verdict)>> = BTreeMap::new();
    for target in &policy.spec.target_refs {
        let verdict = judge(policy, target, read);
        for ancestor in ancestors(policy, target, read) {
            judged.entry(ancestor).or_default().push((target, verdict.clone()));
        }
    }
    let entries = judged.into_iter().take(MAX_ANCESTORS).map(|(ancestor_ref, verdicts)| AncestorStatus {
        ancestor_ref,
        controller_name: read.controller().clone(),
        conditions: vec![condition(&verdicts, policy.metadata.generation)],
    });
    Some(PolicyStatus { ancestors: entries.collect() })
}

fn ancestors(policy: &Own<GrpcPolicySpec>, target: &TargetRef, read: &Reader<'_>) -> Vec<ParentRef> {
    let Some(route) = route_of(policy, target).and_then(|route| read.route(&route)) else {
        return vec![the_target(target)];
    };
    let namespace = &policy.metadata.key.namespace;
    let ours = |parent: &&ParentRef| parent.target(namespace).is_some_and(|target| read.surface(&target).is_some());
    route.parents.iter().filter(ours).map(|parent| whole(parent, namespace)).collect()
}

/// The Gateway or ListenerSet, whichever of its listeners the route chose.
fn whole(parent: &ParentRef, namespace: &Text) -> ParentRef {
    let namespace = Some(parent.namespace.clone().unwrap_or_else(|| namespace.clone()));
    ParentRef { namespace, section_name: None, port: None, ..parent.clone() }
}

fn the_target(target: &TargetRef) -> ParentRef {
    ParentRef {
        group: GATEWAY_GROUP.into(),
        kind: target.kind.as_str().into(),
        namespace: None,
        name: target.name.as_str().into(),
        section_name: None,
        port: None,
    }
}

/// The first fault, if there is one.
fn condition(verdicts: &[(&TargetRef, Verdict)], generation: i64) -> Condition {
    let fault = verdicts.iter().find_map(|(target, verdict)| said(target, verdict));
    let (reason, message) = fault.unwrap_or_else(|| (Accepted::Accepted, "The policy is in force".to_owned()));
    Condition::new(reason, message, generation)
}

fn said(target: &TargetRef, verdict: &Verdict) -> Option<(Accepted, String)> {
    let name = label(target);
    match verdict {
        Verdict::InForce => None,
        Verdict::Conflicted(holder) => Some((
            Accepted::Conflicted,
            format!("GrpcPolicy {holder} is older and holds for {name}: merge the two, or remove one"),
        )),
        Verdict::TargetNotFound => {
            Some((Accepted::TargetNotFound, format!("{name} not found: create it, or correct targetRefs")))
        }
        Verdict::Invalid(Invalid { field, expected }) => Some((
            Accepted::Invalid,
            format!("spec.{field} shall be {expected}: mend it; until then the policy does nothing"),
        )),
    }
}

fn label(target: &TargetRef) -> String {
    let rule = target.section_name.as_ref().map(|rule| format!(" rule {rule}"));
    format!("{} {}{}", target.kind, target.name, rule.unwrap_or_default())
}
