//! What is said: of routes at each parent, and of policies.

use super::{Fixture, echo, policy};
use crate::{
    key::{Kind, NsName, Ref},
    status::{
        Delivery, Reason as _,
        route::{Accepted, Standing, project},
    },
    world::Reader,
};
use serde_json::{Value, json};

#[test]
fn the_status_of_a_policy_says_what_became_of_it() {
    let mut fixture = Fixture::new();
    let timeouts = json!({"timeouts": {"request": "2s"}});
    fixture.put(Kind::GrpcPolicy, policy("good", 1, &json!({}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("late", 2, &json!({}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("lost", 3, &json!({"sectionName": "none"}), &timeouts));
    fixture.put(Kind::GrpcPolicy, policy("bad", 4, &json!({}), &json!({"timeouts": {"request": "2x"}})));
    let per_try = json!({"timeouts": {"request": "2s"}, "retry": {"attempts": 1, "perTryTimeout": "3s"}});
    fixture.put(Kind::GrpcPolicy, policy("long", 5, &json!({}), &per_try));
    fixture.lower(Kind::GrpcRoute, json!({"rules": [{}]}));
    let reader = Reader::new(&fixture.world, &fixture.surfaces);
    let table = [
        ("good", "Accepted", "in force"),
        ("late", "Conflicted", "GrpcPolicy default/good is older"),
        ("lost", "TargetNotFound", "rule none not found"),
        ("bad", "Invalid", "timeouts.request"),
        ("long", "Invalid", "retry.perTryTimeout"),
    ];
    for (name, reason, words) in table {
        let status = crate::status::policy::project(&NsName::new("default", name), &reader).unwrap();
        let condition = &status.ancestors[0].conditions[0];
        assert_eq!((condition.reason, &*status.ancestors[0].ancestor_ref.name), (reason, "edge"), "{name}");
        assert!(condition.message.contains(words), "{name}: {}", condition.message);
    }
}

fn statuses(fixture: &mut Fixture, spec: Value, standing: Standing) -> Value {
    let lowered = fixture.lower(Kind::GrpcRoute, spec);
    let route = Ref::new(Kind::GrpcRoute, NsName::new("default", "route"));
    let reader = Reader::new(&fixture.world, &fixture.surfaces);
    let status = project(reader.route(&route).unwrap(), &lowered, reader.controller(), &[standing]);
    serde_json::to_value(status).unwrap()
}

fn reasons(status: &Value) -> Vec<String> {
    let conditions = status["parents"][0]["conditions"].as_array().unwrap();
    let short = |one: &Value| format!("{}={}/{}", one["type"], one["status"], one["reason"]).replace('"', "");
    conditions.iter().map(short).collect()
}

const SERVED: Standing = Standing { lost_to: None, delivery: Delivery::Programmed };

#[test]
fn a_status_repeats_the_parent_as_written_and_has_every_condition() {
    let status = statuses(&mut Fixture::new(), json!({"rules": [{"backendRefs": [echo()]}]}), SERVED);
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "edge", "sectionName": "https"});
    assert_eq!(status["parents"][0]["parentRef"], parent);
    assert_eq!(status["parents"][0]["controllerName"], "sluice.dev/gateway-controller");
    assert_eq!(status["parents"][0]["conditions"][0]["observedGeneration"], 7);
    assert_eq!(
        reasons(&status),
        ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "sluice.dev/Programmed=True/Programmed"]
    );
}

#[test]
fn a_partly_invalid_route_says_which_rules_are_dropped() {
    let rules = json!({"rules": [{"filters": [{"type": "CORS"}]}, {"backendRefs": [{"name": "gone", "port": 1}]}]});
    let rejected = Delivery::Rejected { message: "missing )".into(), rule: Some("rules[1]".into()), last_good: false };
    let status = statuses(&mut Fixture::new(), rules, Standing { lost_to: None, delivery: rejected });
    assert_eq!(
        reasons(&status),
        [
            "Accepted=True/Accepted",
            "ResolvedRefs=False/BackendNotFound",
            "PartiallyInvalid=True/UnsupportedValue",
            "sluice.dev/Programmed=False/Rejected"
        ]
    );
    let message = |index: usize| status["parents"][0]["conditions"][index]["message"].as_str().unwrap().to_owned();
    assert!(message(2).starts_with("Dropped Rule"), "{}", message(2));
    assert!(message(3).contains("refused rules[1]: missing ); its calls answer UNAVAILABLE"), "{}", message(3));
}

#[test]
fn a_route_that_lost_its_hostname_names_the_winner_and_still_resolves() {
    let winner = Ref::new(Kind::HttpRoute, NsName::new("default", "web"));
    let standing = Standing { lost_to: Some(winner), delivery: Delivery::Programmed };
    let status = statuses(&mut Fixture::new(), json!({"rules": [{"backendRefs": [echo()]}]}), standing);
    assert_eq!(reasons(&status), ["Accepted=False/NotAllowedByListeners", "ResolvedRefs=True/ResolvedRefs"]);
    let message = status["parents"][0]["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("HTTPRoute default/web is older"), "{message}");
    assert_eq!(Accepted::NotAllowedByListeners.as_str(), "NotAllowedByListeners");
}
