//! The GRPCRoute of a service, and the GrpcPolicies for what a GRPCRoute cannot say.

use super::{Draft, frame::Frame};
use crate::{
    key::{GATEWAY_GROUP, Kind, Text},
    world::{Reader, route::ParentRef},
};
use serde_json::{Map, Value, json};
use sluice_api::{
    GrpcServiceSpec,
    grpcservice::{Backend, RouteRule, RuleBackend},
};

/// The services of reflection, in both versions that clients know.
pub(super) const REFLECTION: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
/// The name of the rule for reflection; a rule of the user that has it gets the other.
pub(super) const REFLECTION_RULE: [&str; 2] = ["reflection", "grpc-reflection"];

/// Whether rules of routes have names: since v1.4 of the Gateway API, as BackendTLSPolicy has its `v1`.
pub(super) fn has_named_rules(read: &Reader) -> bool {
    read.serves(Kind::BackendTlsPolicy)
}

pub(super) fn author(
    frame: &Frame,
    spec: &GrpcServiceSpec,
    hostnames: Option<&[Text]>,
    parents: &[ParentRef],
    read: &Reader,
) -> Draft {
    let parents: Vec<Value> = parents.iter().map(|parent| parent_ref(frame, parent)).collect();
    let mut fields = Map::new();
    fields.insert("parentRefs".into(), parents.into());
    if let Some(hostnames) = hostnames {
        fields.insert("hostnames".into(), json!(hostnames));
    }
    let mut rules = rules(frame, spec);
    if !has_named_rules(read) {
        rules.iter_mut().filter_map(Value::as_object_mut).for_each(|rule| drop(rule.remove("name")));
    }
    fields.insert("rules".into(), rules.into());
    frame.draft(Kind::GrpcRoute, frame.service.clone(), Value::Object(fields))
}

fn parent_ref(frame: &Frame, parent: &ParentRef) -> Value {
    let mut fields = Map::new();
    fields.insert("group".into(), json!(parent.group));
    fields.insert("kind".into(), json!(parent.kind));
    fields.insert("namespace".into(), json!(parent.namespace.as_ref().unwrap_or(&frame.service.namespace)));
    fields.insert("name".into(), json!(parent.name));
    if let Some(section) = &parent.section_name {
        fields.insert("sectionName".into(), json!(section));
    }
    if let Some(port) = parent.port {
        fields.insert("port".into(), json!(port));
    }
    Value::Object(fields)
}

fn rules(frame: &Frame, spec: &GrpcServiceSpec) -> Vec<Value> {
    let everything = [RouteRule { name: "default".into(), ..RouteRule::default() }];
    let written = spec.rules.as_deref().unwrap_or(&everything);
    written.iter().map(|rule| one(frame, spec, rule)).chain(reflection(frame, spec)).collect()
}

fn one(frame: &Frame, spec: &GrpcServiceSpec, rule: &RouteRule) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), json!(rule.name));
    if let Some(matches) = &rule.matches {
        fields.insert("matches".into(), defaulted(json!(matches)));
    }
    if let Some(filters) = &rule.filters {
        fields.insert("filters".into(), defaulted(json!(filters)));
    }
    fields.insert("backendRefs".into(), backends(frame, spec, rule).into());
    Value::Object(fields)
}

fn backends(frame: &Frame, spec: &GrpcServiceSpec, rule: &RouteRule) -> Vec<Value> {
    match &rule.backends {
        None => spec.backends.iter().map(|backend| backend_ref(frame, backend, backend.weight(), None)).collect(),
        Some(chosen) => chosen.iter().filter_map(|choice| chosen_ref(frame, spec, choice)).collect(),
    }
}

/// A rule's backend; the API refuses names that `spec.backends` does not have.
fn chosen_ref(frame: &Frame, spec: &GrpcServiceSpec, choice: &RuleBackend) -> Option<Value> {
    let backend = spec.backends.iter().find(|backend| backend.name == choice.name)?;
    let filters = choice.filters.as_ref().map(|filters| defaulted(json!(filters)));
    Some(backend_ref(frame, backend, choice.weight(), filters))
}

fn backend_ref(frame: &Frame, backend: &Backend, weight: i32, filters: Option<Value>) -> Value {
    let service = &backend.service;
    let namespace = service.namespace.as_deref().unwrap_or(&frame.service.namespace);
    let mut value = json!({
        "group": "", "kind": "Service", "namespace": namespace, "name": service.name,
        "port": service.port, "weight": weight,
    });
    if let (Some(filters), Some(fields)) = (filters, value.as_object_mut()) {
        fields.insert("filters".into(), filters);
    }
    value
}

fn reflection(frame: &Frame, spec: &GrpcServiceSpec) -> Option<Value> {
    let wanted = spec.reflection.as_ref()?;
    let backend = spec.backends.iter().find(|backend| backend.name == wanted.backend)?;
    let taken = |name: &&str| spec.rules.iter().flatten().any(|rule| rule.name == **name);
    let name = REFLECTION_RULE.iter().find(|name| !taken(name))?;
    let matches = REFLECTION.map(|service| json!({"method": {"type": "Exact", "service": service}}));
    Some(json!({"name": name, "matches": matches, "backendRefs": [backend_ref(frame, backend, 1, None)]}))
}

/// Writes out what the CRD would default inside matches and filters.
///
/// Source: the standard channel's GRPCRoute: `type: Exact` of methods and headers; `group` and `kind` of a mirror's
/// backend.
fn defaulted(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = defaulted(item.take())),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match (name.as_str(), field) {
                    ("method", Value::Object(method)) => default(method, "type", "Exact"),
                    ("headers", Value::Array(headers)) => {
                        headers
                            .iter_mut()
                            .filter_map(Value::as_object_mut)
                            .for_each(|header| default(header, "type", "Exact"));
                    }
                    ("requestMirror", Value::Object(mirror)) => default_mirror(mirror),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    value
}

fn default_mirror(mirror: &mut Map<String, Value>) {
    if let Some(target) = mirror.get_mut("backendRef").and_then(Value::as_object_mut) {
        default(target, "group", "");
        default(target, "kind", "Service");
    }
    if let Some(fraction) = mirror.get_mut("fraction").and_then(Value::as_object_mut) {
        fraction.entry("denominator").or_insert(json!(100));
    }
}

fn default(fields: &mut Map<String, Value>, name: &str, value: &str) {
    fields.entry(name).or_insert_with(|| value.into());
}

/// One policy for each rule that asks for timeouts or retries; none where rules cannot be named.
pub(super) fn policies(frame: &Frame, spec: &GrpcServiceSpec, read: &Reader) -> Vec<Draft> {
    let rules = spec.rules.iter().flatten().filter(|rule| asks(rule) && has_named_rules(read));
    rules.map(|rule| policy(frame, rule)).collect()
}

/// Whether a rule has something to say that a GRPCRoute cannot.
pub(super) fn asks_for_policies(spec: &GrpcServiceSpec) -> bool {
    spec.rules.iter().flatten().any(asks)
}

fn asks(rule: &RouteRule) -> bool {
    rule.timeouts.is_some() || rule.retry.is_some()
}

fn policy(frame: &Frame, rule: &RouteRule) -> Draft {
    let target = json!({
        "group": GATEWAY_GROUP, "kind": "GRPCRoute", "name": frame.service.name, "sectionName": rule.name,
    });
    let mut fields = Map::new();
    fields.insert("targetRefs".into(), json!([target]));
    if let Some(timeouts) = &rule.timeouts {
        fields.insert("timeouts".into(), json!(timeouts));
    }
    if let Some(retry) = &rule.retry {
        fields.insert("retry".into(), json!(retry));
    }
    frame.draft(Kind::GrpcPolicy, frame.sibling(&rule.name), Value::Object(fields))
}
