//! The engine behind an API server: who leads says what is missing and nothing twice, and hears itself once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::{Change, observed::Observed},
};
use sluice_engine::{Effects, Engine, Input, ProxyEvent, Settings};
use world::{
    class, clock,
    cluster::{Cluster, furnished, grpc_service, in_a, own, shared},
    delete, gateway, http, profile, start,
};

/// What the effects say of `a/one`: for each time, how many proxies, or that none.
fn runs(effects: &Effects) -> Vec<Option<i32>> {
    let of_one = effects.infrastructure.iter().filter(|(gateway, _)| *gateway == NsName::new("a", "one"));
    of_one.map(|(_, wanted)| wanted.as_ref().map(|wanted| wanted.proxies.replicas())).collect()
}

fn one(generation: i64) -> Input {
    gateway("one", generation, &json!([http("x", 80, None)]))
}

fn replicas(count: i32) -> Value {
    json!({"proxies": {"replicas": count}})
}

fn said(effects: &Effects) -> Vec<String> {
    effects.statuses.iter().map(|update| update.target.to_string()).collect()
}

fn service() -> Ref {
    in_a(Kind::GrpcService, "svc")
}

fn route() -> Ref {
    in_a(Kind::GrpcRoute, "svc")
}

/// `Ready` of the service, and the generation that is served, as the API server has them.
fn ready(cluster: &Cluster) -> (String, Value) {
    let status = &cluster.objects[&service()]["status"];
    let conditions = status["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    (
        format!("{}/{}", ready["status"].as_str().unwrap(), ready["reason"].as_str().unwrap()),
        status["servedGeneration"].clone(),
    )
}

fn observe(object: &Ref, status: &Value) -> Input {
    let status: Observed = serde_json::from_value(status.clone()).unwrap();
    Input::Change(Change::Observe(object.clone(), Some(status)))
}

/// A service on a Gateway of its own, served and settled.
fn served() -> Cluster {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([own("own")])));
    cluster.settle();
    assert_eq!(ready(&cluster), ("True/Ready".into(), json!(1)));
    cluster
}

#[test]
fn what_runs_is_said_once_and_again_by_whoever_begins_to_lead() {
    let mut engine = Engine::new(Settings::default());
    assert_eq!(runs(&engine.step([clock(0), class(Some("p")), profile(&replicas(3)), one(1)])), []);
    assert_eq!(runs(&engine.step([Input::Leader(true)])), [Some(3)]);
    assert_eq!(runs(&engine.step([one(2)])), [], "a generation alone moves nothing");
    assert_eq!(runs(&engine.step([profile(&replicas(4))])), [Some(4)]);
    assert_eq!(runs(&engine.step([Input::Leader(false)])), []);
    assert_eq!(runs(&engine.step([profile(&replicas(5))])), []);
    assert_eq!(runs(&engine.step([Input::Leader(true)])), [Some(5)]);
    assert_eq!(runs(&engine.step([delete(Kind::Gateway, "a", "one")])), [None]);
}

#[test]
fn a_gateway_keeps_what_runs_while_it_is_refused() {
    let mut engine = Engine::new(Settings::default());
    engine.step([Input::Leader(true), clock(0), class(Some("p")), profile(&replicas(3)), one(1)]);
    assert_eq!(runs(&engine.step([delete(Kind::GatewayProfile, "", "p")])), []);
    assert_eq!(runs(&engine.step([profile(&replicas(3))])), []);
    assert_eq!(runs(&engine.step([delete(Kind::GatewayClass, "", "sluice")])), [], "nor while its class is away");
}

#[test]
fn an_echo_of_any_earlier_status_moves_nothing() {
    let mut cluster = served();
    let echoes = cluster.echoes.clone();
    assert!(echoes.iter().filter(|(object, _)| *object == route()).count() > 1, "the route had several statuses");
    for (object, status) in echoes.iter().chain(echoes.iter().rev()) {
        assert_eq!(said(&cluster.step([observe(object, status)])), [] as [&str; 0], "{object}: {status}");
    }
}

#[test]
fn what_others_say_is_heard_beside_what_is_said_here() {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([shared("one"), shared("foreign")])));
    cluster.settle();
    assert_ne!(ready(&cluster).0, "True/Ready");
    for (status, expected) in [("True", "True/Ready"), ("False", "False/RefusedByGateway"), ("True", "True/Ready")] {
        cluster.other_says(status);
        cluster.settle();
        assert_eq!(ready(&cluster).0, expected);
    }
}

#[test]
fn a_standby_hears_everything_from_the_api_server() {
    let mut cluster = served();
    cluster.lead(false);
    let conditions =
        json!([{"type": "Accepted", "status": "False", "reason": "NoMatchingParent", "observedGeneration": 9}]);
    let mut status = cluster.objects[&route()]["status"].clone();
    status["parents"][0]["conditions"] = conditions;
    let effects = cluster.step([observe(&route(), &status)]);
    assert!(effects.statuses.is_empty(), "a standby writes nothing");
    let known = cluster.engine.state().world.observed(&route()).unwrap();
    assert_eq!(&*known.parents[0].conditions[0].reason, "NoMatchingParent");
    let effects = cluster.lead(true);
    assert!(said(&effects).contains(&route().to_string()), "whoever leads again says its own word");
    cluster.settle();
    assert_eq!(ready(&cluster).0, "True/Ready");
}

#[test]
fn a_new_leader_waits_for_the_proxies_and_then_says_what_was_said_before() {
    let mut cluster = served();
    cluster.pass(3 * 60 * 60);
    cluster.writes.clear();
    let effects = cluster.restart();
    assert!(said(&effects).is_empty(), "{:?}", said(&effects));
    let wake = effects.wake.unwrap();
    assert_eq!(wake, start() + chrono::TimeDelta::seconds(3 * 60 * 60 + 30));
    assert!(said(&cluster.pass(29)).is_empty());
    assert!(!said(&cluster.acknowledge()).is_empty());
    cluster.settle();
    assert_eq!(cluster.writes, [] as [&str; 0], "an unchanged world is not written");
}

#[test]
fn a_proxy_that_a_new_leader_never_hears_of_has_what_was_there_and_is_waited_for_with_what_is_new() {
    let mut cluster = served();
    cluster.writes.clear();
    cluster.restart();
    cluster.pass(31);
    cluster.tell_all();
    assert_eq!(ready(&cluster), ("True/Ready".into(), json!(1)), "its callers are served");
    assert_eq!(cluster.writes, [] as [&str; 0], "an unchanged world is not written");
    let mut edited = grpc_service(&json!([own("own")]));
    edited["spec"]["rules"] = json!([{"name": "r", "timeouts": {"request": "2s"}}]);
    cluster.apply(Kind::GrpcService, &edited);
    for _ in 0..4 {
        cluster.tell_all();
    }
    assert_eq!(ready(&cluster), ("False/Pending".into(), json!(1)), "what is served is known from the last status");
    let conditions = &cluster.objects[&route()]["status"]["parents"][0]["conditions"];
    assert!(conditions.to_string().contains("has no connection to Sluice"), "{conditions}");
    cluster.pods(|gateway, proxy| ProxyEvent::Gone { gateway, proxy });
    cluster.tell_all();
    assert_eq!(ready(&cluster).0, "False/NoReadyProxy");
}

#[test]
fn what_comes_together_with_the_lease_waits_like_everything_else_to_be_said() {
    let mut cluster = served();
    cluster.writes.clear();
    cluster.stand_by();
    cluster.pass(31);
    let moved =
        |address: &str| Input::Change(Change::Addresses(in_a(Kind::Gateway, "svc-own").key, vec![address.into()]));
    let news = [moved("10.0.0.2"), moved("10.0.0.1")];
    assert_eq!(said(&cluster.lead_after(news, true)), [] as [&str; 0], "nobody was heard of");
    assert_eq!(said(&cluster.lead_after([Input::Leader(false)], true)), [] as [&str; 0], "and again nobody was");
    cluster.pass(31);
    cluster.settle();
    assert_eq!(ready(&cluster), ("True/Ready".into(), json!(1)));
    assert_eq!(cluster.writes, [] as [&str; 0], "an unchanged world is not written");
}

#[test]
fn a_gateway_without_proxies_says_nothing_of_what_those_of_another_have() {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([own("own"), own("edge")])));
    cluster.settle();
    let edge = NsName::new("a", "svc-edge");
    cluster.running.remove(&edge);
    cluster.step([ProxyEvent::Gone { gateway: edge, proxy: "p".into() }.into()]);
    cluster.settle();
    let programmed = |cluster: &Cluster| {
        let parents = cluster.objects[&route()]["status"]["parents"].as_array().unwrap().clone();
        let of = |parent: &Value| {
            let mut conditions = parent["conditions"].as_array().unwrap().iter();
            conditions.find(|condition| condition["type"] == "sluice.dev/Programmed").unwrap()["reason"].clone()
        };
        parents.iter().map(of).collect::<Vec<_>>()
    };
    let before = programmed(&cluster);
    assert!(before.contains(&json!("Programmed")) && before.contains(&json!("NoReadyProxy")), "{before:?}");
    cluster.restart();
    cluster.pass(31);
    cluster.tell_all();
    assert_eq!(programmed(&cluster), before);
}

#[test]
fn a_service_of_the_same_name_is_served_at_no_generation() {
    let mut cluster = served();
    let mut successor = cluster.objects[&service()].clone();
    successor["metadata"]["uid"] = json!("another");
    successor.as_object_mut().unwrap().remove("status");
    let object = sluice_core::world::Object::decode(Kind::GrpcService, successor).unwrap();
    cluster.step([Input::Change(object.into())]);
    assert_eq!(cluster.engine.state().served.get(&service().key), None);
}

#[test]
fn who_loses_the_lead_writes_nothing_from_that_moment_on_and_nothing_is_lost() {
    let mut cluster = served();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([own("own"), shared("one")])));
    cluster.lead(false);
    cluster.writes.clear();
    cluster.tell(Kind::GrpcService, usize::MAX);
    cluster.acknowledge();
    assert_eq!(cluster.writes, [] as [&str; 0]);
    cluster.lead(true);
    let parents = cluster.objects[&route()]["spec"]["parentRefs"].as_array().unwrap();
    assert_eq!(parents.len(), 2);
}
