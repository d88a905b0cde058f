//! Where a route attaches, and why it does not.

use super::{Fixture, STRICT, echo, grant, offer, refusal};
use crate::{
    hostname::Hostname,
    key::Kind,
    translate::{AttachmentPolicy, Offer, lower::nothing},
    world::gateway::Namespaces,
};
use serde_json::json;

#[test]
fn each_way_of_not_attaching_has_its_reason_and_its_fix() {
    let everywhere = json!([{"name": "edge", "namespace": "default"}]);
    let table = [
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "http"}]}),
            "NotAllowedByListeners",
            "listener http has protocol HTTP",
        ),
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "none"}]}),
            "NoMatchingParent",
            "it has https, http",
        ),
        ("default", json!({"parentRefs": [{"name": "edge", "port": 1}]}), "NoMatchingParent", "on port 1"),
        (
            "default",
            json!({"parentRefs": [{"name": "edge", "sectionName": "https", "port": 80}]}),
            "NoMatchingParent",
            "https on port 80",
        ),
        (
            "default",
            json!({"hostnames": ["example.org", "example.com"]}),
            "NoMatchingListenerHostname",
            "*.example.com",
        ),
        ("other", json!({"parentRefs": everywhere}), "NotAllowedByListeners", "no routes from namespace other"),
    ];
    for (namespace, spec, reason, words) in table {
        let lowered = Fixture::new().lower_from(namespace, Kind::GrpcRoute, spec.clone());
        let (found, message) = refusal(&lowered);
        assert_eq!(found, reason, "{spec}");
        assert!(message.contains(words), "{spec}: {message}");
        assert!(lowered.attachments[0].bindings.is_empty());
    }
}

#[test]
fn a_listener_that_takes_other_kinds_names_them() {
    let mut fixture = Fixture::new();
    fixture.offering(vec![offer("https", "HTTPS", &[Kind::HttpRoute])]);
    let (reason, message) = refusal(&fixture.rule(&json!({})));
    assert_eq!(reason, "NotAllowedByListeners");
    assert!(message.contains("does not take GRPCRoute, only HTTPRoute"), "{message}");
}

#[test]
fn a_kind_that_is_not_implemented_says_so() {
    for kind in [Kind::TlsRoute, Kind::TcpRoute, Kind::UdpRoute] {
        let lowered = Fixture::new().lower(kind, json!({"rules": [{"backendRefs": [echo()]}]}));
        let (reason, message) = refusal(&lowered);
        assert_eq!(reason, "NotAllowedByListeners");
        assert!(message.contains("does not implement"), "{message}");
        assert!(lowered.routes.is_empty());
    }
}

#[test]
fn a_parent_that_is_not_ours_gets_no_entry() {
    let foreign = json!({"parentRefs": [{"name": "foreign"}, {"group": "", "kind": "Service", "name": "echo"}]});
    assert_eq!(Fixture::new().lower(Kind::GrpcRoute, foreign).attachments, []);
    let rules = json!([{"backendRefs": [{"name": "echo", "port": 9000}, {"name": "absent", "port": 9000}]}]);
    let foreign = json!({"parentRefs": [{"name": "foreign"}], "rules": rules});
    assert_eq!(Fixture::new().lower(Kind::GrpcRoute, foreign), nothing(), "nobody here serves its rules");
}

#[test]
fn one_listener_that_takes_the_route_is_enough() {
    let lowered = Fixture::new().lower(Kind::GrpcRoute, json!({"parentRefs": [{"name": "edge"}]}));
    let sections: Vec<_> = lowered.attachments[0].bindings.iter().map(|binding| &*binding.listener.section).collect();
    assert_eq!((sections, &lowered.attachments[0].refusal), (vec!["https"], &None));
}

#[test]
fn cleartext_is_served_where_the_class_allows_it() {
    let mut fixture = Fixture::new();
    let http = offer("http", "HTTP", &[Kind::GrpcRoute, Kind::HttpRoute]);
    fixture.surface(AttachmentPolicy { cleartext: true, ..STRICT }, vec![http]);
    let lowered = fixture.lower(Kind::GrpcRoute, json!({"parentRefs": [{"name": "edge"}]}));
    assert_eq!(lowered.attachments[0].refusal, None);
}

#[test]
fn a_selector_reads_the_labels_of_the_namespace() {
    let mut fixture = Fixture::new();
    let selector = serde_json::from_value(json!({"matchLabels": {"team": "a"}})).unwrap();
    let namespaces = Namespaces { from: Some("Selector".into()), selector: Some(selector) };
    fixture.offering(vec![Offer { namespaces, ..offer("https", "HTTPS", &[Kind::GrpcRoute]) }]);
    let refused = fixture.lower_from("other", Kind::GrpcRoute, json!({}));
    assert_eq!(refusal(&refused).0, "NotAllowedByListeners", "an unknown namespace has no label but its name");
    fixture.put(Kind::Namespace, json!({"metadata": {"name": "other", "labels": {"team": "a"}}}));
    assert_eq!(fixture.lower_from("other", Kind::GrpcRoute, json!({})).attachments[0].refusal, None);
}

#[test]
fn a_class_may_ask_for_a_grant_beside_allowed_routes() {
    let mut fixture = Fixture::new();
    let all = Namespaces { from: Some("All".into()), selector: None };
    let listener = Offer { namespaces: all, ..offer("https", "HTTPS", &[Kind::GrpcRoute]) };
    fixture.surface(AttachmentPolicy { grant_for_attachment: true, ..STRICT }, vec![listener]);
    let (reason, message) = refusal(&fixture.lower_from("other", Kind::GrpcRoute, json!({})));
    assert_eq!(reason, "NotAllowedByListeners");
    assert!(message.contains("create in namespace default a ReferenceGrant"), "{message}");
    let gateways = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway"});
    fixture.put(Kind::ReferenceGrant, grant("default", "other", &gateways));
    assert_eq!(fixture.lower_from("other", Kind::GrpcRoute, json!({})).attachments[0].refusal, None);
}

#[test]
fn hostnames_that_narrow_to_one_keep_the_most_specific_as_written() {
    let mut fixture = Fixture::new();
    let listener =
        Offer { hostname: Hostname::parse(Some("a.example.com")), ..offer("https", "HTTPS", &[Kind::GrpcRoute]) };
    fixture.offering(vec![listener]);
    let lowered = fixture.lower(Kind::GrpcRoute, json!({"hostnames": ["*.com", "*.example.com", "b.example.com"]}));
    let bindings: Vec<_> = lowered.attachments[0].bindings.iter().collect();
    assert_eq!(bindings.len(), 1);
    assert_eq!((bindings[0].domain.as_str(), bindings[0].written.as_str()), ("a.example.com", "*.example.com"));
}
