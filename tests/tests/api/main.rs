//! What a real API server says of manifests, and that the binary says the same without one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an integration test is all test, but clippy knows only the functions marked so"
)]

mod gateway_api;
mod generated;
mod inputs;
mod ours;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};
use sluice_tests::{
    api_server::{ApiServer, Keep, Refusal, repository},
    offline,
};

fn server() -> &'static ApiServer {
    static SERVER: OnceLock<ApiServer> = OnceLock::new();
    SERVER.get_or_init(|| ApiServer::start().unwrap())
}

/// Puts a value at a path, or removes what is there if the value is null.
fn edited(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {path}"));
    match (parent, value) {
        (Value::Object(fields), Value::Null) => {
            fields.remove(last).unwrap_or_else(|| panic!("nothing at {path}"));
        }
        (Value::Object(fields), value) => drop(fields.insert(last.to_owned(), value)),
        (Value::Array(items), value) => items[last.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("{path} is below {other}"),
    }
    object
}

/// One edit of a valid object, and what the server must say to it.
type Row = (&'static str, Value, &'static str);

fn accepts(valid: &Value) {
    server().apply(&valid.to_string(), Keep::DryRun).unwrap();
    offline::admit(&valid.to_string()).unwrap();
}

fn refuses(valid: &Value, rows: Vec<Row>) {
    accepts(valid);
    let wrong: Vec<_> = rows
        .into_iter()
        .filter_map(|(path, value, message)| {
            let object = edited(valid.clone(), path, value.clone()).to_string();
            let reason =
                complaint(message, server().apply(&object, Keep::DryRun).err(), offline::admit(&object).err())?;
            Some(format!("{path} = {value}: {reason}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with two verdicts that both should be refusals, the server's with these words.
fn complaint(words: &str, online: Option<Refusal>, offline: Option<Refusal>) -> Option<String> {
    let Some(online) = online else { return Some(format!("the server accepts; expected: {words}")) };
    let Some(offline) = offline else { return Some(format!("accepted offline; the server says: {}", online.message)) };
    if !online.message.contains(words) {
        return Some(format!("expected: {words}; the server says: {}", online.message));
    }
    // A rule that cannot be evaluated may be silent where what it reads is refused already.
    let certain = online.message.lines().filter(|line| !line.contains(" evaluating rule: ")).collect::<String>();
    let said = rules_named(&offline.message);
    let agree = said.is_superset(&rules_named(&certain)) && said.is_subset(&rules_named(&online.message));
    (!agree).then(|| format!("the server says: {}but offline it is: {}", online.message, offline.message))
}

/// The CEL rules whose words are in a refusal.
fn rules_named(refusal: &str) -> BTreeSet<&'static str> {
    static RULES: OnceLock<BTreeSet<String>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let files = manifests(&repository().join("crds"));
        let crds =
            files.iter().map(|file| serde_saphyr::from_str::<Value>(&fs::read_to_string(file).unwrap()).unwrap());
        crds.flat_map(|crd| words_of_rules(&crd)).collect()
    });
    rules.iter().map(String::as_str).filter(|words| refusal.contains(words)).collect()
}

fn words_of_rules(schema: &Value) -> Vec<String> {
    let children: Vec<&Value> = match schema {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    let own = rules.filter_map(|rule| Some(rule.get("message")?.as_str()?.to_owned()));
    own.chain(children.into_iter().flat_map(words_of_rules)).collect()
}

/// Objects live in namespaces, even when they are only tried.
fn make_namespaces(documents: &[Value]) {
    let named = documents.iter().filter_map(|document| document.pointer("/metadata/namespace")?.as_str());
    for name in named.collect::<BTreeSet<_>>() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        server().apply(&namespace.to_string(), Keep::Stored).unwrap();
    }
}

/// The YAML files of a directory and of those in it, by path.
fn manifests(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let found = entries.into_iter().flat_map(|path| if path.is_dir() { manifests(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}
