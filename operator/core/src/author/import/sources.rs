//! The objects that an import reads.

use super::{Note, unknown_fields};
use crate::{
    key::{Kind, NsName, Ref},
    world::{
        Object, Own,
        backend::ReferenceGrant,
        meta::{Meta, seniority},
    },
};
use serde::Deserialize;
use serde_json::Value;
use sluice_api::{GrpcPolicySpec, gateway_api::grpcroutes::GrpcRouteSpec, policy::TargetRef};
use std::sync::Arc;

/// A GRPCRoute in the types of the API, so that matches and filters carry over as they are.
#[derive(Deserialize)]
pub(super) struct WireRoute {
    pub(super) metadata: Meta,
    pub(super) spec: GrpcRouteSpec,
    #[serde(skip)]
    annotated: bool,
}

impl WireRoute {
    pub(super) fn key(&self) -> &NsName {
        &self.metadata.key
    }

    pub(super) fn reference(&self) -> Ref {
        Ref::new(Kind::GrpcRoute, self.key().clone())
    }

    /// Whether it has annotations that a person or a tool wrote for others.
    pub(super) fn is_annotated(&self) -> bool {
        self.annotated
    }
}

/// What was read.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) routes: Vec<WireRoute>,
    pub(super) grants: Vec<Arc<ReferenceGrant>>,
    pub(super) notes: Vec<Note>,
    policies: Vec<Arc<Own<GrpcPolicySpec>>>,
}

impl Sources {
    /// Takes an object in; what is not a route, a policy or a grant says nothing about routes.
    pub(super) fn read(&mut self, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, _) = text("/apiVersion").rsplit_once('/').unwrap_or_default();
        let read = match Kind::named(group, text("/kind")) {
            Some(Kind::GrpcRoute) => self.read_route(object),
            Some(kind @ (Kind::GrpcPolicy | Kind::ReferenceGrant)) => self.read_other(kind, object),
            _ => Ok(()),
        };
        if let (Err(reason), Some(kind)) = (read, Kind::named(group, text("/kind"))) {
            let object = Ref::new(kind, NsName::new(text("/metadata/namespace"), text("/metadata/name")));
            self.notes.push(Note { object, path: String::new(), message: format!("not imported: {reason}") });
        }
    }

    fn read_route(&mut self, object: &Value) -> Result<(), String> {
        let mut route = WireRoute::deserialize(object).map_err(|error| error.to_string())?;
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        route.annotated =
            annotations.is_some_and(|found| found.keys().any(|name| !name.starts_with("kubectl.kubernetes.io/")));
        let rules = object.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
        for (at, rule) in rules.enumerate() {
            for field in unknown_fields(rule) {
                let message = format!("{field} is not carried over: a GrpcService has nothing like it");
                self.notes.push(Note { object: route.reference(), path: format!("spec.rules[{at}].{field}"), message });
            }
        }
        self.routes.push(route);
        Ok(())
    }

    fn read_other(&mut self, kind: Kind, object: &Value) -> Result<(), String> {
        match Object::decode(kind, object.clone()).map_err(|error| error.to_string())? {
            Object::GrpcPolicy(policy) => self.policies.push(policy),
            Object::ReferenceGrant(grant) => self.grants.push(grant),
            _ => {}
        }
        self.policies.sort_by(|a, b| seniority(&a.metadata).cmp(&seniority(&b.metadata)));
        Ok(())
    }

    /// The policy that is in force for a rule: one for the rule holds over one for its route, and the older holds.
    pub(super) fn policy(&self, route: &NsName, rule: Option<&str>) -> Option<&Own<GrpcPolicySpec>> {
        let of_rule = rule.and_then(|name| self.targeting(route, Some(name)));
        of_rule.or_else(|| self.targeting(route, None))
    }

    fn targeting(&self, route: &NsName, section: Option<&str>) -> Option<&Own<GrpcPolicySpec>> {
        let names = |target: &TargetRef| *target.name == *route.name && target.section_name.as_deref() == section;
        let near = self.policies.iter().filter(|policy| policy.metadata.key.namespace == route.namespace);
        near.map(|policy| &**policy).find(|policy| policy.spec.target_refs.iter().any(names))
    }
}
