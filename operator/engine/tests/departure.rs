//! Deletions: callers lose nothing that is replaced, proxies have the last word for 30 seconds, and nothing hangs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_api::FINALIZER;
use sluice_core::key::{Kind, NsName, Ref};
use sluice_engine::{Apply, Effects, Event, Hold};
use world::cluster::{Cluster, furnished, grpc_service, in_a, is_deleting, own, shared};

fn service() -> Ref {
    in_a(Kind::GrpcService, "svc")
}

fn route() -> Ref {
    in_a(Kind::GrpcRoute, "svc")
}

fn gateway() -> Ref {
    in_a(Kind::Gateway, "svc-own")
}

fn served() -> Cluster {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([own("own")])));
    cluster.settle();
    cluster
}

fn orphaning() -> Value {
    let mut value = grpc_service(&json!([own("own")]));
    value["spec"]["deletionPolicy"] = json!("Orphan");
    value
}

fn removed(effects: &Effects) -> Vec<String> {
    let removed = |apply: &Apply| matches!(apply, Apply::Remove { .. }).then(|| apply.reference().to_string());
    effects.applies.iter().filter_map(removed).collect()
}

fn released(effects: &Effects) -> Vec<String> {
    let released = effects.holds.iter().filter(|(_, hold)| *hold == Hold::Release);
    released.map(|(object, _)| object.to_string()).collect()
}

fn is_held(cluster: &Cluster, object: &Ref) -> bool {
    cluster.objects[object]["metadata"]["finalizers"] == json!([FINALIZER])
}

#[test]
fn services_and_gateways_of_ours_are_held_and_nothing_else_is() {
    let cluster = served();
    let held = cluster.objects.keys().filter(|object| is_held(&cluster, object)).cloned();
    assert_eq!(held.collect::<Vec<_>>(), [service(), in_a(Kind::Gateway, "one"), gateway()]);
}

#[test]
fn the_route_of_a_service_goes_first_and_the_rest_once_the_proxies_know() {
    let mut cluster = served();
    cluster.delete(&service());
    let effects = cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!((removed(&effects), released(&effects)), (vec![route().to_string()], vec![]));
    assert!(effects.wake.is_some());
    let effects = cluster.tell(Kind::GrpcRoute, usize::MAX);
    assert_eq!((removed(&effects), released(&effects)), (vec![], vec![]), "no proxy knows yet");
    let effects = cluster.acknowledge();
    assert_eq!((removed(&effects), released(&effects)), (vec![gateway().to_string()], vec![service().to_string()]));
    cluster.settle();
    assert!(!cluster.objects.contains_key(&gateway()) && !cluster.running.contains(&gateway().key));
}

#[test]
fn proxies_that_take_calls_and_are_not_heard_of_are_waited_for_30_seconds() {
    let mut cluster = served();
    cluster.restart();
    cluster.pass(31);
    cluster.delete(&service());
    cluster.tell(Kind::GrpcService, usize::MAX);
    cluster.tell(Kind::GrpcRoute, usize::MAX);
    assert_eq!(released(&cluster.pass(29)), [] as [&str; 0]);
    assert_eq!(released(&cluster.pass(1)), [service().to_string()]);
}

#[test]
fn proxies_that_say_nothing_are_waited_for_30_seconds() {
    let mut cluster = served();
    cluster.delete(&service());
    cluster.tell(Kind::GrpcService, usize::MAX);
    cluster.tell(Kind::GrpcRoute, usize::MAX);
    assert_eq!(released(&cluster.pass(29)), [] as [&str; 0]);
    assert_eq!(released(&cluster.pass(1)), [service().to_string()]);
    cluster.tell(Kind::Gateway, usize::MAX);
    assert_eq!(released(&cluster.pass(29)), [] as [&str; 0]);
    assert_eq!(released(&cluster.pass(1)), [gateway().to_string()]);
}

#[test]
fn a_deletion_that_is_not_heard_of_waits_no_longer() {
    let mut cluster = served();
    cluster.delete(&service());
    cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!(released(&cluster.pass(30)), [service().to_string()], "the watch of routes is silent");
}

#[test]
fn without_proxies_nobody_is_waited_for() {
    let mut cluster = served();
    let lost = cluster.disconnect();
    assert!(!lost.statuses.is_empty());
    cluster.delete(&service());
    cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!(released(&cluster.tell(Kind::GrpcRoute, usize::MAX)), [service().to_string()]);
    assert_eq!(released(&cluster.tell(Kind::Gateway, usize::MAX)), [gateway().to_string()]);
}

#[test]
fn with_another_controllers_gateway_the_route_is_all_that_is_waited_for() {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([shared("foreign")])));
    cluster.settle();
    cluster.delete(&service());
    cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!(released(&cluster.tell(Kind::GrpcRoute, usize::MAX)), [service().to_string()]);
}

#[test]
fn a_gateway_serves_nothing_from_its_deletion_on_and_its_proxies_run_until_they_know() {
    let mut cluster = served();
    cluster.delete(&gateway());
    let effects = cluster.tell(Kind::Gateway, usize::MAX);
    let (of, snapshot) = &effects.snapshots[0];
    assert_eq!((of, snapshot.iter(sluice_xds::ResourceType::Listener).count()), (&gateway().key, 0));
    let status = &cluster.objects[&route()]["status"]["parents"][0]["conditions"];
    let programmed = status.as_array().unwrap().iter().find(|condition| condition["type"] == "sluice.dev/Programmed");
    assert_ne!(programmed.unwrap()["status"], "True");
    assert!(effects.infrastructure.is_empty() && released(&effects).is_empty());
    let effects = cluster.acknowledge();
    assert_eq!(effects.infrastructure, [(gateway().key, None)]);
    assert_eq!(released(&effects), [gateway().to_string()]);
    cluster.settle();
    assert!(is_held(&cluster, &gateway()), "its service wrote it anew");
}

#[test]
fn what_was_deleted_while_nobody_ran_is_taken_down_by_whoever_starts() {
    for answers in [true, false] {
        let mut cluster = served();
        cluster.delete(&service());
        cluster.delete(&in_a(Kind::Gateway, "one"));
        let effects = cluster.restart();
        assert_eq!(released(&effects), [] as [&str; 0], "the proxies are not back yet");
        if answers {
            cluster.settle();
        } else {
            cluster.pass(30);
            cluster.tell_all();
            cluster.pass(30);
        }
        assert!(!cluster.objects.contains_key(&in_a(Kind::Gateway, "one")), "{answers}");
        assert!(!cluster.objects.contains_key(&service()) && !cluster.objects.contains_key(&gateway()), "{answers}");
    }
}

#[test]
fn a_class_that_is_away_costs_a_gateway_nothing_and_one_that_another_takes_lets_it_go() {
    let mut cluster = served();
    let class = Ref::new(Kind::GatewayClass, NsName::cluster("sluice"));
    let before = cluster.objects[&class].clone();
    cluster.delete(&class);
    cluster.settle();
    assert!(cluster.running.contains(&gateway().key) && is_held(&cluster, &gateway()));
    cluster.apply(Kind::GatewayClass, &before);
    cluster.settle();
    cluster.edit(&class, |value| value["spec"]["controllerName"] = json!("example.com/other"));
    cluster.settle();
    assert!(!cluster.running.contains(&gateway().key) && !is_held(&cluster, &gateway()));
    assert!(!is_deleting(&cluster.objects[&gateway()]), "it is the other's now");
}

#[test]
fn a_gateway_whose_class_is_away_can_be_deleted() {
    let mut cluster = served();
    cluster.delete(&Ref::new(Kind::GatewayClass, NsName::cluster("sluice")));
    cluster.delete(&in_a(Kind::Gateway, "one"));
    cluster.settle();
    assert!(!cluster.objects.contains_key(&in_a(Kind::Gateway, "one")));
    assert!(!cluster.running.contains(&NsName::new("a", "one")));
}

#[test]
fn objects_that_are_to_stay_have_no_owner_before_their_service_goes() {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &orphaning());
    cluster.settle();
    let owned = cluster.owned(&cluster.objects[&service()]["metadata"]["uid"]);
    assert_eq!(owned, [gateway(), route()]);
    cluster.delete(&service());
    let effects = cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!((removed(&effects), released(&effects)), (vec![], vec![]));
    cluster.settle();
    assert!(!cluster.objects.contains_key(&service()));
    assert!(owned.iter().all(|object| cluster.objects.contains_key(object)));
    assert!(cluster.running.contains(&gateway().key), "it serves on");
    cluster.restart();
    cluster.settle();
    assert!(owned.iter().all(|object| cluster.objects.contains_key(object)));
}

fn orphaned(effects: &Effects) -> Vec<Ref> {
    let orphaned = |apply: &Apply| matches!(apply, Apply::Orphan { .. }).then(|| apply.reference().clone());
    effects.applies.iter().filter_map(orphaned).collect()
}

#[test]
fn a_service_is_held_for_as_long_as_what_is_to_stay_has_it_as_its_owner() {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, &orphaning());
    cluster.settle();
    let uid = cluster.objects[&service()]["metadata"]["uid"].clone();
    cluster.delete(&service());
    let effects = cluster.tell(Kind::GrpcService, usize::MAX);
    assert_eq!(orphaned(&effects), [gateway(), route()]);
    let effects = cluster.pass(30);
    assert_eq!((released(&effects), orphaned(&effects)), (vec![], vec![]), "nobody has heard that it is done");
    assert_eq!(effects.events, [Event::Held { object: service(), owned: vec![gateway(), route()] }]);
    assert_eq!(effects.wake, Some(world::start() + chrono::TimeDelta::seconds(60)));
    assert_eq!(cluster.pass(29).events, []);
    let late = in_a(Kind::ConfigMap, "svc-ca");
    let owner = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "name": "svc", "uid": uid, "controller": true});
    let metadata = json!({"namespace": "a", "name": "svc-ca", "ownerReferences": [owner]});
    cluster.apply(Kind::ConfigMap, &json!({"metadata": metadata, "data": {}}));
    assert_eq!(orphaned(&cluster.tell(Kind::ConfigMap, 2)), std::slice::from_ref(&late));
    cluster.tell(Kind::Gateway, usize::MAX);
    assert_eq!(released(&cluster.tell(Kind::GrpcRoute, usize::MAX)), [] as [&str; 0]);
    assert_eq!(released(&cluster.tell(Kind::ConfigMap, usize::MAX)), [service().to_string()]);
    cluster.settle();
    assert!([gateway(), route(), late].iter().all(|object| cluster.objects.contains_key(object)));
    assert!(!cluster.objects.contains_key(&service()));
}
