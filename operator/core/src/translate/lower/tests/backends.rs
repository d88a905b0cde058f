//! Backends: their shares, their faults, and who may use them.

use super::{Fixture, forward, grant, mirror, only, service, unresolved};
use crate::{
    ir::Action,
    key::{Kind, NsName, Ref},
    status::route::Finding,
    world::Change,
};
use serde_json::{Value, json};

#[test]
fn an_invalid_backend_keeps_its_share() {
    let backends = json!([{"name": "echo", "port": 9000, "weight": 3}, {"name": "gone", "port": 1, "weight": 2},
        {"name": "echo", "port": 9000, "weight": 4}, {"name": "echo", "port": 9001, "weight": 0}]);
    let lowered = Fixture::new().rule(&json!({"backendRefs": backends}));
    let forward = forward(&lowered);
    assert_eq!((forward.shares.len(), forward.shares[0].weight, forward.unavailable), (1, 7, 2));
    assert_eq!(lowered.clusters.len(), 1, "a weight of 0 needs no cluster");
    assert!(lowered.attachments[0].refusal.is_none(), "a bad backend leaves the route accepted");
}

#[test]
fn each_fault_of_a_backend_has_its_reason_and_its_fix() {
    let mut fixture = Fixture::new();
    fixture.put(Kind::Service, service("other", "echo", &json!({})));
    fixture.put(Kind::Service, service("default", "alias", &json!({"type": "ExternalName"})));
    let ports = json!({"ports": [{"port": 9000, "appProtocol": "kubernetes.io/ws"}, {"port": 53, "protocol": "UDP"}]});
    fixture.put(Kind::Service, service("default", "socket", &ports));
    let table = [
        (json!({"name": "gone", "port": 9000}), "BackendNotFound", "Service default/gone not found"),
        (json!({"name": "echo", "port": 80}), "BackendNotFound", "no TCP port 80: use one of its ports (9000, 9001)"),
        (json!({"name": "echo"}), "BackendNotFound", "use one of its ports (9000, 9001)"),
        (json!({"name": "socket", "port": 53}), "BackendNotFound", "no TCP port 53"),
        (json!({"kind": "Bucket", "name": "b"}), "InvalidKind", "use a Service"),
        (json!({"group": "x.io", "name": "b"}), "InvalidKind", "kind Service of group x.io"),
        (json!({"name": "alias", "port": 9000}), "InvalidKind", "ExternalName"),
        (json!({"name": "socket", "port": 9000}), "UnsupportedProtocol", "kubernetes.io/ws"),
        (
            json!({"name": "echo", "namespace": "other", "port": 9000}),
            "RefNotPermitted",
            "create in namespace other a ReferenceGrant",
        ),
        (json!({"name": "secret", "namespace": "other", "port": 9000}), "RefNotPermitted", "ReferenceGrant"),
    ];
    for (backend, reason, words) in table {
        let lowered = fixture.rule(&json!({"backendRefs": [backend]}));
        let (found, message) = unresolved(&lowered);
        assert_eq!(found, reason, "{backend}");
        assert!(message.contains(words) && message.starts_with("rules[0].backendRefs[0]: "), "{backend}: {message}");
        assert!(matches!(only(&lowered).action, Action::Unavailable(_)) && lowered.clusters.is_empty());
    }
}

#[test]
fn a_grant_permits_a_backend_of_another_namespace_until_it_is_removed() {
    let mut fixture = Fixture::new();
    fixture.put(Kind::Service, service("other", "echo", &json!({})));
    let rule = json!({"backendRefs": [{"name": "echo", "namespace": "other", "port": 9000}]});
    fixture.put(Kind::ReferenceGrant, grant("other", "default", &json!({"group": "", "kind": "Service"})));
    assert_eq!(&*forward(&fixture.rule(&rule)).shares[0].cluster, "other/echo/9000/h2");
    fixture.world.apply(Change::Delete(Ref::new(Kind::ReferenceGrant, NsName::new("other", "grant"))));
    assert_eq!(unresolved(&fixture.rule(&rule)).0, "RefNotPermitted");
}

#[test]
fn a_rule_without_usable_backends_answers_unavailable() {
    let table = [json!({}), json!({"backendRefs": [{"name": "echo", "port": 9000, "weight": 0}]})];
    for rule in table {
        let lowered = Fixture::new().rule(&rule);
        assert!(matches!(only(&lowered).action, Action::Unavailable(_)), "{rule}");
        assert_eq!(lowered.problems, [], "{rule}");
    }
}

#[test]
fn a_mirror_copies_its_share_and_a_bad_one_is_left_out() {
    for (share, parts) in [
        (json!({}), 1_000_000),
        (json!({"percent": 5}), 50_000),
        (json!({"fraction": {"numerator": 1, "denominator": 1000}}), 1_000),
        (json!({"fraction": {"numerator": 7}}), 70_000),
    ] {
        let lowered = Fixture::new().rule(&mirror(&share));
        let mirrors = &forward(&lowered).mirrors;
        assert_eq!((&*mirrors[0].cluster, mirrors[0].parts_per_million), ("default/echo/9001/h2", parts), "{share}");
    }
    let mut bad = mirror(&json!({}));
    bad["filters"][0]["requestMirror"]["backendRef"]["name"] = json!("gone");
    let lowered = Fixture::new().rule(&bad);
    assert_eq!((forward(&lowered).mirrors.len(), unresolved(&lowered).0), (0, "BackendNotFound"));
}

#[test]
fn a_mirror_of_one_backend_stays_with_it() {
    let filters = mirror(&json!({}))["filters"].clone();
    let mirrored = json!({"name": "echo", "port": 9000, "filters": filters});
    let lowered = Fixture::new().rule(&json!({"backendRefs": [mirrored, {"name": "echo", "port": 9001}]}));
    let forward = forward(&lowered);
    let copies: Vec<usize> = forward.shares.iter().map(|share| share.mirrors.len()).collect();
    assert_eq!((forward.mirrors.len(), copies), (0, vec![1, 0]));
}

#[test]
fn backends_with_pods_in_common_are_served_and_said() {
    let mut fixture = Fixture::new();
    let selecting = |labels: Value| json!({"selector": labels});
    fixture.put(Kind::Service, service("default", "v1", &selecting(json!({"app": "echo"}))));
    fixture.put(Kind::Service, service("default", "v2", &selecting(json!({"app": "echo", "version": "v2"}))));
    let backends = json!([{"name": "v1", "port": 9000}, {"name": "v2", "port": 9000}]);
    let lowered = fixture.rule(&json!({"backendRefs": backends}));
    assert_eq!(forward(&lowered).shares.len(), 2);
    let [problem] = lowered.problems.as_slice() else { panic!("{:?}", lowered.problems) };
    assert_eq!(problem.finding(), Finding::Informs);
    let words = "Service default/v1 selects app=echo and so reaches the pods of Service default/v2 (app=echo,version=v2) \
                 too: add version to its selector";
    assert!(problem.to_string().starts_with(words), "{problem}");
    fixture.put(Kind::Service, service("default", "v1", &selecting(json!({"app": "echo", "version": "v1"}))));
    assert_eq!(fixture.rule(&json!({"backendRefs": backends})).problems, []);
}
