//! Addresses: which are served, and what is said of those that are not.

use super::{ADDRESS, base, gateway, gateway_says, http, plan_of, planned, put, said, status_of, with_profile};
use crate::{
    key::Kind,
    status::{self, Condition, Delivery},
    world::{Exposure, World},
};
use serde_json::{Value, json};

#[test]
fn addresses_are_served_as_far_as_the_proxies_have_them() {
    let table = [
        ("none", json!([]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("any", json!([{"type": "IPAddress"}]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("the one", json!([{"value": ADDRESS}]), "Accepted=True/Accepted", "Programmed=True/Programmed", 1),
        ("another", json!([{"value": "192.0.2.1"}]), "Accepted=True/Accepted", "Programmed=False/AddressNotUsable", 0),
        (
            "both",
            json!([{"value": ADDRESS}, {"value": "192.0.2.1"}]),
            "Accepted=True/Accepted",
            "Programmed=False/AddressNotUsable",
            1,
        ),
        (
            "a hostname",
            json!([{"type": "Hostname", "value": "a.example.com"}]),
            "Accepted=False/UnsupportedAddress",
            "Programmed=False/Invalid",
            0,
        ),
    ];
    for (name, addresses, accepted, programmed, count) in table {
        let mut world = base();
        put(&mut world, Kind::Gateway, gateway(&json!({"addresses": addresses, "listeners": [http("web", "")]})));
        let plan = planned(&world);
        assert_eq!(gateway_says(&plan)[..2], [accepted, programmed], "{name}");
        assert_eq!(status_of(&plan).addresses.len(), count, "{name}");
    }
    let plan = plan_of(&json!([http("web", "")]));
    let nowhere = status::gateway::project(&plan.report, &|_| 0, &Delivery::Programmed, &[]);
    assert_eq!(said(&nowhere.conditions)[1], "Programmed=False/AddressNotAssigned");
}

#[test]
fn an_address_that_the_profile_lets_nobody_have_is_told_with_the_setting() {
    let said = |service: Value| {
        let mut world = with_profile(base(), &json!({"proxies": {"service": service}}));
        world.settings.exposure = Exposure::Service;
        let addresses = json!([{"value": "192.0.2.1"}]);
        put(&mut world, Kind::Gateway, gateway(&json!({"addresses": addresses, "listeners": [http("web", "")]})));
        let condition = status_of(&planned(&world)).conditions[1].clone();
        (condition.reason.to_string(), condition.message.contains("proxies.service.externalIPs"))
    };
    assert_eq!(said(json!({"type": "LoadBalancer"})), ("AddressNotUsable".to_owned(), false));
    assert_eq!(said(json!({"type": "NodePort"})), ("AddressNotUsable".to_owned(), true));
    let other = json!({"type": "ClusterIP", "externalIPs": ["198.51.100.0/24"]});
    assert_eq!(said(other), ("AddressNotUsable".to_owned(), true));
    let this = json!({"type": "NodePort", "externalIPs": ["192.0.2.0/24"]});
    assert_eq!(said(this), ("AddressNotUsable".to_owned(), false), "it has yet to be taken up");
}

fn programmed(world: &World) -> Condition {
    let status = status::gateway::project(&planned(world).report, &|_| 0, &Delivery::Programmed, &[]);
    status.conditions.into_iter().find(|condition| condition.kind == "Programmed").unwrap()
}

#[test]
fn a_gateway_that_no_load_balancer_answers_says_where_to_look_and_what_to_set() {
    let table = [
        (json!({}), "a cluster without load balancers, set proxies.service.type to NodePort or ClusterIP"),
        (json!({"proxies": {"service": {"type": "NodePort"}}}), "Service has no address yet"),
    ];
    for (profile, words) in table {
        let mut world = with_profile(base(), &profile);
        world.settings.exposure = Exposure::Service;
        put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [http("a", "")]})));
        let said = programmed(&world);
        assert_eq!(said.reason, "AddressNotAssigned");
        let command = "kubectl describe service -n infra -l gateway.networking.k8s.io/gateway-name=gw";
        assert!(said.message.contains(words) && said.message.contains(command), "{}", said.message);
    }
}
