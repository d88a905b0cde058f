//! The files in `crds/` are fresh, and the schemas keep the promises of the crate.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::*;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../crds")
}

#[test]
fn the_files_in_crds_are_what_the_types_say() {
    for (name, yaml) in render().unwrap() {
        let path = directory().join(&name);
        if std::env::var_os("REFRESH_GOLDEN").is_some() {
            fs::write(&path, &yaml).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == yaml, "crds/{name} is stale: run the tests of sluice-api with REFRESH_GOLDEN=1");
    }
}

#[test]
fn every_file_in_crds_is_of_a_kind_that_exists() {
    let known: Vec<String> = render().unwrap().into_iter().map(|(name, _)| name).collect();
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap());
    let names = files.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| !known.contains(name)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_yaml_reads_back_as_the_same_crd() {
    for (crd, (name, yaml)) in crds().iter().zip(render().unwrap()) {
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, serde_json::to_value(crd).unwrap(), "{name}");
    }
}

/// A schema with its path and whether it stands below a list.
struct Node<'a> {
    path: String,
    schema: &'a Value,
    in_list: bool,
}

/// Every schema below one, itself included.
fn nodes(path: String, schema: &Value, in_list: bool) -> Vec<Node<'_>> {
    let mut below = Vec::new();
    if let Some(properties) = schema["properties"].as_object() {
        below.extend(properties.iter().flat_map(|(name, schema)| nodes(format!("{path}.{name}"), schema, in_list)));
    }
    if schema["items"].is_object() {
        below.extend(nodes(format!("{path}[]"), &schema["items"], true));
    }
    if schema["additionalProperties"].is_object() {
        below.extend(nodes(format!("{path}{{}}"), &schema["additionalProperties"], in_list));
    }
    below.push(Node { path, schema, in_list });
    below
}

fn violations(wrong: impl Fn(&Node<'_>) -> bool) -> Vec<String> {
    let schemas = crds().into_iter().map(|crd| {
        let root = serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
        (crd.spec.names.kind, root)
    });
    let found = schemas.map(|(kind, root)| {
        nodes(kind, &root, false).into_iter().filter(|node| wrong(node)).map(|node| node.path).collect::<Vec<_>>()
    });
    found.flatten().collect()
}

#[test]
fn no_default_stands_inside_a_list_item() {
    assert_eq!(violations(|node| node.in_list && !node.schema["default"].is_null()), Vec::<String>::new());
}

#[test]
fn every_field_is_described() {
    let plain = |node: &Node<'_>| node.path.ends_with("[]") || node.path.ends_with("{}");
    assert_eq!(violations(|node| !plain(node) && !node.schema["description"].is_string()), Vec::<String>::new());
}

/// Without bounds the API server takes the worst case for the cost of CEL. `metav1` types have none to repeat.
#[test]
fn every_list_of_a_spec_is_bounded() {
    let foreign = ["matchExpressions", "matchExpressions[].values"];
    let unbounded = violations(|node| {
        node.path.contains(".spec")
            && node.schema["type"] == "array"
            && node.schema["maxItems"].is_null()
            && !foreign.iter().any(|path| node.path.ends_with(path))
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_rule_has_a_message_that_fits_on_a_line_of_status() {
    let wrong = |node: &Node<'_>| {
        let rules = node.schema["x-kubernetes-validations"].as_array();
        rules.is_some_and(|rules| {
            rules.iter().any(|rule| rule["message"].as_str().is_none_or(|text| text.contains('\n')))
        })
    };
    assert_eq!(violations(wrong), Vec::<String>::new());
}

/// What a client-side apply can hold in its annotation, so that `kubectl apply` without `--server-side` works.
#[test]
fn a_crd_fits_into_the_annotation_of_a_client_side_apply() {
    for crd in crds() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(size < 200_000, "{} has {size} bytes", crd.spec.names.plural);
    }
}

/// The schema of the standard channel at a path below `spec` of a kind.
fn channel(plural: &str, path: &[&str]) -> Value {
    let file = directory().join(format!("gateway-api/gateway.networking.k8s.io_{plural}.yaml"));
    let crd: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap().clone();
    let version = versions.into_iter().find(|version| version["name"] == "v1").unwrap();
    let spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    path.iter().fold(spec, |schema, step| match *step {
        "[]" => schema["items"].clone(),
        field => schema["properties"][field].clone(),
    })
}

/// The schema that we have at a path below `spec` of `GrpcService`.
fn ours(path: &[&str]) -> Value {
    let crd = GrpcService::crd();
    let root = serde_json::to_value(&without_null(crd).spec.versions[0].schema).unwrap();
    path.iter().fold(root["openAPIV3Schema"]["properties"]["spec"].clone(), |schema, step| match *step {
        "[]" => schema["items"].clone(),
        field => schema["properties"][field].clone(),
    })
}

/// A schema without what may differ: texts and defaults.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            // A field may itself be called `default`: then it holds a schema.
            let differs = |name: &str, value: &Value| match name {
                "description" => value.is_string(),
                "default" => value["type"].is_null(),
                _ => false,
            };
            let kept = fields.iter().filter(|(name, value)| !differs(name, value));
            kept.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

/// Every CEL rule below a schema, with its path.
fn rules(schema: &Value) -> Vec<(String, String)> {
    let below = nodes(String::new(), schema, false).into_iter().flat_map(|node| {
        let rules = node.schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
        rules.into_iter().map(move |rule| (node.path.clone(), rule["rule"].as_str().unwrap().to_owned()))
    });
    below.collect()
}

fn without_rules(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "x-kubernetes-validations");
            kept.map(|(name, value)| (name.clone(), without_rules(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_rules).collect(),
        other => other.clone(),
    }
}

#[test]
fn types_of_the_gateway_api_have_its_limits() {
    let table: [(&str, &[&str], &[&str]); 6] = [
        ("grpcroutes", &["rules", "[]", "matches"], &["rules", "[]", "matches"]),
        ("grpcroutes", &["rules", "[]", "filters"], &["rules", "[]", "filters"]),
        ("grpcroutes", &["rules", "[]", "backendRefs", "[]", "filters"], &["rules", "[]", "backends", "[]", "filters"]),
        ("gateways", &["infrastructure"], &["gateways", "[]", "own", "infrastructure"]),
        ("gateways", &["listeners", "[]", "allowedRoutes"], &["gateways", "[]", "own", "allowedRoutes"]),
        ("gateways", &["listeners", "[]", "tls", "certificateRefs", "[]"], &["tls", "certificateRefs", "[]"]),
    ];
    for (plural, theirs, mine) in table {
        let expected = without_rules(&bare(&channel(plural, theirs)));
        let actual = without_rules(&bare(&ours(mine)));
        assert!(expected.is_object(), "{plural} has nothing at {theirs:?}");
        assert_eq!(actual, expected, "{plural} {theirs:?}");
    }
}

/// Where the channel's CEL relies on a default that is not in ours: (path, theirs, ours).
const REWRITTEN: [(&str, &str, &str); 3] = [
    (
        "[].method",
        "has(self.type) ? has(self.service) || has(self.method) : true",
        "has(self.service) || has(self.method)",
    ),
    (
        "[].requestMirror.backendRef",
        "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
        "((!has(self.group) || size(self.group) == 0) && (!has(self.kind) || self.kind == 'Service')) ? has(self.port) : true",
    ),
    (
        "[].requestMirror.fraction",
        "self.numerator <= self.denominator",
        "self.numerator <= (has(self.denominator) ? self.denominator : 100)",
    ),
];

#[test]
fn types_of_the_gateway_api_have_its_rules() {
    let table: [(&str, &[&str], &[&str]); 4] = [
        ("grpcroutes", &["rules", "[]", "matches"], &["rules", "[]", "matches"]),
        ("grpcroutes", &["rules", "[]", "filters"], &["rules", "[]", "filters"]),
        ("grpcroutes", &["rules", "[]", "backendRefs", "[]", "filters"], &["rules", "[]", "backends", "[]", "filters"]),
        ("gateways", &["infrastructure"], &["gateways", "[]", "own", "infrastructure"]),
    ];
    for (plural, theirs, mine) in table {
        let rewritten = rules(&channel(plural, theirs)).into_iter().map(|(path, rule)| {
            let change = REWRITTEN.iter().find(|(at, theirs, _)| *at == path && *theirs == rule);
            (path, change.map_or(rule, |(_, _, ours)| (*ours).to_owned()))
        });
        let expected: Vec<_> = rewritten.collect();
        assert!(!expected.is_empty(), "{plural} has no rules at {theirs:?}");
        assert_eq!(rules(&ours(mine)), expected, "{plural} {theirs:?}");
    }
}
