use super::*;

#[test]
fn a_port_that_proxies_have_for_themselves_is_refused_and_the_others_are_served() {
    let mut world = base();
    world.settings.reserved = vec![8443];
    let listener = |port: u16| json!({"name": format!("at-{port}"), "port": port, "protocol": "HTTP"});
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": [listener(8443), listener(80)]})));
    let plan = planned(&world);
    assert_eq!(listener_says(&plan, 0)[..2], ["Accepted=False/PortUnavailable", "Programmed=False/Invalid"]);
    assert!(message(&plan, 0, "Accepted").starts_with("port 8443 is the proxies' own"));
    assert_eq!(listener_says(&plan, 1)[0], "Accepted=True/Accepted");
    assert_eq!(plan.listeners.iter().map(|listener| listener.port).collect::<Vec<_>>(), [80]);
}

#[test]
fn an_entry_of_a_listener_set_is_told_the_same() {
    let mut world = base();
    world.settings.reserved = vec![8443];
    let allowing = json!({"allowedListeners": {"namespaces": {"from": "Same"}}, "listeners": [http("web", "")]});
    put(&mut world, Kind::Gateway, gateway(&allowing));
    let listener = json!({"name": "own", "port": 8443, "protocol": "HTTP"});
    put(&mut world, Kind::ListenerSet, listener_set("s", &json!([listener])));
    let plan = planned(&world);
    let conditions = said(&set_status(&plan, 0).listeners[0].conditions);
    assert_eq!(conditions[..2], ["Accepted=False/PortUnavailable", "Programmed=False/Invalid"]);
    assert_eq!(plan.listeners.len(), 1);
}
