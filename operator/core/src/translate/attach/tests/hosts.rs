//! Which host serves a name: isolation between listeners, and the hosts that stand without routes.

use super::{base, gateway, http, https, id, own, placed, plan_of, plan_with_sets, planned, put, set};
use crate::{hostname::Hostname, ir::Fallback, key::Kind};
use serde_json::json;

#[test]
fn a_name_is_placed_with_the_most_specific_listener_of_the_port_only() {
    let plan = plan_of(&json!([
        http("any", ""),
        http("wide", "*.bar.com"),
        http("narrow", "foo.bar.com"),
        https("secure", "*.bar.com"),
    ]));
    let table = [
        ("any", "*", Some("http-80|*")),
        ("any", "other.com", Some("http-80|other.com")),
        ("any", "bar.com", Some("http-80|bar.com")),
        ("any", "*.com", Some("http-80|*.com")),
        ("any", "x.bar.com", None),
        ("any", "*.bar.com", None),
        ("any", "*.x.bar.com", None),
        ("wide", "*.bar.com", Some("http-80|*.bar.com")),
        ("wide", "multiple.prefixes.bar.com", Some("http-80|multiple.prefixes.bar.com")),
        ("wide", "foo.bar.com", None),
        ("narrow", "foo.bar.com", Some("http-80|foo.bar.com")),
        ("secure", "foo.bar.com", Some("https-443/*.bar.com|foo.bar.com")),
        ("absent", "foo.bar.com", None),
    ];
    for (section, domain, expected) in table {
        assert_eq!(placed(&plan, section, domain).as_deref(), expected, "{domain} on {section}");
    }
}

#[test]
fn a_listener_without_a_certificate_keeps_its_names() {
    let mut bare = https("bare", "a.example.com");
    bare["tls"] = json!({"certificateRefs": [{"name": "nope"}]});
    let plan = plan_of(&json!([bare, https("wide", "*.example.com")]));
    assert_eq!(placed(&plan, "bare", "a.example.com"), None);
    assert_eq!(placed(&plan, "wide", "a.example.com"), None);
    assert_eq!(placed(&plan, "wide", "b.example.com").as_deref(), Some("https-443/*.example.com|b.example.com"));
}

#[test]
fn a_conflicted_listener_owns_no_name() {
    let plan = plan_of(&json!([http("a", "x.bar.com"), http("b", "x.bar.com"), http("wide", "*.bar.com")]));
    assert_eq!(placed(&plan, "a", "x.bar.com"), None);
    assert_eq!(placed(&plan, "wide", "x.bar.com").as_deref(), Some("http-80|x.bar.com"));
}

#[test]
fn a_listener_of_a_set_owns_names_like_one_of_the_gateway() {
    let spec = json!({"allowedListeners": {"namespaces": {"from": "Same"}}, "listeners": [http("wide", "*.bar.com")]});
    let plan = plan_with_sets(&spec, &[super::listener_set("s", &json!([http("narrow", "foo.bar.com")]))]);
    let name = Hostname::parse(Some("foo.bar.com"));
    assert_eq!(plan.place(&id(own(), "wide"), &name), None);
    assert!(plan.place(&id(set("s"), "narrow"), &name).is_some());
}

fn standing(listeners: &serde_json::Value) -> Vec<(String, Fallback)> {
    let hosts = plan_of(listeners).standing_hosts().into_iter();
    hosts.map(|(host, fallback)| (format!("{} {}", host.routes_of, host.domain), fallback)).collect()
}

#[test]
fn cleartext_has_a_host_for_everything_and_for_each_listener() {
    assert_eq!(
        standing(&json!([http("a", "*.bar.com"), http("b", "foo.bar.com")])),
        [
            ("http-80 *".to_owned(), Fallback::NotFound),
            ("http-80 *.bar.com".to_owned(), Fallback::NotFound),
            ("http-80 foo.bar.com".to_owned(), Fallback::NotFound),
        ]
    );
}

#[test]
fn a_chain_answers_421_for_names_of_other_listeners() {
    assert_eq!(
        standing(&json!([https("any", ""), https("wide", "*.bar.com"), https("narrow", "foo.bar.com")])),
        [
            ("https-443/* *".to_owned(), Fallback::NotFound),
            ("https-443/* *.bar.com".to_owned(), Fallback::Misdirected),
            ("https-443/* foo.bar.com".to_owned(), Fallback::Misdirected),
            ("https-443/*.bar.com *".to_owned(), Fallback::Misdirected),
            ("https-443/*.bar.com *.bar.com".to_owned(), Fallback::NotFound),
            ("https-443/*.bar.com foo.bar.com".to_owned(), Fallback::Misdirected),
            ("https-443/foo.bar.com *".to_owned(), Fallback::Misdirected),
            ("https-443/foo.bar.com foo.bar.com".to_owned(), Fallback::NotFound),
        ]
    );
}

#[test]
fn a_chain_that_is_alone_on_its_port_answers_404_for_other_names() {
    assert_eq!(
        standing(&json!([https("grpc", "grpc.example.com"), http("web", "")])),
        [
            ("http-80 *".to_owned(), Fallback::NotFound),
            ("https-443/grpc.example.com *".to_owned(), Fallback::NotFound),
            ("https-443/grpc.example.com grpc.example.com".to_owned(), Fallback::NotFound),
        ]
    );
}

#[test]
fn hosts_grow_with_the_listeners_and_not_with_their_pairs() {
    let mut world = base();
    let listeners =
        (0..200).map(|number| https(&format!("l{number}"), &format!("h{number}.example.com"))).collect::<Vec<_>>();
    put(&mut world, Kind::Gateway, gateway(&json!({"listeners": listeners})));
    assert_eq!(planned(&world).standing_hosts().len(), 2 * 200);
}
