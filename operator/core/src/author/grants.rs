//! ReferenceGrants: other namespaces may use this service's own objects, and nothing else.

use super::{
    Draft,
    frame::Frame,
    rails::{Refusal, allows},
};
use crate::{
    key::{GATEWAY_GROUP, Kind, Text},
    translate::profile,
    world::Reader,
};
use serde_json::{Value, json};
use sluice_api::{
    GATEWAY_CLASS, GrpcServiceSpec,
    grpcservice::{Grant, GrantTarget},
};

pub(super) fn author(frame: &Frame, spec: &GrpcServiceSpec, refusals: &mut Vec<Refusal>, read: &Reader) -> Vec<Draft> {
    let grants = spec.grants.as_deref().unwrap_or_default();
    if grants.is_empty() {
        return Vec::new();
    }
    if let Err(refusal) = permitted(&frame.service.namespace, read) {
        refusals.push(refusal);
        return Vec::new();
    }
    grants.iter().filter_map(|grant| one(frame, spec, grant)).collect()
}

fn permitted(namespace: &Text, read: &Reader) -> Result<(), Refusal> {
    let profile = profile::named(GATEWAY_CLASS, read).map_err(Refusal::Platform)?;
    let rule = profile.and_then(|profile| profile.grants.as_ref());
    allows(rule, namespace, read).then_some(()).ok_or(Refusal::Grant)
}

fn one(frame: &Frame, spec: &GrpcServiceSpec, grant: &Grant) -> Option<Draft> {
    let (word, to) = match grant.to {
        GrantTarget::Service => ("service", targets("", "Service", own_services(frame, spec))),
        GrantTarget::Gateway => ("gateway", targets(GATEWAY_GROUP, "Gateway", own_gateways(frame, spec))),
    };
    // A grant to nothing would be a grant to everything of the kind: `to` may not be empty, and a missing name means
    // all.
    if to.is_empty() {
        return None;
    }
    let from = json!([{"group": GATEWAY_GROUP, "kind": "GRPCRoute", "namespace": grant.namespace}]);
    let key = frame.sibling(&format!("{word}-{}", grant.namespace));
    Some(frame.draft(Kind::ReferenceGrant, key, json!({"from": from, "to": to})))
}

fn targets(group: &str, kind: &str, mut names: Vec<Text>) -> Vec<Value> {
    names.sort();
    names.dedup();
    names.into_iter().map(|name| json!({"group": group, "kind": kind, "name": name})).collect()
}

fn own_services(frame: &Frame, spec: &GrpcServiceSpec) -> Vec<Text> {
    let ours = spec.backends.iter().filter(|backend| {
        backend.service.namespace.as_deref().is_none_or(|namespace| *namespace == *frame.service.namespace)
    });
    ours.map(|backend| backend.service.name.as_str().into()).collect()
}

fn own_gateways(frame: &Frame, spec: &GrpcServiceSpec) -> Vec<Text> {
    let own = spec.gateways.iter().flatten().filter(|entry| entry.own.is_some());
    own.map(|entry| frame.sibling(&entry.name).name).collect()
}
