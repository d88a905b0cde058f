//! Tables over whole services: what is written for them, and what is said of them.

mod claims;
mod gateways;
mod import;
mod round_trip;
mod rules;
mod status;
mod tls;

use super::{Authored, author};
use crate::{
    key::{Kind, NsName, Ref},
    world::{Change, Object, Reader, Settings, Surfaces, World, observed::Observed},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The first day of every test.
fn day(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::days(number)
}

/// A world of objects, on day 0.
fn world(objects: &[Value]) -> World {
    let mut world = World::new(Settings::default());
    world.apply(Change::Clock(day(0)));
    for object in objects {
        put(&mut world, object);
    }
    world
}

fn put(world: &mut World, object: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, _) = text("/apiVersion").rsplit_once('/').unwrap_or_default();
    let kind = Kind::named(group, text("/kind")).unwrap();
    world.apply(Object::decode(kind, object.clone()).unwrap().into());
}

fn observe(world: &mut World, object: &Ref, status: &Value) {
    let status: Observed = serde_json::from_value(status.clone()).unwrap();
    world.apply(Change::Observe(object.clone(), Some(status)));
}

fn object(kind: Kind, name: &str, mut fields: Value) -> Value {
    let metadata = json!({"name": name, "uid": format!("uid-{name}"), "generation": 1});
    let mut value = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata});
    if !kind.is_cluster_scoped() {
        value["metadata"]["namespace"] = "shop".into();
    }
    value.as_object_mut().unwrap().append(fields.as_object_mut().unwrap());
    value
}

/// GrpcService `shop/echo` with one hostname, an own Gateway, a self-signed certificate and one backend; `changes`
/// replaces fields of its spec, `null` removes them.
fn service(changes: &Value) -> Value {
    let mut spec = json!({
        "hostnames": ["grpc.example.com"],
        "gateways": [{"name": "public", "own": {"gatewayClassName": "sluice"}}],
        "tls": {"type": "SelfSigned"},
        "backends": [{"name": "stable", "service": {"name": "echo", "port": 9000}}],
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(name);
        } else {
            spec[name] = value.clone();
        }
    }
    object(Kind::GrpcService, "echo", json!({"spec": spec}))
}

/// A GatewayProfile with the class that uses it.
fn profile(spec: &Value) -> [Value; 2] {
    let reference = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": "rails"});
    let class = json!({"spec": {"controllerName": "sluice.dev/gateway-controller", "parametersRef": reference}});
    [object(Kind::GatewayProfile, "rails", json!({"spec": spec})), object(Kind::GatewayClass, "sluice", class)]
}

fn echo() -> NsName {
    NsName::new("shop", "echo")
}

fn authored(world: &World) -> Authored {
    author(&echo(), &Reader::new(world, &Surfaces::new())).unwrap()
}

fn names(authored: &Authored) -> Vec<String> {
    authored
        .objects
        .iter()
        .map(|desired| format!("{} {}", desired.reference.kind, desired.reference.key.name))
        .collect()
}

/// The value at a pointer of an authored object; null if there is none.
fn field(authored: &Authored, kind: Kind, pointer: &str) -> Value {
    let found = authored.objects.iter().find(|desired| desired.reference.kind == kind);
    found.and_then(|desired| desired.value.pointer(pointer)).cloned().unwrap_or_default()
}
