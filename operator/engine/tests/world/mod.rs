//! Small worlds for the engine's tests: objects as JSON, and what an API server would hold after the engine's effects.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod cluster;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_core::{
    author::Issue,
    key::{Kind, NsName, Ref},
    translate::infrastructure::Infrastructure,
    world::{Change, Exposure, Object},
};
use sluice_engine::{Apply, Effects, Engine, Input, Output, Settings};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) const CERTIFICATES: [(&str, &str); 2] =
    [(include_str!("a.crt"), include_str!("a.key")), (include_str!("b.crt"), include_str!("b.key"))];

/// A day on which the certificates are valid.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(crate) fn clock(days: i64) -> Input {
    Input::Change(Change::Clock(start() + TimeDelta::days(days)))
}

pub(crate) fn put(kind: Kind, value: Value) -> Input {
    Input::Change(Object::decode(kind, value).unwrap().into())
}

pub(crate) fn delete(kind: Kind, namespace: &str, name: &str) -> Input {
    Input::Change(Change::Delete(Ref::new(kind, NsName::new(namespace, name))))
}

pub(crate) fn bind(gateway: &str, port: u16) -> Input {
    let address = format!("127.0.0.1:{}", 10_000 + u32::from(port)).parse().unwrap();
    Input::Change(Change::Bind(NsName::new("a", gateway), port, Some(address)))
}

pub(crate) fn meta(namespace: &str, name: &str, generation: i64, age: i64) -> Value {
    json!({
        "namespace": namespace, "name": name, "generation": generation, "uid": format!("{namespace}-{name}"),
        "creationTimestamp": start() - TimeDelta::days(age),
    })
}

pub(crate) fn class(profile: Option<&str>) -> Input {
    let parameters = profile.map(|name| json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": name}));
    let spec = json!({"controllerName": "sluice.dev/gateway-controller", "parametersRef": parameters});
    put(Kind::GatewayClass, json!({"metadata": {"name": "sluice", "generation": 1}, "spec": spec}))
}

pub(crate) fn profile(spec: &Value) -> Input {
    put(Kind::GatewayProfile, json!({"metadata": {"name": "p"}, "spec": spec}))
}

pub(crate) fn http(name: &str, port: u16, hostname: Option<&str>) -> Value {
    json!({"name": name, "port": port, "protocol": "HTTP", "hostname": hostname, "allowedRoutes": {"namespaces": {"from": "All"}}})
}

pub(crate) fn https(name: &str, port: u16, hostname: Option<&str>, secret: &str) -> Value {
    json!({
        "name": name, "port": port, "protocol": "HTTPS", "hostname": hostname,
        "tls": {"certificateRefs": [{"name": secret}]}, "allowedRoutes": {"namespaces": {"from": "All"}},
    })
}

pub(crate) fn gateway(name: &str, generation: i64, listeners: &Value) -> Input {
    let spec = json!({
        "gatewayClassName": "sluice", "listeners": listeners, "allowedListeners": {"namespaces": {"from": "All"}},
    });
    put(Kind::Gateway, json!({"metadata": meta("a", name, generation, 9), "spec": spec}))
}

pub(crate) fn secret(name: &str, certificate: usize) -> Input {
    put(Kind::Secret, tls_secret(&json!({"namespace": "a", "name": name}), certificate))
}

pub(crate) fn tls_secret(metadata: &Value, certificate: usize) -> Value {
    let (chain, key) = CERTIFICATES[certificate];
    let data = json!({"tls.crt": chain, "tls.key": key, "ca.crt": chain});
    json!({"metadata": metadata, "type": "kubernetes.io/tls", "stringData": data})
}

pub(crate) fn service(namespace: &str, name: &str, port: u16) -> Input {
    let spec = json!({"ports": [{"name": "grpc", "port": port}]});
    put(Kind::Service, json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec}))
}

pub(crate) fn slice(namespace: &str, service: &str, name: &str, addresses: &[u8]) -> Input {
    let endpoints: Vec<Value> = addresses.iter().map(|last| json!({"addresses": [format!("10.0.0.{last}")]})).collect();
    let labels = json!({"kubernetes.io/service-name": service});
    let metadata = json!({"namespace": namespace, "name": name, "labels": labels});
    put(
        Kind::EndpointSlice,
        json!({"metadata": metadata, "ports": [{"name": "grpc", "port": 9000}], "endpoints": endpoints}),
    )
}

/// A rule that sends one method, or everything, to a Service of a namespace.
pub(crate) fn rule(method: Option<&str>, namespace: &str, backend: &str) -> Value {
    let matches = method.map_or(json!([]), |method| json!([{"method": {"service": "echo.Echo", "method": method}}]));
    json!({"matches": matches, "backendRefs": [{"name": backend, "namespace": namespace, "port": 9000}]})
}

pub(crate) fn grpc_route(metadata: &Value, parents: &Value, hostnames: &[&str], rules: &Value) -> Input {
    put(
        Kind::GrpcRoute,
        json!({"metadata": metadata, "spec": {"parentRefs": parents, "hostnames": hostnames, "rules": rules}}),
    )
}

/// What the effects of all steps add up to.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) statuses: BTreeMap<Ref, Value>,
    pub(crate) desired: BTreeMap<Ref, Value>,
    pub(crate) issues: Vec<Issue>,
    pub(crate) infrastructure: BTreeMap<NsName, Arc<Infrastructure>>,
    /// The generation of the latest write of each object.
    pub(crate) written: BTreeMap<Ref, i64>,
}

impl Server {
    /// Takes effects in; each must say something new.
    pub(crate) fn take(&mut self, effects: &Effects) {
        for apply in effects.applies.iter().filter(|apply| matches!(apply, Apply::Remove { .. })) {
            self.statuses.remove(apply.reference());
        }
        for update in &effects.statuses {
            let status = update.status.value();
            let before = self.statuses.insert(update.target.clone(), status.clone());
            assert_ne!(before, Some(status), "{} said twice", update.target);
        }
        for apply in &effects.applies {
            match apply {
                Apply::Put { reference, value, generation, .. } => {
                    self.written.insert(reference.clone(), *generation);
                    self.desired.insert(reference.clone(), value.clone());
                }
                Apply::Remove { reference, .. } | Apply::Orphan { reference, .. } => {
                    self.written.remove(reference);
                    self.desired.remove(reference);
                }
            }
        }
        for (gateway, wanted) in &effects.infrastructure {
            let before = match wanted {
                Some(wanted) => self.infrastructure.insert(gateway.clone(), wanted.clone()),
                None => self.infrastructure.remove(gateway),
            };
            assert_ne!(before, *wanted, "what runs for {gateway} said twice");
        }
        self.issues.extend(effects.issues.iter().cloned());
    }

    /// What is left of it in the form of a recomputation: statuses of what is gone are gone.
    pub(crate) fn output(&self, engine: &Engine) -> Output {
        let there = |object: &&Ref| engine.state().world.contains(object);
        let statuses = self.statuses.iter().filter(|(object, _)| there(object));
        let resources = engine.snapshots().iter().map(|(gateway, snapshot)| {
            let all = sluice_xds::ResourceType::ALL.into_iter().flat_map(|kind| snapshot.iter(kind));
            (gateway.clone(), all.map(|resource| (resource.id.clone(), resource.version)).collect())
        });
        Output {
            resources: resources.collect(),
            statuses: statuses.map(|(object, status)| (object.clone(), status.clone())).collect(),
            desired: self.desired.clone(),
            infrastructure: self.infrastructure.clone(),
            leaving: BTreeSet::new(),
        }
    }
}

/// Drops what two histories may keep differently without saying anything: a Gateway without resources, a route status without parents.
pub(crate) fn essence(mut output: Output) -> Output {
    output.resources.retain(|_, resources| !resources.is_empty());
    output
        .statuses
        .retain(|_, status| status.get("parents").and_then(Value::as_array).is_none_or(|parents| !parents.is_empty()));
    output
}

/// An engine that leads and hears its own level 1.
pub(crate) fn engine() -> Engine {
    let world = sluice_core::world::Settings { exposure: Exposure::Host, ..Default::default() };
    // Statuses are never held back here: they are compared after each step.
    let mut engine = Engine::new(Settings { world, feedback: true, grace: TimeDelta::zero() });
    engine.step([Input::Leader(true), clock(0)]);
    engine
}
