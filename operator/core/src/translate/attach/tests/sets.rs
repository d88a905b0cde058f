//! ListenerSets: who may, who wins, what is said.

use super::{
    base, class, gateway, gateway_says, http, https, listener_set, own, plan_with_sets, planned, put, said, secret,
    set, set_status, status_of,
};
use crate::{
    key::{Kind, NsName},
    status::{self, Delivery},
    translate::attach::Plan,
    world::Change,
};
use serde_json::{Value, json};

const ACCEPTED: [&str; 2] = ["Accepted=True/Accepted", "Programmed=True/Programmed"];

fn set_says(plan: &Plan, index: usize) -> Vec<String> {
    said(&set_status(plan, index).conditions)
}

fn entry_says(plan: &Plan, index: usize, entry: usize) -> Vec<String> {
    said(&set_status(plan, index).listeners[entry].conditions)
}

fn allowing(from: &Value, listeners: &Value) -> Value {
    json!({"allowedListeners": {"namespaces": from}, "listeners": listeners})
}

fn same(listeners: &Value) -> Value {
    allowing(&json!({"from": "Same"}), listeners)
}

#[test]
fn a_gateway_allows_sets_as_it_says_and_none_by_default() {
    let labelled = json!({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}});
    let by_name = json!({"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "team"}}});
    let table = [
        (json!({"listeners": [http("g", "")]}), false),
        (allowing(&json!({"from": "None"}), &json!([http("g", "")])), false),
        (allowing(&json!({"from": "Same"}), &json!([http("g", "")])), false),
        (allowing(&json!({"from": "All"}), &json!([http("g", "")])), true),
        (allowing(&labelled, &json!([http("g", "")])), true),
        (allowing(&by_name, &json!([http("g", "")])), true),
        (allowing(&json!({"from": "Selector"}), &json!([http("g", "")])), false),
    ];
    for (spec, allowed) in table {
        let mut world = base();
        put(&mut world, Kind::Namespace, json!({"metadata": {"name": "team", "labels": {"team": "a"}}}));
        put(&mut world, Kind::Gateway, gateway(&spec));
        let mut foreign = listener_set("s", &json!([http("l", "a.example.com")]));
        foreign["metadata"]["namespace"] = json!("team");
        foreign["spec"]["parentRef"]["namespace"] = json!("infra");
        put(&mut world, Kind::ListenerSet, foreign);
        let plan = planned(&world);
        let expected = if allowed { ACCEPTED } else { ["Accepted=False/NotAllowed", "Programmed=False/NotAllowed"] };
        assert_eq!(set_says(&plan, 0), expected, "{spec}");
        assert_eq!(status_of(&plan).attached_listener_sets, Some(usize::from(allowed)));
        assert_eq!(set_status(&plan, 0).listeners.len(), usize::from(allowed));
        assert_eq!(plan.surfaces[1].1.listeners.len(), usize::from(allowed));
    }
}

#[test]
fn a_set_in_the_same_namespace_adds_its_listeners() {
    let plan =
        plan_with_sets(&same(&json!([http("g", "g.example.com")])), &[listener_set("s", &json!([https("l", "")]))]);
    assert_eq!(set_says(&plan, 0), ACCEPTED);
    assert_eq!(entry_says(&plan, 0, 0), super::VALID);
    assert_eq!(plan.surfaces.iter().map(|(parent, _)| parent.clone()).collect::<Vec<_>>(), [own(), set("s")]);
    assert_eq!(plan.listeners.len(), 2);
    let status = serde_json::to_value(set_status(&plan, 0)).unwrap();
    assert_eq!(status["conditions"][0]["observedGeneration"], 1);
    assert_eq!(status_of(&plan).listeners.len(), 1);
}

#[test]
fn the_gateway_wins_over_sets_and_the_older_set_over_the_younger() {
    let spec = same(&json!([http("g", "g.example.com")]));
    let taken = json!([http("own", "first.example.com"), http("lost", "g.example.com")]);
    let mut young =
        listener_set("a-young", &json!([http("lost", "first.example.com"), http("own", "young.example.com")]));
    young["metadata"]["creationTimestamp"] = json!("2026-06-01T00:00:00Z");
    let sets =
        [young, listener_set("b-first", &taken), listener_set("c-second", &json!([http("lost", "first.example.com")]))];
    let plan = plan_with_sets(&spec, &sets);
    let order = plan.report.sets.iter().map(|set| set.set.name.to_string()).collect::<Vec<_>>();
    assert_eq!(order, ["b-first", "c-second", "a-young"]);
    assert_eq!(gateway_says(&plan)[0], "Accepted=True/Accepted");
    assert_eq!(set_says(&plan, 0), ["Accepted=True/ListenersNotValid", "Programmed=True/Programmed"]);
    assert_eq!(entry_says(&plan, 0, 0), super::VALID);
    let lost = [
        "Accepted=False/HostnameConflict",
        "Programmed=False/HostnameConflict",
        "ResolvedRefs=True/ResolvedRefs",
        "Conflicted=True/HostnameConflict",
    ];
    assert_eq!(entry_says(&plan, 0, 1), lost);
    assert_eq!(set_says(&plan, 1), ["Accepted=False/ListenersNotValid", "Programmed=False/ListenersNotValid"]);
    assert_eq!(entry_says(&plan, 1, 0), lost);
    assert_eq!(entry_says(&plan, 2, 0), lost);
    assert_eq!(entry_says(&plan, 2, 1), super::VALID);
    assert_eq!(status_of(&plan).attached_listener_sets, Some(2));
}

#[test]
fn a_protocol_conflict_is_said_before_an_unsupported_protocol() {
    let tcp = json!({"name": "tcp", "port": 80, "protocol": "TCP"});
    let spec = same(&json!([http("g", "g.example.com")]));
    let plan = plan_with_sets(
        &spec,
        &[listener_set("a", &json!([tcp])), listener_set("b", &json!([http("l", "l.example.com")]))],
    );
    assert_eq!(
        entry_says(&plan, 0, 0),
        [
            "Accepted=False/ProtocolConflict",
            "Programmed=False/ProtocolConflict",
            "ResolvedRefs=True/ResolvedRefs",
            "Conflicted=True/ProtocolConflict",
        ]
    );
    assert_eq!(entry_says(&plan, 1, 0), super::VALID, "what lost claims nothing");
}

#[test]
fn a_message_about_a_conflict_names_nobody() {
    let spec = same(&json!([http("secret-name", "g.example.com")]));
    let plan = plan_with_sets(&spec, &[listener_set("s", &json!([http("l", "g.example.com")]))]);
    let message = set_status(&plan, 0).listeners[0].conditions[0].message.clone();
    assert!(message.contains("port 80") && !message.contains("secret-name"), "{message}");
}

#[test]
fn a_grant_of_the_gateway_is_not_inherited() {
    let mut listener = https("l", "grpc.example.com");
    listener["tls"]["certificateRefs"][0]["namespace"] = json!("certs");
    let mut world = base();
    put(&mut world, Kind::Secret, secret("certs", super::CERTIFICATE));
    put(&mut world, Kind::Gateway, gateway(&same(&json!([http("g", "")]))));
    put(&mut world, Kind::ListenerSet, listener_set("s", &json!([listener])));
    let grant = |kind: &str| {
        let from = json!({"group": "gateway.networking.k8s.io", "kind": kind, "namespace": "infra"});
        let spec = json!({"from": [from], "to": [{"group": "", "kind": "Secret"}]});
        json!({"metadata": {"namespace": "certs", "name": "g"}, "spec": spec})
    };
    put(&mut world, Kind::ReferenceGrant, grant("Gateway"));
    let refused = planned(&world);
    assert_eq!(entry_says(&refused, 0, 0)[2], "ResolvedRefs=False/RefNotPermitted");
    assert_eq!(set_says(&refused, 0), ["Accepted=False/ListenersNotValid", "Programmed=False/ListenersNotValid"]);
    put(&mut world, Kind::ReferenceGrant, grant("ListenerSet"));
    assert_eq!(set_says(&planned(&world), 0), ACCEPTED);
}

#[test]
fn sets_of_a_gateway_that_is_not_accepted_say_so() {
    let mut world = base();
    put(&mut world, Kind::GatewayClass, class(&json!({"group": "x", "kind": "Odd", "name": "o"})));
    put(&mut world, Kind::Gateway, gateway(&same(&json!([http("g", "")]))));
    put(&mut world, Kind::ListenerSet, listener_set("s", &json!([http("l", "l.example.com")])));
    let plan = planned(&world);
    assert_eq!(set_says(&plan, 0), ["Accepted=False/ParentNotAccepted", "Programmed=False/ParentNotProgrammed"]);
    assert_eq!(entry_says(&plan, 0, 0)[1], "Programmed=False/Invalid");
    assert_eq!(status_of(&plan).attached_listener_sets, Some(0));
}

#[test]
fn a_set_waits_for_its_port_and_for_the_proxies() {
    let mut world = base();
    put(&mut world, Kind::Gateway, gateway(&same(&json!([http("g", "")]))));
    put(&mut world, Kind::ListenerSet, listener_set("s", &json!([https("l", "l.example.com")])));
    let plan = planned(&world);
    let rejected = Delivery::Rejected { message: "bad".into(), rule: None, last_good: false };
    for (delivery, expected) in
        [(Delivery::Pending("soon".into()), "Programmed=False/Pending"), (rejected, "Programmed=False/Invalid")]
    {
        let status = status::listener_set::project(&plan.report.sets[0], &|_| 0, &delivery);
        assert_eq!(said(&status.conditions)[1], expected);
    }
    world.apply(Change::Bind(NsName::new("infra", "gw"), 443, None));
    assert_eq!(set_says(&planned(&world), 0)[1], "Programmed=False/Pending");
}

#[test]
fn listeners_beyond_the_limit_are_refused_by_precedence() {
    let many = |from: usize, count: usize| {
        (from..from + count)
            .map(|number| http(&format!("l{number}"), &format!("h{number}.example.com")))
            .collect::<Value>()
    };
    let plan =
        plan_with_sets(&same(&many(0, 1)), &[listener_set("a", &many(1, 1023)), listener_set("b", &many(2000, 1))]);
    assert_eq!(set_says(&plan, 0), ACCEPTED);
    assert_eq!(entry_says(&plan, 1, 0)[0], "Accepted=False/TooManyListeners");
    assert_eq!(set_says(&plan, 1)[0], "Accepted=False/ListenersNotValid");
}
