//! The columns of each kind, as `kubectl get` prints them.
//!
//! an object with its status → cells

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_core::key::Kind;

/// A header and what stands below it.
pub(super) struct Column {
    pub(super) header: &'static str,
    pub(super) width: Width,
    cell: fn(&Value) -> String,
}

/// Whether a column is shown always, or with `-o wide` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    Wide,
}

impl Column {
    const fn new(header: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { header, width: Width::Narrow, cell }
    }

    const fn wide(header: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { header, width: Width::Wide, cell }
    }

    pub(super) fn cell(&self, object: &Value) -> String {
        (self.cell)(object)
    }
}

/// Between name and age. Our own kinds have the printer columns of their CRDs.
pub(super) fn of(kind: Kind) -> Vec<Column> {
    match kind {
        Kind::GrpcService => vec![
            Column::new("HOSTS", |service| list(service, "/spec/hostnames")),
            Column::new("ENDPOINT", endpoint),
            Column::new("READY", |service| own(service, "Ready", "status")),
            Column::new("REASON", |service| own(service, "Ready", "reason")),
            Column::wide("MESSAGE", |service| own(service, "Ready", "message")),
        ],
        Kind::Gateway => vec![
            Column::new("CLASS", |gateway| text(gateway, "/spec/gatewayClassName")),
            Column::new("ADDRESS", |gateway| text(gateway, "/status/addresses/0/value")),
            Column::new("PROGRAMMED", |gateway| own(gateway, "Programmed", "status")),
            Column::wide("MESSAGE", |gateway| own(gateway, "Programmed", "message")),
        ],
        Kind::ListenerSet => vec![
            Column::new("GATEWAY", |set| text(set, "/spec/parentRef/name")),
            Column::new("ACCEPTED", |set| own(set, "Accepted", "status")),
            Column::new("PROGRAMMED", |set| own(set, "Programmed", "status")),
            Column::wide("MESSAGE", |set| own(set, "Accepted", "message")),
        ],
        Kind::GatewayClass => vec![
            Column::new("CONTROLLER", |class| text(class, "/spec/controllerName")),
            Column::new("ACCEPTED", |class| own(class, "Accepted", "status")),
        ],
        Kind::GrpcPolicy => vec![
            Column::new("TARGET", |policy| text(policy, "/spec/targetRefs/0/name")),
            Column::new("SECTION", |policy| text(policy, "/spec/targetRefs/0/sectionName")),
            Column::new("ACCEPTED", |policy| first(policy, "Accepted", "status")),
            Column::new("REASON", |policy| first(policy, "Accepted", "reason")),
        ],
        kind if kind.is_route() => vec![
            Column::new("HOSTNAMES", |route| list(route, "/spec/hostnames")),
            Column::new("ACCEPTED", |route| first(route, "Accepted", "status")),
            Column::new("RESOLVED", |route| first(route, "ResolvedRefs", "status")),
            Column::new("PROGRAMMED", |route| first(route, "sluice.dev/Programmed", "status")),
            Column::wide("MESSAGE", first_failure),
        ],
        _ => Vec::new(),
    }
}

/// Since when an object exists, to two digits as kubectl has it.
pub(super) fn age(object: &Value, now: DateTime<Utc>) -> String {
    let Ok(created) = text(object, "/metadata/creationTimestamp").parse::<DateTime<Utc>>() else {
        return "<unknown>".to_owned();
    };
    let seconds = (now - created).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The first item and how many more there are.
fn list(object: &Value, pointer: &str) -> String {
    let items: Vec<&str> =
        object.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    match items.as_slice() {
        [] => "*".to_owned(),
        [first, second] => format!("{first},{second}"),
        [first] => (*first).to_owned(),
        [first, rest @ ..] => format!("{first} + {} more", rest.len()),
    }
}

fn endpoint(service: &Value) -> String {
    let address = text(service, "/status/endpoints/0/address");
    let port = service.pointer("/status/endpoints/0/port").and_then(Value::as_u64);
    port.map_or_else(String::new, |port| format!("{address}:{port}"))
}

fn condition<'v>(list: Option<&'v Value>, kind: &str) -> Option<&'v Value> {
    let conditions = list.and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// A field of a condition of the object itself.
fn own(object: &Value, kind: &str, field: &str) -> String {
    word(condition(object.pointer("/status/conditions"), kind), field)
}

/// A field of a condition of the first parent, or ancestor.
fn first(object: &Value, kind: &str, field: &str) -> String {
    let list = ["/status/parents/0/conditions", "/status/ancestors/0/conditions"];
    word(list.into_iter().find_map(|list| condition(object.pointer(list), kind)), field)
}

fn first_failure(route: &Value) -> String {
    let kinds = ["Accepted", "ResolvedRefs", "sluice.dev/Programmed"];
    let failed = kinds.into_iter().find(|kind| first(route, kind, "status") == "False");
    failed.map(|kind| first(route, kind, "message")).unwrap_or_default()
}

fn word(condition: Option<&Value>, field: &str) -> String {
    condition.map(|condition| text(condition, &format!("/{field}"))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(kind: Kind, object: &Value) -> Vec<String> {
        of(kind).iter().filter(|column| column.width == Width::Narrow).map(|column| column.cell(object)).collect()
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "why"})
    }

    #[test]
    fn each_kind_shows_what_its_readers_ask_for() {
        let service = json!({
            "spec": {"hostnames": ["a.example.com", "b.example.com", "c.example.com"]},
            "status": {
                "endpoints": [{"address": "127.0.0.1", "port": 8443}],
                "conditions": [condition("Ready", "False", "BackendNotFound")],
            },
        });
        assert_eq!(
            row(Kind::GrpcService, &service),
            ["a.example.com + 2 more", "127.0.0.1:8443", "False", "BackendNotFound"]
        );
        let gateway = json!({
            "spec": {"gatewayClassName": "sluice"},
            "status": {
                "addresses": [{"value": "127.0.0.1"}],
                "conditions": [condition("Programmed", "True", "Programmed")],
            },
        });
        assert_eq!(row(Kind::Gateway, &gateway), ["sluice", "127.0.0.1", "True"]);
        let conditions = json!([condition("Accepted", "True", ""), condition("ResolvedRefs", "False", "")]);
        let route = json!({"spec": {}, "status": {"parents": [{"conditions": conditions}]}});
        assert_eq!(row(Kind::GrpcRoute, &route), ["*", "True", "False", ""]);
        let wide = of(Kind::GrpcRoute).pop().unwrap();
        assert_eq!((wide.header, wide.cell(&route).as_str()), ("MESSAGE", "why"));
    }

    #[test]
    fn an_age_is_in_the_unit_that_tells() {
        let now = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let cases = [(5, "5s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")];
        for (seconds, expected) in cases {
            let created = now - chrono::TimeDelta::seconds(seconds);
            assert_eq!(age(&json!({"metadata": {"creationTimestamp": created}}), now), expected);
        }
        assert_eq!(age(&json!({}), now), "<unknown>");
    }
}
