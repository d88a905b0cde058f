//! Regular expressions: what Sluice accepts, Envoy accepts.
//!
//! A thousand expressions from a grammar that has all of RE2, what only looks like it, and nonsense; those that come out of the
//! engine are given to `envoy --mode validate` with the bootstrap that proxies have.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use chrono::{DateTime, TimeDelta};
use proptest::{
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use sluice_core::{
    key::Kind,
    world::{Change, Object},
};
use sluice_engine::{Engine, Input, Settings};
use sluice_envoy::{
    bootstrap::{Admin, Bootstrap, Node, Source, render},
    json::view,
};
use sluice_tests::{
    local::tool,
    manifests::{Certificate, everything_to, gateway, route, service},
};
use sluice_xds::ResourceType;

const EXPRESSIONS: usize = 1000;

/// Escapes, anchors, flags and pieces: RE2's, Rust's, Perl's and nobody's.
const ATOMS: &str = r". ^ $ \A \z \b \B \d \D \w \W \s \S \pL \p{Lu} \PN \p{Greek} \p{^Lu} \p{Alphabetic} \x41 \x{42} \xE9
    \x{1F600} \u0041 \U0001F600 \n \t \v \f \a \e \C \X \R \Q.\E \0 \07 \101 \1 \< \> \_ \- \/ \. \{ \} \[ \é \b{start} \Z \G
    \h \N ] } { {2} {,2} (?i) (?s-i) (?x) (?u) (?U) (?R) (?) (?#a) - && |";

const MEMBERS: &str = r"a a-z 0-9 ^ - ] \] \d \pL \w [:alpha:] [:^digit:] [:word:] [:nope:] [a-c] && -- ~~ \b \x41-\x5A
    \x{10FFFF} . $ \s é z-a \- [.a.] [=a=]";

const OPENINGS: &str = "( (?: (?i: (?s: (?-i: (?x: (?P<name> (?<name> (?P<é> (?= (?! (?<= (?> (?u:";

const TIMES: &str =
    "* + ? *? +? ?? ** *+ {0} {1,3} {2,} {3}? {30} {500} {1000} {1001} {0,1000} {3,1} {\u{a0}2} {,5} {99999}";

fn one_of(words: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(words.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn atom() -> impl Strategy<Value = String> {
    let plain = "[a-zA-Z0-9 _/:;,<>=@#%&~`'\"é☃-]{0,6}";
    prop_oneof![plain.prop_map(|text| text), one_of(ATOMS), class()]
}

fn class() -> impl Strategy<Value = String> {
    let opening = prop::sample::select(vec!["[", "[^"]);
    let members = prop::collection::vec(one_of(MEMBERS), 1..4);
    (opening, members).prop_map(|(opening, members)| format!("{opening}{}]", members.concat()))
}

fn expression() -> impl Strategy<Value = String> {
    atom().prop_recursive(5, 40, 4, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            3 => several().prop_map(|parts| parts.concat()),
            2 => several().prop_map(|parts| parts.join("|")),
            2 => (one_of(OPENINGS), inner.clone()).prop_map(|(opening, inner)| format!("{opening}{inner})")),
            2 => (inner.clone(), one_of(TIMES)).prop_map(|(inner, times)| format!("(?:{inner}){times}")),
            1 => (inner.clone(), one_of(TIMES)).prop_map(|(inner, times)| format!("{inner}{times}")),
        ]
    })
}

/// The same ones each time.
fn generated() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let strategy = expression();
    (0..EXPRESSIONS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Each expression as a header's value, as a service and as a method, on a host of its own.
fn matching(index: usize, expression: &str) -> Value {
    let forms = [
        json!({"headers": [{"type": "RegularExpression", "name": "a", "value": expression}]}),
        json!({"method": {"type": "RegularExpression", "service": expression, "method": "M"}}),
        json!({"method": {"type": "RegularExpression", "method": expression}}),
    ];
    let mut rules = everything_to("echo");
    rules[0]["matches"] = json!(forms);
    route(&format!("r{index}"), &format!("r{index}.example.com"), &rules)
}

fn change((index, mut object): (usize, Value)) -> Input {
    let group = object["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group).to_owned();
    let kind = Kind::named(&group, object["kind"].as_str().unwrap()).unwrap();
    object["metadata"]["uid"] = json!(index.to_string());
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    Input::Change(Change::Upsert(Object::decode(kind, object).unwrap()))
}

/// The hosts that proxies are given, by name.
fn hosts(expressions: &[String]) -> BTreeMap<String, Value> {
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "sluice"},
        "spec": {"controllerName": "sluice.dev/gateway-controller"},
    });
    let certificate = Certificate::new(&["*.example.com"]).unwrap().secret("certificate");
    let objects = [class, gateway("gateway", &["*.example.com"], "certificate"), certificate, service("echo")];
    let routes = expressions.iter().enumerate().map(|(index, expression)| matching(index, expression));
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let mut inputs = vec![Input::Change(Change::Clock(now)), Input::Leader(true)];
    inputs.extend(objects.into_iter().chain(routes).enumerate().map(change));
    let mut engine = Engine::new(Settings { grace: TimeDelta::zero(), ..Settings::default() });
    engine.step(inputs);
    let snapshot = engine.snapshots().values().next().unwrap();
    let named = snapshot.iter(ResourceType::VirtualHost).map(|resource| {
        let mut host = view(resource);
        host.as_object_mut().unwrap().remove("@type");
        (resource.id.name.to_string(), host)
    });
    named.collect()
}

/// Envoy's words, if it refuses a configuration with these hosts.
fn refused(hosts: &[&Value], scratch: &Path) -> Option<String> {
    let bootstrap = Bootstrap {
        node: Some(Node { id: "test".into(), gateway: "default/gateway".into() }),
        source: Source::Socket("/run/xds.sock".into()),
        admin: Admin::Loopback(0),
        probes: None,
        max_connections: 10,
    };
    let mut config = render(&bootstrap);
    config.as_object_mut().unwrap().remove("dynamic_resources");
    config["static_resources"]["listeners"] = json!([listener(hosts)]);
    fs::write(scratch, config.to_string()).unwrap();
    let mut command = Command::new(tool("SLUICE_ENVOY").unwrap());
    command.args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(scratch);
    let output = command.output().unwrap();
    (!output.status.success()).then(|| conclusion(&String::from_utf8_lossy(&output.stderr)))
}

/// The end: before it Envoy repeats the whole configuration.
fn conclusion(words: &str) -> String {
    let letters: Vec<_> = words.trim().chars().collect();
    letters[letters.len().saturating_sub(120)..].iter().collect()
}

fn listener(hosts: &[&Value]) -> Value {
    json!({
        "name": "test",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "test",
                "http_filters": [{
                    "name": "router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
                "route_config": {"name": "test", "validate_clusters": false, "virtual_hosts": hosts},
            },
        }]}],
    })
}

/// The hosts that are refused alone, with Envoy's words. Costs log n runs of Envoy for each.
fn culprits<'h>(hosts: &[(&'h String, &Value)], scratch: &Path, found: &mut Vec<(&'h String, String)>) {
    let values: Vec<_> = hosts.iter().map(|(_, host)| *host).collect();
    let Some(words) = refused(&values, scratch) else { return };
    if let [(name, _)] = hosts {
        found.push((name, words));
    } else {
        let (left, right) = hosts.split_at(hosts.len() / 2);
        culprits(left, scratch, found);
        culprits(right, scratch, found);
    }
}

/// How many of the hosts have an expression at all.
fn with_expressions(hosts: &BTreeMap<String, Value>) -> usize {
    hosts.values().filter(|host| host.to_string().contains("\"regex\"")).count()
}

/// From `https-443/*.example.com/r12.example.com`.
fn index_of(host: &str) -> usize {
    host.rsplit('/').next().unwrap().strip_prefix('r').unwrap().split('.').next().unwrap().parse().unwrap()
}

#[test]
fn of_a_thousand_expressions_envoy_accepts_what_sluice_accepts() {
    let expressions = generated();
    let hosts = hosts(&expressions);
    let accepted = with_expressions(&hosts);
    assert!(
        (EXPRESSIONS / 10..EXPRESSIONS * 9 / 10).contains(&accepted),
        "{accepted} accepted: the grammar tells nothing"
    );
    let directory = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    culprits(&hosts.iter().collect::<Vec<_>>(), &directory.path().join("envoy.json"), &mut found);
    let told: Vec<_> =
        found.iter().map(|(name, words)| format!("{:?}: {words}", expressions[index_of(name)])).collect();
    assert!(
        told.is_empty(),
        "{} of {accepted} accepted expressions are refused by Envoy:\n{}",
        told.len(),
        told.join("\n")
    );
}
