//! What can be seen of local mode: objects with their statuses, Gateways, and what is wrong with manifests.
//!
//! objects, statuses and Gateways as they change → JSON for `/status`
//!
//! **Invariant:** no value of a Secret is ever on the board.
//! **Invariant:** `lastTransitionTime` moves when the status of its condition does, and only then.
//!
//! It must not know how anything came about.

use super::{
    finding::{Finding, Severity},
    summary::{self, Summary},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sluice_core::key::{Kind, NsName, Ref};
use std::{collections::BTreeMap, fmt, net::SocketAddr};

/// One Gateway of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Served {
    /// Where each port of its listeners is bound.
    pub(crate) ports: BTreeMap<u16, SocketAddr>,
    /// Connected proxies.
    pub(crate) proxies: usize,
    /// Those of them that have acknowledged a whole configuration.
    pub(crate) ready: usize,
    /// Of the newest snapshot.
    pub(crate) revision: u64,
    /// In the newest snapshot.
    pub(crate) resources: usize,
}

/// Everything that can be seen.
#[derive(Debug, Default)]
pub(crate) struct Board {
    objects: BTreeMap<Ref, Value>,
    generated: BTreeMap<Ref, Value>,
    statuses: BTreeMap<Ref, Value>,
    gateways: BTreeMap<NsName, Served>,
    findings: Vec<Finding>,
    loaded: bool,
    ending: bool,
}

/// A condition that changed, for a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    object: Ref,
    /// The listener or parent whose condition it is; empty for the object's own.
    part: String,
    kind: String,
    status: String,
    reason: String,
    message: String,
}

impl Turn {
    /// Whether somebody has to do something about it; what is pending or unknown passes by itself.
    pub(crate) fn is_trouble(&self) -> bool {
        let good = if self.kind == "Conflicted" { "False" } else { "True" };
        self.status != good && self.status != "Unknown" && self.reason != "Pending"
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if !self.part.is_empty() {
            write!(f, " {}", self.part)?;
        }
        write!(f, ": {}={} ({})", self.kind, self.status, self.reason)?;
        if self.status != "True" && !self.message.is_empty() { write!(f, ": {}", self.message) } else { Ok(()) }
    }
}

impl Board {
    /// Takes the objects of the manifests and what is wrong with these.
    pub(crate) fn set_manifests(&mut self, objects: &BTreeMap<Ref, Value>, findings: Vec<Finding>) {
        self.objects = objects
            .iter()
            .map(|(reference, value)| (reference.clone(), without_secrets(reference, value.clone())))
            .collect();
        // What was said of an object that is gone is not said of the next one of its name.
        let (objects, generated) = (&self.objects, &self.generated);
        self.statuses.retain(|reference, _| objects.contains_key(reference) || generated.contains_key(reference));
        self.findings = findings;
        self.loaded = true;
    }

    /// Takes a generated object, or that it is gone.
    pub(crate) fn set_generated(&mut self, reference: &Ref, value: Option<Value>) {
        match value {
            Some(value) => self.generated.insert(reference.clone(), without_secrets(reference, value)),
            None => self.generated.remove(reference).inspect(|_| _ = self.statuses.remove(reference)),
        };
    }

    /// Takes a status and says which conditions it turned.
    pub(crate) fn set_status(&mut self, reference: &Ref, mut status: Value, now: DateTime<Utc>) -> Vec<Turn> {
        let before = self.statuses.get(reference);
        let mut turns = Vec::new();
        let now = json!(now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        stamp(&mut status, before, &now, &mut |part, condition| {
            let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            turns.push(Turn {
                object: reference.clone(),
                part: part.to_owned(),
                kind: text("type"),
                status: text("status"),
                reason: text("reason"),
                message: text("message"),
            });
        });
        self.statuses.insert(reference.clone(), status);
        turns
    }

    /// Takes the state of all Gateways.
    pub(crate) fn set_gateways(&mut self, gateways: BTreeMap<NsName, Served>) {
        self.gateways = gateways;
    }

    /// From now on not ready.
    pub(crate) fn end(&mut self) {
        self.ending = true;
    }

    /// Whether every Gateway is served by a proxy that has its configuration.
    pub(crate) fn is_ready(&self) -> bool {
        self.loaded && !self.ending && self.gateways.values().all(|gateway| gateway.ready > 0)
    }

    /// Everything, as JSON.
    pub(crate) fn view(&self) -> Value {
        let mut all = self.generated.clone();
        all.extend(self.objects.clone());
        let objects: Vec<_> = all.into_iter().map(|(reference, value)| self.with_status(&reference, value)).collect();
        let gateways: BTreeMap<_, _> = self.gateways.iter().map(|(name, served)| (name.to_string(), served)).collect();
        json!({"ready": self.is_ready(), "gateways": gateways, "objects": objects, "findings": self.findings})
    }

    /// What fits on a screen: every Gateway, every object that has a status, and whether anything is wrong with the manifests.
    pub(crate) fn glance(&self) -> String {
        let gateways = self.gateways.iter().map(|(name, served)| {
            let ports: Vec<_> = served.ports.iter().map(|(port, address)| format!("{port} at {address}")).collect();
            let acknowledged = format!("{} of {} proxies ready", served.ready, served.proxies);
            ["Gateway".to_owned(), name.to_string(), ports.join(", "), acknowledged]
        });
        let objects = self.statuses.iter().map(|(reference, status)| {
            let Summary { word, reason, .. } = Summary::of(&json!({"status": status}));
            [reference.kind.to_string(), reference.key.to_string(), word, reason]
        });
        let table = summary::table(&["KIND", "NAME", "STATUS", "REASON"], gateways.chain(objects));
        // The lines that told them have scrolled away by the time somebody wonders.
        match self.findings.iter().filter(|finding| finding.severity != Severity::Note).count() {
            0 => table,
            1 => format!("{table}1 finding in the manifests: see `sluice status`\n"),
            count => format!("{table}{count} findings in the manifests: see `sluice status`\n"),
        }
    }

    fn with_status(&self, reference: &Ref, mut value: Value) -> Value {
        if let (Some(status), Some(object)) = (self.statuses.get(reference), value.as_object_mut()) {
            object.insert("status".to_owned(), status.clone());
        }
        value
    }
}

/// Annotations too: `last-applied-configuration` of a pasted Secret repeats its values.
fn without_secrets(reference: &Ref, mut value: Value) -> Value {
    if reference.kind == Kind::Secret {
        for field in ["/data", "/stringData", "/metadata/annotations"] {
            let values = value.pointer_mut(field).and_then(Value::as_object_mut);
            values.into_iter().flat_map(serde_json::Map::values_mut).for_each(|secret| *secret = json!("<hidden>"));
        }
    }
    value
}

/// Walks two forms of a status side by side; conditions are matched by type, everything else by its place.
fn stamp(new: &mut Value, old: Option<&Value>, now: &Value, turned: &mut dyn FnMut(&str, &Value)) {
    match new {
        Value::Object(fields) => {
            for (name, field) in fields {
                let old = old.and_then(|old| old.get(name));
                if name == "conditions" {
                    stamp_conditions(field, old, now, turned);
                } else {
                    stamp(field, old, now, turned);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let part = part(item);
                let old = old.and_then(|old| old.get(index));
                stamp(item, old, now, &mut |inner, condition| {
                    turned(if inner.is_empty() { &part } else { inner }, condition);
                });
            }
        }
        _ => {}
    }
}

/// How an item of a status is called: a listener by its name, a parent by that of the object.
fn part(item: &Value) -> String {
    let name = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    let listener = name("/name").map(|listener| format!("listener {listener}"));
    let parent = || name("/parentRef/name").or(name("/ancestorRef/name")).map(|parent| format!("at {parent}"));
    listener.or_else(parent).unwrap_or_default()
}

fn stamp_conditions(conditions: &mut Value, old: Option<&Value>, now: &Value, turned: &mut dyn FnMut(&str, &Value)) {
    let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let before = old.iter().find(|before| before.get("type") == condition.get("type"));
        let same = |name: &str| before.is_some_and(|before| before.get(name) == condition.get(name));
        let time = before
            .filter(|_| same("status"))
            .and_then(|before| before.get("lastTransitionTime"))
            .unwrap_or(now)
            .clone();
        if !(same("status") && same("reason") && same("message")) {
            turned("", condition);
        }
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::finding::Place;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn status(truth: &str, message: &str) -> Value {
        json!({"parents": [{"conditions": [{"type": "Accepted", "status": truth, "reason": "R", "message": message}]}]})
    }

    #[test]
    fn a_transition_time_moves_with_the_status_alone_and_turns_are_told_once() {
        let mut board = Board::default();
        let route = Ref::new(Kind::GrpcRoute, NsName::new("a", "b"));
        let mut time_after = |truth: &str, message: &str, second: i64| {
            let turns = board.set_status(&route, status(truth, message), at(second));
            let stamped = &board.statuses[&route]["parents"][0]["conditions"][0]["lastTransitionTime"];
            (stamped.as_str().unwrap().to_owned(), turns.len())
        };
        assert_eq!(time_after("False", "m", 1), ("1970-01-01T00:00:01Z".to_owned(), 1));
        assert_eq!(time_after("False", "m", 2), ("1970-01-01T00:00:01Z".to_owned(), 0));
        assert_eq!(time_after("False", "n", 3), ("1970-01-01T00:00:01Z".to_owned(), 1));
        assert_eq!(time_after("True", "n", 4), ("1970-01-01T00:00:04Z".to_owned(), 1));
    }

    #[test]
    fn what_somebody_has_to_mend_is_trouble_and_names_the_listener() {
        let turn = |kind: &str, status: &str, reason: &str| {
            let condition = json!({"type": kind, "status": status, "reason": reason, "message": "m"});
            let listeners = json!({"listeners": [{"name": "https", "conditions": [condition]}]});
            let gateway = Ref::new(Kind::Gateway, NsName::new("a", "g"));
            Board::default().set_status(&gateway, listeners, at(1)).remove(0)
        };
        let cases = [
            ("Accepted", "False", "PortUnavailable", true),
            ("Accepted", "True", "Accepted", false),
            ("Programmed", "False", "Pending", false),
            ("Programmed", "Unknown", "Pending", false),
            ("Conflicted", "False", "NoConflicts", false),
            ("Conflicted", "True", "HostnameConflict", true),
        ];
        for (kind, status, reason, trouble) in cases {
            let turn = turn(kind, status, reason);
            assert_eq!(turn.is_trouble(), trouble, "{turn}");
            assert!(turn.to_string().starts_with("Gateway a/g listener https: "), "{turn}");
        }
    }

    #[test]
    fn a_glance_tells_that_something_is_wrong_with_the_manifests_and_where_to_read_it() {
        let mut board = Board::default();
        assert!(!board.glance().contains("sluice status"));
        let place = Place { file: "a.yaml".into(), line: 1 };
        let finding = |severity| Finding { place: place.clone(), severity, message: "m".to_owned() };
        board.set_manifests(&BTreeMap::new(), vec![finding(Severity::Error), finding(Severity::Note)]);
        assert!(board.glance().ends_with("1 finding in the manifests: see `sluice status`\n"), "{}", board.glance());
    }

    #[test]
    fn secrets_are_hidden_and_readiness_waits_for_every_gateway() {
        let mut board = Board::default();
        assert!(!board.is_ready(), "nothing was read yet");
        let secret = Ref::new(Kind::Secret, NsName::new("a", "s"));
        let applied = json!({"kubectl.kubernetes.io/last-applied-configuration": "tls.key: a2V5"});
        let pasted = json!({"kind": "Secret", "metadata": {"annotations": applied}, "data": {"tls.key": "a2V5"}});
        board.set_manifests(&BTreeMap::from([(secret, pasted)]), Vec::new());
        assert!(!board.view().to_string().contains("a2V5"));
        assert!(board.is_ready());
        board.set_gateways(BTreeMap::from([(NsName::new("a", "g"), Served::default())]));
        assert!(!board.is_ready());
        board.set_gateways(BTreeMap::from([(NsName::new("a", "g"), Served { ready: 1, ..Served::default() })]));
        assert!(board.is_ready());
        board.end();
        assert!(!board.is_ready());
    }
}
