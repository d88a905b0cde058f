//! Structural validation: what an OpenAPI schema of Kubernetes says about a value, CEL aside.
//!
//! (schema, value) → the value with nulls dropped and defaults filled in, and [`Fault`]s
//!
//! **Invariant:** what an API server with strict field validation refuses on these grounds is refused here.
//!
//! It must not know kinds, files or CEL.

use regex::Regex;
use serde_json::{Map, Value};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// `spec.rules[0].name`; empty for the object.
    pub(crate) path: String,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

/// Drops nulls, which an API server takes for absent fields, and fills in defaults.
pub(crate) fn complete(schema: &Value, mut value: Value) -> Value {
    drop_nulls(&mut value);
    kube_cel::apply_defaults(schema, &value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Checks values; keeps the expressions that it compiled.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    patterns: RefCell<BTreeMap<String, Option<Regex>>>,
}

impl Checker {
    /// Everything that is wrong with `value`, in the order of its fields.
    pub(crate) fn check(&self, schema: &Value, value: &Value, path: &str) -> Vec<Fault> {
        let mut faults = Faults { path, found: Vec::new() };
        if !has_type(schema, value) {
            faults.add(format!("must be {}, not {}", type_name(schema), shown(value)));
            return faults.found;
        }
        check_enumeration(schema, value, &mut faults);
        match value {
            Value::String(text) => self.check_text(schema, text, &mut faults),
            Value::Number(_) => check_number(schema, value, &mut faults),
            Value::Array(items) => self.check_list(schema, items, &mut faults),
            Value::Object(fields) => self.check_fields(schema, fields, &mut faults),
            _ => {}
        }
        self.check_branches(schema, value, &mut faults);
        faults.found
    }

    fn check_text(&self, schema: &Value, text: &str, faults: &mut Faults<'_>) {
        let length = text.chars().count() as u64;
        if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
            faults.add(if least == 1 {
                "must not be empty".to_owned()
            } else {
                format!("must have at least {least} characters")
            });
        }
        if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
            faults.add(format!("has {length} characters, at most {most} are allowed"));
        }
        if let Some(pattern) = text_of(schema, "pattern").filter(|pattern| !self.matches(pattern, text)) {
            faults.add(format!("{text:?} must match {pattern}"));
        }
        if let Some(format) = text_of(schema, "format").filter(|format| !has_format(format, text)) {
            faults.add(format!("{text:?} is not a valid {format}"));
        }
    }

    /// An expression that Rust cannot compile refuses nothing: the API server has accepted it in a CRD.
    fn matches(&self, pattern: &str, text: &str) -> bool {
        let mut patterns = self.patterns.borrow_mut();
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    fn check_list(&self, schema: &Value, items: &[Value], faults: &mut Faults<'_>) {
        check_count(schema, "Items", items.len(), faults);
        check_duplicates(schema, items, faults);
        let Some(item_schema) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            faults.found.extend(self.check(item_schema, item, &format!("{}[{index}]", faults.path)));
        }
    }

    fn check_fields(&self, schema: &Value, fields: &Map<String, Value>, faults: &mut Faults<'_>) {
        check_count(schema, "Properties", fields.len(), faults);
        check_required(schema, fields, faults);
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for (name, field) in fields {
            let path = if faults.path.is_empty() { name.clone() } else { format!("{}.{name}", faults.path) };
            match known.and_then(|known| known.get(name)).or(others) {
                Some(field_schema) => faults.found.extend(self.check(field_schema, field, &path)),
                None if keeps_unknown(schema) => {}
                None => faults.found.push(unknown_field(path, name, known)),
            }
        }
    }

    /// Structural schemas use the branches for values only, so that a branch never introduces fields.
    fn check_branches(&self, schema: &Value, value: &Value, faults: &mut Faults<'_>) {
        let holds = |branch: &Value| self.check(&as_condition(branch), value, faults.path).is_empty();
        let branches = |name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut refused = branches("allOf").iter().any(|branch| !holds(branch));
        let (any, one) = (branches("anyOf"), branches("oneOf"));
        refused |= !any.is_empty() && !any.iter().any(holds);
        refused |= !one.is_empty() && one.iter().filter(|branch| holds(branch)).count() != 1;
        refused |= schema.get("not").is_some_and(holds);
        if refused {
            faults.add(format!("{} is none of the forms that are allowed here", shown(value)));
        }
    }
}

struct Faults<'p> {
    path: &'p str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, message: String) {
        self.found.push(Fault { path: self.path.to_owned(), message });
    }
}

/// A branch says nothing of fields that it does not name.
fn as_condition(branch: &Value) -> Value {
    let mut condition = branch.clone();
    if let Some(fields) = condition.as_object_mut() {
        fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
        if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
            properties.values_mut().for_each(|property| *property = as_condition(property));
        }
    }
    condition
}

fn unknown_field(path: String, name: &str, known: Option<&Map<String, Value>>) -> Fault {
    let names = known.map(|known| known.keys().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default();
    let message = match (nearest(name, &names), names.is_empty()) {
        (Some(near), _) => format!("unknown field {name:?}: did you mean {near:?}?"),
        (None, true) => format!("unknown field {name:?}: no fields are allowed here"),
        (None, false) => format!("unknown field {name:?}: known are {}", names.join(", ")),
    };
    Fault { path, message }
}

/// The known name that a misspelt one probably stands for.
fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase());
    let best = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then_some(best)
}

fn check_enumeration(schema: &Value, value: &Value, faults: &mut Faults<'_>) {
    let Some(allowed) = schema.get("enum").and_then(Value::as_array) else { return };
    if !allowed.contains(value) {
        let words: Vec<_> = allowed.iter().filter(|word| !word.is_null()).map(shown).collect();
        faults.add(format!("{} is not one of {}", shown(value), words.join(", ")));
    }
}

fn check_number(schema: &Value, value: &Value, faults: &mut Faults<'_>) {
    let number = value.as_f64().unwrap_or_default();
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let (least, most) = match text_of(schema, "format") {
        Some("int32") => (bound("minimum").unwrap_or(i32::MIN.into()), bound("maximum").unwrap_or(i32::MAX.into())),
        _ => (bound("minimum").unwrap_or(f64::MIN), bound("maximum").unwrap_or(f64::MAX)),
    };
    if number < least {
        faults.add(format!("{value} is less than {least}"));
    }
    if number > most {
        faults.add(format!("{value} is more than {most}"));
    }
}

fn check_count(schema: &Value, of: &str, count: usize, faults: &mut Faults<'_>) {
    let count = count as u64;
    if let Some(least) = limit(schema, &format!("min{of}")).filter(|least| count < *least) {
        faults.add(format!("has {count} entries, at least {least} are required"));
    }
    if let Some(most) = limit(schema, &format!("max{of}")).filter(|most| count > *most) {
        faults.add(format!("has {count} entries, at most {most} are allowed"));
    }
}

fn check_required(schema: &Value, fields: &Map<String, Value>, faults: &mut Faults<'_>) {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
        faults.add(format!("the field {name:?} is required"));
    }
}

fn check_duplicates(schema: &Value, items: &[Value], faults: &mut Faults<'_>) {
    let identity: Box<dyn Fn(&Value) -> String> = match text_of(schema, "x-kubernetes-list-type") {
        Some("set") => Box::new(ToString::to_string),
        Some("map") => {
            let keys: Vec<_> =
                schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().collect();
            Box::new(move |item| {
                let parts = keys.iter().filter_map(|key| Some(item.get(key.as_str()?)?.to_string()));
                parts.collect::<Vec<_>>().join(", ")
            })
        }
        _ => return,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let name = identity(item);
        if seen.contains(&name) {
            faults
                .found
                .push(Fault { path: format!("{}[{index}]", faults.path), message: format!("{name} is there twice") });
        }
        seen.insert(name);
    }
}

fn keeps_unknown(schema: &Value) -> bool {
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    flag("x-kubernetes-preserve-unknown-fields") || flag("additionalProperties")
}

/// `type` is one word, or several where a generator writes `null` into it.
fn has_type(schema: &Value, value: &Value) -> bool {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return value.is_string() || value.is_i64();
    }
    match schema.get("type") {
        Some(Value::String(word)) => is_a(word, value),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).any(|word| is_a(word, value)),
        _ => true,
    }
}

fn is_a(word: &str, value: &Value) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn type_name(schema: &Value) -> &'static str {
    let word = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match word {
        Some("object") => "an object",
        Some("array") => "a list",
        Some("string") => "text (quote it)",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "a whole number or text",
    }
}

/// A value as it may stand in a message: never long, for it may be a secret's neighbour.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 80 => format!("{:?}…", text.chars().take(80).collect::<String>()),
        other => other.to_string(),
    }
}

/// Text, a number or a list of such, unless it is long.
pub(crate) fn shown_short(value: &Value) -> Option<String> {
    const MOST: usize = 200;
    let plain = match value {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().all(|item| !item.is_array() && !item.is_object()),
        _ => true,
    };
    plain.then(|| value.to_string()).filter(|text| text.len() <= MOST)
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "byte" => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).is_ok(),
        _ => true,
    }
}

fn text_of<'s>(schema: &'s Value, name: &str) -> Option<&'s str> {
    schema.get(name).and_then(Value::as_str)
}

fn limit(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(schema: &Value, value: &Value) -> Vec<String> {
        let found = Checker::default().check(schema, value, "x");
        found.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    }

    #[test]
    fn each_keyword_refuses_what_it_forbids_and_says_what_would_be_right() {
        let cases = [
            (json!({"type": "string"}), json!(1), "x: must be text (quote it), not 1"),
            (json!({"type": "integer"}), json!("80"), "x: must be a whole number, not \"80\""),
            (json!({"type": "array"}), json!({}), "x: must be a list, not an object"),
            (json!({"x-kubernetes-int-or-string": true}), json!(true), "x: must be a whole number or text, not true"),
            (json!({"enum": ["A", "B"]}), json!("C"), "x: \"C\" is not one of \"A\", \"B\""),
            (json!({"maxLength": 2}), json!("äöü"), "x: has 3 characters, at most 2 are allowed"),
            (json!({"minLength": 1}), json!(""), "x: must not be empty"),
            (json!({"pattern": "^a$"}), json!("b"), "x: \"b\" must match ^a$"),
            (json!({"format": "byte"}), json!("%"), "x: \"%\" is not a valid byte"),
            (json!({"minimum": 1}), json!(0), "x: 0 is less than 1"),
            (json!({"format": "int32"}), json!(3_000_000_000_i64), "x: 3000000000 is more than 2147483647"),
            (json!({"minItems": 1}), json!([]), "x: has 0 entries, at least 1 are required"),
            (json!({"maxProperties": 0}), json!({"a": 1}), "x: has 1 entries, at most 0 are allowed"),
            (
                json!({"required": ["name"], "additionalProperties": true}),
                json!({}),
                "x: the field \"name\" is required",
            ),
            (
                json!({"properties": {"hostnames": {}}}),
                json!({"hostname": 1}),
                "x.hostname: unknown field \"hostname\": did you mean \"hostnames\"?",
            ),
            (
                json!({"properties": {"a": {}, "b": {}}}),
                json!({"zzz": 1}),
                "x.zzz: unknown field \"zzz\": known are a, b",
            ),
            (json!({"x-kubernetes-list-type": "set"}), json!(["a", "b", "a"]), "x[2]: \"a\" is there twice"),
            (
                json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
                json!([{"name": "a"}, {"name": "a"}]),
                "x[1]: \"a\" is there twice",
            ),
            (
                json!({"oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
                json!("nine"),
                "x: \"nine\" is none of the forms that are allowed here",
            ),
            (json!({"not": {"enum": ["a"]}}), json!("a"), "x: \"a\" is none of the forms that are allowed here"),
        ];
        for (schema, value, expected) in cases {
            let found = faults(&schema, &value);
            assert!(found.iter().any(|fault| fault == expected), "{schema} {value}: {found:?}");
        }
    }

    #[test]
    fn what_is_allowed_has_no_faults() {
        let cases = [
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), json!({"any": "text"})),
            (json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), json!({"any": 1})),
            (json!({"x-kubernetes-int-or-string": true}), json!("http")),
            (
                json!({"properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"b": 1}),
            ),
        ];
        for (schema, value) in cases {
            assert_eq!(faults(&schema, &value), Vec::<String>::new(), "{schema} {value}");
        }
    }

    #[test]
    fn nulls_are_absent_and_defaults_are_filled_in() {
        let schema =
            json!({"properties": {"a": {"default": 1}, "b": {}, "c": {"properties": {"d": {"default": "x"}}}}});
        assert_eq!(complete(&schema, json!({"a": null, "b": null, "c": {}})), json!({"a": 1, "c": {"d": "x"}}));
    }
}
