//! The operator's rights: what it uses, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_tests::cluster::{Audit, Cluster, Release, grpc_service, says};

use super::Turn;

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

/// Verb and resource, `resource.group/subresource`.
type Right = (String, String);

/// What is granted although a run of these suites does not use it, by the beginning of the right, and why.
const UNUSED: &[(&str, &str)] = &[
    ("certificates.cert-manager.io", "cert-manager is not in this cluster"),
    ("gatewayclasses.gateway.networking.k8s.io create", "the chart makes the class; without it the operator does"),
    ("secrets update", "the proxies' authority is renewed after months"),
    ("backendtlspolicies.gateway.networking.k8s.io", "the suite conformance has some"),
];

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
    ours.filter(|event| event.get("objectRef").is_some()).flat_map(rights_of).collect()
}

/// What is applied and was not there takes the right to create it, too.
fn rights_of(event: &Value) -> Vec<Right> {
    let object = &event["objectRef"];
    let field = |name: &str| object[name].as_str().unwrap_or_default();
    let resource = match field("subresource") {
        "" => field("resource").to_owned(),
        sub => format!("{}/{sub}", field("resource")),
    };
    let resource = named(&resource, field("apiGroup"));
    let verb = event["verb"].as_str().unwrap_or_default().to_owned();
    if verb == "patch" && event["responseStatus"]["code"] == 201 {
        return vec![("create".to_owned(), resource.clone()), (verb, resource)];
    }
    vec![(verb, resource)]
}

/// Everything that the other suites leave out: routes of all kinds, a policy, grants, the other ways to run proxies.
fn make_use_of_all_rights(cluster: &Cluster) {
    let namespace = cluster.namespace("rights").unwrap();
    let apply = |object: Value| cluster.apply(&namespace.name, &object.to_string()).unwrap();
    for (class, proxies) in [
        ("rights-daemon", json!({"kind": "DaemonSet"})),
        ("rights-scaled", json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 2}})),
    ] {
        let service = json!({"type": "ClusterIP"});
        let mut spec = json!({"proxies": proxies});
        spec["proxies"]["service"] = service;
        apply(
            json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "GatewayProfile", "metadata": {"name": class}, "spec": spec}),
        );
        let reference = json!({"group": "sluice.dev", "kind": "GatewayProfile", "name": class});
        let spec = json!({"controllerName": "sluice.dev/gateway-controller", "parametersRef": reference});
        apply(json!({"apiVersion": GATEWAY, "kind": "GatewayClass", "metadata": {"name": class}, "spec": spec}));
        let listeners = json!([{"name": "http", "port": 8080, "protocol": "HTTP"}]);
        let spec = json!({"gatewayClassName": class, "listeners": listeners});
        apply(json!({"apiVersion": GATEWAY, "kind": "Gateway", "metadata": {"name": class}, "spec": spec}));
    }
    let there = |what: &str| cluster.until(&namespace.name, what, |_| true).unwrap();
    there("daemonset/rights-daemon-rights-daemon");
    there("horizontalpodautoscaler/rights-scaled-rights-scaled");
    for kind in ["HTTPRoute", "TLSRoute", "TCPRoute", "UDPRoute"] {
        let backend = json!({"name": "nothing", "port": 9000});
        let mut spec = json!({"parentRefs": [{"name": "rights-scaled"}], "rules": [{"backendRefs": [backend]}]});
        if kind == "TLSRoute" {
            spec["hostnames"] = json!(["rights.example.com"]);
        }
        apply(json!({"apiVersion": GATEWAY, "kind": kind, "metadata": {"name": "rights"}, "spec": spec}));
        let judged = |route: &Value| route.pointer("/status/parents/0/conditions/0").is_some();
        cluster.until(&namespace.name, &format!("{}/rights", kind.to_lowercase()), judged).unwrap();
    }
    let mut service = grpc_service("rights", "grpc.rights.example.com");
    service["spec"]["gateways"] = json!([{"name": "own", "own": {"gatewayClassName": "rights-scaled", "port": 8443}}]);
    service["spec"]["grants"] = json!([{"to": "Service", "namespace": "default"}]);
    service["spec"]["rules"] = json!([{"name": "all", "timeouts": {"request": "2s"}}]);
    apply(service);
    cluster.until(&namespace.name, "grpcservice/rights", |it| says(it, "PolicyAccepted", "True")).unwrap();
    cluster.kubectl(&["delete", "grpcservice", "rights", "--namespace", &namespace.name, "--timeout=60s"]).unwrap();
    let elsewhere = json!({"controllerName": "example.com/another"});
    apply(
        json!({"apiVersion": GATEWAY, "kind": "GatewayClass", "metadata": {"name": "somebody-elses"}, "spec": elsewhere}),
    );
    for class in ["rights-daemon", "rights-scaled"] {
        // Of another controller's class, a Gateway has no proxies of ours.
        let other = json!({"spec": {"gatewayClassName": "somebody-elses"}}).to_string();
        let patch = ["patch", "gateway", class, "--namespace", &namespace.name, "--type=merge", "--patch", &other];
        cluster.kubectl(&patch).unwrap();
        let gone = ["wait", "--for=delete", "--namespace", &namespace.name, "--timeout=60s"];
        let service = format!("service/{class}-{class}");
        cluster.kubectl(&[&gone[..], &[&service]].concat()).unwrap();
        cluster.kubectl(&["delete", "gatewayclass,gatewayprofile", class]).unwrap();
    }
    cluster.kubectl(&["delete", "gatewayclass", "somebody-elses"]).unwrap();
}

#[test]
fn every_right_is_used_and_nothing_is_denied() {
    let turn = Turn::take();
    let audit = Audit::now().unwrap();
    make_use_of_all_rights(&turn.cluster);
    assert_eq!(audit.denied(Release::ACCOUNT).unwrap(), []);
    let used = used(&Audit::whole().unwrap());
    let excused =
        |(verb, resource): &Right| UNUSED.iter().any(|(right, _)| format!("{resource} {verb}").starts_with(right));
    let unused: Vec<_> =
        granted(&turn.cluster).into_iter().filter(|right| !used.contains(right) && !excused(right)).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}
