//! The operator's rights: what it uses, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;
use sluice_tests::cluster::{Audit, Cluster, Release};

use super::Turn;

/// Verb and resource, `resource.group/subresource`.
type Right = (String, String);

/// What is granted although a run of these suites does not use it, and why.
const UNUSED: &[(&str, &str)] = &[];

fn words(value: &Value, name: &str) -> Vec<String> {
    value[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What the roles of the release grant to the operator.
fn granted(cluster: &Cluster) -> BTreeSet<Right> {
    let selector = format!("app.kubernetes.io/instance={}", Release::NAME);
    let list = |kind: &str| -> Value {
        let arguments = ["get", kind, "--all-namespaces", "--selector", &selector, "--output", "json"];
        serde_json::from_str(&cluster.kubectl(&arguments).unwrap()).unwrap()
    };
    let mut rights = BTreeSet::new();
    for roles in [list("clusterroles"), list("roles")] {
        let rules =
            roles["items"].as_array().unwrap().iter().flat_map(|role| role["rules"].as_array().unwrap().clone());
        for rule in rules {
            for group in words(&rule, "apiGroups") {
                for resource in words(&rule, "resources") {
                    rights.extend(words(&rule, "verbs").into_iter().map(|verb| (verb, named(&resource, &group))));
                }
            }
        }
    }
    rights
}

fn named(resource: &str, group: &str) -> String {
    let (name, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    if sub.is_empty() { format!("{name}{group}") } else { format!("{name}{group}/{sub}") }
}

/// What the operator asked for.
fn used(audit: &Audit) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{}", Release::ACCOUNT);
    let events = audit.events().unwrap();
    let ours = events.iter().filter(|event| event["user"]["username"] == user.as_str());
    ours.filter(|event| event.get("objectRef").is_some())
        .map(|event| {
            let object = &event["objectRef"];
            let field = |name: &str| object[name].as_str().unwrap_or_default();
            let resource = match field("subresource") {
                "" => field("resource").to_owned(),
                sub => format!("{}/{sub}", field("resource")),
            };
            (event["verb"].as_str().unwrap_or_default().to_owned(), named(&resource, field("apiGroup")))
        })
        .collect()
}

#[test]
fn every_right_is_used_and_nothing_is_denied() {
    let turn = Turn::take();
    let audit = Audit::whole().unwrap();
    assert_eq!(audit.denied(Release::ACCOUNT).unwrap(), []);
    let used = used(&audit);
    let excused = |right: &Right| UNUSED.iter().any(|(verb, resource)| right.0 == *verb && right.1 == *resource);
    let unused: Vec<_> =
        granted(&turn.cluster).into_iter().filter(|right| !used.contains(right) && !excused(right)).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
