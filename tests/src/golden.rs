//! Golden files: manifests, and what becomes of them without a cluster, a proxy or a clock.
//!
//! the input documents of a file → the text below its `# Output`
//!
//! **Invariant:** the output is a function of the input: time, identities and proxies are fixed here.
//!
//! It must not know what is expected.

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sluice_core::{
    key::{Kind, Ref},
    world::{Change, Object},
};
use sluice_engine::{Effects, Engine, Input, ProxyEvent, Settings};
use sluice_xds::ResourceType;
use std::{collections::BTreeMap, path::Path};

/// What stands between the input and the output of a golden file.
pub const SEPARATOR: &str = "---\n# Output\n";

/// A golden file in its two parts.
#[derive(Debug)]
pub struct Golden {
    /// The manifests, comments included.
    pub input: String,
    /// What is expected; empty in a new file.
    pub output: String,
}

impl Golden {
    /// Splits the text of a file.
    pub fn parse(text: &str) -> Self {
        let (input, output) = text.split_once(SEPARATOR).unwrap_or((text, ""));
        Self { input: input.to_owned(), output: output.to_owned() }
    }

    /// The text of a file whose output is `output`.
    pub fn render(&self, output: &str) -> String {
        let end = if self.input.ends_with('\n') { "" } else { "\n" };
        format!("{}{end}{SEPARATOR}{output}", self.input)
    }
}

/// The input documents. A value `@NAME` of a Secret's `stringData` or a ConfigMap's `data` stands for the fixture of that name.
///
/// # Errors
/// When the text is not YAML, or a fixture does not exist.
pub fn documents(input: &str, fixtures: &Path) -> anyhow::Result<Vec<Value>> {
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(input).context("input is not YAML")?;
    for document in &mut documents {
        let field = if document["kind"] == "ConfigMap" { "data" } else { "stringData" };
        let strings = document.get_mut(field).and_then(Value::as_object_mut);
        for value in strings.into_iter().flat_map(|fields| fields.values_mut()) {
            if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
                let path = fixtures.join(name);
                *value = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?.into();
            }
        }
    }
    Ok(documents)
}

/// What the engine makes of the documents, with one proxy for each Gateway that acknowledges everything.
///
/// # Errors
/// When a document is not an object of a known kind.
pub fn output(documents: Vec<Value>) -> anyhow::Result<String> {
    let mut engine = Engine::new(Settings { feedback: true, grace: TimeDelta::zero(), ..Settings::default() });
    let mut said = Said::default();
    let mut inputs = vec![Input::Change(Change::Clock(start() + TimeDelta::days(30))), Input::Leader(true)];
    inputs.extend(changes(documents)?.into_iter().map(Input::Change));
    said.hear(engine.step(inputs));
    let addresses = addresses(&engine);
    said.hear(engine.step(addresses));
    let acknowledged = acknowledgements(&engine);
    said.hear(engine.step(acknowledged));
    said.render(&engine)
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_798_761_600, 0).unwrap_or_default()
}

/// Every object is one second younger than the one before it.
fn changes(documents: Vec<Value>) -> anyhow::Result<Vec<Change>> {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "sluice"},
        "spec": {"controllerName": "sluice.dev/gateway-controller"},
    });
    let given = documents.iter().any(|document| document["kind"] == "GatewayClass");
    let documents = (!given).then_some(class).into_iter().chain(documents);
    documents.enumerate().map(|(at, document)| change(at, document)).collect()
}

fn change(at: usize, mut document: Value) -> anyhow::Result<Change> {
    let version = document["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let name = document["kind"].as_str().unwrap_or_default();
    let kind = Kind::named(group, name).with_context(|| format!("no kind {name} in group {group:?}"))?;
    let metadata = document["metadata"].as_object_mut().context("metadata is absent")?;
    let mut default = |field: &str, value: Value| _ = metadata.entry(field).or_insert(value);
    if !kind.is_cluster_scoped() {
        default("namespace", "default".into());
    }
    default("generation", 1.into());
    default("uid", format!("uid-{at}").into());
    let age = i64::try_from(at).unwrap_or_default();
    default("creationTimestamp", json!(start() + TimeDelta::seconds(age)));
    Ok(Change::Upsert(Object::decode(kind, document)?))
}

/// Each Gateway is reached at one address.
fn addresses(engine: &Engine) -> Vec<Input> {
    let change = |gateway| Input::Change(Change::Addresses(gateway, vec!["127.0.0.1".into()]));
    engine.ports().into_keys().map(change).collect()
}

fn acknowledgements(engine: &Engine) -> Vec<Input> {
    let mut events = Vec::new();
    for (gateway, snapshot) in engine.snapshots() {
        let (gateway, proxy) = (gateway.clone(), "proxy".into());
        events.push(ProxyEvent::Connected { gateway: gateway.clone(), proxy, stream: 1 });
        events.push(ProxyEvent::Synced { gateway, proxy: "proxy".into(), stream: 1, revision: snapshot.revision() });
    }
    events.into_iter().map(Input::Proxy).collect()
}

/// The last word about each object.
#[derive(Default)]
struct Said {
    statuses: BTreeMap<Ref, Value>,
    applied: BTreeMap<Ref, Value>,
}

impl Said {
    fn hear(&mut self, effects: Effects) {
        for update in effects.statuses {
            self.statuses.insert(update.target, update.status.value());
        }
        for apply in effects.applies {
            match apply {
                sluice_engine::Apply::Put { reference, value, .. } => _ = self.applied.insert(reference, value),
                sluice_engine::Apply::Remove { reference, .. } => _ = self.applied.remove(&reference),
                // It stays, though not as ours.
                sluice_engine::Apply::Orphan { .. } => {}
            }
        }
    }

    fn render(&self, engine: &Engine) -> anyhow::Result<String> {
        let mut output = Map::new();
        let named = |objects: &BTreeMap<Ref, Value>| -> Map<String, Value> {
            objects.iter().map(|(reference, value)| (reference.to_string(), value.clone())).collect()
        };
        let mut statuses = named(&self.statuses);
        // The class says the same in every file.
        statuses.remove("GatewayClass sluice");
        for (name, part) in [("applied", named(&self.applied)), ("statuses", statuses), ("proxies", proxies(engine)?)] {
            if !part.is_empty() {
                output.insert(name.to_owned(), Value::Object(part));
            }
        }
        Ok(serde_saphyr::to_string(&output)?)
    }
}

/// Hosts in full, everything else by name: listeners and clusters have golden files of their own beside the encoder.
fn proxies(engine: &Engine) -> anyhow::Result<Map<String, Value>> {
    let mut proxies = Map::new();
    for (gateway, snapshot) in engine.snapshots() {
        let missing = snapshot.closure();
        ensure!(missing.is_empty(), "the snapshot of {gateway} is not closed: {missing:?}");
        let mut resources = Map::new();
        for kind in ResourceType::ALL {
            let of_kind: Vec<_> = snapshot.iter(kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let shown: Value = if kind == ResourceType::VirtualHost {
                of_kind.iter().map(|resource| sluice_envoy::json::view(resource)).collect()
            } else {
                of_kind.iter().map(|resource| resource.id.name.to_string()).collect()
            };
            resources.insert(format!("{kind:?}"), shown);
        }
        proxies.insert(gateway.to_string(), Value::Object(resources));
    }
    Ok(proxies)
}
