//! Whether server-side apply would change anything: asked before each one, so that a restart over an unchanged world writes nothing.
//!
//! an object as it is wanted, and as it is → whether it is already what applying it would make of it; if not, who wrote last
//!
//! That is so when our applied fields, as the API server keeps them, are exactly those that are wanted, and hold what is wanted.
//! Fields that others add, and defaults, are theirs. The server writes some values in another form than they were given
//! (quantities, such as `1000m`); such an object is applied again each time, which the server then answers without a change.
//!
//! Must not know: kinds. Source: Kubernetes, "Server-Side Apply"; structured-merge-diff, the form of `fieldsV1`.

use super::writer::MANAGER;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::DynamicObject;
use serde_json::{Map, Value};
use sluice_core::key::Text;

/// What identifies an object is in every apply, and managed by nobody.
const IDENTITY: [&str; 4] = ["apiVersion", "kind", "/name", "/namespace"];

/// Whether applying `wanted` would leave `live` as it is.
pub(super) fn is_applied(wanted: &Value, live: &DynamicObject) -> bool {
    let entries = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let Some(fields) = entries.iter().find_map(applied) else { return false };
    // An object came from JSON, so that it goes there too.
    let Ok(live) = serde_json::to_value(live) else { return false };
    let mut wanted = wanted.clone();
    for name in IDENTITY {
        let (parent, name) = name.strip_prefix('/').map_or(("", name), |name| ("/metadata", name));
        wanted.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|object| object.remove(name));
    }
    owns(fields, &wanted, &live)
}

/// Who else wrote last.
pub(super) fn rival(live: &DynamicObject) -> Text {
    let entries = live.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| entry.manager.as_deref() != Some(MANAGER) && entry.subresource.is_none());
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.as_deref()).unwrap_or("another field manager").into()
}

fn applied(entry: &ManagedFieldsEntry) -> Option<&Value> {
    let ours = entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply");
    entry.fields_v1.as_ref().filter(|_| ours && entry.subresource.is_none()).map(|fields| &fields.0)
}

/// Whether exactly the parts of `wanted` are in `fields`, and `live` holds them.
fn owns(fields: &Value, wanted: &Value, live: &Value) -> bool {
    let parts: Vec<(&String, &Value)> =
        fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".").collect();
    if parts.is_empty() {
        return same(wanted, live);
    }
    match wanted {
        Value::Object(object) => owns_object(&parts, object, live),
        Value::Array(items) => owns_list(&parts, items, live),
        _ => false,
    }
}

fn owns_object(parts: &[(&String, &Value)], wanted: &Map<String, Value>, live: &Value) -> bool {
    let part = |name: &str| parts.iter().find(|(key, _)| key.strip_prefix("f:") == Some(name)).map(|(_, part)| *part);
    let mut count = 0;
    let all = wanted.iter().filter(|(_, value)| !value.is_null()).all(|(name, value)| {
        let found = part(name);
        count += usize::from(found.is_some());
        let live = live.get(name).unwrap_or(&Value::Null);
        found.map_or_else(|| is_empty(value), |fields| owns(fields, value, live))
    });
    // More than is wanted: applying would drop it.
    all && count == parts.len()
}

fn owns_list(parts: &[(&String, &Value)], wanted: &[Value], live: &Value) -> bool {
    let live = live.as_array().map(Vec::as_slice).unwrap_or_default();
    parts.len() == wanted.len()
        && wanted.iter().all(|item| {
            let mut held = parts.iter().filter_map(|(key, fields)| Some((selector(key)?, *fields)));
            held.any(|(selector, fields)| {
                let there = live.iter().find(|live| selector.picks(live));
                selector.picks(item) && there.is_some_and(|live| owns(fields, item, live))
            })
        })
}

/// How an item of a list is told from others.
enum Selector {
    /// By some of its fields.
    Key(Map<String, Value>),
    /// By itself.
    Value(Value),
}

fn selector(key: &str) -> Option<Selector> {
    let (form, json) = key.split_once(':')?;
    match form {
        "k" => serde_json::from_str(json).ok().map(Selector::Key),
        "v" => serde_json::from_str(json).ok().map(Selector::Value),
        _ => None,
    }
}

impl Selector {
    /// A field of the key that the item does not have is a default, and told by the others.
    fn picks(&self, item: &Value) -> bool {
        match self {
            Self::Key(fields) => fields.iter().all(|(name, value)| item.get(name).is_none_or(|held| held == value)),
            Self::Value(value) => item == value,
        }
    }
}

/// Whether `live` holds what is wanted; what it has besides are defaults.
fn same(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .filter(|(_, value)| !value.is_null())
            .all(|(name, value)| live.get(name).map_or_else(|| is_empty(value), |live| same(value, live))),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| same(wanted, live))
        }
        _ => wanted == live || (live.is_null() && is_empty(wanted)),
    }
}

/// What the API server may leave out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "ns", "labels": {"app": "a"}, "annotations": {},
                "ownerReferences": [{"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1"}]},
            "spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], "rules": [{"x": 1}], "finalizers": ["f"]},
        })
    }

    /// As an API server answers that applied it: with fields of others, and with defaults.
    fn live() -> Value {
        let fields = json!({
            "f:metadata": {"f:labels": {"f:app": {}}, "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}},
            "f:spec": {
                "f:ports": {
                    "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}},
                    "k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:name": {}},
                },
                "f:rules": {},
                "f:finalizers": {".": {}, "v:\"f\"": {}},
            },
        });
        let status =
            json!({"manager": "sluice", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}});
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "ns", "labels": {"app": "a", "other": "b"}, "uid": "u",
                "ownerReferences": [{"apiVersion": "y/v1", "kind": "Y", "name": "y", "uid": "2"},
                    {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1"}],
                "managedFields": [status, {"manager": "sluice", "operation": "Apply", "fieldsV1": fields}]},
            "spec": {"ports": [{"port": 80, "name": "a", "protocol": "TCP"}, {"port": 81, "name": "b", "protocol": "TCP"}],
                "rules": [{"x": 1, "y": "default"}], "finalizers": ["g", "f"], "replicas": 2},
        })
    }

    fn judge(wanted: &Value, live: &Value) -> bool {
        is_applied(wanted, &serde_json::from_value(live.clone()).unwrap())
    }

    #[test]
    fn what_was_applied_is_not_applied_again_whatever_others_added() {
        assert!(judge(&wanted(), &live()));
    }

    #[test]
    fn the_rival_is_who_wrote_last_apart_from_us_and_from_statuses() {
        let entry = |manager: &str, minute: u8| json!({"manager": manager, "operation": "Update", "time": format!("2026-01-01T00:{minute:02}:00Z")});
        let mut status = entry("a controller", 4);
        status["subresource"] = json!("status");
        let name = |fields: Value| {
            let live = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"managedFields": fields}});
            rival(&serde_json::from_value(live).unwrap()).to_string()
        };
        assert_eq!(
            name(json!([entry("kubectl-edit", 2), entry("argocd", 1), entry("sluice", 3), status])),
            "kubectl-edit"
        );
        assert_eq!(name(json!([entry("sluice", 3)])), "another field manager");
    }

    #[test]
    fn what_moved_what_is_missing_and_what_is_too_much_is_applied() {
        let set = |mut value: Value, path: &str, to: Value| {
            *value.pointer_mut(path).unwrap() = to;
            value
        };
        let cases = [
            ("another wish", set(wanted(), "/metadata/labels/app", json!("b")), live()),
            ("one more label", set(wanted(), "/metadata/labels", json!({"app": "a", "b": "c"})), live()),
            ("one label less", set(wanted(), "/metadata/labels", json!({})), live()),
            ("one port less", set(wanted(), "/spec/ports", json!([{"port": 80, "name": "a"}])), live()),
            ("another port", set(wanted(), "/spec/ports/1/port", json!(82)), live()),
            ("another owner", set(wanted(), "/metadata/ownerReferences/0/uid", json!("3")), live()),
            ("one rule more", set(wanted(), "/spec/rules", json!([{"x": 1}, {"x": 2}])), live()),
            ("somebody changed a value", wanted(), set(live(), "/spec/ports/0/name", json!("z"))),
            ("somebody took a rule", wanted(), set(live(), "/spec/rules", json!([]))),
            ("somebody took a value", wanted(), set(live(), "/spec/finalizers", json!(["g"]))),
            ("never applied", wanted(), set(live(), "/metadata/managedFields", json!([]))),
        ];
        for (case, wanted, live) in cases {
            assert!(!judge(&wanted, &live), "{case}");
        }
    }
}
