//! The engine behind an API server: what runs for each Gateway.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::key::{Kind, NsName};
use sluice_engine::{Effects, Engine, Input, Settings};
use world::{class, clock, delete, gateway, http, profile};

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
    assert_eq!(runs(&engine.step([delete(Kind::GatewayClass, "", "sluice")])), [None]);
}
