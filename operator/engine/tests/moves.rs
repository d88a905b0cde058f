//! What a service wants no more goes, whoever wrote it; where it is reached moves without a gap.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on shall end")]

mod world;

use serde_json::{Value, json};
use sluice_core::key::{Kind, Ref};
use world::cluster::{Cluster, furnished, grpc_service, in_a, own, shared};

fn service() -> Ref {
    in_a(Kind::GrpcService, "svc")
}

fn gateway() -> Ref {
    in_a(Kind::Gateway, "svc-own")
}

fn served(value: &Value) -> Cluster {
    let mut cluster = furnished();
    cluster.apply(Kind::GrpcService, value);
    cluster.settle();
    cluster
}

/// The names of the route's parents.
fn parents(cluster: &Cluster) -> Vec<String> {
    let parents = cluster.objects[&in_a(Kind::GrpcRoute, "svc")]["spec"]["parentRefs"].as_array().unwrap();
    parents.iter().map(|parent| parent["name"].as_str().unwrap().to_owned()).collect()
}

fn with_timeout() -> Value {
    let mut value = grpc_service(&json!([own("own")]));
    value["spec"]["rules"] = json!([{"name": "slow", "timeouts": {"request": "2s"}}]);
    value
}

#[test]
fn what_is_wanted_no_more_goes_even_if_nobody_remembers_having_written_it() {
    let policy = in_a(Kind::GrpcPolicy, "svc-slow");
    for restarts in [false, true] {
        let mut cluster = served(&with_timeout());
        assert!(cluster.objects.contains_key(&policy));
        cluster.apply(
            Kind::GrpcService,
            &json!({"metadata": {"namespace": "a", "name": "svc"}, "spec": grpc_service(&json!([own("own")]))["spec"]}),
        );
        if restarts {
            cluster.restart();
        }
        cluster.settle();
        assert!(!cluster.objects.contains_key(&policy), "after a restart: {restarts}");
    }
}

#[test]
fn secrets_of_a_service_and_what_a_namesake_left_stay() {
    let mut cluster = served(&with_timeout());
    let uid = cluster.objects[&service()]["metadata"]["uid"].clone();
    let owner = |uid: &Value| json!([{"apiVersion": "sluice.dev/v1alpha1", "kind": "GrpcService", "name": "svc", "uid": uid, "controller": true}]);
    let secret = world::tls_secret(&json!({"namespace": "a", "name": "svc-ca", "ownerReferences": owner(&uid)}), 0);
    let left = json!({"metadata": {"namespace": "a", "name": "svc-old", "ownerReferences": owner(&json!("gone"))}, "spec": {"targetRefs": []}});
    cluster.apply(Kind::Secret, &secret);
    cluster.apply(Kind::GrpcPolicy, &left);
    cluster.restart();
    cluster.settle();
    assert!(cluster.objects.contains_key(&in_a(Kind::Secret, "svc-ca")));
    assert!(cluster.objects.contains_key(&in_a(Kind::GrpcPolicy, "svc-old")));
}

#[test]
fn a_service_moves_to_a_shared_gateway_without_a_gap() {
    for restarts in [false, true] {
        let mut cluster = served(&grpc_service(&json!([own("own")])));
        cluster.apply(Kind::GrpcService, &grpc_service(&json!([shared("one")])));
        cluster.tell(Kind::GrpcService, 1);
        assert_eq!(parents(&cluster), ["one", "svc-own"], "both, until the new one serves");
        if restarts {
            cluster.restart();
            cluster.pass(31);
        }
        cluster.tell_all();
        assert!(cluster.objects.contains_key(&gateway()), "nobody has acknowledged the new parent");
        cluster.settle();
        assert_eq!(parents(&cluster), ["one"]);
        assert!(!cluster.objects.contains_key(&gateway()) && !cluster.running.contains(&gateway().key));
    }
}

#[test]
fn a_gateway_is_not_left_for_one_that_does_not_take_the_route() {
    let mut cluster = served(&grpc_service(&json!([own("own")])));
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([shared("foreign")])));
    cluster.settle();
    assert_eq!(parents(&cluster), ["foreign", "svc-own"]);
    cluster.other_says("False");
    cluster.settle();
    assert_eq!(parents(&cluster), ["foreign", "svc-own"]);
    cluster.other_says("True");
    cluster.settle();
    assert_eq!(parents(&cluster), ["foreign"]);
    assert!(!cluster.objects.contains_key(&gateway()));
}

#[test]
fn a_gateway_that_somebody_deletes_is_not_clung_to() {
    let mut cluster = served(&grpc_service(&json!([own("own")])));
    cluster.apply(Kind::GrpcService, &grpc_service(&json!([shared("foreign")])));
    cluster.settle();
    cluster.delete(&gateway());
    cluster.settle();
    assert_eq!(parents(&cluster), ["foreign"]);
}
