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
