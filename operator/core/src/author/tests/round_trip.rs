//! `author(import(route)).rules == route.rules`, for any valid GRPCRoute that a GrpcService can hold.

use super::{authored, echo, field, object, world};
use crate::{author::import, key::Kind};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

/// A rule with every defaulted field written out, as authoring writes it.
fn rule() -> impl Strategy<Value = Value> {
    let parts = (option::of(vec(any_match(), 1..4)), option::of(vec(filter(), 1..3)), vec(backend(), 1..4));
    parts.prop_map(|(matches, filters, backends)| {
        let mut rule = json!({"backendRefs": backends});
        if let Some(matches) = matches {
            rule["matches"] = matches.into();
        }
        if let Some(filters) = filters {
            rule["filters"] = filters.into();
        }
        rule
    })
}

fn any_match() -> impl Strategy<Value = Value> {
    let kind = || select(vec!["Exact", "RegularExpression"]);
    let header = (kind(), "[a-z-]{1,6}", "[a-z]{1,4}")
        .prop_map(|(kind, name, value)| json!({"type": kind, "name": name, "value": value}));
    let method = (kind(), option::of("[A-Z][a-z]{1,5}"), "[A-Z][a-z]{1,5}").prop_map(|(kind, service, method)| {
        service.map_or_else(
            || json!({"type": kind, "method": method}),
            |service| json!({"type": kind, "service": format!("shop.{service}"), "method": method}),
        )
    });
    (option::of(method), option::of(vec(header, 1..3))).prop_map(|(method, headers)| {
        let mut wanted = json!({});
        if let Some(method) = method {
            wanted["method"] = method;
        }
        if let Some(headers) = headers {
            wanted["headers"] = headers.into();
        }
        wanted
    })
}

fn filter() -> impl Strategy<Value = Value> {
    let modifier = |kind: &'static str, field: &'static str| {
        ("[a-z]{1,6}", "[a-z]{1,4}").prop_map(move |(name, value)| {
            json!({"type": kind, field: {"set": [{"name": name, "value": value}], "remove": ["x-old"]}})
        })
    };
    let target = json!({"group": "", "kind": "Service", "name": "shadow", "port": 9000});
    let whole = json!({"type": "RequestMirror", "requestMirror": {"backendRef": target}});
    let fraction = json!({"numerator": 1, "denominator": 100});
    let share = json!({"type": "RequestMirror", "requestMirror": {"backendRef": target, "fraction": fraction}});
    prop_oneof![
        modifier("RequestHeaderModifier", "requestHeaderModifier"),
        modifier("ResponseHeaderModifier", "responseHeaderModifier"),
        Just(whole),
        Just(share),
    ]
}

/// Few Services, so that rules share them and refer to one twice: at most 12 backends in all, below the limit of 16.
fn backend() -> impl Strategy<Value = Value> {
    let places = select(vec![
        ("shop", "echo", 9000),
        ("shop", "echo", 9001),
        ("team-b", "echo", 9000),
        ("shop", "canary", 9000),
    ]);
    (places, 0..4_u32, option::of(vec(filter(), 1..2))).prop_map(|((namespace, name, port), weight, filters)| {
        let mut reference = json!({
            "group": "", "kind": "Service", "namespace": namespace, "name": name, "port": port, "weight": weight,
        });
        if let Some(filters) = filters {
            reference["filters"] = filters.into();
        }
        reference
    })
}

/// The same rule as somebody would write it: without what is the default anyhow.
fn terse(value: &Value) -> Value {
    const DEFAULTS: [(&str, &str); 4] = [("kind", "Service"), ("group", ""), ("namespace", "shop"), ("type", "Exact")];
    match value {
        Value::Array(items) => items.iter().map(terse).collect(),
        Value::Object(fields) => {
            let default = |name: &str, value: &Value| {
                DEFAULTS.iter().any(|(field, text)| *field == name && value == text)
                    || (name == "weight" && value == 1)
                    || (name == "denominator" && value == 100)
            };
            fields
                .iter()
                .filter(|(name, value)| !default(name, value))
                .map(|(name, value)| (name.clone(), terse(value)))
                .collect()
        }
        other => other.clone(),
    }
}

fn round_trip(rules: &Value) -> Vec<Value> {
    let spec = json!({"parentRefs": [{"name": "edge"}], "hostnames": ["grpc.example.com"], "rules": rules});
    let imported = import(&[object(Kind::GrpcRoute, "echo", json!({"spec": spec}))]);
    let mut service = serde_json::to_value(&imported.services[0]).unwrap();
    assert_eq!(
        (&service["metadata"]["name"], &service["metadata"]["namespace"]),
        (&json!(*echo().name), &json!(*echo().namespace))
    );
    service["apiVersion"] = "sluice.dev/v1alpha1".into();
    let authored = authored(&world(&[service]));
    field(&authored, Kind::GrpcRoute, "/spec/rules").as_array().unwrap().clone()
}

proptest! {
    #[test]
    fn authoring_what_was_imported_gives_the_same_rules(mut rules in vec(rule(), 1..=15), named in any::<u16>()) {
        for (at, rule) in rules.iter_mut().enumerate().filter(|(at, _)| named & (1 << at) != 0) {
            rule["name"] = format!("own-{at}").into();
        }
        for written in [Value::from(rules.clone()), rules.iter().map(terse).collect()] {
            let mut made = round_trip(&written);
            for (made, rule) in made.iter_mut().zip(&rules).filter(|(_, rule)| rule.get("name").is_none()) {
                prop_assert!(made["name"].as_str().unwrap().starts_with("rule-"), "{rule}");
                made.as_object_mut().unwrap().remove("name");
            }
            prop_assert_eq!(&made, &rules);
        }
    }
}
