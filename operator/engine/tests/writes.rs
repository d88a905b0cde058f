//! What is said of a service while its objects are written, refused, and written at last.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::{
    key::{Kind, NsName, Ref},
    world::Change,
};
use sluice_engine::{Apply, Effects, Engine, Input, Settings, WriteOutcome};
use world::{class, clock, gateway, https, meta, put};

/// An engine in front of an API server: it hears of its own objects only when somebody tells it.
fn engine() -> Engine {
    let mut engine = Engine::new(Settings { grace: chrono::TimeDelta::zero(), ..Settings::default() });
    engine.step([Input::Leader(true), clock(0), class(None)]);
    engine
}

fn service(generation: i64, backend: &str) -> Input {
    let spec = json!({
        "gateways": [{"name": "edge", "ref": {"name": "one"}}], "hostnames": ["a.example.com"],
        "backends": [{"name": "only", "service": {"name": backend, "port": 9000}}],
        "generatedMetadata": {"annotations": {"ttl": "60"}},
    });
    put(Kind::GrpcService, json!({"metadata": meta("a", "svc", generation, 5), "spec": spec}))
}

fn route() -> Ref {
    Ref::new(Kind::GrpcRoute, NsName::new("a", "svc"))
}

/// The route of the effects as it is to be written, with the number of the write.
fn written(effects: &Effects) -> (Value, i64) {
    let mut puts = effects.applies.iter().filter_map(|apply| match apply {
        Apply::Put { reference, value, generation, .. } if *reference == route() => Some((value.clone(), *generation)),
        _ => None,
    });
    puts.next_back().unwrap()
}

/// Reason and message of `Generated`, and the state of the route; `None` if nothing new is said.
fn generated(effects: &Effects) -> Option<(String, String, String)> {
    let update = effects.statuses.iter().find(|update| update.target.kind == Kind::GrpcService)?;
    let status = update.status.value();
    let conditions = status["conditions"].as_array().unwrap();
    let condition = conditions.iter().find(|condition| condition["type"] == "Generated").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let route = status["resources"].as_array().unwrap().iter().find(|it| it["kind"] == "GRPCRoute").unwrap();
    Some((text(&condition["reason"]), text(&condition["message"]), text(&route["state"])))
}

fn wrote(generation: i64, outcome: WriteOutcome) -> Input {
    Input::Wrote { reference: route(), generation, outcome }
}

/// What a watch tells of the route once it is stored.
fn seen(mut value: Value, generation: i64) -> Input {
    value["metadata"]["generation"] = generation.into();
    put(Kind::GrpcRoute, value)
}

fn reasons(said: Option<&(String, String, String)>) -> Option<(&str, &str)> {
    said.map(|(reason, _, state)| (reason.as_str(), state.as_str()))
}

#[test]
fn a_refusal_is_said_until_the_write_succeeds() {
    let mut engine = engine();
    let effects = engine.step([gateway("one", 1, &json!([https("x", 443, None, "cert")])), service(1, "s")]);
    assert_eq!(reasons(generated(&effects).as_ref()), Some(("Pending", "Pending")));
    let (value, number) = written(&effects);
    let refused = engine.step([wrote(number, WriteOutcome::Refused("quota exceeded".into()))]);
    let said = generated(&refused);
    assert_eq!(reasons(said.as_ref()), Some(("ApplyFailed", "Failed")));
    assert_eq!(said.unwrap().1, "the API server refused GRPCRoute svc: quota exceeded");
    assert_eq!(generated(&engine.step([wrote(number, WriteOutcome::Refused("quota exceeded".into()))])), None, "once");
    let done = engine.step([wrote(number, WriteOutcome::Done { stored: 1 })]);
    assert_eq!(reasons(generated(&done).as_ref()), Some(("Pending", "Pending")), "not before it is seen");
    assert_eq!(reasons(generated(&engine.step([seen(value, 1)])).as_ref()), Some(("Generated", "Applied")));
}

#[test]
fn the_end_of_an_earlier_write_says_nothing_of_a_later_one() {
    let mut engine = engine();
    let (value, first) = written(&engine.step([service(1, "s")]));
    engine.step([wrote(first, WriteOutcome::Done { stored: 1 }), seen(value, 1)]);
    let effects = engine.step([service(2, "t")]);
    assert_eq!(reasons(generated(&effects).as_ref()), Some(("Pending", "Pending")));
    assert_eq!(generated(&engine.step([wrote(first, WriteOutcome::Done { stored: 1 })])), None);
    let (value, second) = written(&effects);
    assert_ne!(first, second);
    let after = engine.step([wrote(second, WriteOutcome::Done { stored: 2 }), seen(value, 2)]);
    assert_eq!(reasons(generated(&after).as_ref()), Some(("Generated", "Applied")));
}

#[test]
fn fields_that_others_add_do_not_keep_an_object_from_being_applied() {
    let mut engine = engine();
    let (mut value, number) = written(&engine.step([service(1, "s")]));
    value["spec"]["hostnames"].as_array_mut().unwrap().push("more.example.com".into());
    assert_eq!(generated(&engine.step([seen(value.clone(), 2)])), None, "whether it was written is not known yet");
    let looked = engine.step([wrote(number, WriteOutcome::Done { stored: 2 })]);
    assert_eq!(
        (written(&looked).1, generated(&looked)),
        (number, None),
        "whoever writes looks whether it is all there"
    );
    let after = engine.step([wrote(number, WriteOutcome::Done { stored: 2 })]);
    assert_eq!(reasons(generated(&after).as_ref()), Some(("Generated", "Applied")));
    assert_eq!(after.applies, [], "once");
    value["spec"]["hostnames"].as_array_mut().unwrap().push("most.example.com".into());
    let moved = engine.step([seen(value, 3)]);
    assert_eq!((written(&moved).1, reasons(generated(&moved).as_ref())), (number, Some(("Pending", "Pending"))));
    let after = engine.step([wrote(number, WriteOutcome::Done { stored: 3 })]);
    assert_eq!(reasons(generated(&after).as_ref()), Some(("Generated", "Applied")));
    assert_eq!(after.applies, []);
}

/// A service whose route is there as it was written, with the number of that write.
fn applied(engine: &mut Engine) -> (Value, i64) {
    let (value, number) = written(&engine.step([service(1, "s")]));
    engine.step([wrote(number, WriteOutcome::Done { stored: 1 }), seen(value.clone(), 1)]);
    (value, number)
}

/// What somebody makes of the route.
type Edit = fn(&mut Value);

#[test]
fn what_somebody_changes_is_written_again_once_and_is_not_applied_meanwhile() {
    let edits: [(Edit, i64); 3] = [
        (|value| value["spec"]["hostnames"] = json!(["elsewhere.example.com"]), 2),
        (|value| value["metadata"]["labels"] = json!({}), 1),
        (|value| value["metadata"]["annotations"] = json!({"ttl": "120"}), 1),
    ];
    for (edit, generation) in edits {
        let mut engine = engine();
        let (value, number) = applied(&mut engine);
        let mut changed = value.clone();
        edit(&mut changed);
        let effects = engine.step([seen(changed, generation)]);
        assert_eq!(written(&effects), (value.clone(), number));
        assert_eq!(reasons(generated(&effects).as_ref()), Some(("Pending", "Pending")));
        let after = engine.step([wrote(number, WriteOutcome::Done { stored: generation + 1 })]);
        assert_eq!((generated(&after), after.applies), (None, vec![]), "not before it is seen");
        let after = engine.step([seen(value, generation + 1)]);
        assert_eq!(reasons(generated(&after).as_ref()), Some(("Generated", "Applied")));
        assert_eq!(after.applies, [], "once");
    }
}

#[test]
fn what_somebody_changes_before_the_end_of_the_write_is_heard_is_written_again() {
    let mut engine = engine();
    let (value, number) = written(&engine.step([service(1, "s")]));
    let mut changed = value.clone();
    changed["metadata"]["labels"] = json!({});
    assert_eq!(engine.step([seen(value.clone(), 1), seen(changed, 1)]).applies, []);
    let effects = engine.step([wrote(number, WriteOutcome::Done { stored: 1 })]);
    assert_eq!((written(&effects).0, generated(&effects)), (value, None));
}

#[test]
fn repairs_of_late_are_counted_and_a_new_wish_is_none() {
    let mut engine = engine();
    let (value, number) = applied(&mut engine);
    let mut changed = value.clone();
    changed["spec"]["hostnames"] = json!(["elsewhere.example.com"]);
    let mut generation = 1;
    let mut undo = |engine: &mut Engine, time: i64| {
        let now = world::start() + chrono::TimeDelta::seconds(time);
        let effects = engine.step([Input::Change(Change::Clock(now)), seen(changed.clone(), generation + 1)]);
        generation += 2;
        engine.step([wrote(number, WriteOutcome::Done { stored: generation }), seen(value.clone(), generation)]);
        repairs(&effects)
    };
    assert_eq!([1, 2, 500].map(|time| undo(&mut engine, time)), [[1], [2], [3]]);
    assert_eq!([1_100, 1_101].map(|time| undo(&mut engine, time)), [[1], [2]], "long after");
    assert_eq!(repairs(&engine.step([service(2, "t")])), [0]);
}

/// Of the writes of the route.
fn repairs(effects: &Effects) -> Vec<u32> {
    let repairs = |apply: &Apply| match apply {
        Apply::Put { repairs, .. } => Some(*repairs),
        _ => None,
    };
    effects.applies.iter().filter_map(repairs).collect()
}

#[test]
fn whoever_takes_the_lead_in_an_unchanged_world_says_applied_at_once() {
    let (value, _) = written(&engine().step([service(1, "s")]));
    let mut heir = Engine::new(Settings { grace: chrono::TimeDelta::zero(), ..Settings::default() });
    heir.step([clock(0), class(None), service(1, "s"), seen(value, 1)]);
    let effects = heir.step([Input::Leader(true)]);
    assert_eq!(reasons(generated(&effects).as_ref()), Some(("Generated", "Applied")));
}

#[test]
fn an_object_of_a_kind_that_comes_to_be_served_is_written_then() {
    let mut engine = engine();
    let unserved = engine.step([Input::Change(Change::Served(Kind::GrpcRoute, false)), service(1, "s")]);
    assert!(unserved.applies.is_empty());
    assert_eq!(reasons(generated(&unserved).as_ref()), Some(("KindNotServed", "Failed")));
    let served = engine.step([Input::Change(Change::Served(Kind::GrpcRoute, true))]);
    written(&served);
    assert_eq!(reasons(generated(&served).as_ref()), Some(("Pending", "Pending")));
}

#[test]
fn an_object_whose_kind_went_and_came_back_within_a_step_is_written_again() {
    let mut engine = engine();
    written(&engine.step([service(1, "s")]));
    let flap = [false, true].map(|is_served| Input::Change(Change::Served(Kind::GrpcRoute, is_served)));
    written(&engine.step(flap));
}

#[test]
fn a_gateway_without_proxies_says_where_to_look() {
    let mut engine = engine();
    let listeners = json!([{"name": "x", "port": 80, "protocol": "HTTP"}]);
    let addresses = Input::Change(Change::Addresses(NsName::new("a", "one"), vec!["10.0.0.1".into()]));
    let effects = engine.step([gateway("one", 1, &listeners), addresses]);
    let update = effects.statuses.iter().rfind(|update| update.target.kind == Kind::Gateway).unwrap();
    let status = update.status.value();
    let command = "kubectl describe pods -n a -l gateway.networking.k8s.io/gateway-name=one";
    assert_eq!(status["conditions"][1]["message"], format!("no proxy of Gateway a/one is ready: {command}"));
}
