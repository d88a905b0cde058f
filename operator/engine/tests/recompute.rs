//! What runs again after a change, and nothing else does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::json;
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::Change,
};
use sluice_engine::{Effects, Engine, Evaluations, Input, ProxyEvent, Stage};
use sluice_xds::ResourceType;
use world::{bind, class, engine, gateway, grpc_route, http, https, meta, profile, put, rule, service, slice};

const ROUTES: usize = 20;

fn route(index: usize, generation: i64, backend: &str) -> Input {
    let hostname = format!("h{index}.example.com");
    let rules = json!([rule(Some("Echo"), "a", backend)]);
    grpc_route(&meta("a", &format!("r{index}"), generation, 1), &json!([{"name": "one"}]), &[&hostname], &rules)
}

/// Twenty routes on hosts of their own, one Service each of two, served by one proxy that has everything.
fn served() -> Engine {
    let mut engine = engine();
    let objects = [
        class(Some("p")),
        profile(&json!({"cleartext": "Allow"})),
        gateway("one", 1, &json!([http("x", 80, None)])),
        bind("one", 80),
        Input::Change(Change::Addresses(NsName::new("a", "one"), vec!["127.0.0.1".into()])),
        service("a", "s", 9000),
        service("a", "t", 9000),
        slice("a", "s", "s-1", &[1, 2]),
    ];
    engine.step(objects.into_iter().chain((0..ROUTES).map(|index| route(index, 1, "s"))));
    sync(&mut engine);
    engine
}

fn sync(engine: &mut Engine) -> Effects {
    let gateway = NsName::new("a", "one");
    let revision = engine.snapshots().get(&gateway).unwrap().revision();
    engine.step([ProxyEvent::Synced { gateway, proxy: "p".into(), stream: 1, revision }.into()])
}

/// What a step evaluated, and its effects.
fn runs(engine: &mut Engine, inputs: impl IntoIterator<Item = Input>) -> (Vec<(Stage, u64)>, Effects) {
    let before: Evaluations = engine.evaluations().clone();
    let effects = engine.step(inputs);
    let after = engine.evaluations().iter();
    let moved = after.map(|(stage, count)| (*stage, count - before.get(stage).unwrap_or(&0)));
    (moved.filter(|(_, count)| *count > 0).collect(), effects)
}

fn changed(effects: &Effects) -> Vec<String> {
    effects.snapshots.iter().flat_map(|(_, snapshot)| snapshot.changed()).map(ToString::to_string).collect()
}

fn said(effects: &Effects) -> Vec<String> {
    effects.statuses.iter().map(|update| update.target.to_string()).collect()
}

#[test]
fn every_host_is_served_and_every_route_programmed() {
    let engine = served();
    let snapshot = engine.snapshots().get(&NsName::new("a", "one")).unwrap();
    assert_eq!(snapshot.iter(ResourceType::VirtualHost).count(), ROUTES + 1);
    assert_eq!(snapshot.iter(ResourceType::Cluster).count(), 1);
    assert_eq!(snapshot.closure(), []);
}

#[test]
fn a_backend_edit_lowers_one_route_and_merges_its_host() {
    let mut engine = served();
    let (ran, effects) = runs(&mut engine, [route(7, 2, "t")]);
    assert_eq!(ran, [(Stage::Lower, 1), (Stage::Merge, 1), (Stage::Assign, 1)]);
    assert_eq!(
        changed(&effects),
        ["cluster a/t/9000/h2", "assignment a/t/9000/h2", "virtual-host http-80/h7.example.com"]
    );
    assert_eq!(said(&effects), ["GRPCRoute a/r7"]);
    let (ran, effects) = runs(&mut engine, [route(7, 3, "s")]);
    assert_eq!(ran, [(Stage::Lower, 1), (Stage::Merge, 1)]);
    assert_eq!(
        changed(&effects),
        ["cluster a/t/9000/h2", "assignment a/t/9000/h2", "virtual-host http-80/h7.example.com"]
    );
}

#[test]
fn a_header_or_method_edit_moves_one_resource() {
    let mut engine = served();
    let rules = json!([rule(Some("EchoV2"), "a", "s")]);
    let edit = grpc_route(&meta("a", "r3", 2, 1), &json!([{"name": "one"}]), &["h3.example.com"], &rules);
    let (ran, effects) = runs(&mut engine, [edit]);
    assert_eq!(ran, [(Stage::Lower, 1), (Stage::Merge, 1)]);
    assert_eq!(changed(&effects), ["virtual-host http-80/h3.example.com"]);
}

#[test]
fn an_endpoint_change_touches_one_assignment_and_no_route() {
    let mut engine = served();
    let (ran, effects) = runs(&mut engine, [slice("a", "s", "s-1", &[1, 2, 3])]);
    assert_eq!(ran, [(Stage::Assign, 1)]);
    assert_eq!(changed(&effects), ["assignment a/s/9000/h2"]);
    assert_eq!(said(&effects), [] as [&str; 0]);
}

#[test]
fn what_is_already_there_runs_nothing() {
    let mut engine = served();
    let again = [route(3, 1, "s"), service("a", "s", 9000), slice("a", "s", "s-1", &[1, 2]), bind("one", 80)];
    let (ran, effects) = runs(&mut engine, again);
    assert_eq!(ran, []);
    assert!(effects.snapshots.is_empty() && effects.statuses.is_empty() && effects.applies.is_empty());
}

#[test]
fn a_label_of_a_route_changes_nothing() {
    let mut engine = served();
    let mut metadata = meta("a", "r3", 1, 1);
    metadata["labels"] = json!({"team": "x"});
    let rules = json!([rule(Some("Echo"), "a", "s")]);
    let (ran, effects) =
        runs(&mut engine, [grpc_route(&metadata, &json!([{"name": "one"}]), &["h3.example.com"], &rules)]);
    assert_eq!(ran, [(Stage::Lower, 1)]);
    assert!(effects.snapshots.is_empty() && effects.statuses.is_empty());
}

#[test]
fn a_status_that_nobody_rolls_up_runs_nothing() {
    let mut engine = served();
    let status = serde_json::from_value(json!({"conditions": [{"type": "X", "status": "True"}]})).unwrap();
    let route = Ref::new(Kind::GrpcRoute, NsName::new("a", "r3"));
    let (ran, effects) = runs(&mut engine, [Input::Change(Change::Observe(route, Some(status)))]);
    assert_eq!(ran, []);
    assert!(effects.statuses.is_empty());
}

#[test]
fn an_acknowledgement_says_only_what_waited_for_it() {
    let mut engine = served();
    engine.step([route(7, 2, "t")]);
    let before = engine.evaluations().clone();
    let effects = sync(&mut engine);
    assert_eq!(said(&effects), ["GRPCRoute a/r7"]);
    assert_eq!(*engine.evaluations(), before);
    assert!(effects.snapshots.is_empty());
}

#[test]
fn a_namespace_label_lowers_nothing_where_no_selector_reads_it() {
    let mut engine = served();
    let (ran, _) =
        runs(&mut engine, [put(Kind::Namespace, json!({"metadata": {"name": "z", "labels": {"team": "x"}}}))]);
    assert_eq!(ran, []);
}

/// A Gateway with a name whose routes none of its edits moves.
fn relisten(generation: i64, extra: Option<&str>) -> Input {
    let mut listeners = vec![http("x", 80, None)];
    listeners.extend(extra.map(|hostname| http("y", 80, Some(hostname))));
    gateway("one", generation, &json!(listeners))
}

#[test]
fn an_edit_of_a_gateway_that_moves_no_place_seats_no_route_anew() {
    let mut engine = served();
    let (ran, _) = runs(&mut engine, [relisten(2, None)]);
    assert_eq!(ran, [(Stage::Plan, 1), (Stage::Project, 1)]);
    let (ran, _) = runs(&mut engine, [relisten(3, Some("other.net"))]);
    let seated = ran.iter().find(|(stage, _)| *stage == Stage::Seat);
    assert_eq!(seated, Some(&(Stage::Seat, ROUTES as u64)));
}

#[test]
fn the_same_history_gives_the_same_snapshots_and_the_same_words() {
    let (left, right) = (served(), served());
    let all = |engine: &Engine| -> Vec<String> {
        let snapshots = engine.snapshots().values();
        let resources =
            snapshots.flat_map(|snapshot| ResourceType::ALL.into_iter().flat_map(|kind| snapshot.iter(kind)));
        resources.map(|resource| format!("{}@{}", resource.id, resource.version)).collect()
    };
    assert_eq!(all(&left), all(&right));
}

#[test]
fn the_proxies_of_a_gateway_that_serves_nothing_are_told_so_once() {
    let mut engine = served();
    let nothing = json!([https("y", 443, None, "absent")]);
    let (_, effects) = runs(&mut engine, [gateway("two", 1, &nothing)]);
    let published = effects.snapshots.iter().map(|(gateway, snapshot)| (gateway.to_string(), snapshot.revision()));
    assert_eq!(published.collect::<Vec<_>>(), [("a/two".to_owned(), 1)]);
    assert!(engine.step([gateway("two", 2, &nothing)]).snapshots.is_empty());
}

#[test]
fn an_object_that_is_made_anew_under_its_name_is_told_its_status() {
    let mut engine = served();
    let again = |uid: &str| {
        let mut metadata = meta("a", "r3", 1, 1);
        metadata["uid"] = json!(uid);
        let rules = json!([rule(None, "a", "s")]);
        grpc_route(&metadata, &json!([{"name": "one"}]), &["h3.example.com"], &rules)
    };
    engine.step([again("first")]);
    sync(&mut engine);
    let gone = Input::Change(Change::Delete(Ref::new(Kind::GrpcRoute, NsName::new("a", "r3"))));
    let (_, effects) = runs(&mut engine, [gone, again("second")]);
    assert_eq!(said(&effects), ["GRPCRoute a/r3"]);
    let (_, effects) = runs(&mut engine, [again("third")]);
    assert_eq!(said(&effects), ["GRPCRoute a/r3"]);
}
